import type { Clock, Timer } from '../../clock.ts';
import type { ExclusionPolicy } from '../../terms.ts';
import type { DurableSequence, DurableState, Observer, StateStore } from '../ports.ts';
import { Histogram } from '../record/histogram.ts';
import type { Assignments } from './assignments.ts';
import { type ChangePlan, type Committed, type DurableChange, isRefusal } from './durable-change.ts';
import type { NonceSequence, Proposal } from './nonce-sequence.ts';
import { nonceFloorAt, type SequenceClock } from './sequence-clock.ts';

const FIRST_RETRY_MS = 100;
const LONGEST_RETRY_MS = 5_000;

interface PendingChange {
  readonly plan: ChangePlan;
  readonly settle: (committed: Committed) => void;
}

export interface CeilingWriterOptions {
  readonly clock: Clock;
  readonly sequenceClock: SequenceClock;
  /** The writer adds the sequences that a change brings. */
  readonly sequences: Map<string, NonceSequence>;
  readonly assignments: Assignments;
  readonly exclusive: ExclusionPolicy;
  readonly seenWallMs: number;
  readonly store: StateStore;
  readonly observer: Observer;
  /** Called after each write, with the error if it failed and is tried again. Never called after a fatal failure. */
  readonly onWritten: (failure: Error | undefined) => void;
}

type WriterState =
  | { readonly kind: 'idle' }
  | { readonly kind: 'writing'; readonly done: Promise<void> }
  | { readonly kind: 'retrying'; readonly timer: Timer }
  | { readonly kind: 'closed' };

/** Keeps the ceilings durably ahead of the sequences, with one write at a time for all sequences that need one. */
export class CeilingWriter {
  readonly #options: CeilingWriterOptions;
  readonly #pending: PendingChange[] = [];
  #state: WriterState = { kind: 'idle' };
  #exclusive: ExclusionPolicy;
  #seenWallMs: number;
  #problem: Error | undefined;
  #retryMs = FIRST_RETRY_MS;
  readonly #times = new Histogram();
  #failures = 0;
  #writingSinceMs = 0;
  #failed = false;

  constructor(options: CeilingWriterOptions) {
    this.#options = options;
    this.#exclusive = options.exclusive;
    this.#seenWallMs = options.seenWallMs;
  }

  /** Why the last write failed, while it is retried. Until then the sequences go on below their durable ceilings. */
  get problem(): Error | undefined {
    return this.#problem;
  }

  /** When the write under way began, on the monotonic clock; undefined if none is under way. */
  get writingSinceMs(): number | undefined {
    return this.#state.kind === 'writing' ? this.#writingSinceMs : undefined;
  }

  /** How long the successful writes took. */
  get times(): Histogram {
    return this.#times;
  }

  /** How many writes have failed. */
  get failures(): number {
    return this.#failures;
  }

  /** The durable exclusion policy. */
  get exclusive(): ExclusionPolicy {
    return this.#exclusive;
  }

