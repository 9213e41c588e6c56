import { expect, test } from 'vitest';
import { BOUNDS_MS, Histogram } from '../../../src/core/record/histogram.ts';
import { HourlyCount } from '../../../src/core/record/hourly-count.ts';

test('a duration falls into the first bucket whose bound it does not pass, and into the last one past them all', () => {
  const histogram = new Histogram();
  for (const ms of [0, 1, 1.01, 60_000, 60_001]) histogram.add(ms);
  expect(histogram.counts).toHaveLength(BOUNDS_MS.length + 1);
  expect(histogram.counts[0]).toBe(2);
  expect(histogram.counts[1]).toBe(1);
  expect(histogram.counts.at(-2)).toBe(1);
  expect(histogram.counts.at(-1)).toBe(1);
  expect(histogram.count).toBe(5);
  expect(histogram.sumMs).toBeCloseTo(120_003.01);
});

test('an hourly count forgets what is over an hour ago, also after a long silence', () => {
  const MINUTE_MS = 60_000;
  const count = new HourlyCount();
  count.add(10 * MINUTE_MS);
  count.add(10 * MINUTE_MS);
  count.add(30 * MINUTE_MS);
  expect(count.of(30 * MINUTE_MS)).toBe(3);
  expect(count.of(64 * MINUTE_MS)).toBe(3);
  expect(count.of(75 * MINUTE_MS)).toBe(1);
  expect(count.of(95 * MINUTE_MS)).toBe(0);
  count.add(1_000 * MINUTE_MS);
  expect(count.of(1_000 * MINUTE_MS)).toBe(1);
});
