/**
 * How a lease ends, and what its end tells. A holder, the TTL, an urgent waiter or the end of the connection ends it; the
 * TTL no earlier than its time after the last renewal (I7). The outcome of the call is passed on to its account and
 * exchange, and is remembered for the question why a nonce was rejected.
 */
import type { Refusal } from '../../errors.ts';
import type { LeaseEnd, Outcome, RevokeReason } from '../../terms.ts';
import type { Account } from '../accounts/account.ts';
import type { ExchangeChange } from '../accounts/exchange.ts';
import { ended, longestTtlMs, type Probe, takeBack } from '../accounts/gate.ts';
import { SHUTTING_DOWN } from '../nonces/refusals.ts';
import type { BrokerEvent, Token } from '../ports.ts';
import type { GrantedCall } from '../record/recent-calls.ts';
import type { BrokerParts } from './broker-parts.ts';
import { callOf, endedCallOf, endedFurtherCall } from './calls.ts';
import type { Grants } from './grants.ts';
import { type Client, furtherOf, type Lease, type LeaseLane, leftMs } from './lease.ts';
import { LEASE_LOST } from './refusals.ts';

/** What a holder tells of a call. */
interface Told {
  readonly call: GrantedCall;
  /** When it can have begun at the earliest. */
  readonly begunAtMs: number;
  readonly outcome: Outcome;
}

export class LeaseEnds {
  readonly #parts: BrokerParts;
  readonly #grants: Grants;

  constructor(parts: BrokerParts, grants: Grants) {
    this.#parts = parts;
    this.#grants = grants;
  }

  renew(client: Client, token: Token, ttlMs: number | undefined): number | Refusal {
    const { clock, deadlines, leases, phase } = this.#parts;
    const lease = leases.own(client, token);
    if (!phase.isGranting) return SHUTTING_DOWN;
    if (lease === undefined) return LEASE_LOST;
    const nowMs = clock.monotonicMs();
    lease.ttlMs = ttlMs ?? lease.ttlMs;
    const asked = nowMs + lease.ttlMs;
    const allowed = nowMs + longestTtlMs(lease.account, client, nowMs);
    // I7: an outage does not shorten a lease that was granted before it, not even when its holder renews it.
    lease.expiresAtMs = Math.min(asked, Math.max(allowed, lease.expiresAtMs));
    // I7: a renewal that is not noted would not count after a restart, so it is not promised.
    if (!leases.note(lease)) return SHUTTING_DOWN;
    deadlines.reschedule(lease, lease.expiresAtMs);
    // Never more than what holds.
    return lease.expiresAtMs === asked ? lease.ttlMs : leftMs(lease, nowMs);
  }

  release(client: Client, token: Token, outcome: Outcome, usedOwnClock: boolean): boolean {
    const { ledger, leases } = this.#parts;
    const lease = leases.own(client, token);
    if (lease === undefined) {
      this.#tellLate(client, token, outcome);
      return false;
    }
    if (usedOwnClock) ledger.liftToNow(lease.account.sequence);
    this.end(lease, 'released', outcome, usedOwnClock);
    this.#learn(client, lease.account, { call: callOf(lease), begunAtMs: lease.begunAtMs, outcome });
    this.#grants.pumpLanesOf(lease);
    return true;
  }

  /**
   * I5: takes how a call under a live lease of the client ended, which is not the last one. It counts once, and for the
   * account that its nonce was drawn for. Its cost stays with the lease. Returns false if there is no such call.
   */
  report(client: Client, token: Token, nonce: bigint, outcome: Outcome): boolean {
    const { clock, leases, observer, recentCalls, accounts } = this.#parts;
    const lease = leases.own(client, token);
    const further = lease && furtherOf(lease).take(nonce);
    if (lease === undefined || further === undefined) return false;
    const nowMs = clock.monotonicMs();
    const { account, drawnAtMs, probe } = further;
    if (outcome === 'unused' && probe !== undefined) {
      takeBack(account, probe, nowMs);
      accounts.note(account, nowMs);
    }
    account.usedAtMs = nowMs;
    account.tally.told(outcome, nowMs);
    const call = endedFurtherCall(lease, further, outcome, nowMs);
    observer.ended?.(call);
    recentCalls.add(call);
    this.#learn(client, account, { call, begunAtMs: drawnAtMs, outcome });
    return true;
  }

