import type { Clock, Timer } from '../../clock.ts';
import { NoncedError, refusal } from '../../errors.ts';

/** Told when a lease is over: `lost` by itself, or `released` by its holder. */
export interface LeaseWatcher {
  leaseOver(error: NoncedError, how: 'lost' | 'released'): void;
}

/** What ends a wait before its answer. */
export interface Bounds {
  /** On the monotonic clock. Undefined: the lease bounds it. */
  readonly giveUpAtMs: number | undefined;
  readonly signal: AbortSignal | undefined;
}

/** What a wait needs of the lease it is made under. */
export interface WatchedLease {
  /** Why the lease is over, or undefined while it lasts. */
  readonly ended: NoncedError | undefined;
  watch(watcher: LeaseWatcher): void;
  unwatch(watcher: LeaseWatcher): void;
}

/**
 * One promise given to a caller, and everything that can end it: an answer, the deadline, the caller's signal, the loss
 * of its lease. Whichever is first holds; the rest is then of no effect.
 */
export abstract class Wait<T> implements LeaseWatcher {
  protected readonly clock: Clock;
  readonly #lease: WatchedLease | undefined;
  #caller: { resolve(value: T): void; reject(error: Error): void } | undefined;
  #timer: Timer | undefined;
  #signal: AbortSignal | undefined;

  constructor(clock: Clock, lease: WatchedLease | undefined) {
    this.clock = clock;
    this.#lease = lease;
  }

  /** Whether a caller still waits. */
  get wanted(): boolean {
    return this.#caller !== undefined;
  }

  /** Begins, and promises what comes of it. Once only. */
  start({ giveUpAtMs, signal }: Bounds): Promise<T> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) {
        reject(cancelled(signal));
        return;
      }
      const ended = this.#lease?.ended;
      if (ended !== undefined) {
        reject(ended);
        return;
      }
      this.#caller = { resolve, reject };
      this.#lease?.watch(this);
      if (signal !== undefined) {
        this.#signal = signal;
        signal.addEventListener('abort', this);
      }
      if (giveUpAtMs !== undefined) {
        this.#timer = this.clock.after(giveUpAtMs - this.clock.monotonicMs(), () => this.#leave(this.tooLate()));
      }
      this.begin();
    });
  }

  /** Rejects the caller, if one still waits. */
  fail(error: Error): void {
    this.#settled()?.reject(error);
  }

  /** Of the lease. */
  leaseOver(error: NoncedError): void {
    this.#leave(error);
  }

  /** Of the caller's signal. */
  handleEvent(): void {
    if (this.#signal !== undefined) this.#leave(cancelled(this.#signal));
  }

  protected succeed(value: T): void {
    this.#settled()?.resolve(value);
  }

  protected abstract begin(): void;
  /** The caller has gone before the answer: deadline, signal, or lease. */
  protected abstract withdrawn(): void;
  protected abstract tooLate(): NoncedError;

  #leave(error: Error): void {
    if (this.#caller === undefined) return;
    this.fail(error);
    this.withdrawn();
  }

  #settled() {
    const caller = this.#caller;
    if (caller === undefined) return undefined;
    this.#caller = undefined;
    this.#timer?.cancel();
    this.#lease?.unwatch(this);
    this.#signal?.removeEventListener('abort', this);
    return caller;
  }
}

/** What a wait is rejected with when its signal aborts. */
export function cancelled(signal: AbortSignal): NoncedError {
  return new NoncedError(refusal('CANCELLED', 'the wait was cancelled by its signal'), { cause: signal.reason });
}
