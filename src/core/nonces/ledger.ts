import type { Clock, Timer } from '../../clock.ts';
import type { Unit } from '../../terms.ts';
import type { DurableState, Observer, StateStore } from '../ports.ts';
import type { Histogram } from '../record/histogram.ts';
import { Assignments, ownSequenceOf, type Register } from './assignments.ts';
import { CeilingWriter } from './ceiling-writer.ts';
import type { ChangePlan, Committed } from './durable-change.ts';
import { NonceSequence, type Taken } from './nonce-sequence.ts';
import { type ClockState, LOOK_EVERY_MS, nonceFloorAt, nonceSpanMs, SequenceClock } from './sequence-clock.ts';

/** The sequence that tokens are drawn from. */
export const TOKEN_SEQUENCE = '#tokens';

/** A sequence that is further ahead of the clock is worth a warning. */
const LEAD_WARNING_MS = 60_000;
/** While a write takes longer, the sequences go on below their durable ceilings, without the clock. */
export const SLOW_WRITE_MS = 1_000;
/** How often the clock is made durable if nothing is drawn: a daemon that was idle for weeks has believed it all the time. */
const NOTE_CLOCK_EVERY_LOOKS = 24;
/** If a write takes longer, the disk hangs. */
const HUNG_WRITE_MS = 10_000;

/** Whether it is durable that an account draws from its sequence. */
export type Enlisting =
  | 'enlisted'
  /** It will be, once the next write of the state is. */
  | 'under-way'
  /** The state cannot name any more accounts. */
  | 'crowded';

/** What draws nonces: an account, by its label. */
export interface Drawer {
  readonly name: string;
  sequence: NonceSequence;
  /** Whether it is durable that it draws from its sequence. */
  enlisted: boolean;
}

export interface LedgerOptions {
  readonly clock: Clock;
  readonly bootId: string;
  readonly state: DurableState;
  readonly store: StateStore;
  readonly observer: Observer;
  readonly onWritten: (failure: Error | undefined) => void;
}

/** The sequences, the clock they follow, and the durable ceilings they stay below (I1, I2, I10). */
export class Ledger {
  readonly tokens: NonceSequence;
  readonly sequences: ReadonlyMap<string, NonceSequence>;
  readonly assignments: Assignments;
  readonly sequenceClock: SequenceClock;
  readonly #clock: Clock;
  readonly #writer: CeilingWriter;
  readonly #observer: Observer;
  /** Sequences that have been reported as ahead of the clock. */
  readonly #ahead = new Set<NonceSequence>();
  #clockState: ClockState = 'followed';
  #registerState: Register['state'] = 'roomy';
  #look: Timer | undefined;
  #looks = 0;

