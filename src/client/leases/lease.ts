import type { Clock, Timer } from '../../clock.ts';
import { NoncedError, refusal } from '../../errors.ts';
import type { LeaseWatcher, WatchedLease } from '../calls/wait.ts';
import { LossSignal } from './loss-signal.ts';

const LONGEST_MARGIN_MS = 1_000;
const MARGIN_SHARE = 0.1;

export interface LeaseTerms {
  readonly token: bigint;
  readonly account: string;
  readonly ttlMs: number;
  /** On the monotonic clock, and never later than the daemon's own deadline. */
  readonly endsAtMs: number;
}

/** Who keeps the leases of a client. */
export interface LeaseKeeper {
  /** The lease asks to last `ttlMs` from now; whether that works shows in its `extend`. */
  renew(lease: Lease, ttlMs: number): void;
  /** The daemon has let go of the lease by now. */
  expired(lease: Lease): void;
}

type LeaseState =
  | { readonly state: 'live' }
  /** The signal has aborted, the lane is still ours: time for an aborted call to wind down. */
  | { readonly state: 'ending'; readonly error: NoncedError }
  | { readonly state: 'lost'; readonly error: NoncedError }
  | { readonly state: 'released' };

const LIVE: LeaseState = { state: 'live' };
const RELEASED: LeaseState = { state: 'released' };

/** How long before its end a lease of `ttlMs` counts as over for whoever calls under it. */
export function marginMs(ttlMs: number): number {
  return Math.min(LONGEST_MARGIN_MS, ttlMs * MARGIN_SHARE);
}

/** A lease as its holder sees it: over a little earlier than for the daemon, by the time of when things were sent. */
export class Lease implements WatchedLease {
  readonly token: bigint;
  readonly account: string;
  /** What it was granted for. */
  readonly ttlMs: number;
  readonly #clock: Clock;
  readonly #keeper: LeaseKeeper;
  readonly #watchers = new Set<LeaseWatcher>();
  readonly #loss = new LossSignal();
  #state: LeaseState = LIVE;
  #endsAtMs: number;
  #marginMs: number;
  #timer: Timer | undefined;
  #renewal: { readonly ttlMs: number; readonly untilMs: number } | undefined;
  #renewAtMs = Number.POSITIVE_INFINITY;

  constructor(terms: LeaseTerms, clock: Clock, keeper: LeaseKeeper) {
    this.token = terms.token;
    this.account = terms.account;
    this.ttlMs = terms.ttlMs;
    this.#clock = clock;
    this.#keeper = keeper;
    this.#endsAtMs = terms.endsAtMs;
    this.#marginMs = marginMs(terms.ttlMs);
    this.#arm(clock.monotonicMs());
  }

  get state(): LeaseState['state'] {
    return this.#state.state;
  }

