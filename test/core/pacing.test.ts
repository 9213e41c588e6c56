import { describe, expect, test } from 'vitest';
import { LeakyBucket } from '../../src/core/pacing.ts';

const PACING = { max: 15, perSecond: 0.5 };
const NOW_MS = 1_000_000;

describe('LeakyBucket', () => {
  test('an empty one lets a burst of exactly its maximum through, and the next call when its cost has drained', () => {
    const bucket = new LeakyBucket(PACING, 0, NOW_MS);
    for (let call = 0; call < 15; call += 1) {
      expect(bucket.freeAtMs(1)).toBeLessThanOrEqual(NOW_MS);
      bucket.add(1, NOW_MS);
    }
    expect(bucket.level(NOW_MS)).toBe(15);
    expect(bucket.freeAtMs(1)).toBe(NOW_MS + 2_000);
    expect(bucket.freeAtMs(3)).toBe(NOW_MS + 6_000);
  });

  test('what costs the whole bucket may be let through when it is empty, and not a moment earlier', () => {
    const bucket = new LeakyBucket(PACING, 0.001, NOW_MS);
    expect(bucket.freeAtMs(15)).toBe(NOW_MS + 2);
    bucket.add(15, NOW_MS + 2);
    expect(bucket.level(NOW_MS + 2)).toBe(15);
  });

  test('it drains at its rate, never below nothing, and an idle time is not saved up', () => {
    const bucket = new LeakyBucket(PACING, 4, NOW_MS);
    expect(bucket.level(NOW_MS + 2_000)).toBe(3);
    expect(bucket.level(NOW_MS + 3_600_000)).toBe(0);
    bucket.add(15, NOW_MS + 3_600_000);
    expect(bucket.level(NOW_MS + 3_600_000)).toBe(15);
  });

  test('what costs nothing is let through however full it is, and changes nothing', () => {
    const bucket = new LeakyBucket(PACING, 15, NOW_MS);
    expect(bucket.freeAtMs(0)).toBeLessThanOrEqual(NOW_MS);
    bucket.add(0, NOW_MS);
    expect(bucket.level(NOW_MS)).toBe(15);
  });

  test('one that an exchange says is full is full, and is not made emptier by it', () => {
    const bucket = new LeakyBucket(PACING, 3, NOW_MS);
    bucket.fill(NOW_MS + 500);
    expect(bucket.level(NOW_MS + 500)).toBe(15);
    expect(bucket.freeAtMs(1)).toBe(NOW_MS + 2_500);
    bucket.fill(NOW_MS);
    expect(bucket.level(NOW_MS + 500)).toBe(15);
  });

  test('what it is begun with counts up to its maximum', () => {
    expect(new LeakyBucket(PACING, 40, NOW_MS).level(NOW_MS)).toBe(15);
    expect(new LeakyBucket(PACING, Number.POSITIVE_INFINITY, NOW_MS).level(NOW_MS)).toBe(15);
    expect(new LeakyBucket(PACING, 6, NOW_MS - 4_000).level(NOW_MS)).toBe(4);
  });

  test('when it says a call is free it is, to the last bit, at rates that no double can hold', () => {
    for (let step = 0; step < 1_000; step += 1) {
      const nowMs = NOW_MS + step * 1.1;
      const bucket = new LeakyBucket({ max: 15, perSecond: 0.33 }, 0, nowMs);
      bucket.add(14.7 + step / 9_999, nowMs);
      const freeAtMs = bucket.freeAtMs(1);
      expect(bucket.freeAtMs(1)).toBeLessThanOrEqual(freeAtMs);
      expect(bucket.level(freeAtMs)).toBeCloseTo(14, 9);
    }
  });
});
