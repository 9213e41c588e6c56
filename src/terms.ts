/**
 * The vocabulary of nonced: every list of words, every pattern and every default that more than one part of the program
 * needs. Each stands here once; the compiler names the places that a new word concerns, and a test holds the client for
 * Python to the same lists.
 */

/**
 * What a nonce of a sequence counts. A unit never changes: a key that has seen longer nonces takes no shorter ones.
 */
export const UNITS = ['ns', 'us', 'ms', 's', 'counter'] as const;
export type Unit = (typeof UNITS)[number];
/** The units that follow the clock. */
export type ClockUnit = Exclude<Unit, 'counter'>;

/** How many digits the nonces of a unit have, until the year 2286. */
export const DIGITS: Readonly<Record<ClockUnit, number>> = { ns: 19, us: 16, ms: 13, s: 10 };

/** How many nonces of a unit there are in a second. */
export const NONCES_PER_SECOND: Readonly<Record<ClockUnit, bigint>> = {
  ns: 1_000_000_000n,
  us: 1_000_000n,
  ms: 1_000n,
  s: 1n,
};

/** Who goes first in a lane, the most urgent first. Lease notes keep the position: add only at the end. */
export const PRIORITIES = ['urgent', 'normal', 'background'] as const;
export type Priority = (typeof PRIORITIES)[number];
export const DEFAULT_PRIORITY: Priority = 'normal';

/** How long a lease lasts, in milliseconds, unless its request says otherwise. */
export const DEFAULT_TTL_MS: Readonly<Record<Priority, number>> = {
  urgent: 30_000,
  normal: 20_000,
  background: 10_000,
};

/** How long a request waits for its lease, in milliseconds, unless it says otherwise. */
export const DEFAULT_WAIT_MS: Readonly<Record<Priority, number>> = {
  urgent: 15_000,
  normal: 30_000,
  background: 30_000,
};

/** How long a client waits for a bare nonce, in milliseconds. */
export const DEFAULT_NONCE_WAIT_MS = 30_000;

/** What shares a lane: all accounts of an exchange, one account, or nothing. */
export const EXCLUSION_POLICIES = ['global', 'account', 'off'] as const;
export type ExclusionPolicy = (typeof EXCLUSION_POLICIES)[number];

/** What the exchange said to a call, as its holder tells it. */
export const OUTCOMES = [
  'unknown',
  'ok',
  'unsettled',
  'unavailable',
  'invalid-nonce',
  'rate-limited',
  'locked-out',
  'unused',
] as const;
export type Outcome = (typeof OUTCOMES)[number];

/** Whether an operator has nothing to learn from a call that ended so. */
export const isUnremarkable = (outcome: Outcome): boolean =>
  outcome === 'ok' || outcome === 'unknown' || outcome === 'unused';

/**
 * How a lease ended: by its holder, by its TTL, for an urgent waiter, with its connection; or `lost`, when a holder from
 * before a restart of the daemon did not come back. Only `released` always comes with an outcome.
 */
export const LEASE_ENDS = ['released', 'expired', 'preempted', 'disconnected', 'lost'] as const;
export type LeaseEnd = (typeof LEASE_ENDS)[number];
/** The ends that the daemon tells the holder of. */
export type RevokeReason = Extract<LeaseEnd, 'expired' | 'preempted'>;

/** This many rejected nonces in a row are no accident: the circuit breaker opens, and `nonced why` is sure. */
export const REJECTED_IN_A_ROW = 3;

/** The account of a request that names none. */
export const DEFAULT_ACCOUNT = 'default';
/** The label of an account. */
export const ACCOUNT_PATTERN = /^[A-Za-z0-9._:@-]{1,64}$/;
export const ACCOUNT_FORM = '1 to 64 of A-Z a-z 0-9 . _ : @ -';
/** The name of a sequence or an exchange. */
export const NAME_PATTERN = /^[A-Za-z0-9._-]{1,64}$/;
export const NAME_FORM = '1 to 64 of A-Z a-z 0-9 . _ -';

/** The longest TTL and the longest wait that a request may ask for, in milliseconds. */
export const MAX_TTL_MS = 600_000;
export const MAX_WAIT_MS = 600_000;
/** How many consecutive nonces a request may ask for. */
export const MAX_COUNT = 1_000;
/** How many leases around it a request may name. */
export const MAX_WITHIN = 16;
/** A name or label for people to read, in bytes of UTF-8. */
export const MAX_TEXT_BYTES = 64;
/** How many sequences an operator may have. */
export const MAX_SEQUENCES = 64;
/** How many accounts the state tells apart. Those beyond, on the default sequence, count as one. */
export const MAX_ACCOUNTS = 4_096;
/** From so many on, the operator is warned: labels that are made up for each order fill the rest for good. */
export const MANY_ACCOUNTS = Math.ceil(0.8 * MAX_ACCOUNTS);
/** How many requests may wait, on one connection and over all. */
export const MAX_WAITING_PER_CLIENT = 1_000;
export const MAX_WAITING = 10_000;
/** How many accounts are kept in memory while they are idle. */
export const MAX_ACCOUNTS_IN_USE = 1_000;
