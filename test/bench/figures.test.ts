import { expect, test } from 'vitest';
import { figuresOf, handOffs, median, percentile } from '../../bench/figures.ts';
import type { Sample } from '../../bench/load.ts';

const upTo = (count: number): number[] => Array.from({ length: count }, (_, index) => index + 1);

test('the median is the middle value, or between the two in the middle, in any order', () => {
  expect(median([30, 1, 2])).toBe(2);
  expect(median([40, 1, 3, 2])).toBe(2.5);
  expect(median([])).toBeNaN();
});

test('a percentile is a value that was measured, and the last one is the greatest', () => {
  expect(percentile(upTo(200), 99)).toBe(198);
  expect(percentile(upTo(200), 100)).toBe(200);
  expect(percentile([7], 1)).toBe(7);
  expect(percentile([], 50)).toBeNaN();
});

test('times in nanoseconds are summed up in microseconds and per second', () => {
  expect(figuresOf([3_000, 1_000, 2_000, 6_000], [], 500)).toEqual({
    operations: 4,
    perSecond: 8,
    meanUs: 3,
    medianUs: 2,
    p99Us: 6,
  });
});

test('a caller that still waits at the end is in the tail, and does not count as an operation', () => {
  const figures = figuresOf([1_000, 1_000], [900_000], 1_000);
  expect(figures).toMatchObject({ operations: 2, meanUs: 1, medianUs: 1, p99Us: 900 });
});

const sample = (holds: readonly (readonly [granted: number, released: number])[]): Sample => ({
  latenciesNs: new Float64Array(),
  waitingNs: new Float64Array(),
  grantedAtNs: Float64Array.from(holds, ([granted]) => granted),
  releasedAtNs: Float64Array.from(holds, ([, released]) => released),
});

test('a hand-off is from a release to the next grant, whichever process had them', () => {
  expect(
    handOffs([
      sample([
        [0, 10],
        [35, 40],
      ]),
      sample([[12, 30]]),
    ]),
  ).toEqual([2, 5]);
});

test('two that held the lane at once are an error, not a very quick hand-off', () => {
  expect(() => handOffs([sample([[0, 10]]), sample([[9, 30]])])).toThrow('two callers');
});