  /** Starts a write for the sequences that need one, unless one is under way or waits to be retried. */
  request(): void {
    if (this.#state.kind === 'idle') this.#start();
  }

  /** Makes a change durable and puts it into effect. If it returns why that failed, nothing has changed. */
  commit(plan: ChangePlan): Promise<Committed> {
    if (this.#state.kind === 'closed') return Promise.resolve(failedBy(new Error('the daemon is stopping')));
    const planned = plan();
    if (isRefusal(planned)) return Promise.resolve({ kind: 'refused', refusal: planned });
    const { promise, settle } = pending();
    this.#pending.push({ plan, settle });
    if (this.#state.kind === 'retrying') this.#state.timer.cancel();
    if (this.#state.kind !== 'writing') this.#start();
    return promise;
  }

  /**
   * Makes the write of a start: the new epoch, and every ceiling that time has left behind. Nothing may be granted before
   * it is durable. Returns the error if it failed.
   */
  async open(): Promise<Error | undefined> {
    const nowMs = this.#options.sequenceClock.nowMs();
    return this.#write((sequence) => sequence.outdated(nonceFloorAt(nowMs, sequence.unit)));
  }

  /** Makes the last write: each ceiling is put right behind the last nonce, so that a clean restart skips nothing. */
  async close(): Promise<Error | undefined> {
    if (this.#state.kind === 'closed') return undefined;
    const state = this.#state;
    // Closed first, so that nothing starts another write when the one under way ends.
    this.#state = { kind: 'closed' };
    if (state.kind === 'retrying') state.timer.cancel();
    if (state.kind === 'writing') await state.done;
    for (const { settle } of this.#pending.splice(0)) settle(failedBy(new Error('the daemon is stopping')));
    if (this.#failed) return undefined;
    // This is the only write that may lower a ceiling, because nothing is handed out any more.
    const { assignments, sequenceClock, sequences, store } = this.#options;
    this.#see(sequenceClock.nowMs());
    const behindLast = [...sequences.values()].map((sequence) => [sequence.name, sequence.durable(sequence.last + 1n)]);
    const failure = await store.write({
      sequences: Object.fromEntries(behindLast),
      accounts: assignments.accounts,
      exclusive: this.#exclusive,
      anchor: sequenceClock.anchor,
      seenWallMs: this.#seenWallMs,
    });
    return failure?.error;
  }

  /** Remembers the wall time, if it is believed. */
  #see(nowMs: number): void {
    if (this.#options.sequenceClock.state === 'followed') this.#seenWallMs = Math.max(this.#seenWallMs, nowMs);
  }

  #start(): void {
    this.#state = { kind: 'writing', done: this.#run() };
  }

  async #run(): Promise<void> {
    for (;;) {
      const nowMs = this.#options.sequenceClock.nowMs();
      // Also sequences that need no write yet: the next grant needs a token and a nonce, and should wait only once.
      const failure = await this.#write(
        (sequence) => sequence.drawnSinceRaise || sequence.outdated(nonceFloorAt(nowMs, sequence.unit)),
      );
      // Looked at again: the writer may have been closed, or have failed for good, while the write was under way.
      if (this.#state.kind !== 'writing') return;
      this.#options.onWritten(failure);
      if (failure !== undefined && this.#pending.length === 0) {
        this.#retryLater();
        return;
      }
      if (!this.#isWanted()) {
        this.#state = { kind: 'idle' };
        return;
      }
    }
  }

  #retryLater(): void {
    const timer = this.#options.clock.after(this.#retryMs, () => this.#start());
    this.#state = { kind: 'retrying', timer };
    this.#retryMs = Math.min(2 * this.#retryMs, LONGEST_RETRY_MS);
  }

  #isWanted(): boolean {
    if (this.#pending.length > 0 || this.#options.assignments.hasNewcomers) return true;
    for (const sequence of this.#options.sequences.values()) if (sequence.wantsRaise) return true;
    return false;
  }

  /** Makes one write. Returns the error if it failed, whether it may be tried again or not. */
  async #write(takesPart: (sequence: NonceSequence) => boolean): Promise<Error | undefined> {
    const { observer, assignments, sequenceClock, sequences, store } = this.#options;
    const pending = this.#pending.shift();
    const change = planned(pending);
    this.#writingSinceMs = this.#options.clock.monotonicMs();
    const nowMs = sequenceClock.nowMs();
    const proposals = new Map<NonceSequence, Proposal>();
    const durable: Record<string, DurableSequence> = {};
    for (const sequence of [...sequences.values(), ...(change.added ?? [])]) {
      const lift = change.lifts?.get(sequence);
      if (lift !== undefined || takesPart(sequence)) {
        proposals.set(sequence, sequence.propose(nonceFloorAt(nowMs, sequence.unit), lift ?? 0n));
      }
      const raised = sequence.durable(proposals.get(sequence)?.ceiling ?? sequence.ceiling);
      durable[sequence.name] = { ...raised, max: change.limits?.get(sequence) ?? raised.max };
    }
    this.#see(nowMs);
    const next: DurableState = {
      sequences: durable,
      accounts: assignments.draft(change.accounts),
      exclusive: change.exclusive ?? this.#exclusive,
      anchor: change.anchor ?? sequenceClock.anchor,
      seenWallMs: this.#seenWallMs,
    };
    const failure = await store.write(next);
    if (failure?.kind === 'fatal') {
      this.#state = { kind: 'closed' };
      this.#failed = true;
      observer.failed(failure.error);
    }
    if (failure !== undefined) {
      if (this.#problem === undefined && failure.kind === 'retriable')
        observer.observe({ kind: 'write-failed', error: failure.error });
      this.#problem = failure.error;
      this.#failures += 1;
      pending?.settle(failedBy(failure.error));
      // Nothing is written any more, so nothing may go on waiting for it.
      if (failure.kind === 'fatal') for (const { settle } of this.#pending.splice(0)) settle(failedBy(failure.error));
      return failure.error;
    }
    if (this.#problem !== undefined) observer.observe({ kind: 'write-recovered' });
    this.#problem = undefined;
    this.#retryMs = FIRST_RETRY_MS;
    this.#times.add(this.#options.clock.monotonicMs() - this.#writingSinceMs);
    // I1: the ceilings are used only from here on, because they are durable now.
    for (const [sequence, proposal] of proposals) sequence.adopt(proposal);
    assignments.adopt(next.accounts);
    for (const sequence of change.added ?? []) sequences.set(sequence.name, sequence);
    for (const [sequence, max] of change.limits ?? []) sequence.limit(max);
    for (const [sequence, lifted] of change.lifts ?? []) sequence.lift(lifted);
    if (change.anchor !== undefined) sequenceClock.accept(change.anchor);
    this.#exclusive = change.exclusive ?? this.#exclusive;
    change.inEffect?.();
    pending?.settle({ kind: 'durable' });
    return undefined;
  }
}

const NO_CHANGE: DurableChange = {};

/** Returns what the next change comes to now. If it is refused after all, nothing changes. */
function planned(pending: PendingChange | undefined): DurableChange {
  const change = pending?.plan() ?? NO_CHANGE;
  if (!isRefusal(change)) return change;
  pending?.settle({ kind: 'refused', refusal: change });
  return NO_CHANGE;
}

function failedBy(error: Error): Committed {
  return { kind: 'failed', error };
}

function pending(): { promise: Promise<Committed>; settle: PendingChange['settle'] } {
  let settle: PendingChange['settle'] = () => {};
  const promise = new Promise<Committed>((resolve) => {
    settle = resolve;
  });
  return { promise, settle };
}
