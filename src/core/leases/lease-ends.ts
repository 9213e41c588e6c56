/**
 * When a lease ends and what its end tells. It ends by its holder, its time, an urgent waiter or its connection; by its
 * time no earlier than its TTL after the last renewal (I7). How the call went is told to its account and exchange, and
 * remembered for whoever asks why a nonce was rejected.
 */
import type { Clock } from '../../clock.ts';
import type { Refusal } from '../../errors.ts';
import type { LeaseEnd, Outcome, RevokeReason } from '../../terms.ts';
import type { Account } from '../accounts/account.ts';
import type { AccountTable } from '../accounts/account-table.ts';
import { ended, longestTtlMs } from '../accounts/gate.ts';
import type { DeadlineQueue } from '../lanes/deadline-queue.ts';
import type { Ledger } from '../nonces/ledger.ts';
import { SHUTTING_DOWN } from '../nonces/refusals.ts';
import type { Observer, Token } from '../ports.ts';
import type { Histogram } from '../record/histogram.ts';
import type { GrantedCall, RecentCalls } from '../record/recent-calls.ts';
import type { BrokerParts } from './broker-parts.ts';
import type { Client, Due, Lease, LeaseLane } from './entities.ts';
import type { Grants } from './grants.ts';
import type { LeaseTable } from './lease-table.ts';
import { callOf, endOf, leftMs } from './lease-views.ts';
import type { Phase } from './phase.ts';
import { LEASE_LOST } from './refusals.ts';

export class LeaseEnds {
  readonly #clock: Clock;
  readonly #phase: Phase;
  readonly #ledger: Ledger;
  readonly #accounts: AccountTable;
  readonly #leases: LeaseTable;
  readonly #deadlines: DeadlineQueue<Due>;
  readonly #ended: RecentCalls;
  readonly #observer: Observer;
  readonly #grants: Grants;
  readonly #waits: Histogram;
  readonly #holds: Histogram;

  constructor(foundation: BrokerParts, grants: Grants) {
    this.#clock = foundation.clock;
    this.#phase = foundation.phase;
    this.#ledger = foundation.ledger;
    this.#accounts = foundation.accounts;
    this.#leases = foundation.leases;
    this.#deadlines = foundation.deadlines;
    this.#ended = foundation.ended;
    this.#observer = foundation.observer;
    this.#grants = grants;
    this.#waits = foundation.waits;
    this.#holds = foundation.holds;
  }

