import { describe, expect, test } from 'vitest';
import { expositionOf } from '../../../src/cli/metrics/exposition.ts';
import { DOWN, familiesOf } from '../../../src/cli/metrics/families.ts';
import { CLIENT_CODES, ERROR_CODES } from '../../../src/errors.ts';
import type { MetricsResult } from '../../../src/protocol/messages.ts';
import { accountAnswer, metricsAnswer, statusAnswer } from '../answers.ts';
import { parseStrictly } from './strict-parser.ts';

const WALL_MS = 1_795_365_000_000;

const textOf = (over: Partial<MetricsResult> = {}) => expositionOf(familiesOf(metricsAnswer(over), WALL_MS));

/** The value of one series, written as it stands in the text. */
function value(text: string, series: string): number | undefined {
  return parseStrictly(text)
    .get(series.replace(/(_bucket|_sum|_count)?(\{.*)?$/, ''))
    ?.samples.get(series);
}

test('the accounts that the state names are counted, if the daemon tells them', () => {
  expect(value(textOf(), 'nonced_named_accounts')).toBe(12);
  const { register: _, ...status } = statusAnswer();
  expect(textOf({ status })).not.toContain('nonced_named_accounts');
});

test('if no daemon answers, that is the only metric', () => {
  expect(expositionOf(DOWN)).toMatch(/^# HELP nonced_up .*\n# TYPE nonced_up gauge\nnonced_up 0\n$/);
});

test('every family is what a strict reader takes', () => {
  const families = parseStrictly(textOf({ accounts: [accountAnswer('A', { pace: { level: 1.25, max: 15 } })] }));
  expect(families.size).toBe(familiesOf(metricsAnswer(), WALL_MS).length);
  for (const name of families.keys()) expect(name).toMatch(/^nonced_/);
});

test('times are in seconds, and a histogram counts what is no longer than each bound', () => {
  const text = textOf({ waits: { counts: [5, 0, 2, 1], sumMs: 2_512.5 }, oldestWaitMs: 1_250 });
  expect(text.split('\n').filter((line) => line.startsWith('nonced_wait_seconds'))).toEqual([
    'nonced_wait_seconds_bucket{le="0.001"} 5',
    'nonced_wait_seconds_bucket{le="0.0025"} 5',
    'nonced_wait_seconds_bucket{le="1"} 7',
    'nonced_wait_seconds_bucket{le="+Inf"} 8',
    'nonced_wait_seconds_sum 2.5125',
    'nonced_wait_seconds_count 8',
  ]);
  expect(value(text, 'nonced_oldest_wait_seconds')).toBe(1.25);
});

test('holds and writes are other histograms than waits', () => {
  const text = textOf({
    holds: { counts: [0, 1, 0, 0], sumMs: 2 },
    writes: { counts: [0, 0, 3, 0], sumMs: 12, failures: 4 },
  });
  expect(value(text, 'nonced_hold_seconds_bucket{le="0.0025"}')).toBe(1);
  expect(value(text, 'nonced_state_write_seconds_count')).toBe(3);
  expect(value(text, 'nonced_state_write_failures_total')).toBe(4);
});

test('the start is in seconds since the epoch, and the epoch of the state counts the starts', () => {
  expect(value(textOf(), 'nonced_start_time_seconds')).toBe(WALL_MS / 1000 - 90);
  expect(value(textOf(), 'nonced_starts_total')).toBe(7);
  expect(value(textOf(), 'nonced_build_info{version="0.1.0"}')).toBe(1);
});

describe('what may come to be has a series from the start', () => {
  test('every refusal but the client’s own', () => {
    const text = textOf({ refusals: [{ code: 'WAIT_TIMEOUT', count: 3 }] });
    const refusals = parseStrictly(text).get('nonced_refusals_total')?.samples ?? new Map<string, number>();
    expect([...refusals].filter(([, count]) => count > 0)).toEqual([['nonced_refusals_total{code="WAIT_TIMEOUT"}', 3]]);
    expect([...refusals.keys()]).toEqual(
      ERROR_CODES.filter((code) => !CLIENT_CODES.has(code)).map((code) => `nonced_refusals_total{code="${code}"}`),
    );
  });

  test('a refusal that only a later daemon knows is counted too', () => {
    expect(value(textOf({ refusals: [{ code: 'TOO_NEW', count: 2 }] }), 'nonced_refusals_total{code="TOO_NEW"}')).toBe(
      2,
    );
  });

  test('every outcome and ending of an account', () => {
    const accounts = [accountAnswer('A', { outcomes: { 'invalid-nonce': 2 }, endings: { expired: 1 } })];
    const text = textOf({ accounts });
    const of = (name: string, label: string, of: string) =>
      value(text, `nonced_account_${name}_total{account="A",exchange="default",${label}="${of}"}`);
    expect(of('outcomes', 'outcome', 'invalid-nonce')).toBe(2);
    expect(of('outcomes', 'outcome', 'locked-out')).toBe(0);
    expect(of('endings', 'ending', 'expired')).toBe(1);
    expect(of('endings', 'ending', 'preempted')).toBe(0);
  });

  test.each([
    ['nonced_exclusion_policy', 'policy', ['global', 'account', 'off'], 'account'],
    ['nonced_durability_state', 'state', ['durable', 'slow', 'retrying'], 'retrying'],
    ['nonced_clock_state', 'state', ['followed', 'not-followed', 'behind'], 'behind'],
  ])('%s is 1 for the one that holds, and 0 for each of the others', (name, label, all, current) => {
    const status = statusAnswer({
      exclusive: 'account',
      durability: { state: 'retrying', problem: 'ENOSPC', writes: 1 },
      clock: { state: 'behind', offMs: -3_000 },
    });
    const text = textOf({ status });
    for (const one of all) expect(value(text, `${name}{${label}="${one}"}`), one).toBe(one === current ? 1 : 0);
  });
});

test('a counter that is a sequence has no lead, but a reserve as exact as a number can be', () => {
  const counter = { name: 'old', unit: 'counter', last: 7n, ceiling: 1_031n, leadMs: null, issued: 7 } as const;
  const text = textOf({ status: statusAnswer({ sequences: [...statusAnswer().sequences, counter] }) });
  expect(value(text, 'nonced_sequence_lead_seconds{sequence="default",unit="ns"}')).toBe(-0.129);
  expect(value(text, 'nonced_sequence_lead_seconds{sequence="old",unit="counter"}')).toBeUndefined();
  expect(value(text, 'nonced_sequence_reserve_nonces{sequence="old",unit="counter"}')).toBe(1_024);
  expect(value(text, 'nonced_sequence_reserve_nonces{sequence="default",unit="ns"}')).toBe(5e9);
});

test('what is wrong is 1: paused, quarantined, draining, down, a configuration that was refused', () => {
  const well = textOf();
  const status = statusAnswer({
    paused: ['A', 'GONE'],
    drainingForMs: 0,
    configurationProblem: 'unknown key',
    exchanges: [{ exchange: 'default', downForMs: 0, heldBack: [{ name: 'a', pid: 1, forMs: 0 }] }],
  });
  const ill = textOf({ status, accounts: [accountAnswer('MASTER', { paused: true, quarantined: true })] });
  for (const series of [
    'nonced_draining',
    'nonced_configuration_refused',
    'nonced_exchange_down{exchange="default"}',
    'nonced_exchange_held_back{exchange="default"}',
    'nonced_account_paused{account="MASTER",exchange="default"}',
    'nonced_account_quarantined{account="MASTER",exchange="default"}',
  ]) {
    expect([value(well, series), value(ill, series)], series).toEqual([0, 1]);
  }
  expect(value(ill, 'nonced_paused_accounts')).toBe(2);
});

test('an account has a pace only if it is paced', () => {
  const text = textOf({ accounts: [accountAnswer('A'), accountAnswer('B', { pace: { level: 7.25, max: 20 } })] });
  const families = parseStrictly(text);
  expect([...(families.get('nonced_account_pace_level')?.samples ?? [])]).toEqual([
    ['nonced_account_pace_level{account="B",exchange="default"}', 7.25],
  ]);
  expect(value(text, 'nonced_account_pace_max{account="B",exchange="default"}')).toBe(20);
  expect(parseStrictly(textOf()).has('nonced_account_pace_level')).toBe(false);
});

test('a thousand accounts are twenty thousand lines at most, and the worst kind of name does not begin another line', () => {
  const accounts = Array.from({ length: 1_000 }, (_, n) =>
    accountAnswer(`USER:${n}"\\\n`, { pace: { level: 1, max: 2 } }),
  );
  const text = textOf({ accounts });
  expect(text.split('\n').length).toBeLessThan(22_000);
  expect(parseStrictly(text).get('nonced_account_outcomes_total')?.samples.size).toBe(8_000);
});
