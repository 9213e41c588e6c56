import { type Refusal, refusal } from '../../errors.ts';
import type { BreakerRefusal } from '../accounts/breaker.ts';
import { DEFAULT_EXCHANGE } from '../accounts/policies.ts';
import type { NonceSequence } from '../nonces/nonce-sequence.ts';
import { describeUnit } from '../nonces/sequence-clock.ts';
import type { Unit } from '../ports.ts';
import type { Account, Lease, Waiter } from './entities.ts';

/** How long a client that was turned away for want of room should wait. */
const FULL_RETRY_MS = 1_000;

const MINUTE_MS = 60_000;

/** 40 ms, 2.5 s */
export const seconds = (ms: number): string => (ms < 100 ? `${Math.ceil(ms)} ms` : `${(ms / 1000).toFixed(1)} s`);

/** 2.5 s, 42 min, 3.5 h */
export function span(ms: number): string {
  if (ms < 2 * MINUTE_MS) return seconds(ms);
  const minutes = ms / MINUTE_MS;
  return minutes < 120 ? `${minutes.toFixed(0)} min` : `${(minutes / 60).toFixed(1)} h`;
}

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
  const pacedMs = pacedForMs(waiter, nowMs);
  if (pacedMs > 0) {
    const why = `account ${waiter.account.name} has used up its pace and may go on in ${seconds(pacedMs)}`;
    return refusal('WAIT_TIMEOUT', `${fact}: ${why}; wait longer with waitMs (--wait)`, Math.ceil(pacedMs));
  }
  if (holder === undefined) return refusal('WAIT_TIMEOUT', `${fact}; ask again, or wait longer with waitMs`);
  const who = `${holder.client?.name ?? 'a client'} (${holder.account.name})`;
  const since = seconds(nowMs - holder.grantedAtMs);
  return refusal(
    'WAIT_TIMEOUT',
    `${fact}: ${who} has held the lane for ${since}; wait longer with waitMs (--wait), or ask as urgent`,
  );
}

function pacedForMs({ account, cost }: Waiter, nowMs: number): number {
  return (account.bucket?.freeAtMs(cost) ?? nowMs) - nowMs;
}

export function unitMismatch(account: Account, unit: Unit): Refusal {
  return refusal(
    'UNIT_MISMATCH',
    `account ${account.name} draws ${describeUnit(account.sequence.unit)} and not ${describeUnit(unit)}. Do not just ` +
      'change the unit: a key that has once seen the longer nonces never takes the shorter again. If the key has had ' +
      `${unit} so far, this is the wrong daemon for it; read "a one-way door" in the README`,
  );
}

export function keyMismatch(account: Account, owner: Account): Refusal {
  return refusal(
    'KEY_MISMATCH',
    `the key of account ${account.name} is known as account ${owner.name}: under two labels its calls would overtake ` +
      `each other; use one label for it everywhere. If ${owner.name} was the mistake, correct it in all bots and ` +
      'restart the daemon, which forgets it',
  );
}

export function paused(account: string): Refusal {
  return refusal('PAUSED', `an operator has paused account ${account}; \`nonced resume ${account}\` lets it go on`);
}

/** How soon a poll may look whether a drain is over. */
const DRAIN_RETRY_MS = 5_000;

export const DRAINING = refusal(
  'DRAINING',
  'an operator drains the daemon, and lets only urgent calls begin; ask again later, or as urgent if it cannot wait',
  DRAIN_RETRY_MS,
);

export function quarantined(account: string, { trouble, inARow, retryAfterMs }: BreakerRefusal): Refusal {
  const fact =
    trouble === 'locked-out'
      ? 'the exchange has locked its key out, probably after too many failed calls'
      : inARow > 1
        ? `the exchange has rejected its last ${inARow} nonces: probably another program uses its key, or the key has seen higher ones`
        : 'the exchange has rejected too many of its nonces lately: probably another program uses its key';
  return refusal(
    'QUARANTINED',
    `account ${account} is let through only to probe: ${fact}. See \`nonced why ${account}\`; ` +
      `next try in ${seconds(retryAfterMs)}, or at once after \`nonced resume ${account}\``,
    Math.ceil(retryAfterMs),
  );
}

export function exchangeDown(exchange: string, retryAfterMs: number): Refusal {
  const which = exchange === DEFAULT_EXCHANGE ? 'the exchange' : `exchange ${exchange}`;
  return refusal(
    'EXCHANGE_DOWN',
    `${which} has not answered its last calls; until it does, urgent calls and a probe every few seconds are let ` +
      `through: ask again in ${seconds(retryAfterMs)}`,
    Math.ceil(retryAfterMs),
  );
}

/** A further nonce under a lease is never waited for by the daemon: others wait for that lane. */
export function paced(account: string, retryAfterMs: number): Refusal {
  return refusal(
    'PACED',
    `account ${account} has used up its pace; ask again in ${seconds(retryAfterMs)}`,
    Math.ceil(retryAfterMs),
  );
}

export function costTooHigh(account: string, cost: number, max: number): Refusal {
  return refusal('BAD_REQUEST', `a cost of ${cost} is over what account ${account} may ever use at once, ${max}`);
}

export const CROWDED = refusal(
  'LIMIT',
  'the state keeps apart as many accounts as it can; use the labels of accounts that it knows',
);

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

export function notAbove(account: string, next: bigint, last: bigint): Refusal {
  return refusal('BAD_REQUEST', `${next} is not above what account ${account} has had, ${last}; nothing was changed`);
}

export function notDurable(failure: Error): Refusal {
  return refusal(
    'NOT_DURABLE',
    `the state cannot be written (${failure.message}); nothing was granted: make room on the disk`,
  );
}