  /** Ends the hung background leases of a lane for an urgent waiter, if there is one whose call may begin. */
  preempt(lane: LeaseLane, nowMs: number): void {
    for (let urgent = lane.urgent; urgent !== undefined; urgent = lane.urgent) {
      if (!this.#grants.mayBegin(lane, urgent, nowMs)) continue;
      for (const lease of [...lane.leases]) this.revoke(lease, 'preempted');
      return;
    }
  }

  /** Ends a lease that its holder has not released, tells the holder, and grants the lane to the next waiter. */
  revoke(lease: Lease, how: RevokeReason | 'lost'): void {
    this.end(lease, how, 'unknown', false);
    if (how !== 'lost') lease.client?.peer.revoked(lease.token, how);
    this.#grants.pumpLanesOf(lease);
  }

  /** Ends a lease. The caller must `pump` its lane afterwards (I8). */
  end(lease: Lease, how: LeaseEnd, outcome: Outcome, ownClock: boolean): void {
    const { clock, deadlines, holds, leases, observer, recentCalls, waits } = this.#parts;
    const nowMs = clock.monotonicMs();
    leases.end(lease);
    deadlines.remove(lease);
    lease.account.usedAtMs = nowMs;
    if (outcome === 'unused' && lease.taken !== undefined) this.#giveBack(lease, lease.taken.probe, nowMs);
    else this.#uncharge(lease.account, lease.cost, nowMs);
    for (const [account, cost] of lease.otherCosts ?? []) {
      account.leases -= 1;
      this.#uncharge(account, cost, nowMs);
    }
    const call = endedCallOf(lease, how, outcome, ownClock, nowMs);
    lease.account.tally.add(how, outcome, nowMs);
    waits.add(lease.waitedMs);
    holds.add(nowMs - lease.grantedAtMs);
    observer.ended?.(call);
    // A holder whose lease was ended by the daemon may still tell how the call went.
    recentCalls.add(call, how === 'expired' || how === 'preempted' ? lease.client : undefined);
  }

  /** I5: the lease is not this client's, or over. Changes nothing but what is remembered of the call. */
  #tellLate(client: Client, token: Token, outcome: Outcome): void {
    const { clock, observer, recentCalls } = this.#parts;
    const call = recentCalls.tellLate(token, client, outcome, clock.monotonicMs());
    if (call?.late === true) observer.ended?.(call);
    if (call?.outcome === 'invalid-nonce') this.#rejected(call);
  }

  /** The account's call is over: from now on its cost leaks away. */
  #uncharge(account: Account, cost: number, nowMs: number): void {
    if (account.bucket === undefined) return;
    account.bucket.ended(cost, nowMs);
    this.#parts.accounts.note(account, nowMs);
  }

  /** Nothing was sent: what the call had taken is free again. */
  #giveBack({ account, cost, grantedAtMs, lane }: Lease, probe: Probe | undefined, nowMs: number): void {
    const { accounts } = this.#parts;
    if (probe !== undefined) takeBack(account, probe, nowMs);
    if (account.bucket !== undefined) {
      account.bucket.givenBack(cost, grantedAtMs, nowMs);
      // I8: what waits for the bucket may begin sooner now.
      lane.unparkAll(account);
    }
    if (account.bucket !== undefined || probe !== undefined) accounts.note(account, nowMs);
  }

  /** Passes on what the end of a call says about its account and exchange. */
  #learn(caller: Client, account: Account, { call, begunAtMs, outcome }: Told): void {
    if (outcome === 'unknown' || outcome === 'unused') return;
    const { accounts, clock, observer } = this.#parts;
    const { exchange, breaker } = account;
    const nowMs = clock.monotonicMs();
    if (outcome === 'ok') account.okAtMs = nowMs;
    if (outcome === 'invalid-nonce') this.#rejected(call);
    const before = breaker.noted();
    const changed = ended(account, { caller, outcome, begunAtMs }, nowMs);
    if (breaker.noted() !== before || outcome === 'rate-limited') accounts.note(account, nowMs);
    if (changed.breaker) {
      observer.observe({ kind: 'breaker-changed', account: account.name, openFor: breaker.trouble });
    }
    if (changed.exchange !== undefined) observer.observe(eventOf(exchange.name, changed.exchange));
    if (changed.breaker || changed.exchange !== undefined) {
      this.#grants.sweep(
        (other) => other === account || (changed.exchange !== undefined && other.exchange === exchange),
      );
    }
  }

  #rejected(call: GrantedCall): void {
    const { observer, recentCalls } = this.#parts;
    observer.observe({ kind: 'rejected', call, before: recentCalls.before(call) });
  }
}

function eventOf(exchange: string, change: ExchangeChange): BrokerEvent {
  switch (change.kind) {
    case 'down':
    case 'up':
      return { kind: 'exchange-changed', exchange, isDown: change.kind === 'down' };
    case 'held-back':
    case 'let-through': {
      const { name, pid } = change.caller;
      return { kind: 'caller-changed', exchange, holder: name, pid, isHeldBack: change.kind === 'held-back' };
    }
  }
}
