import type { StateFileSteps } from '../src/store/state-steps.ts';
import type { Random } from './random.ts';
import type { Process, World } from './world.ts';

export const STATE_DIR = '/var/lib/nonced';
export const STATE_PATH = `${STATE_DIR}/state.json`;

/** A file: what a reader sees, and what is sure to be read after a power cut; undefined where nothing is. */
interface Inode {
  content: Buffer;
  synced: Buffer | undefined;
}

/** What a process does to the disk, a name for each step. */
export type DiskStep = 'create' | 'reserve' | 'write' | 'sync' | 'rename' | 'sync-directory' | 'look';

/** What goes wrong with every step of its kind while it lasts. */
export type DiskTrouble = 'ENOSPC' | 'EROFS' | 'EMFILE' | 'EDQUOT' | 'EIO-sync' | 'EIO-write' | 'short-write';

const AFFECTED: Readonly<Record<DiskTrouble, readonly DiskStep[]>> = {
  ENOSPC: ['create', 'reserve', 'write'],
  EDQUOT: ['reserve'],
  EROFS: ['create'],
  EMFILE: ['create'],
  'EIO-sync': ['sync', 'sync-directory'],
  'EIO-write': ['write'],
  'short-write': [],
};

const EMPTY = Buffer.alloc(0);

interface InFlight {
  readonly act: () => void;
}

/**
 * A disk with one directory and the one file in it that matters. Every step takes time. A reader sees each as soon as it
 * is done; after a power cut there is what was synced, and of the rest whatever the rules leave open: a rename that no
 * directory sync followed has happened or not, in any order; a file that was not synced is empty, cut anywhere, or whole.
 */
export class SimulatedDisk {
  readonly #world: World;
  readonly #random: Random;
  /** What the name leads to, and what it may lead to after a power cut. */
  #current: Inode | undefined;
  #durable: Inode | undefined;
  #renamed: Inode[] = [];
  readonly #inFlight = new Set<InFlight>();
  trouble: DiskTrouble | undefined;
  /** Each step takes about so long. */
  stepMs = 0.25;
  /** Called before a step takes effect; answers false where the process is gone by then. */
  hit: (step: DiskStep) => boolean = () => true;
  /** Something of what is or might be durable has changed. */
  changed: () => void = () => {};

  constructor(world: World, random: Random) {
    this.#world = world;
    this.#random = random;
  }

  /** What a process reads now. */
  read(): Buffer | undefined {
    return this.#current?.content;
  }

  get isIdle(): boolean {
    return this.#inFlight.size === 0 && this.trouble === undefined;
  }

  /** Whatever the file might hold after a power cut at this instant. */
  possible(): readonly (Buffer | undefined)[] {
    return [this.#durable, ...this.#renamed].flatMap((inode) => outcomesOf(inode));
  }

  /** The power is cut. */
  cut(): void {
    const possible = this.possible();
    const chosen = possible[this.#random.below(possible.length)];
    this.#put(chosen === undefined ? undefined : this.#cutAnywhere(chosen));
  }

  /** Something else than the daemon changes the file. */
  #put(content: Buffer | undefined): void {
    const inode = content === undefined ? undefined : { content, synced: content };
    this.#current = inode;
    this.#durable = inode;
    this.#renamed = [];
    this.changed();
  }

  replaceBy(content: Buffer | undefined): void {
    this.#put(content);
  }

  /** A torn file may be cut anywhere, not only where `outcomesOf` shows it. */
  #cutAnywhere(content: Buffer): Buffer {
    const isSure = [this.#durable, ...this.#renamed].some((inode) => inode?.synced === content);
    return isSure ? content : content.subarray(0, this.#random.below(content.length + 1));
  }

  /** The process is killed: what it had asked the kernel for is done, or not. */
  killed(): void {
    for (const { act } of this.#inFlight) if (this.#random.chance(0.5)) act();
    this.#inFlight.clear();
  }

  stepsFor(process: Process): StateFileSteps {
    const step = <T>(kind: DiskStep, effect: () => T): Promise<T> => this.#step(process, kind, effect);
    return {
      identify: () => Promise.resolve('the state directory'),
      identifyDescriptor: () => Promise.resolve('the state directory'),
      read: () => step('look', () => this.read()),
      size: () => step('look', () => this.read()?.length ?? 0),
      reserve: () => step('reserve', () => undefined),
      replace: async (_path, bytes, beforeWriting) => {
        const inode: Inode = { content: EMPTY, synced: undefined };
        await step('create', () => undefined);
        await beforeWriting(`${STATE_PATH}.1`);
        await step('write', () => {
          const isShort = this.trouble === 'short-write';
          inode.content = isShort ? bytes.subarray(0, this.#random.below(bytes.length)) : bytes;
        });
        await step('sync', () => {
          inode.synced = inode.content;
        });
        await step('rename', () => {
          this.#current = inode;
          this.#renamed.push(inode);
          this.changed();
        });
      },
      syncDirectory: () =>
        step('sync-directory', () => {
          this.#durable = this.#current;
          this.#renamed = [];
          this.changed();
        }),
    };
  }

  #step<T>(process: Process, kind: DiskStep, effect: () => T): Promise<T> {
    return new Promise((resolve, reject) => {
      const flight: InFlight = {
        act: () => {
          if (this.#failure(kind) === undefined) effect();
        },
      };
      if (!process.isAlive) return;
      this.#inFlight.add(flight);
      this.#world.after(this.stepMs * (0.5 + this.#random.fraction()), () => {
        if (!this.#inFlight.has(flight) || !this.hit(kind)) return;
        this.#inFlight.delete(flight);
        const failure = this.#failure(kind);
        if (failure === undefined) {
          const value = effect();
          process.wake('input', () => resolve(value));
        } else {
          process.wake('input', () => reject(failure));
        }
      });
    });
  }

  #failure(kind: DiskStep): Error | undefined {
    const { trouble } = this;
    if (trouble === undefined || !AFFECTED[trouble].includes(kind)) return undefined;
    const code = trouble.split('-')[0] ?? '';
    return Object.assign(new Error(`${code}: simulated, ${kind}`), { code });
  }
}

/** What a file may hold after a power cut; a torn one stands for all that it may be cut to. */
function outcomesOf(inode: Inode | undefined): readonly (Buffer | undefined)[] {
  if (inode === undefined) return [undefined];
  if (inode.synced === inode.content) return [inode.content];
  return [EMPTY, inode.content];
}
