import { CLIENT_CODES, ERROR_CODES } from '../../errors.ts';
import type {
  AccountMetrics,
  HistogramResult,
  MetricsResult,
  SequenceStatus,
  StatusResult,
} from '../../protocol/messages.ts';
import { EXCLUSION_POLICIES, LEASE_ENDS, OUTCOMES } from '../../terms.ts';
import { type Family, type Sample, valueText } from './exposition.ts';

const DURABILITY_STATES: readonly StatusResult['durability']['state'][] = ['durable', 'slow', 'retrying'];
const CLOCK_STATES: readonly StatusResult['clock']['state'][] = ['followed', 'not-followed', 'behind'];
/** The codes of the daemon's refusals. */
const REFUSALS: readonly string[] = ERROR_CODES.filter((code) => !CLIENT_CODES.has(code));

/** The only family if no daemon answers: no count is made up. */
export const DOWN: readonly Family[] = [up(0)];

/**
 * Returns the daemon's answer to `metrics` at `wallMs` as families. A series that may appear later is there from the
 * start, with 0, or its first event would go unnoticed: `increase()` sees no change if there was nothing before.
 */
export function familiesOf(metrics: MetricsResult, wallMs: number): readonly Family[] {
  return [
    up(1),
    ...ofDaemon(metrics.status, wallMs),
    ...ofCalls(metrics),
    ...ofState(metrics),
    ...ofSequences(metrics.status.sequences),
    gauge(
      'nonced_exchange_down',
      '1 while an exchange counts as down because its last calls got no answer.',
      metrics.status.exchanges.map(({ exchange, downForMs }) => one(flag(downForMs !== null), { exchange })),
    ),
    gauge(
      'nonced_exchange_held_back',
      'Processes that alone get no answer from an exchange, and are held back.',
      metrics.status.exchanges.map(({ exchange, heldBack = [] }) => one(heldBack.length, { exchange })),
    ),
    ...ofAccounts(metrics.accounts),
  ];
}

function up(value: 0 | 1): Family {
  return gauge('nonced_up', '1 if the daemon answered; 0 if it did not, and then there is no other metric.', [
    one(value),
  ]);
}

function ofDaemon(status: StatusResult, wallMs: number): Family[] {
  const { version, epoch, uptimeMs, totals, exclusive } = status;
  return [
    gauge('nonced_build_info', 'The version of the daemon, as a label.', [one(1, { version })]),
    gauge('nonced_start_time_seconds', 'When the daemon started, in seconds since the Unix epoch.', [
      one((wallMs - uptimeMs) / 1000),
    ]),
    counter('nonced_starts_total', 'How often its state has been opened: the epoch.', [one(epoch)]),
    gauge('nonced_connections', 'Open connections, including the one of this scrape.', [one(totals.connections)]),
    gauge(
      'nonced_exclusion_policy',
      '1 for the exclusion policy in effect.',
      oneOf('policy', EXCLUSION_POLICIES, exclusive),
    ),
    gauge('nonced_draining', '1 while an operator lets only urgent calls begin.', [
      one(flag(status.drainingForMs !== null)),
    ]),
    gauge('nonced_configuration_refused', '1 if the configuration that was read last is not in effect.', [
      one(flag(status.configurationProblem !== null)),
    ]),
    gauge('nonced_accounts', 'Accounts in use.', [one(totals.accounts)]),
    gauge(
      'nonced_named_accounts',
      'Accounts that the state names, in use or not.',
      status.register === undefined ? [] : [one(status.register.named)],
    ),
    gauge('nonced_paused_accounts', 'Accounts that an operator has paused, in use or not; at most 100 are counted.', [
      one(status.paused.length),
    ]),
  ];
}

function ofCalls({ status, boundsMs, waits, holds, refusals, oldestWaitMs }: MetricsResult): Family[] {
  const { totals } = status;
  const counts = new Map(REFUSALS.map((code) => [code, 0]));
  for (const { code, count } of refusals) counts.set(code, count);
  return [
    gauge('nonced_leases', 'Calls under way.', [one(totals.leases)]),
    gauge('nonced_waiting', 'Calls that wait for a lease.', [one(totals.waiting)]),
    gauge('nonced_oldest_wait_seconds', 'How long the longest waiter has waited; 0 if none waits.', [
      one(oldestWaitMs / 1000),
    ]),
    counter('nonced_grants_total', 'Calls that were granted.', [one(totals.grants)]),
    counter('nonced_nonces_total', 'Nonces that were handed out, with a call or without.', [one(totals.nonces)]),
    counter(
      'nonced_refusals_total',
      'Requests that were refused, by error code.',
      [...counts].map(([code, count]) => one(count, { code })),
    ),
    histogram('nonced_wait_seconds', 'How long the calls that have ended waited for their lease.', boundsMs, waits),
    histogram('nonced_hold_seconds', 'How long the calls that have ended held their lease.', boundsMs, holds),
  ];
}

