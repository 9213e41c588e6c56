import { type Refusal, refusal } from '../errors.ts';
import type { Account, Lease, Waiter } from './entities.ts';
import type { NonceSequence } from './nonce-sequence.ts';
import type { Unit } from './ports.ts';
import { describeUnit } from './sequence-clock.ts';

/** How long a client that was turned away for want of room should wait. */
const FULL_RETRY_MS = 1_000;

export const seconds = (ms: number): string => `${(ms / 1000).toFixed(1)} s`;

export const LEASE_LOST = refusal(
  'LEASE_LOST',
  'this connection holds no such lease: it has ended or was never yours; acquire a new one',
);

export const SHUTTING_DOWN = refusal('SHUTTING_DOWN', 'the daemon is stopping; ask the next one');
export const CANCELLED = refusal('CANCELLED', 'the request was cancelled by its client');

/** Something the daemon can have only so many of is used up. */
export function full(fact: string): Refusal {
  return refusal('LIMIT', `${fact}; ask again later`, FULL_RETRY_MS);
}

export function waitTimeout(waiter: Waiter, nowMs: number): Refusal {
  const [holder] = waiter.lane.leases;
  const waitedMs = nowMs - waiter.sinceMs;
  const fact = waitedMs < 1 ? 'not granted at once' : `not granted within ${seconds(waitedMs)}`;
  if (holder === undefined) return refusal('WAIT_TIMEOUT', `${fact}; ask again, or wait longer with waitMs`);
  const who = `${holder.client?.name ?? 'a client'} (${holder.account.name})`;
  const since = seconds(nowMs - holder.grantedAtMs);
  return refusal(
    'WAIT_TIMEOUT',
    `${fact}: ${who} has held the lane for ${since}; wait longer with waitMs (--wait), or ask as urgent`,
  );
}

export function unitMismatch(account: Account, unit: Unit): Refusal {
  return refusal(
    'UNIT_MISMATCH',
    `account ${account.name} draws ${describeUnit(account.sequence.unit)} and not ${describeUnit(unit)}. Do not just ` +
      'change the unit: a key that has once seen the longer nonces never takes the shorter again. If the key has had ' +
      `${unit} so far, this is the wrong daemon for it; read "a one-way door" in the README`,
  );
}

export function nestedLane(lease: Lease, accountName: string): Refusal {
  return refusal(
    'NESTED_LANE',
    `account ${accountName} is in another lane than ${lease.account.name}, whose lease this is; ` +
      'release it first: two lanes taken in two orders would wait for each other for ever',
  );
}

export function exhausted(sequence: NonceSequence): Refusal {
  return refusal(
    'LIMIT',
    `sequence ${sequence.name} has reached its highest nonce, ${sequence.max}; a new key is needed`,
  );
}

/** An operator wants a sequence to go on at `next`. */
export function exhaustedBy(sequence: NonceSequence, next: bigint): Refusal {
  return refusal('BAD_REQUEST', `${next} is past the highest nonce of sequence ${sequence.name}, ${sequence.max}`);
}

export function notDurable(failure: Error): Refusal {
  return refusal(
    'NOT_DURABLE',
    `the state cannot be written (${failure.message}); nothing was granted: make room on the disk`,
  );
}