  get ended(): NoncedError | undefined {
    if (this.#state.state === 'released') return released();
    return this.#state.state === 'live' ? undefined : this.#state.error;
  }

  get signal(): AbortSignal {
    this.catchUp();
    return this.#loss.signal;
  }

  get endsAtMs(): number {
    return this.#endsAtMs;
  }

  /** Whether a call can begin, or something be waited for that takes `forMs`. */
  hasTime(forMs = 0): boolean {
    // The clock is asked too: after a stall of this process a late grant is read before its timers have fired.
    return this.#state.state === 'live' && this.#clock.monotonicMs() + forMs < this.#endsAtMs - this.#marginMs;
  }

  /** Ends it where the clock says so: after a stall of this process its holder may run before its timer does. */
  catchUp(): void {
    if (this.#state.state === 'live' && !this.hasTime()) this.#due();
  }

  expiresInMs(): number {
    const held = this.#state.state === 'live' || this.#state.state === 'ending';
    return held ? Math.max(0, this.#endsAtMs - this.#clock.monotonicMs()) : 0;
  }

  watch(watcher: LeaseWatcher): void {
    this.#watchers.add(watcher);
  }

  unwatch(watcher: LeaseWatcher): void {
    this.#watchers.delete(watcher);
  }

  /** Moves the end, as the daemon said. */
  extend(endsAtMs: number, ttlMs: number): void {
    // Once the signal has aborted the call is being wound down: no renewal that comes late takes that back.
    if (this.#state.state !== 'live') return;
    this.#endsAtMs = endsAtMs;
    this.#marginMs = marginMs(ttlMs);
    this.#planRenewal(ttlMs);
    this.#arm(this.#clock.monotonicMs());
  }

  /** A renewal to `endsAtMs` is on its way. If it shortens the lease, it may have done so before its answer comes. */
  mayEndAt(endsAtMs: number): void {
    if (this.#state.state !== 'live' || endsAtMs >= this.#endsAtMs) return;
    this.#endsAtMs = endsAtMs;
    this.#arm(this.#clock.monotonicMs());
  }

  /** Asks its keeper for renewals until `untilMs`. */
  renewUntil(untilMs: number): void {
    this.#renewal = { ttlMs: this.ttlMs, untilMs };
    this.#planRenewal(this.ttlMs);
    this.#arm(this.#clock.monotonicMs());
  }

  /** The daemon no longer has it, or will not by the time anybody looks. */
  lose(error: NoncedError): void {
    if (this.#state.state === 'lost' || this.#state.state === 'released') return;
    this.#timer?.cancel();
    const told = this.#state.state === 'ending';
    this.#state = { state: 'lost', error };
    if (!told) this.#tell(error, 'lost');
  }

  /** Its holder gives it back. False if it is over. */
  release(): boolean {
    if (this.#state.state === 'lost' || this.#state.state === 'released') return false;
    this.#timer?.cancel();
    const told = this.#state.state === 'ending';
    this.#state = RELEASED;
    // The error is made only for somebody to read: capturing its stack would cost as much as the rest of a release.
    if (!told && this.#watchers.size > 0) this.#tell(released(), 'released');
    return true;
  }

  #tell(error: NoncedError, how: 'lost' | 'released'): void {
    if (how === 'lost') this.#loss.abort(error);
    // A copy: watchers take themselves out of the set.
    for (const watcher of [...this.#watchers]) watcher.leaseOver(error, how);
    this.#watchers.clear();
  }

  #planRenewal(ttlMs: number): void {
    const renewal = this.#renewal;
    if (renewal === undefined) return;
    // Half-way, so that a restart of the daemon in between is survived.
    this.#renewAtMs = renewal.untilMs > this.#endsAtMs ? this.#endsAtMs - ttlMs / 2 : Number.POSITIVE_INFINITY;
  }

  #arm(nowMs: number): void {
    this.#timer?.cancel();
    const dueMs =
      this.#state.state === 'ending' ? this.#endsAtMs : Math.min(this.#endsAtMs - this.#marginMs, this.#renewAtMs);
    this.#timer = this.#clock.after(dueMs - nowMs, () => this.#due());
  }

  #due(): void {
    const nowMs = this.#clock.monotonicMs();
    if (this.#state.state === 'live' && nowMs >= this.#endsAtMs - this.#marginMs) {
      const error = leaseLost('the lease is about to end; ask for a longer ttlMs, or a maxHoldMs to have it renewed');
      this.#state = { state: 'ending', error };
      this.#tell(error, 'lost');
    }
    if (this.#state.state === 'ending' && nowMs >= this.#endsAtMs) {
      this.#keeper.expired(this);
      return;
    }
    if (this.#renewal !== undefined && this.#state.state === 'live' && nowMs >= this.#renewAtMs) {
      this.#renewAtMs = Number.POSITIVE_INFINITY;
      this.#keeper.renew(this, Math.ceil(Math.min(this.#renewal.ttlMs, this.#renewal.untilMs - nowMs)));
    }
    this.#arm(nowMs);
  }
}

function released(): NoncedError {
  return leaseLost('the lease was released; await what is done under it before');
}

/** A lease is over that its holder was given: a call may be under way. */
export function leaseLost(message: string, options?: ErrorOptions): NoncedError {
  return new NoncedError(refusal('LEASE_LOST', message), { ...options, sent: 'unknown' });
}

/** A lease was over before its holder could begin. */
export function neverBegun(message: string): NoncedError {
  return new NoncedError(refusal('LEASE_LOST', message));
}
