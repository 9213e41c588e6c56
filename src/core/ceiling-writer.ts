import type { Clock, Timer } from '../clock.ts';
import type { NonceSequence } from './nonce-sequence.ts';
import type { BootAnchor, DurableSequence, ExclusionPolicy, Observer, StateStore } from './ports.ts';
import { nonceFloorAt, type SequenceClock } from './sequence-clock.ts';

const FIRST_RETRY_MS = 100;
const LONGEST_RETRY_MS = 5_000;

/** A change of the state that an operator asked for; it takes effect once it is durable. */
export interface DurableChange {
  readonly exclusive?: ExclusionPolicy;
  readonly anchor?: BootAnchor;
  /** The sequence's next nonce is at least `next`. */
  readonly lift?: { readonly sequence: NonceSequence; readonly next: bigint };
}

interface PendingChange {
  readonly change: DurableChange;
  /** Called with undefined once the change is durable and in effect. */
  readonly settled: (failure: Error | undefined) => void;
}

export interface CeilingWriterOptions {
  readonly clock: Clock;
  readonly sequenceClock: SequenceClock;
  readonly sequences: ReadonlyMap<string, NonceSequence>;
  readonly exclusive: ExclusionPolicy;
  readonly seenWallMs: number;
  readonly store: StateStore;
  readonly observer: Observer;
  /** After each write: with the error where it failed and will be tried again. Never after a fatal one. */
  readonly onWritten: (failure: Error | undefined) => void;
}

type WriterState =
  | { readonly kind: 'idle' }
  | { readonly kind: 'writing'; readonly done: Promise<void> }
  | { readonly kind: 'retrying'; readonly timer: Timer }
  | { readonly kind: 'closed' };

/** Keeps the ceilings durably ahead of the sequences: one write at a time, for all sequences that want one. */
export class CeilingWriter {
  readonly #options: CeilingWriterOptions;
  readonly #pending: PendingChange[] = [];
  #state: WriterState = { kind: 'idle' };
  #exclusive: ExclusionPolicy;
  #seenWallMs: number;
  #problem: Error | undefined;
  #retryMs = FIRST_RETRY_MS;
  #writes = 0;
  #writingSinceMs = 0;
  #failed = false;

  constructor(options: CeilingWriterOptions) {
    this.#options = options;
    this.#exclusive = options.exclusive;
    this.#seenWallMs = options.seenWallMs;
  }

  /** Why the last write failed, while it is being retried. The sequences then go on inside their durable ceilings. */
  get problem(): Error | undefined {
    return this.#problem;
  }

  /** When the write under way began, on the monotonic clock; undefined where none is. */
  get writingSinceMs(): number | undefined {
    return this.#state.kind === 'writing' ? this.#writingSinceMs : undefined;
  }

  /** How many writes have become durable. */
  get writes(): number {
    return this.#writes;
  }

  /** The policy that is durable. */
  get exclusive(): ExclusionPolicy {
    return this.#exclusive;
  }