  /** Lets the lease's TTL begin anew. Answers its TTL in milliseconds. */
  renew(client: Client, token: Token, ttlMs: number | undefined): number | Refusal {
    const lease = this.#leases.own(client, token);
    if (!this.#phase.isGranting) return SHUTTING_DOWN;
    if (lease === undefined) return LEASE_LOST;
    const nowMs = this.#clock.monotonicMs();
    lease.ttlMs = ttlMs ?? lease.ttlMs;
    const asked = nowMs + lease.ttlMs;
    const allowed = nowMs + longestTtlMs(lease.account);
    // I7: an outage shortens no lease that was granted before it, also not when its holder asks for more.
    lease.expiresAtMs = Math.min(asked, Math.max(allowed, lease.expiresAtMs));
    // I7: a renewal that is not noted would not count after a restart, and so is not promised.
    if (!this.#leases.note(lease)) return SHUTTING_DOWN;
    this.#deadlines.reschedule(lease, lease.expiresAtMs);
    // What is told is never more than what holds.
    return lease.expiresAtMs === asked ? lease.ttlMs : leftMs(lease, nowMs);
  }

  /** Ends the client's lease and grants the lane to the next. True once; false where the client holds no such lease. */
  release(client: Client, token: Token, outcome: Outcome, usedOwnClock: boolean): boolean {
    const lease = this.#leases.own(client, token);
    if (lease === undefined) {
      // I5: it changes nothing but what is remembered of the call, for whoever asks why it failed.
      const late = this.#ended.tellLate(token, client, outcome, this.#clock.monotonicMs());
      if (late?.late === true) this.#observer.ended?.(late);
      if (late?.outcome === 'invalid-nonce') this.#rejected(late);
      return false;
    }
    if (usedOwnClock) this.#ledger.liftToNow(lease.account.sequence);
    this.end(lease, 'released', outcome, usedOwnClock);
    this.#learn(lease, outcome);
    this.#grants.pump(lease.lane);
    return true;
  }

  /** Ends hung background leases for an urgent waiter, if there is one that may begin. */
  preempt(lane: LeaseLane, nowMs: number): void {
    for (let urgent = lane.urgent; urgent !== undefined; urgent = lane.urgent) {
      if (!this.#grants.mayBegin(lane, urgent, nowMs)) continue;
      for (const lease of [...lane.leases]) this.revoke(lease, 'preempted');
      return;
    }
  }

  /** Ends a lease that its holder has not given back, tells him, and grants the lane to the next. */
  revoke(lease: Lease, how: RevokeReason | 'lost'): void {
    this.end(lease, how, 'unknown', false);
    if (how !== 'lost') lease.client?.peer.revoked(lease.token, how);
    this.#grants.pump(lease.lane);
  }

  /** Ends a lease. Whoever calls this must `pump` its lane afterwards (I8). */
  end(lease: Lease, how: LeaseEnd, outcome: Outcome, ownClock: boolean): void {
    const nowMs = this.#clock.monotonicMs();
    this.#leases.end(lease);
    this.#deadlines.remove(lease);
    lease.account.usedAtMs = nowMs;
    this.#uncharge(lease.account, lease.cost, nowMs);
    for (const [account, cost] of lease.otherCosts ?? []) {
      account.leases -= 1;
      this.#uncharge(account, cost, nowMs);
    }
    const call = endOf(lease, how, outcome, ownClock, nowMs);
    lease.account.tally.add(how, outcome, nowMs);
    this.#waits.add(lease.waitedMs);
    this.#holds.add(nowMs - lease.grantedAtMs);
    this.#observer.ended?.(call);
    // Whose lease was ended for him may still tell how the call went.
    this.#ended.add(call, how === 'expired' || how === 'preempted' ? lease.client : undefined);
  }

  /** The account's call is over: from now on what it cost drains. */
  #uncharge(account: Account, cost: number, nowMs: number): void {
    if (account.bucket === undefined) return;
    account.bucket.ended(cost, nowMs);
    this.#accounts.note(account, nowMs);
  }

  /** What the end of a call says of its account and exchange. */
  #learn(lease: Lease, outcome: Outcome): void {
    if (outcome === 'unknown' || outcome === 'unused') return;
    const { account } = lease;
    const { exchange, breaker } = account;
    const nowMs = this.#clock.monotonicMs();
    if (outcome === 'ok') account.okAtMs = nowMs;
    if (outcome === 'invalid-nonce') {
      this.#rejected(callOf(lease));
    }
    const before = breaker.noted();
    const changed = ended(account, outcome, lease.begunAtMs, nowMs);
    if (breaker.noted() !== before || outcome === 'rate-limited') this.#accounts.note(account, nowMs);
    if (changed.breaker) {
      this.#observer.observe({ kind: 'breaker-changed', account: account.name, openFor: breaker.trouble });
    }
    if (changed.exchange) {
      const isDown = exchange.downSinceMs !== undefined;
      this.#observer.observe({ kind: 'exchange-changed', exchange: exchange.name, isDown });
    }
    if (changed.breaker || changed.exchange) {
      this.#grants.sweep((other) => other === account || (changed.exchange && other.exchange === exchange));
    }
  }

  #rejected(call: GrantedCall): void {
    this.#observer.observe({ kind: 'rejected', call, before: this.#ended.before(call) });
  }
}
