import type { Checker } from './checker.ts';
import type { SimulatedDisk } from './disk.ts';
import { readState } from './durable-states.ts';
import type { History } from './history.ts';
import type { SimulatedMemory } from './memory.ts';
import type { Random } from './random.ts';
import type { LeftTraces, Replacement } from './scenario.ts';
import { adopted, flipped, foreign, isWhole, madeByHand, raised, retired } from './state-bytes.ts';
import type { MachineClock, World } from './world.ts';

/** What keeps every daemon from starting until somebody sees to it. */
export type Wrong = 'damaged' | 'lost' | 'foreign' | 'retired';

const DAY_MS = 86_400_000;
/** Tokens that were put aside have gone by when somebody begins anew. */
const REPAIRED_IN_MS = 6_000;

/** The machine that accidents happen to. */
export interface Site {
  readonly world: World;
  readonly clock: MachineClock;
  readonly disk: SimulatedDisk;
  readonly memory: SimulatedMemory;
  readonly checker: Checker;
  readonly history: History;
  /** By what it is told from others. */
  machine: string;
  /** Whether a daemon is on it. */
  readonly daemon: object | undefined;
  /** Ends the daemon, for this reason. */
  end(why: 'killed for an accident'): void;
  /** Counts a fault. */
  strike(fault: string): void;
  setClockRight(): void;
}

/** What people and disks do to the state while no daemon runs, and whoever repairs it. */
export class Accidents {
  readonly #site: Site;
  readonly #random: Random;
  #wrong: Wrong | undefined;
  /** As it was before. */
  #right: Buffer | undefined;
  /** The last that was whole, and the first of its instance on this machine: somebody has made a backup. */
  #lastWhole: Buffer | undefined;
  #backup: Buffer | undefined;
  #machines = 0;

  constructor(site: Site, random: Random) {
    this.#site = site;
    this.#random = random;
  }

  get wrong(): Wrong | undefined {
    return this.#wrong;
  }

  /** The file has changed. */
  changed(): void {
    const bytes = this.#site.disk.read();
    // The last thing in it is a line end, without which it would pass for JSON and not for a state.
    const state = readState(bytes);
    if (this.#wrong !== undefined || typeof state === 'string' || bytes?.at(-1) !== 0x0a) return;
    this.#lastWhole = bytes;
    const backup = readState(this.#backup);
    const isItsOwn =
      typeof backup !== 'string' && backup.instance === state.instance && backup.machine === state.machine;
    if (!isItsOwn) this.#backup = bytes;
  }

  /** A daemon serves: whatever was wrong is so no more. */
  served(): void {
    this.#wrong = undefined;
    this.#right = undefined;
    this.changed();
  }

  damage(how: 'flip' | 'cut' | 'empty', at: number): void {
    const bytes = this.#whole();
    if (bytes === undefined) return;
    const damaged =
      how === 'cut' ? bytes.subarray(0, at % bytes.length) : how === 'empty' ? Buffer.alloc(0) : flipped(bytes, at);
    this.#put('damaged', damaged, bytes);
    this.#site.strike(`state damaged: ${how}`);
  }

  /** Somebody deletes the state, and of what tells of it all but what is left. */
  lose(left: LeftTraces): void {
    const bytes = this.#whole();
    const { disk, memory, checker } = this.#site;
    if (bytes === undefined) return;
    if (left !== 'lock' && left !== 'all') disk.unlock();
    if (left === 'temporary file') disk.leaveTemporaryFile();
    else if (left !== 'all') disk.sweep();
    if (left !== 'notes' && left !== 'all') {
      memory.clear();
      checker.notesGone();
    }
    checker.stateLost();
    this.#put('lost', undefined, bytes);
    this.#site.strike(`state lost, and left: ${left}`);
  }

  /** There is another state in its place, or the place is another machine's. */
  replace(by: Replacement): void {
    const bytes = this.#whole();
    if (bytes === undefined) return;
    switch (by) {
      case 'another machine':
        this.#put('foreign', foreign(bytes, this.#newId()), bytes);
        break;
      case 'moved':
        this.#site.machine = this.#newId();
        this.#put('foreign', bytes, undefined);
        break;
      case 'retired':
        this.#put('retired', retired(bytes, this.#site.clock.wallMs()), undefined);
        break;
      case 'backup':
        // Nobody raises it, and nothing tells of it.
        this.#site.disk.replaceBy(this.#backup);
        this.#site.checker.stateSetBack();
        break;
    }
    this.#site.strike(`state replaced: ${by}`);
  }

  /** An operator is called, and in his time there is a state to start with. Answers when. */
  repair(): number {
    if (this.#wrong === 'damaged' || (this.#wrong === undefined && this.#site.disk.read() !== undefined)) {
      // He brings back what was there; or, after a write that was cut short, what was there before.
      this.#site.disk.replaceBy(this.#right ?? this.#lastWhole);
      this.served();
      return 1_000;
    }
    const inMs = REPAIRED_IN_MS + this.#random.below(3_000);
    this.#site.world.after(inMs, () => this.#repairNow());
    return inMs + 1;
  }

  #repairNow(): void {
    const { disk, checker, history } = this.#site;
    // Somebody has seen to it already.
    if (this.#site.daemon !== undefined || (this.#wrong === undefined && disk.read() !== undefined)) return;
    if (this.#right !== undefined && this.#random.chance(0.5)) {
      history.note('the state is brought back');
      disk.replaceBy(this.#right);
    } else {
      // A state of another machine or a retired one is taken over as it is, and where nobody raised it that is what it was.
      const isAdopted = this.#right === undefined && disk.read() !== undefined;
      const floor = isAdopted ? 0n : checker.highestNonce + 1n;
      history.note(isAdopted ? 'the state is adopted' : 'the state is made by hand', { floor });
      disk.replaceBy(this.#byHand(floor));
      disk.sweep();
      disk.unlock();
      checker.stateMadeByHand(floor);
    }
    this.#site.strike('state repaired');
    this.served();
  }

  /** By the commands for it, whatever there is to begin with: a state to be taken over, a backup, or nothing. */
  #byHand(floor: bigint): Buffer | undefined {
    const { disk, clock, machine } = this.#site;
    // A state that is made by hand begins at the clock.
    if (Math.abs(clock.offMs) > DAY_MS) this.#site.setClockRight();
    const wallMs = clock.wallMs();
    const there = disk.read();
    if (this.#right === undefined && there !== undefined) return adopted(there, machine, wallMs);
    if (this.#backup !== undefined && this.#random.chance(0.5)) {
      return raised(this.#backup, floor, wallMs, (contents) => ({ ...contents, machine }));
    }
    return madeByHand({ instance: this.#newId(), machine }, wallMs, { floor });
  }

  /** The state, unless something is wrong with it already. The daemon ends. */
  #whole(): Buffer | undefined {
    this.#site.end('killed for an accident');
    const bytes = this.#site.disk.read();
    return this.#wrong === undefined && isWhole(bytes) ? bytes : undefined;
  }

  #put(wrong: Wrong, bytes: Buffer | undefined, right: Buffer | undefined): void {
    this.#wrong = wrong;
    this.#right = right;
    this.#site.disk.replaceBy(bytes);
  }

  /** An id that nobody else has. */
  #newId(): string {
    this.#machines += 1;
    return this.#machines.toString(16).padStart(32, 'f');
  }
}
