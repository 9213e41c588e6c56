import { formatDuration } from '../../durations.ts';
import { type Refusal, refusal } from '../../errors.ts';
import type { Lease, Waiter } from './lease.ts';

/** How long a client that was turned away for want of room should wait. */
const FULL_RETRY_MS = 1_000;

export const LEASE_LOST = refusal(
  'LEASE_LOST',
  'this connection holds no such lease: it has ended or was never yours; acquire a new one',
);

export const CANCELLED = refusal('CANCELLED', 'the request was cancelled by its client');

/** Something the daemon can have only so many of is used up. */
export function full(fact: string): Refusal {
  return refusal('LIMIT', `${fact}; ask again later`, FULL_RETRY_MS);
}

export function waitTimeout(waiter: Waiter, nowMs: number): Refusal {
  const [holder] = waiter.lane.leases;
  const waitedMs = nowMs - waiter.sinceMs;
  const fact = waitedMs < 1 ? 'not granted at once' : `not granted within ${formatDuration(waitedMs)}`;
  const pacedMs = pacedForMs(waiter, nowMs);
  if (pacedMs > 0) {
    const why = `account ${waiter.account.name} has used up its pace and may go on in ${formatDuration(pacedMs)}`;
    return refusal('WAIT_TIMEOUT', `${fact}: ${why}; wait longer with waitMs (--wait)`, Math.ceil(pacedMs));
  }
  if (holder === undefined) return refusal('WAIT_TIMEOUT', `${fact}; ask again, or wait longer with waitMs`);
  const who = `${holder.client?.name ?? 'a client'} (${holder.account.name})`;
  const since = formatDuration(nowMs - holder.grantedAtMs);
  return refusal(
    'WAIT_TIMEOUT',
    `${fact}: ${who} has held the lane for ${since}; wait longer with waitMs (--wait), or ask as urgent`,
  );
}

function pacedForMs({ account, cost }: Waiter, nowMs: number): number {
  return (account.bucket?.freeAtMs(cost) ?? nowMs) - nowMs;
}

/** How soon a poll may look whether a drain is over. */
const DRAIN_RETRY_MS = 5_000;

export const DRAINING = refusal(
  'DRAINING',
  'an operator drains the daemon, and lets only urgent calls begin; ask again later, or as urgent if it cannot wait',
  DRAIN_RETRY_MS,
);

export function nestedLane(lease: Lease, accountName: string): Refusal {
  return refusal(
    'NESTED_LANE',
    `account ${accountName} is in another lane than ${lease.account.name}, whose lease this is; ` +
      'release it first: two lanes taken in two orders would wait for each other for ever',
  );
}
