import type { StateDirectory } from '../src/daemon/authority.ts';
import { stateReadingOf } from '../src/store/state/state-file.ts';
import type { StateFileSteps } from '../src/store/state/state-steps.ts';
import type { Random } from './random.ts';
import type { Process, World } from './world.ts';

export const STATE_DIR = '/var/lib/nonced';
const STATE_PATH = `${STATE_DIR}/state.json`;
const LOCK = `${STATE_PATH}.lock`;

/** A file: what a reader sees, and what is certain to be there after a power cut; undefined if nothing is. */
interface Inode {
  content: Buffer;
  synced: Buffer | undefined;
  /** The name under which it was written. */
  readonly temporary?: string;
}

/** The steps of what a process does to the disk. */
export type DiskStep = 'create' | 'reserve' | 'write' | 'sync' | 'rename' | 'sync-directory' | 'look';

/** Troubles of the disk. While one lasts, every step that it affects fails. */
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
 * A disk with one directory, the one file in it that matters, and what daemons leave beside it. Every step takes time.
 * A reader sees each as soon as it is done. After a power cut there is what was synced, and of the rest whatever the
 * rules leave open: a rename without a directory sync after it has happened or not, in any order; a file that was not
 * synced is empty, cut anywhere, or whole.
 */
export class SimulatedDisk {
  readonly #world: World;
  readonly #random: Random;
  /** The file under the name now, and the ones that may be there after a power cut. */
  #current: Inode | undefined;
  #durable: Inode | undefined;
  #renamed: Inode[] = [];
  readonly #inFlight = new Set<InFlight>();
  /** Decides about what is beside the file, so that it does not change other choices. */
  readonly #besides: Random;
  /** The names beside the file, and whether each is certain to be there after a power cut. */
  readonly #names = new Map<string, boolean>();
  #written = 0;
  /** Grows with each change of the file. */
  #version = 0;
  trouble: DiskTrouble | undefined;
  /** About how long each step takes. */
  stepMs = 0.25;
  /** Called before a step takes effect. Returns false if the process is gone by then. */
  hit: (step: DiskStep) => boolean = () => true;
  /** Called when what is or might be durable has changed. */
  changed: () => void = () => {};

  constructor(world: World, random: Random, besides: Random) {
    this.#world = world;
    this.#random = random;
    this.#besides = besides;
  }

  /** Returns what a process reads now. */
  read(): Buffer | undefined {
    return this.#current?.content;
  }

  get isIdle(): boolean {
    return this.#inFlight.size === 0 && this.trouble === undefined;
  }

  /** Returns everything that the file might hold after a power cut at this instant. */
  possible(): readonly (Buffer | undefined)[] {
    return [this.#durable, ...this.#renamed].flatMap((inode) => outcomesOf(inode));
  }

  /** Cuts the power. */
  cut(): void {
    const outcomes = [this.#durable, ...this.#renamed].flatMap((inode) =>
      outcomesOf(inode).map((content) => ({ content, inode })),
    );
    const chosen = outcomes[this.#random.below(outcomes.length)];
    // A rename that has not happened leaves the file under its first name.
    for (const { temporary } of this.#renamed) {
      if (temporary !== undefined && temporary !== chosen?.inode?.temporary) this.#names.set(temporary, false);
    }
    for (const [name, isSure] of this.#names) if (!isSure && this.#besides.chance(0.5)) this.#names.delete(name);
    this.#put(chosen?.content && this.#cutAnywhere(chosen.content));
  }

  /** Changes the file by something other than the daemon. */
  #put(content: Buffer | undefined): void {
    const inode = content === undefined ? undefined : { content, synced: content };
    this.#current = inode;
    this.#version += 1;
    this.#durable = inode;
    this.#renamed = [];
    this.changed();
  }

  replaceBy(content: Buffer | undefined): void {
    this.#put(content);
  }

  // What lies beside it.

  get hasLock(): boolean {
    return this.#names.has(LOCK);
  }

  /** Makes the lock. Returns whether that of a dead holder was there. */
  lock(): boolean {
    const foundLeftover = this.hasLock;
    if (!foundLeftover) this.#names.set(LOCK, false);
    return foundLeftover;
  }

  unlock(): void {
    this.#names.delete(LOCK);
  }

  get temporaryFiles(): readonly string[] {
    return [...this.#names.keys()].filter((name) => name !== LOCK);
  }

  /** Leaves the file of a write that was killed some time ago. */
  leaveTemporaryFile(): void {
    this.#names.set(this.#temporary(), true);
  }

  sweep(): readonly string[] {
    const swept = this.temporaryFiles;
    for (const name of swept) this.#names.delete(name);
    return swept;
  }

  readonly directory: StateDirectory = {
    read: () => stateReadingOf(STATE_DIR, this.read()),
    temporaryFiles: () => this.temporaryFiles,
    sweep: () => this.sweep(),
  };

  #temporary(): string {
    this.#written += 1;
    return `${STATE_PATH}.${this.#written}`;
  }

  /** Cuts a torn file anywhere, and not only where `outcomesOf` shows it. */
  #cutAnywhere(content: Buffer): Buffer {
    const isSure = [this.#durable, ...this.#renamed].some((inode) => inode?.synced === content);
    return isSure ? content : content.subarray(0, this.#random.below(content.length + 1));
  }

  /** Takes in that the process was killed: what it had asked the kernel for is done, or not. */
  killed(): void {
    for (const { act } of this.#inFlight) if (this.#random.chance(0.5)) act();
    this.#inFlight.clear();
  }

  stepsFor(process: Process): StateFileSteps {
    const step = <T>(kind: DiskStep, effect: () => T): Promise<T> => this.#step(process, kind, effect);
    return {
      glance: () => String(this.#version),
      identify: () => Promise.resolve('the state directory'),
      identifyDescriptor: () => Promise.resolve('the state directory'),
      read: () => step('look', () => this.read()),
      size: () => step('look', () => this.read()?.length ?? 0),
      reserve: () => step('reserve', () => undefined),
      replace: async (_path, bytes, beforeWriting) => {
        const temporary = this.#temporary();
        const inode: Inode = { content: EMPTY, synced: undefined, temporary };
        try {
          await step('create', () => this.#names.set(temporary, false));
          await beforeWriting(temporary);
          await step('write', () => {
            const isShort = this.trouble === 'short-write';
            inode.content = isShort ? bytes.subarray(0, this.#random.below(bytes.length)) : bytes;
          });
          await step('sync', () => {
            inode.synced = inode.content;
          });
          await step('rename', () => {
            this.#names.delete(temporary);
            this.#current = inode;
            this.#version += 1;
            this.#renamed.push(inode);
            this.changed();
          });
        } catch (error) {
          this.#names.delete(temporary);
          throw error;
        }
      },
      syncDirectory: () =>
        step('sync-directory', () => {
          this.#durable = this.#current;
          this.#renamed = [];
          for (const name of this.#names.keys()) this.#names.set(name, true);
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

/** Returns what a file may hold after a power cut. A torn file stands for everything that it may be cut to. */
function outcomesOf(inode: Inode | undefined): readonly (Buffer | undefined)[] {
  if (inode === undefined) return [undefined];
  if (inode.synced === inode.content) return [inode.content];
  return [EMPTY, inode.content];
}