function ofState({ status, boundsMs, writes }: MetricsResult): Family[] {
  const { durability, clock } = status;
  return [
    histogram(
      'nonced_state_write_seconds',
      'How long it took until a write of the state was durable.',
      boundsMs,
      writes,
    ),
    counter('nonced_state_write_failures_total', 'Writes of the state that failed.', [one(writes.failures)]),
    gauge(
      'nonced_durability_state',
      '1 for how the state can be written: retrying means that writes fail, slow that one takes over a second.',
      oneOf('state', DURABILITY_STATES, durability.state),
    ),
    gauge(
      'nonced_clock_state',
      '1 for how the nonces treat the wall clock: followed, not followed after a jump ahead, or behind.',
      oneOf('state', CLOCK_STATES, clock.state),
    ),
    gauge('nonced_clock_offset_seconds', 'How far the wall clock is from where the time since boot puts it.', [
      one(clock.offMs / 1000),
    ]),
  ];
}

function ofSequences(sequences: readonly SequenceStatus[]): Family[] {
  const of = (value: (sequence: SequenceStatus) => number | null) =>
    sequences.flatMap((sequence) => {
      const found = value(sequence);
      return found === null ? [] : [one(found, { sequence: sequence.name, unit: sequence.unit })];
    });
  return [
    gauge(
      'nonced_sequence_lead_seconds',
      'How far the last nonce is ahead of the clock; below zero is usual.',
      of(({ leadMs }) => (leadMs === null ? null : leadMs / 1000)),
    ),
    gauge(
      'nonced_sequence_reserve_nonces',
      'Nonces that may still be handed out before the state must be written again.',
      of(({ last, ceiling }) => Number(ceiling - last)),
    ),
    counter(
      'nonced_sequence_nonces_total',
      'Nonces that were handed out.',
      of(({ issued }) => issued),
    ),
  ];
}

function ofAccounts(accounts: readonly AccountMetrics[]): Family[] {
  const of = (values: (account: AccountMetrics) => readonly Sample[]) =>
    accounts.flatMap((account) =>
      values(account).map(({ labels, value }) =>
        one(value, { account: account.account, exchange: account.exchange, ...labels }),
      ),
    );
  return [
    counter(
      'nonced_account_grants_total',
      'Calls that were granted.',
      of(({ grants }) => [one(grants)]),
    ),
    counter(
      'nonced_account_nonces_total',
      'Nonces that were handed out.',
      of(({ nonces }) => [one(nonces)]),
    ),
    gauge(
      'nonced_account_leases',
      'Calls under way.',
      of(({ held }) => [one(held)]),
    ),
    gauge(
      'nonced_account_waiting',
      'Calls that wait for a lease.',
      of(({ waiting }) => [one(waiting)]),
    ),
    counter(
      'nonced_account_outcomes_total',
      'Calls that have ended, by the outcome that their bots reported.',
      of(({ outcomes }) => OUTCOMES.map((outcome) => one(outcomes[outcome] ?? 0, { outcome }))),
    ),
    counter(
      'nonced_account_endings_total',
      'Calls that have ended, by how their leases ended.',
      of(({ endings }) => LEASE_ENDS.map((ending) => one(endings[ending] ?? 0, { ending }))),
    ),
    gauge(
      'nonced_account_paused',
      '1 while an operator has paused the account.',
      of(({ paused }) => [one(flag(paused))]),
    ),
    gauge(
      'nonced_account_quarantined',
      '1 while the account is quarantined and only probes go through.',
      of(({ quarantined }) => [one(flag(quarantined))]),
    ),
    gauge(
      'nonced_account_pace_level',
      'How full the bucket of a paced account is.',
      of(({ pace }) => (pace === null ? [] : [one(pace.level)])),
    ),
    gauge(
      'nonced_account_pace_max',
      'How full the bucket of a paced account may be.',
      of(({ pace }) => (pace === null ? [] : [one(pace.max)])),
    ),
  ];
}

function gauge(name: string, help: string, samples: readonly Sample[]): Family {
  return { name, type: 'gauge', help, samples };
}

function counter(name: string, help: string, samples: readonly Sample[]): Family {
  return { name, type: 'counter', help, samples };
}

function histogram(
  name: string,
  help: string,
  boundsMs: readonly number[],
  { counts, sumMs }: HistogramResult,
): Family {
  let count = 0;
  const buckets = counts.map((inBucket, index) => {
    count += inBucket;
    const bound = boundsMs[index] ?? Number.POSITIVE_INFINITY;
    return { suffix: '_bucket', labels: { le: valueText(bound / 1000) }, value: count };
  });
  return {
    name,
    type: 'histogram',
    help,
    samples: [
      ...buckets,
      { suffix: '_sum', labels: {}, value: sumMs / 1000 },
      { suffix: '_count', labels: {}, value: count },
    ],
  };
}

function one(value: number, labels: Readonly<Record<string, string>> = {}): Sample {
  return { labels, value };
}

/** Returns a series for each possible value, of which one is 1. */
function oneOf(label: string, values: readonly string[], current: string): Sample[] {
  return values.map((value) => one(flag(value === current), { [label]: value }));
}

function flag(holds: boolean): 0 | 1 {
  return holds ? 1 : 0;
}
