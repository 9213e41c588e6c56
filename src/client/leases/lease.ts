import type { Clock } from '../../clock.ts';
import { NoncedError, refusal } from '../../errors.ts';
import type { Alarm } from './alarm.ts';
import { LossSignal } from './loss-signal.ts';

const LONGEST_MARGIN_MS = 1_000;
const MARGIN_SHARE = 0.1;

/** Told when a lease is over: `lost` by itself, or `released` by its holder. */
export interface LeaseWatcher {
  leaseOver(error: NoncedError, how: 'lost' | 'released'): void;
}

export interface LeaseTerms {
  readonly token: bigint;
  readonly account: string;
  readonly ttlMs: number;
  /** On the monotonic clock, and never later than the daemon's own deadline. */
  readonly endsAtMs: number;
}

type LeaseState =
  | { readonly state: 'live' }
  /** The signal has aborted, the lane is still ours: time for an aborted call to wind down. */
  | { readonly state: 'ending'; readonly error: NoncedError }
  | { readonly state: 'lost'; readonly error: NoncedError }
  | { readonly state: 'released' };

const LIVE: LeaseState = { state: 'live' };
const RELEASED: LeaseState = { state: 'released' };

interface Renewal {
  readonly ttlMs: number;
  readonly untilMs: number;
  readonly renew: (ttlMs: number) => void;
}

/** Returns how long before the end of a lease of `ttlMs` its holder must be done. */
export function marginMs(ttlMs: number): number {
  return Math.min(LONGEST_MARGIN_MS, ttlMs * MARGIN_SHARE);
}

/**
 * A lease as its holder sees it. It is over a little earlier than for the daemon, because it counts from when requests
 * were sent. It has no timer of its own: it says when to call `due`.
 */
export class Lease {
  readonly token: bigint;
  readonly account: string;
  /** How long it was granted for. */
  readonly ttlMs: number;
  readonly #clock: Clock;
  readonly #alarm: Alarm;
  readonly #loss = new LossSignal(() => this.catchUp());
  #watchers: LeaseWatcher[] | undefined;
  #state: LeaseState = LIVE;
  #endsAtMs: number;
  #marginMs: number;
  #renewal: Renewal | undefined;
  /** How many renewals were sent and did not take effect here. */
  #pendingRenewals = 0;
  #renewAtMs = Number.POSITIVE_INFINITY;

  /** The alarm is told whenever `due` must be called sooner. */
  constructor({ token, account, ttlMs, endsAtMs }: LeaseTerms, clock: Clock, alarm: Alarm) {
    this.token = token;
    this.account = account;
    this.ttlMs = ttlMs;
    this.#clock = clock;
    this.#alarm = alarm;
    this.#endsAtMs = endsAtMs;
    this.#marginMs = marginMs(ttlMs);
    alarm.wakeBy(this.dueAtMs);
  }

  get state(): LeaseState['state'] {
    return this.#state.state;
  }

