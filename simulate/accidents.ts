import { raisedToNoted } from '../src/cli/state/noted.ts';
import { readStateNote, rolledBack } from '../src/store/notes/state-note.ts';
import { parseState, type StateFileContents } from '../src/store/state/state-format.ts';
import type { Checker } from './checker.ts';
import type { SimulatedDisk } from './disk.ts';
import { readState } from './durable-states.ts';
import type { History } from './history.ts';
import { RUNTIME_DIR, type SimulatedMemory } from './memory.ts';
import type { Random } from './random.ts';
import type { LeftTraces, Replacement } from './scenario.ts';
import { adopted, flipped, foreign, isWhole, madeByHand, raised, retired } from './state-bytes.ts';
import type { MachineClock, World } from './world.ts';

/** What keeps every daemon from starting until an operator repairs it. */
export type Wrong = 'damaged' | 'lost' | 'foreign' | 'retired' | 'rolled back';

const DAY_MS = 86_400_000;
/** A repair takes so long that the clock has passed all tokens that were reserved. */
const REPAIRED_IN_MS = 6_000;

/** The machine that accidents happen to. */
export interface Site {
  readonly world: World;
  readonly clock: MachineClock;
  readonly disk: SimulatedDisk;
  readonly memory: SimulatedMemory;
  readonly checker: Checker;
  readonly history: History;
  /** What tells it from other machines. */
  machine: string;
  /** The daemon that runs on it, if one does. */
  readonly daemon: object | undefined;
  /** Whether that daemon grants. */
  readonly isServing: boolean;
  /** Ends the daemon, for this reason. */
  end(why: 'killed for an accident'): void;
  /** Counts a fault. */
  strike(fault: string): void;
  setClockRight(): void;
}

/** What people and disks do to the state while no daemon runs, and how an operator repairs it. */
export class Accidents {
  readonly #site: Site;
  readonly #random: Random;
  #wrong: Wrong | undefined;
  /** The bytes before the accident. */
  #right: Buffer | undefined;
  /** The last state that was whole, and the first one of its instance on this machine, as a backup. */
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

  /** Must be called when the file has changed. */
  changed(): void {
    const bytes = this.#site.disk.read();
    // A write that was under way has replaced the backup that was put in its place.
    if (this.#wrong === 'rolled back' && bytes !== this.#backup) this.#rightAgain();
    // It ends in a line end. Without it, it would pass for JSON and not for a state.
    const state = readState(bytes);
    if (this.#wrong !== undefined || typeof state === 'string' || bytes?.at(-1) !== 0x0a) return;
    this.#lastWhole = bytes;
    const backup = readState(this.#backup);
    const isItsOwn =
      typeof backup !== 'string' && backup.instance === state.instance && backup.machine === state.machine;
    if (!isItsOwn) this.#backup = bytes;
  }

  /** Must be called when a daemon serves: nothing is wrong any more. */
  served(): void {
    this.#rightAgain();
    this.changed();
  }

  #rightAgain(): void {
    this.#wrong = undefined;
    this.#right = undefined;
    this.#site.checker.stateRolledBack(undefined);
  }

  /** Must be called when the notes of this boot are gone: nothing shows any more that a state is a backup. */
  notesLost(): void {
    if (this.#wrong !== 'rolled back') return;
    this.#rightAgain();
    this.#site.checker.stateSetBack();
    // Nor does it say whether there were holders.
    this.#site.checker.notesGone();
  }

  damage(how: 'flip' | 'cut' | 'empty', at: number): void {
    const bytes = this.#whole();
    if (bytes === undefined) return;
    const damaged =
      how === 'cut' ? bytes.subarray(0, at % bytes.length) : how === 'empty' ? Buffer.alloc(0) : flipped(bytes, at);
    this.#put('damaged', damaged, bytes);
    this.#site.strike(`state damaged: ${how}`);
  }

  /** Deletes the state, and every trace of it except what is `left`. */
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

  /** Puts another state in its place, or moves it to another machine. */
  replace(by: Replacement): void {
    if (by === 'backup over a live one') {
      const bytes = this.#site.isServing && this.#wrong === undefined ? this.#site.disk.read() : undefined;
      if (bytes === undefined || !this.#isNotedAbove(this.#backup)) return;
      this.#rollBack(bytes);
      this.#site.strike(`state replaced: ${by}`);
      return;
    }
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
        if (this.#isNotedAbove(this.#backup)) this.#rollBack(bytes);
        else {
          // It is not raised, and nothing shows that it is a backup.
          this.#site.disk.replaceBy(this.#backup);
          this.#site.checker.stateSetBack();
        }
        break;
    }
    this.#site.strike(`state replaced: ${by}`);
  }

  #noted(): StateFileContents | undefined {
    const { memory, clock } = this.#site;
    return readStateNote(RUNTIME_DIR, clock.bootId, memory.steps)?.contents;
  }

  /** Whether the notes of this boot show that the state is a backup. */
  #isNotedAbove(bytes: Buffer | undefined): boolean {
    const parsed = bytes && parseState(bytes);
    const noted = this.#noted();
    return parsed?.kind === 'state' && noted !== undefined && rolledBack(parsed.state, noted) !== undefined;
  }

  #rollBack(bytes: Buffer): void {
    this.#site.checker.stateRolledBack(this.#backup);
    this.#put('rolled back', this.#backup, bytes);
  }

  /** Calls an operator, who brings back a state to start with. Returns in how many milliseconds. */
  repair(): number {
    if (this.#wrong === 'damaged' || (this.#wrong === undefined && this.#site.disk.read() !== undefined)) {
      // The operator brings back what was there; or, after a write that was cut short, what was there before that.
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
    // It is repaired already.
    if (this.#site.daemon !== undefined || (this.#wrong === undefined && disk.read() !== undefined)) return;
    if (this.#right !== undefined && this.#random.chance(0.5)) {
      history.note('the state is brought back');
      disk.replaceBy(this.#right);
    } else {
      // A state of another machine, or a retired one, is taken over as it is. Its sequences go on where they were.
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

  /** Returns what the commands for it make of what is there: a state to be taken over, a backup, or nothing. */
  #byHand(floor: bigint): Buffer | undefined {
    const { disk, clock, machine } = this.#site;
    // A state that is made by hand begins at the clock.
    if (Math.abs(clock.offMs) > DAY_MS) this.#site.setClockRight();
    const wallMs = clock.wallMs();
    const there = disk.read();
    if (this.#right === undefined && there !== undefined) return adopted(there, machine, wallMs);
    if (this.#backup !== undefined && this.#random.chance(0.5)) {
      return raised(this.#backup, floor, wallMs, (contents) => this.#raisedToNoted({ ...contents, machine }));
    }
    return madeByHand({ instance: this.#newId(), machine }, wallMs, { floor });
  }

  /** Does what `nonced state init` does: it never goes below what was noted in this boot. */
  #raisedToNoted(contents: StateFileContents): StateFileContents {
    const noted = this.#noted();
    if (noted === undefined || noted.instance !== contents.instance) return contents;
    const epoch = Math.max(contents.epoch, noted.epoch);
    return { ...contents, epoch, state: { ...contents.state, ...raisedToNoted(contents.state, noted.state) } };
  }

  /** Ends the daemon and returns the state, unless something is wrong with it already. */
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

  /** Returns an id that nothing else has. */
  #newId(): string {
    this.#machines += 1;
    return this.#machines.toString(16).padStart(32, 'f');
  }
}
