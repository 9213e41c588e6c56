import type { LeaseEnd, Outcome } from '../../terms.ts';
import type { Account } from '../accounts/account.ts';
import type { EndedCall, GrantedCall } from '../record/recent-calls.ts';
import type { Lease } from './entities.ts';

/** A lease as the call that it is for. */
export function callOf(lease: Lease): GrantedCall {
  const { account, lane, client, label, priority, token, nonce, lastNonce, alsoFor, waitedMs, grantedAtMs } = lease;
  return {
    account: account.name,
    lane: lane.name,
    exclusive: lane.exclusive,
    holder: client?.name,
    pid: client?.pid,
    label,
    priority,
    token,
    nonce,
    lastNonce,
    alsoFor,
    waitedMs,
    grantedAtMs,
  };
}

/** The lease, which ends now, as the call that has ended. Every release comes through here: no object is made on the way. */
export function endOf(lease: Lease, ended: LeaseEnd, outcome: Outcome, ownClock: boolean, nowMs: number): EndedCall {
  const { account, lane, client, label, priority, token, nonce, lastNonce, alsoFor, waitedMs, grantedAtMs } = lease;
  return {
    account: account.name,
    lane: lane.name,
    exclusive: lane.exclusive,
    holder: client?.name,
    pid: client?.pid,
    label,
    priority,
    token,
    nonce,
    lastNonce,
    alsoFor,
    waitedMs,
    grantedAtMs,
    endedAtMs: nowMs,
    ended,
    ownClock,
    outcome,
    toldAtMs: nowMs,
    late: false,
  };
}

/** How long the lease lasts from now, in whole milliseconds. */
export function leftMs(lease: Lease, nowMs: number): number {
  return Math.max(0, Math.floor(lease.expiresAtMs - nowMs));
}

/** What the calls cost that are under way, by account. */
export function costsOf(leases: Iterable<Lease>): ReadonlyMap<Account, number> {
  const costs = new Map<Account, number>();
  for (const lease of leases) {
    for (const [account, cost] of [[lease.account, lease.cost] as const, ...(lease.otherCosts ?? [])]) {
      costs.set(account, (costs.get(account) ?? 0) + cost);
    }
  }
  return costs;
}
