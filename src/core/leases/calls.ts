/** A lease as the record remembers it: as the call that it was granted for. */
import type { LeaseEnd, Outcome } from '../../terms.ts';
import type { EndedCall, GrantedCall } from '../record/recent-calls.ts';
import type { FurtherCall } from './further-calls.ts';
import type { Lease } from './lease.ts';

/** Returns the call that the lease is for. */
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

/** Returns a further call under a lease, which was reported to have ended now. The lease goes on. */
export function endedFurtherCall(lease: Lease, further: FurtherCall, outcome: Outcome, nowMs: number): EndedCall {
  const { account, nonce, lastNonce, drawnAtMs } = further;
  return {
    ...callOf(lease),
    account: account.name,
    nonce,
    lastNonce,
    alsoFor: undefined,
    waitedMs: 0,
    grantedAtMs: drawnAtMs,
    endedAtMs: nowMs,
    ended: 'released',
    ownClock: false,
    outcome,
    toldAtMs: nowMs,
    late: false,
  };
}

/** Returns the call of a lease that ends now. Every release comes through here, so it makes one object and no more. */
export function endedCallOf(
  lease: Lease,
  ended: LeaseEnd,
  outcome: Outcome,
  ownClock: boolean,
  nowMs: number,
): EndedCall {
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
