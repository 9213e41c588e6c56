import { describe, expect, test } from 'vitest';
import { LeakyBucket } from '../../../src/core/accounts/pacing.ts';

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
    // Calls that were let through together can hold more than fits.
    bucket.add(9, NOW_MS);
    expect(bucket.freeAtMs(0)).toBeLessThanOrEqual(NOW_MS);
    expect(bucket.freeAtMs(1)).toBe(NOW_MS + 20_000);
  });

  test('one that an exchange says is full is full, and never emptier than before', () => {
    const bucket = new LeakyBucket(PACING, 3, NOW_MS);
    bucket.fill(NOW_MS + 500);
    expect(bucket.level(NOW_MS + 500)).toBe(15);
    expect(bucket.freeAtMs(1)).toBe(NOW_MS + 2_500);
    bucket.fill(NOW_MS);
    expect(bucket.level(NOW_MS + 500)).toBe(15);
  });

  test('a call counts as if it had come as late as it can have: when it ended', () => {
    const bucket = new LeakyBucket(PACING, 0, NOW_MS);
    bucket.add(15, NOW_MS);
    expect([bucket.level(NOW_MS + 20_000), bucket.underWay]).toEqual([5, 15]);
    bucket.ended(15, NOW_MS + 20_000);
    expect([bucket.level(NOW_MS + 20_000), bucket.underWay]).toEqual([15, 0]);
    expect(bucket.freeAtMs(1)).toBe(NOW_MS + 22_000);
  });

  test('and the others that are still under way count then too, because the exchange may not have seen them yet', () => {
    const bucket = new LeakyBucket(PACING, 0, NOW_MS);
    bucket.add(4, NOW_MS);
    bucket.add(6, NOW_MS);
    bucket.ended(4, NOW_MS + 60_000);
    expect([bucket.level(NOW_MS + 60_000), bucket.underWay]).toEqual([10, 6]);
    bucket.ended(6, NOW_MS + 61_000);
    expect([bucket.level(NOW_MS + 61_000), bucket.underWay]).toEqual([9.5, 0]);
  });

  test('a call of which nothing was sent gives its cost back: the bucket is as if it had not seen the call', () => {
    const bucket = new LeakyBucket({ max: 15, perSecond: 1 }, 0, NOW_MS - 1);
    bucket.add(10, NOW_MS);
    bucket.add(10, NOW_MS + 10_000);
    bucket.givenBack(10, NOW_MS, NOW_MS + 10_200);
    // The second one may arrive only now.
    expect([bucket.level(NOW_MS + 10_200), bucket.underWay]).toEqual([10, 10]);
    bucket.givenBack(10, NOW_MS + 10_000, NOW_MS + 10_300);
    expect([bucket.level(NOW_MS + 10_300), bucket.underWay]).toEqual([0, 0]);
  });

  test('a call that began before the exchange said that it is full gives nothing back', () => {
    const bucket = new LeakyBucket(PACING, 0, NOW_MS);
    bucket.add(5, NOW_MS);
    bucket.fill(NOW_MS + 1_000);
    bucket.givenBack(5, NOW_MS, NOW_MS + 2_000);
    expect([bucket.level(NOW_MS + 2_000), bucket.underWay]).toEqual([14.5, 0]);
  });

  test('a call that ends sooner than the bucket has drained changes nothing', () => {
    const bucket = new LeakyBucket(PACING, 12, NOW_MS);
    bucket.add(2, NOW_MS);
    bucket.ended(2, NOW_MS + 1_000);
    expect(bucket.level(NOW_MS + 1_000)).toBe(13.5);
    bucket.add(0, NOW_MS + 1_000);
    bucket.ended(0, NOW_MS + 1_000);
    expect(bucket.level(NOW_MS + 1_000)).toBe(13.5);
  });

  test('with another pacing, calls under way count when they end', () => {
    const bucket = new LeakyBucket(PACING, 3, NOW_MS, 3);
    bucket.ended(3, NOW_MS + 10_000);
    expect(bucket.level(NOW_MS + 10_000)).toBe(3);
    // One that was begun without them is not led below nothing.
    const unaware = new LeakyBucket(PACING, 0, NOW_MS);
    unaware.ended(3, NOW_MS);
    expect([unaware.level(NOW_MS), unaware.underWay]).toEqual([0, 0]);
  });

  test('its first level counts, even above its maximum', () => {
    expect(new LeakyBucket(PACING, 40, NOW_MS).level(NOW_MS)).toBe(40);
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
