import type { Account } from '../accounts/account.ts';
import type { BrokerParts } from '../leases/broker-parts.ts';
import type { LaneMap } from '../leases/lane-map.ts';
import { BOUNDS_MS, type Histogram } from '../record/histogram.ts';

/**
 * Returns what a program wants to count, for all accounts in use. Counts are since the daemon started. An account that
 * was forgotten for want of room starts again from 0.
 */
export function metricsOf({ clock, accounts, lanes, ledger, waits, holds }: BrokerParts) {
  const nowMs = clock.monotonicMs();
  const { times, failures } = ledger.writing;
  return {
    boundsMs: BOUNDS_MS,
    waits: described(waits),
    holds: described(holds),
    writes: { ...described(times), failures },
    oldestWaitMs: Math.round(oldestWaitMs(lanes, nowMs)),
    accounts: [...accounts.values()].map((account) => metricsOfAccount(account, nowMs)),
  };
}

function oldestWaitMs(lanes: LaneMap, nowMs: number): number {
  let oldestMs = 0;
  for (const { oldest } of lanes.busy())
    if (oldest !== undefined) oldestMs = Math.max(oldestMs, nowMs - oldest.sinceMs);
  return oldestMs;
}

function described({ counts, sumMs }: Histogram) {
  return { counts: [...counts], sumMs };
}

function metricsOfAccount(account: Account, nowMs: number) {
  const { tally, bucket, breaker } = account;
  return {
    account: account.name,
    exchange: account.exchange.name,
    grants: account.grants,
    nonces: account.nonces,
    waiting: account.waiting,
    held: account.leases,
    // Most are 0, and there may be a thousand accounts.
    outcomes: withoutZeros(tally.outcomes),
    endings: withoutZeros(tally.endings),
    paused: account.paused,
    quarantined: breaker.isOpen,
    pace: bucket === undefined ? null : { level: Number(bucket.level(nowMs).toFixed(2)), max: bucket.pacing.max },
  };
}

function withoutZeros<K extends string>(counts: Readonly<Record<K, number>>): Partial<Record<K, number>> {
  const entries = Object.entries<number>(counts).filter(([, count]) => count > 0);
  return Object.fromEntries(entries) as Partial<Record<K, number>>;
}
