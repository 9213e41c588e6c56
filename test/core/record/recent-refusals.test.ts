import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { ObservedRefusal } from '../../../src/core/ports.ts';
import { RecentRefusals, SERIES_GAP_MS } from '../../../src/core/record/recent-refusals.ts';
import { MOST_TOLD_APART, MOST_UNKNOWN, RefusalSums } from '../../../src/core/record/refusal-sums.ts';

function refusal(over: Partial<ObservedRefusal> = {}): ObservedRefusal {
  return {
    account: 'MASTER',
    isKnown: true,
    code: 'KEY_MISMATCH',
    text: 'the key is known under another label',
    holder: 'grid-bot',
    pid: 4711,
    label: undefined,
    waitedMs: 0,
    ...over,
  };
}

describe('refusals are added up', () => {
  test('by account and code, with the longest wait and the last of them', () => {
    const sums = new RefusalSums();
    sums.add(refusal({ pid: 1 }), 1_000);
    sums.add(refusal({ code: 'WAIT_TIMEOUT', waitedMs: 30_000 }), 1_200);
    sums.add(refusal({ code: 'WAIT_TIMEOUT', waitedMs: 10 }), 1_300);
    sums.add(refusal({ pid: 2 }), 1_400);
    sums.add(refusal({ account: 'USER:bob' }), 1_500);
    const all = sums.take();
    expect(
      all.map(({ account, code, count, longestWaitMs, sinceMs, lastAtMs }) => [
        account,
        code,
        count,
        longestWaitMs,
        lastAtMs - sinceMs,
      ]),
    ).toEqual([
      ['MASTER', 'KEY_MISMATCH', 2, 0, 400],
      ['MASTER', 'WAIT_TIMEOUT', 2, 30_000, 100],
      ['USER:bob', 'KEY_MISMATCH', 1, 0, 0],
    ]);
    expect(all[0]?.last.pid).toBe(2);
    expect(sums.size).toBe(0);
  });

  test('in one sum if their accounts are made up, so that a label for each request fills nothing', () => {
    const sums = new RefusalSums();
    for (let n = 0; n < 10_000; n += 1) sums.add(refusal({ account: `order-${n}`, isKnown: false }), n);
    sums.add(refusal(), 10_000);
    const all = sums.take();
    expect(all).toHaveLength(MOST_UNKNOWN + 2);
    const rest = all.find(({ account }) => account === undefined);
    expect(rest).toMatchObject({ count: 10_000 - MOST_UNKNOWN, last: { account: 'order-9999' } });
    expect(all.at(-1)).toMatchObject({ account: 'MASTER', count: 1 });
  });

  test('of no more accounts than are told apart, and those that are over make room', () => {
    const sums = new RefusalSums(60_000);
    for (let n = 0; n < 2 * MOST_TOLD_APART; n += 1) sums.add(refusal({ account: `A${n}` }), 0);
    expect(sums.size).toBe(MOST_TOLD_APART + 1);
    expect(sums.add(refusal({ account: 'B' }), 60_000).account).toBeUndefined();
    expect(sums.add(refusal({ account: 'C' }), 60_001).account).toBe('C');
  });

  test('and never of more than there is room for, whatever becomes known and when', () => {
    const step = fc.record({
      account: fc.option(fc.integer({ min: 0, max: 700 }).map(String), { nil: undefined }),
      isKnown: fc.boolean(),
      code: fc.constantFrom('KEY_MISMATCH' as const, 'LIMIT' as const),
      afterMs: fc.constantFrom(0, 1, 500, 1_001),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 1_500 }), (steps) => {
        const sums = new RefusalSums(1_000);
        let nowMs = 0;
        for (const { account, isKnown, code, afterMs } of steps) {
          nowMs += afterMs;
          sums.add(refusal({ account, isKnown, code }), nowMs);
        }
        const all = sums.lately(nowMs);
        const unknown = all.filter((sum) => sum.account !== undefined && !sum.isKnown);
        expect(unknown.length).toBeLessThanOrEqual(MOST_UNKNOWN);
        expect(all.length).toBeLessThanOrEqual(MOST_TOLD_APART + 2);
      }),
      { numRuns: 50 },
    );
  });
});

describe('what was refused lately', () => {
  test('is one series as long as no pause is longer than ten minutes', () => {
    const recent = new RecentRefusals();
    for (const atMs of [0, SERIES_GAP_MS, 2 * SERIES_GAP_MS]) recent.add(refusal(), atMs);
    expect(recent.lately(3 * SERIES_GAP_MS)).toMatchObject([{ count: 3, sinceMs: 0 }]);
    expect(recent.lately(3 * SERIES_GAP_MS + 1)).toEqual([]);
    recent.add(refusal(), 4 * SERIES_GAP_MS);
    expect(recent.lately(4 * SERIES_GAP_MS)).toMatchObject([{ count: 1 }]);
  });

  test('is remembered second by second, however many there are in one', () => {
    const recent = new RecentRefusals();
    for (let atMs = 0; atMs < 3_000; atMs += 5) recent.add(refusal(), atMs);
    expect([...recent.seconds.latestFirst()].map(({ count }) => count)).toEqual([200, 200, 200]);
  });
});