  /** Starts a write for the sequences that want one, unless one is under way or waits to be tried again. */
  request(): void {
    if (this.#state.kind === 'idle') this.#start();
  }

  /** Makes `change` durable and then lets it take effect. Answers why not, where that fails; nothing has changed then. */
  commit(change: DurableChange): Promise<Error | undefined> {
    if (this.#state.kind === 'closed') return Promise.resolve(new Error('the daemon is stopping'));
    const { promise, settled } = pending();
    this.#pending.push({ change, settled });
    if (this.#state.kind === 'retrying') this.#state.timer.cancel();
    if (this.#state.kind !== 'writing') this.#start();
    return promise;
  }

  /**
   * The write of a start: the new epoch, and every ceiling that time has left behind. Answers why it failed.
   * Nothing may be granted before it is durable.
   */
  async open(): Promise<Error | undefined> {
    const nowMs = this.#options.sequenceClock.nowMs();
    return this.#write((sequence) => sequence.outdated(nonceFloorAt(nowMs, sequence.unit)));
  }

  /** The last write: each ceiling is put right behind the last nonce, so that a clean restart skips nothing. */
  async close(): Promise<Error | undefined> {
    if (this.#state.kind === 'closed') return undefined;
    const state = this.#state;
    // Closed first: whatever a write under way settles, nothing may start another one.
    this.#state = { kind: 'closed' };
    if (state.kind === 'retrying') state.timer.cancel();
    if (state.kind === 'writing') await state.done;
    for (const { settled } of this.#pending.splice(0)) settled(new Error('the daemon is stopping'));
    if (this.#failed) return undefined;
    // The only write that may lower a ceiling: nothing is handed out any more.
    const failure = await this.#options.store.write(
      this.#snapshot((sequence) => sequence.durable(sequence.last + 1n), []),
    );
    return failure?.error;
  }

  #start(): void {
    this.#state = { kind: 'writing', done: this.#run() };
  }

  async #run(): Promise<void> {
    for (;;) {
      const nowMs = this.#options.sequenceClock.nowMs();
      // Also those that nobody has asked for yet: the next grant needs a token and a nonce, and should wait only once.
      const failure = await this.#write(
        (sequence) => sequence.drawnSinceRaise || sequence.outdated(nonceFloorAt(nowMs, sequence.unit)),
      );
      // Closed, or failed for good, while the write was under way.
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
    if (this.#pending.length > 0) return true;
    for (const sequence of this.#options.sequences.values()) if (sequence.wantsRaise) return true;
    return false;
  }

  /** One write. Answers the error where it failed but may be tried again, or where all is over. */
  async #write(takesPart: (sequence: NonceSequence) => boolean): Promise<Error | undefined> {
    const { observer, sequenceClock, sequences, store } = this.#options;
    const changes = this.#pending.splice(0);
    this.#writingSinceMs = this.#options.clock.monotonicMs();
    const nowMs = sequenceClock.nowMs();
    const proposals = new Map<NonceSequence, ReturnType<NonceSequence['propose']>>();
    for (const sequence of sequences.values()) {
      const lift = changes.findLast(({ change }) => change.lift?.sequence === sequence)?.change.lift;
      if (lift !== undefined || takesPart(sequence)) {
        proposals.set(sequence, sequence.propose(nonceFloorAt(nowMs, sequence.unit), highestLift(changes, sequence)));
      }
    }
    this.#seenWallMs = Math.max(this.#seenWallMs, sequenceClock.state === 'followed' ? nowMs : 0);
    const failure = await store.write(
      this.#snapshot((sequence) => sequence.durable(proposals.get(sequence)?.ceiling ?? sequence.ceiling), changes),
    );
    if (failure?.kind === 'fatal') {
      this.#state = { kind: 'closed' };
      this.#failed = true;
      // Nothing is written any more, so nobody is left waiting for it.
      changes.push(...this.#pending.splice(0));
      observer.failed(failure.error);
    }
    if (failure !== undefined) {
      if (this.#problem === undefined && failure.kind === 'retriable') observer.writeFailed(failure.error);
      this.#problem = failure.error;
      for (const { settled } of changes) settled(failure.error);
      return failure.error;
    }
    if (this.#problem !== undefined) observer.writeRecovered();
    this.#problem = undefined;
    this.#retryMs = FIRST_RETRY_MS;
    this.#writes += 1;
    // I1: the ceilings are used from here on, for they are durable now.
    for (const [sequence, proposal] of proposals) sequence.adopt(proposal);
    for (const { change, settled } of changes) {
      change.lift?.sequence.lift(change.lift.next);
      if (change.anchor !== undefined) sequenceClock.accept(change.anchor);
      this.#exclusive = change.exclusive ?? this.#exclusive;
      settled(undefined);
    }
    return undefined;
  }

  #snapshot(durable: (sequence: NonceSequence) => DurableSequence, changes: readonly PendingChange[]) {
    const sequences: Record<string, DurableSequence> = {};
    for (const sequence of this.#options.sequences.values()) sequences[sequence.name] = durable(sequence);
    return {
      sequences,
      exclusive: changes.findLast(({ change }) => change.exclusive)?.change.exclusive ?? this.#exclusive,
      anchor: changes.findLast(({ change }) => change.anchor)?.change.anchor ?? this.#options.sequenceClock.anchor,
      seenWallMs: this.#seenWallMs,
    };
  }
}

function highestLift(changes: readonly PendingChange[], sequence: NonceSequence): bigint {
  let next = 0n;
  for (const { change } of changes) {
    if (change.lift?.sequence === sequence && change.lift.next > next) next = change.lift.next;
  }
  return next;
}

function pending(): { promise: Promise<Error | undefined>; settled: PendingChange['settled'] } {
  let settled: PendingChange['settled'] = () => {};
  const promise = new Promise<Error | undefined>((resolve) => {
    settled = resolve;
  });
  return { promise, settled };
}