  /** Why it is over, or undefined while it lasts. */
  get ended(): NoncedError | undefined {
    if (this.#state.state === 'released') return released();
    return this.#state.state === 'live' ? undefined : this.#state.error;
  }

  get signal(): AbortSignal {
    return this.#loss.signal;
  }

  get endsAtMs(): number {
    return this.#endsAtMs;
  }

  /** When `due` has something to do, on the monotonic clock. */
  get dueAtMs(): number {
    return this.#state.state === 'ending' ? this.#endsAtMs : Math.min(this.#endsAtMs - this.#marginMs, this.#renewAtMs);
  }

  /** Whether a call can begin, or whether there is time for something that takes `forMs`. */
  hasTime(forMs = 0): boolean {
    // The clock is asked too: after a stall of this process a late grant is read before its timers have fired.
    return this.#state.state === 'live' && this.#clock.monotonicMs() + forMs < this.#endsAtMs - this.#marginMs;
  }

  /** Ends it if its time is over: after a stall of this process its holder may run before any timer does. */
  catchUp(): void {
    if (this.#state.state === 'live' && !this.hasTime()) this.due(this.#clock.monotonicMs());
  }

  expiresInMs(): number {
    const held = this.#state.state === 'live' || this.#state.state === 'ending';
    return held ? Math.max(0, this.#endsAtMs - this.#clock.monotonicMs()) : 0;
  }

  watch(watcher: LeaseWatcher): void {
    if (this.#watchers === undefined) this.#watchers = [watcher];
    else this.#watchers.push(watcher);
  }

  unwatch(watcher: LeaseWatcher): void {
    const at = this.#watchers?.indexOf(watcher) ?? -1;
    if (at >= 0) this.#watchers?.splice(at, 1);
  }

  /** Moves the end, as the daemon said. */
  extend(endsAtMs: number, ttlMs: number): void {
    // Once the signal has aborted the call is winding down: a late renewal does not take that back.
    if (this.#state.state !== 'live') return;
    this.#endsAtMs = endsAtMs;
    this.#marginMs = marginMs(ttlMs);
    this.#planRenewal(ttlMs);
    this.#alarm.wakeBy(this.dueAtMs);
  }

  /**
   * Whether the daemon may keep it for longer than its holder does: a stalled one may read a renewal late, and this process
   * its answer.
   */
  get mayOutlive(): boolean {
    return this.#pendingRenewals > 0;
  }

  /** A renewal goes out for the first time. */
  renewalSent(): void {
    this.#pendingRenewals += 1;
  }

  /** That renewal has been answered. An answer that comes too late changes nothing. */
  renewalAnswered(): void {
    if (this.#state.state === 'live') this.#pendingRenewals -= 1;
  }

  /** A renewal to `endsAtMs` is on its way. If it shortens the lease, it may have done so before its answer comes. */
  mayEndAt(endsAtMs: number): void {
    if (this.#state.state !== 'live' || endsAtMs >= this.#endsAtMs) return;
    this.#endsAtMs = endsAtMs;
    this.#alarm.wakeBy(this.dueAtMs);
  }

  /** Calls `renew` whenever half of its time is over, until `untilMs`. Whether that helps shows in `extend`. */
  renewUntil(untilMs: number, renew: (ttlMs: number) => void): void {
    this.#renewal = { ttlMs: this.ttlMs, untilMs, renew };
    this.#planRenewal(this.ttlMs);
    this.#alarm.wakeBy(this.dueAtMs);
  }

  /** Does what is due at `nowMs`: ends the lease, or renews it. */
  due(nowMs: number): void {
    if (this.#state.state === 'live' && nowMs >= this.#endsAtMs - this.#marginMs) {
      const error = leaseLost('the lease is about to end; ask for a longer ttlMs, or a maxHoldMs to have it renewed');
      this.#state = { state: 'ending', error };
      this.#tell(error, 'lost');
    }
    if (this.#state.state === 'ending' && nowMs >= this.#endsAtMs) {
      this.lose(leaseLost('the lease has ended; ask for a longer ttlMs, or renew it'));
      return;
    }
    if (this.#renewal !== undefined && this.#state.state === 'live' && nowMs >= this.#renewAtMs) {
      const { ttlMs, untilMs, renew } = this.#renewal;
      this.#renewAtMs = Number.POSITIVE_INFINITY;
      renew(Math.ceil(Math.min(ttlMs, untilMs - nowMs)));
    }
    this.#alarm.wakeBy(this.dueAtMs);
  }

  /** The daemon no longer has it, or will not by the time anyone looks. */
  lose(error: NoncedError): void {
    if (this.#state.state === 'lost' || this.#state.state === 'released') return;
    const told = this.#state.state === 'ending';
    this.#state = { state: 'lost', error };
    if (!told) this.#tell(error, 'lost');
  }

  /** Its holder gives it back. Returns false if it is over. */
  release(): boolean {
    if (this.#state.state === 'lost' || this.#state.state === 'released') return false;
    const told = this.#state.state === 'ending';
    this.#state = RELEASED;
    // The error is made only if there is a reader: capturing its stack would cost as much as the rest of a release.
    if (!told && this.#watchers !== undefined && this.#watchers.length > 0) this.#tell(released(), 'released');
    return true;
  }

  #tell(error: NoncedError, how: 'lost' | 'released'): void {
    if (how === 'lost') this.#loss.abort(error);
    const watchers = this.#watchers;
    // Taken away first: watchers take themselves out.
    this.#watchers = undefined;
    if (watchers !== undefined) for (const watcher of watchers) watcher.leaseOver(error, how);
  }

  #planRenewal(ttlMs: number): void {
    const renewal = this.#renewal;
    if (renewal === undefined) return;
    // Half-way, so that a restart of the daemon in between is survived.
    this.#renewAtMs = renewal.untilMs > this.#endsAtMs ? this.#endsAtMs - ttlMs / 2 : Number.POSITIVE_INFINITY;
  }
}

function released(): NoncedError {
  return leaseLost('the lease was released; await what is done under it before');
}

/** Returns the error for a lease that was granted and is over: a call may be under way. */
export function leaseLost(message: string, options?: ErrorOptions): NoncedError {
  return new NoncedError(refusal('LEASE_LOST', message), { ...options, sent: 'unknown' });
}

/** Returns the error for a lease that was over before its holder could begin. */
export function neverBegun(message: string): NoncedError {
  return new NoncedError(refusal('LEASE_LOST', message));
}