  constructor(options: LedgerOptions) {
    const { clock, bootId, state } = options;
    this.#clock = clock;
    this.#observer = options.observer;
    this.sequenceClock = new SequenceClock(clock, bootId, state);
    const sequences = new Map(
      Object.entries(state.sequences).map(([name, durable]) => [name, new NonceSequence(name, durable)] as const),
    );
    this.sequences = sequences;
    this.tokens = this.#sequence(TOKEN_SEQUENCE);
    this.assignments = new Assignments(state.accounts);
    this.#writer = new CeilingWriter({
      ...options,
      sequenceClock: this.sequenceClock,
      sequences,
      assignments: this.assignments,
      exclusive: state.exclusive,
      seenWallMs: state.seenWallMs,
      onWritten: (failure) => {
        this.reportRegister();
        options.onWritten(failure);
      },
    });
  }

  get clockIsPlausible(): boolean {
    return this.sequenceClock.anchor !== undefined || this.sequenceClock.state !== 'not-followed';
  }

  /** Whether a write of the state has been under way for so long that the disk must hang. */
  get isOverdue(): boolean {
    return this.#writingForMs() > HUNG_WRITE_MS;
  }

  /** Whether a write of the state has been under way for over SLOW_WRITE_MS. */
  get isSlow(): boolean {
    return this.#writingForMs() >= SLOW_WRITE_MS;
  }

  /** From when the write under way counts as slow, on the monotonic clock; undefined if none is under way. */
  get slowAtMs(): number | undefined {
    const sinceMs = this.#writer.writingSinceMs;
    return sinceMs === undefined ? undefined : sinceMs + SLOW_WRITE_MS;
  }

  open(): Promise<Error | undefined> {
    return this.#writer.open();
  }

  /** Looks at the clock each hour from now until `close`, however little is drawn. */
  watchClock(): void {
    this.#look = this.#clock.after(LOOK_EVERY_MS, () => {
      this.#looks += 1;
      this.#followClock();
      if (this.#looks % NOTE_CLOCK_EVERY_LOOKS === 0) this.#writer.request();
      this.watchClock();
    });
  }

  close(): Promise<Error | undefined> {
    this.#look?.cancel();
    return this.#writer.close();
  }

  commit(plan: ChangePlan): Promise<Committed> {
    return this.#writer.commit(plan);
  }

  /** Returns the accounts that an operator has paused, in use or not. */
  paused(): string[] {
    return [...this.assignments.accounts].filter(([, { paused }]) => paused).map(([name]) => name);
  }

  /** Whether the account has ever drawn, as far as the state knows. */
  isKnown(account: string): boolean {
    return this.assignments.sequenceOf(account) !== undefined;
  }

  isPaused(account: string): boolean {
    return this.assignments.isPaused(account);
  }

  /** Returns the sequence of an account: the one that it has drawn from, whatever its policy says now. */
  sequenceOf(account: string, policy: { readonly sequence: string }): NonceSequence {
    const own = ownSequenceOf(account);
    // An operator has made it for the account. A repair of the state may have lost which account draws from which sequence.
    const isItsOwn = this.sequences.has(own);
    return this.#sequence(this.assignments.sequenceOf(account) ?? (isItsOwn ? own : policy.sequence));
  }

  /** I2: makes durable which sequence an account draws from. Nothing may be drawn for it before that is durable. */
  enlist(account: Drawer): Enlisting {
    const durable = this.assignments.sequenceOf(account.name);
    if (durable !== undefined) account.sequence = this.#sequence(durable);
    account.enlisted = this.assignments.allows(account.name, account.sequence.name);
    if (account.enlisted) return 'enlisted';
    if (!this.assignments.enlist(account.name, account.sequence.name)) return 'crowded';
    this.#writer.request();
    return 'under-way';
  }

  /** Draws from `sequence`, and requests a raise of its ceiling if it is time for one. */
  take(sequence: NonceSequence, count: number): Taken {
    const floor = this.floor(sequence.unit);
    const sparing = this.#writer.problem !== undefined || this.#clock.monotonicMs() >= (this.slowAtMs ?? Infinity);
    const taken = sequence.take(floor, count, sparing);
    if (sequence.wantsRaise) this.#writer.request();
    // A nonce that was drawn at the clock is not ahead of it.
    if (taken.kind !== 'taken' || taken.nonce !== floor || this.#ahead.size > 0) this.#reportLead(sequence, floor);
    return taken;
  }

  /** Lifts a sequence above the nonces that a program has made from its own clock up to now. */
  liftToNow(sequence: NonceSequence): void {
    sequence.lift(this.floor(sequence.unit));
    if (sequence.wantsRaise) this.#writer.request();
  }

  /** Forgets the accounts that wait to be enlisted under other policies. They are enlisted again. */
  forgetNewcomers(): void {
    this.assignments.forgetNewcomers();
  }

  /** Returns how far a sequence is ahead of the clock; negative if it is behind, undefined for a counter. */
  leadMs({ last, unit }: NonceSequence): number | undefined {
    return nonceSpanMs(last - nonceFloorAt(this.sequenceClock.nowMs(), unit), unit);
  }

  /** Returns how far the wall clock is ahead of the time that sequences follow; undefined if it is followed. */
  notFollowedMs(): number | undefined {
    return this.sequenceClock.state === 'not-followed' ? this.sequenceClock.offMs() : undefined;
  }

  status() {
    const sequences = [...this.sequences.values()].filter((sequence) => sequence !== this.tokens);
    return {
      sequences: sequences.map((sequence) => {
        const { name, unit, last, ceiling, issued } = sequence;
        const leadMs = this.leadMs(sequence);
        return { name, unit, last, ceiling, leadMs: leadMs === undefined ? null : Math.round(leadMs), issued };
      }),
      durability: {
        state: this.#durability(),
        problem: this.#writer.problem?.message ?? null,
        writes: this.#writer.times.count,
      },
      clock: { state: this.sequenceClock.state, offMs: Math.round(this.sequenceClock.offMs()) },
    };
  }

  /** How long the successful writes of the state took, and how many writes have failed. */
  get writing(): { readonly times: Histogram; readonly failures: number } {
    return this.#writer;
  }

  #durability(): 'durable' | 'slow' | 'retrying' {
    if (this.#writer.problem !== undefined) return 'retrying';
    return this.isSlow ? 'slow' : 'durable';
  }

  #sequence(name: string): NonceSequence {
    const sequence = this.sequences.get(name);
    if (sequence === undefined) throw new Error(`the state has no sequence ${name}`);
    return sequence;
  }

  #writingForMs(): number {
    const sinceMs = this.#writer.writingSinceMs;
    return sinceMs === undefined ? 0 : this.#clock.monotonicMs() - sinceMs;
  }

  /** Returns the clock in a sequence's unit: a nonce that is drawn now is not lower. */
  floor(unit: Unit): bigint {
    return nonceFloorAt(this.#followClock(), unit);
  }

  /** Returns the wall time to draw nonces from, and tells if it is another clock than before. */
  #followClock(): number {
    const nowMs = this.sequenceClock.nowMs();
    if (this.sequenceClock.state !== this.#clockState) {
      this.#clockState = this.sequenceClock.state;
      const offMs = this.sequenceClock.offMs();
      this.#observer.observe({ kind: 'clock-changed', state: this.#clockState, offMs });
    }
    return nowMs;
  }

  /** Tells once that there is little room for other accounts, and once that there is none. A running daemon makes no room. */
  reportRegister(): void {
    const { named, state } = this.assignments.register;
    if (state === this.#registerState) return;
    this.#registerState = state;
    if (state !== 'roomy') this.#observer.observe({ kind: 'register-filled', named, isFull: state === 'full' });
  }

  #reportLead(sequence: NonceSequence, floor: bigint): void {
    const leadMs = nonceSpanMs(sequence.last - floor, sequence.unit) ?? 0;
    if (leadMs <= LEAD_WARNING_MS) this.#ahead.delete(sequence);
    else if (!this.#ahead.has(sequence)) {
      this.#ahead.add(sequence);
      this.#observer.observe({ kind: 'ahead', sequence: sequence.name, leadMs });
    }
  }
}
