import { describe, expect, test } from 'vitest';
import { BUCKET_MS, BUCKETS, CallHistory, percentilesOf } from '../../../src/cli/top/history.ts';
import { callAnswer } from '../answers.ts';

const NOW_MS = 1_000_000;
const MINUTE_MS = 60_000;

/** Calls that ended so long ago, of an account. */
const ended = (agosMs: readonly number[], account = 'A', waitedMs = 0) =>
  agosMs.map((agoMs, index) => callAnswer(index + 1, { agoMs, account, waitedMs }));

const every = (stepMs: number, untilMs: number) =>
  Array.from({ length: Math.floor(untilMs / stepMs) }, (_, n) => untilMs - n * stepMs);

describe('percentiles', () => {
  test('are values that occurred, by their ranks', () => {
    const hundred = Array.from({ length: 100 }, (_, n) => 100 - n);
    expect(percentilesOf(hundred)).toEqual({ p50: 50, p99: 99 });
    expect(percentilesOf([7])).toEqual({ p50: 7, p99: 7 });
    expect(percentilesOf([9, 100, 1])).toEqual({ p50: 9, p99: 100 });
    expect(percentilesOf([])).toBeUndefined();
  });

  test('are of the calls that ended in the last minute, by account and of all', () => {
    const history = new CallHistory();
    history.add(
      [...ended([MINUTE_MS], 'A', 500), ...ended([MINUTE_MS - 1], 'A', 20), ...ended([10], 'B', 40)],
      0,
      NOW_MS,
      0,
    );
    const { total, byAccount } = history.figures(NOW_MS, ['C']);
    expect(byAccount.get('A')?.wait).toEqual({ p50: 20, p99: 20 });
    expect(byAccount.get('C')?.wait).toBeUndefined();
    expect(total.wait).toEqual({ p50: 20, p99: 40 });
    expect(total.hold).toEqual({ p50: 150, p99: 150 });
  });
});

describe('a rate', () => {
  test('is over the last ten seconds', () => {
    const history = new CallHistory();
    history.add(ended(every(100, 20_000)), 0, NOW_MS, 0);
    expect(history.figures(NOW_MS, []).total.perSecond).toBeCloseTo(10);
    expect(history.figures(NOW_MS, ['B']).byAccount.get('B')?.perSecond).toBe(0);
  });

  test('is over the time that is known if that is less, and not known in its first second', () => {
    const history = new CallHistory();
    history.add(ended(every(100, 2_000)), 0, NOW_MS, NOW_MS - 2_000);
    expect(history.figures(NOW_MS, []).total.perSecond).toBeCloseTo(10);
    const young = new CallHistory();
    young.add(ended([100]), 0, NOW_MS, NOW_MS - 999);
    expect(young.figures(NOW_MS, []).total.perSecond).toBeUndefined();
  });

  test('counts calls that were forgotten before they were read, of all accounts together', () => {
    const history = new CallHistory();
    history.add(ended([10]), 99, NOW_MS, 0);
    const { total, byAccount } = history.figures(NOW_MS, []);
    expect(total.perSecond).toBeCloseTo(10);
    expect(byAccount.get('A')?.perSecond).toBeCloseTo(0.1);
  });
});

describe('the trend', () => {
  test('is five minutes in bars of five seconds, the latest last, and what is not known is not nothing', () => {
    const history = new CallHistory();
    const nowMs = 200 * BUCKET_MS + 2_000;
    history.add(ended([2_000 + BUCKET_MS - 1, 2_001, 500]), 0, nowMs, nowMs - 2_000 - 3 * BUCKET_MS);
    const { trend } = history.figures(nowMs, []).total;
    expect(trend).toHaveLength(BUCKETS);
    expect(trend.slice(-5)).toEqual([undefined, 0, 0, 0.4, 0.5]);
  });

  test('of a bar that has only begun makes no peak of a single call', () => {
    const history = new CallHistory();
    const nowMs = 200 * BUCKET_MS + 10;
    history.add(ended([5]), 0, nowMs, 0);
    expect(history.figures(nowMs, []).total.trend.at(-1)).toBe(1);
  });

  test('stands still while time goes on, bar by bar', () => {
    const history = new CallHistory();
    const nowMs = 200 * BUCKET_MS;
    history.add(ended(every(700, 4 * MINUTE_MS)), 0, nowMs, 0);
    const before = history.figures(nowMs + 1_000, []).total.trend;
    const after = history.figures(nowMs + 4_000, []).total.trend;
    expect(after.slice(0, -1)).toEqual(before.slice(0, -1));
    expect(history.figures(nowMs + 6_000, []).total.trend.slice(0, -2)).toEqual(before.slice(1, -1));
  });

  test('keeps to what was read over days of calls', () => {
    const history = new CallHistory();
    for (let second = 0; second < 400; second += 1) {
      history.add(ended([1, 2, 3]), 0, NOW_MS + second * 1_000, second === 0 ? NOW_MS : undefined);
    }
    const nowMs = NOW_MS + 399_000;
    const { trend, perSecond } = history.figures(nowMs, []).total;
    expect(trend.slice(1, -1)).toEqual(Array(BUCKETS - 2).fill(3));
    expect(perSecond).toBeCloseTo(3);
  });

  test('of more calls than are kept is of the last ones, and of those before nothing is known', () => {
    const history = new CallHistory(1_000);
    history.add(ended(every(100, 60_000)), 0, NOW_MS, 0);
    history.add(ended(every(100, 60_000)), 0, NOW_MS + 60_000);
    const { trend } = history.figures(NOW_MS + 60_000, []).total;
    expect(trend.at(-2)).toBeCloseTo(10);
    expect(trend.filter((value) => value !== undefined)).toHaveLength(1_000 / 10 / 5);
  });
});
