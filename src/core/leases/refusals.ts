import { formatDuration } from '../../durations.ts';
import { type Refusal, refusal } from '../../errors.ts';
import type { Lease, Waiter } from './lease.ts';

/** How long a client should wait that was refused for want of room. */
const FULL_RETRY_MS = 1_000;

export const LEASE_LOST = refusal(
  'LEASE_LOST',
  'this connection does not hold that lease: it has ended, or another connection holds it; acquire a new one',
);

export const CANCELLED = refusal('CANCELLED', 'the client has cancelled the request');

/** Refuses a request because the daemon has as many of something as it can have. */
export function full(fact: string): Refusal {
  return refusal('LIMIT', `${fact}; ask again later`, FULL_RETRY_MS);
}

export function waitTimeout(waiter: Waiter, nowMs: number): Refusal {
  const [holder] = waiter.lane.leases;
  const waitedMs = nowMs - waiter.sinceMs;
  const fact = waitedMs < 1 ? 'not granted at once' : `not granted within ${formatDuration(waitedMs)}`;
  const pacedMs = pacedForMs(waiter, nowMs);
  if (pacedMs > 0) {
    const why = `account ${waiter.account.name} has used up its pace and may call again in ${formatDuration(pacedMs)}`;
    return refusal('WAIT_TIMEOUT', `${fact}: ${why}; wait longer with waitMs (--wait)`, Math.ceil(pacedMs));
  }
  if (holder === undefined) return refusal('WAIT_TIMEOUT', `${fact}; ask again, or wait longer with waitMs (--wait)`);
  const who = `${holder.client?.name ?? 'a client'} (${holder.account.name})`;
  const since = formatDuration(nowMs - holder.grantedAtMs);
  return refusal(
    'WAIT_TIMEOUT',
    `${fact}: ${who} has held the lane for ${since}; wait longer with waitMs (--wait), or ask with priority urgent`,
  );
}

function pacedForMs({ account, cost }: Waiter, nowMs: number): number {
  return (account.bucket?.freeAtMs(cost) ?? nowMs) - nowMs;
}

/** How soon a client may ask again whether a drain is over. */
const DRAIN_RETRY_MS = 5_000;

export const DRAINING = refusal(
  'DRAINING',
  'an operator is draining the daemon, so only urgent calls begin; ask again later, or with priority urgent if the call cannot wait',
  DRAIN_RETRY_MS,
);

export function nestedLane(lease: Lease, accountName: string): Refusal {
  return refusal(
    'NESTED_LANE',
    `account ${accountName} is in another lane than ${lease.account.name}, which holds this lease; release the lease ` +
      'first. Two programs that take two lanes in opposite orders would wait for each other for ever',
  );
}

export function ownLane(lease: Lease, accountName: string): Refusal {
  return refusal(
    'NESTED_LANE',
    `this program holds the lane of account ${accountName} itself, with a lease of ${lease.account.name} around this call, ` +
      'which would wait for itself; use one client for the whole program, whose `exclusive` shares the lease inside another',
  );
}
