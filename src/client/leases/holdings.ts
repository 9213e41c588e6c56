import type { Clock } from '../../clock.ts';
import type { NoncedError } from '../../errors.ts';
import type { HeldLease } from '../../protocol/messages.ts';
import type { Outcome } from '../../terms.ts';
import type { Call, CallLink } from '../calls/call.ts';
import { Lease, type LeaseKeeper, type LeaseTerms, leaseLost } from './lease.ts';
import { type LeaseLoser, RenewCall } from './lease-calls.ts';

/** What the holdings need of the link to the daemon. */
export interface HoldingsLink extends CallLink {
  /** Sends a notification if there is a connection; answers its number, or undefined if there is none. */
  notify(method: string, params: object): number | undefined;
  /** The call that waits under this id, if one does. */
  waiting(id: unknown): Call<unknown> | undefined;
  /** Whether a release that wants an answer is on its way for this token. */
  releasing(token: bigint): boolean;
  /** What is held has changed. */
  reconsider(): void;
}

/** A lease that was given back by a notification, which nobody answers. */
interface GivenBack {
  readonly outcome: Outcome;
  readonly endsAtMs: number;
  /** The number of the notification; undefined while there was no connection to send it over. */
  sentNumber: number | undefined;
}

/** What this client holds, and what it gave back without having heard that it arrived. */
export class Holdings implements LeaseKeeper, LeaseLoser {
  readonly #clock: Clock;
  readonly #link: HoldingsLink;
  readonly #leases = new Map<bigint, Lease>();
  readonly #givenBack = new Map<bigint, GivenBack>();

  constructor(clock: Clock, link: HoldingsLink) {
    this.#clock = clock;
    this.#link = link;
  }

  get size(): number {
    return this.#leases.size;
  }

  /** Whether a lease that was given back may still be held by the daemon for all we know. */
  owes(): boolean {
    const nowMs = this.#clock.monotonicMs();
    for (const [token, { endsAtMs }] of this.#givenBack) if (endsAtMs <= nowMs) this.#givenBack.delete(token);
    return this.#givenBack.size > 0;
  }

  /** Gives up on releases that nobody confirmed: the daemon presumes us dead by now. */
  forgetOwed(): void {
    this.#givenBack.clear();
  }

  add(terms: LeaseTerms): Lease {
    const lease = new Lease(terms, this.#clock, this);
    this.#leases.set(lease.token, lease);
    this.#link.reconsider();
    return lease;
  }

  /** Releases without waiting for an answer. Where the lease is over, the daemon only hears how its call ended. */
  release(lease: Lease, outcome: Outcome): void {
    if (!lease.release()) {
      this.#tellLate(lease, outcome);
      return;
    }
    this.#leases.delete(lease.token);
    this.giveBack(lease.token, outcome, lease.endsAtMs);
  }

  /** The lease is given back by a request that wants an answer. False if it is over already. */
  releasedByRequest(lease: Lease, outcome: Outcome): boolean {
    if (!lease.release()) {
      this.#tellLate(lease, outcome);
      return false;
    }
    this.#leases.delete(lease.token);
    return true;
  }

  /** Gives back what the daemon granted, whether or not it was ever held here. */
  giveBack(token: bigint, outcome: Outcome, endsAtMs: number): void {
    const sentNumber = this.#link.notify('release', { token, outcome });
    this.#givenBack.set(token, { outcome, endsAtMs, sentNumber });
    this.#link.reconsider();
  }

  /** The daemon has answered message `sentNumber`, so it has read all that went out before it on that connection. */
  confirmed(sentNumber: number): void {
    for (const [token, given] of this.#givenBack) {
      if (given.sentNumber === undefined || given.sentNumber > sentNumber) return;
      this.#givenBack.delete(token);
    }
  }

  /** Of the lease keeper: renewals that `maxHoldMs` asked for. */
  renew(lease: Lease, ttlMs: number): void {
    const call = new RenewCall(this.#clock, this.#link, lease, this, ttlMs);
    // Whatever it comes to shows in the lease.
    call.start({ giveUpAtMs: undefined, signal: undefined }).catch(() => {});
  }

  expired(lease: Lease): void {
    this.lost(lease, leaseLost('the lease has ended; ask for a longer ttlMs, or renew it'));
  }

  lost(lease: Lease, error: NoncedError): void {
    if (!this.#leases.delete(lease.token)) return;
    lease.lose(error);
    this.#link.reconsider();
  }

  /** The daemon ended a lease of ours. */
  revoked(token: bigint, reason: unknown): void {
    const lease = this.#leases.get(token);
    if (lease === undefined) return;
    const why =
      reason === 'preempted'
        ? 'an urgent caller has ended this background lease, which was held for over 3 s'
        : 'the daemon has ended the lease, whose time was over';
    this.lost(lease, leaseLost(`${why}; a call that was sent may have arrived`));
  }

  /** After a reconnection: what the daemon says we hold, as of `asOfMs`, is what we hold. */
  reconcile(held: readonly HeldLease[], asOfMs: number): void {
    const gone = new Map(this.#leases);
    const owed = new Map(this.#givenBack);
    // What is not listed any more has arrived, or ended by itself.
    this.#givenBack.clear();
    for (const one of held) {
      gone.delete(one.token);
      const endsAtMs = asOfMs + one.ttlMs;
      const lease = this.#leases.get(one.token);
      if (lease !== undefined) {
        lease.extend(endsAtMs, lease.ttlMs);
        continue;
      }
      if (this.#link.releasing(one.token)) continue;
      const given = owed.get(one.token);
      // Granted to a call that still waits, by an answer that got lost; or to one that nobody waits for any more.
      const waiting = this.#link.waiting(one.id);
      if (given === undefined && waiting?.adopt(one, endsAtMs)) continue;
      // Where nobody waits, its call may have been made, and the release been given up on.
      this.giveBack(one.token, given?.outcome ?? (waiting === undefined ? 'unknown' : 'unused'), endsAtMs);
    }
    for (const lease of gone.values()) {
      this.lost(
        lease,
        leaseLost('the lease ended while there was no connection to the daemon; a call that was sent may have arrived'),
      );
    }
  }

  /** Releases everything. */
  close(): void {
    for (const { token } of this.#leases.values()) this.#link.notify('release', { token });
    this.#endAll(leaseLost('the client was closed while the lease was held; close it when all calls are done'));
  }

  abandon(cause: NoncedError): void {
    this.#endAll(leaseLost(cause.message, { cause }));
  }

  /** For `nonced why`: the call outlived its lease. Nothing else comes of it. */
  #tellLate({ token, state }: Lease, outcome: Outcome): void {
    if (state !== 'lost' || outcome === 'unknown' || outcome === 'unused') return;
    this.#link.notify('release', { token, outcome });
  }

  #endAll(error: NoncedError): void {
    this.#givenBack.clear();
    for (const lease of [...this.#leases.values()]) this.lost(lease, error);
  }
}
