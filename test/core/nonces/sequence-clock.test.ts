import { describe, expect, test } from 'vitest';
import { nonceFloorAt, nonceSpanMs, SequenceClock } from '../../../src/core/nonces/sequence-clock.ts';
import { VirtualClock } from '../../fixtures/virtual-clock.ts';

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;
const WALL_MS = Date.UTC(2026, 5, 1);

function running(): { clock: VirtualClock; time: SequenceClock } {
  const clock = new VirtualClock(WALL_MS);
  return { clock, time: new SequenceClock(clock, 'boot-1', { anchor: undefined, seenWallMs: WALL_MS }) };
}

/** The next daemon, on what the one before has made durable. */
const restarted = (clock: VirtualClock, before: SequenceClock, bootId = 'boot-1', seenWallMs = WALL_MS) =>
  new SequenceClock(clock, bootId, { anchor: before.anchor, seenWallMs });

describe('nonceFloorAt', () => {
  test.each([
    ['ns', 1_790_000_000_001_000_000n],
    ['us', 1_790_000_000_001_000n],
    ['ms', 1_790_000_000_001n],
    ['s', 1_790_000_001n],
    ['counter', 0n],
  ] as const)(
    'rounds up in %s: a program that looked at a finer clock in the same millisecond lies below',
    (unit, floor) => {
      expect(nonceFloorAt(1_790_000_000_000, unit)).toBe(floor);
      expect(nonceFloorAt(1_790_000_000_000.9, unit)).toBe(floor);
    },
  );

  test('nonceSpanMs is its inverse for spans', () => {
    expect(nonceSpanMs(5_000_000_000n, 'ns')).toBe(5_000);
    expect(nonceSpanMs(5_000_000n, 'us')).toBe(5_000);
    expect(nonceSpanMs(5_000n, 'ms')).toBe(5_000);
    expect(nonceSpanMs(-5n, 's')).toBe(-5_000);
    expect(nonceSpanMs(5n, 'counter')).toBeUndefined();
  });
});

describe('SequenceClock', () => {
  test('follows the wall clock', () => {
    const { clock, time } = running();
    clock.advance(90_000);
    expect(time.nowMs()).toBe(WALL_MS + 90_000);
    expect(time.state).toBe('followed');
  });

  test('follows the wall clock back, which is harmless', () => {
    const { clock, time } = running();
    clock.stepWall(-2 * HOUR_MS);
    expect(time.nowMs()).toBe(WALL_MS - 2 * HOUR_MS);
    expect(time.state).toBe('followed');
  });

  test('follows a suspend of any length: the time since boot runs on', () => {
    const { clock, time } = running();
    clock.suspend(3 * DAY_MS);
    expect(time.nowMs()).toBe(WALL_MS + 3 * DAY_MS);
    expect(time.state).toBe('followed');
  });

  test('follows a jump of 30 minutes ahead', () => {
    const { clock, time } = running();
    clock.stepWall(30 * MINUTE_MS);
    expect(time.nowMs()).toBe(WALL_MS + 30 * MINUTE_MS);
    expect(time.state).toBe('followed');
  });

  test('I10: does not follow a jump of 2 hours ahead, and goes by the time since boot', () => {
    const { clock, time } = running();
    clock.stepWall(2 * HOUR_MS);
    expect(time.nowMs()).toBe(WALL_MS);
    expect(time.state).toBe('not-followed');
    expect(time.offMs()).toBe(2 * HOUR_MS);
    clock.advance(5_000);
    expect(time.nowMs()).toBe(WALL_MS + 5_000);
  });

  test('I10: does not follow it after a restart in the same boot either', () => {
    const { clock, time } = running();
    clock.advance(10_000);
    clock.stepWall(2 * HOUR_MS);
    const next = restarted(clock, time);
    expect(next.state).toBe('not-followed');
    expect(next.nowMs()).toBe(WALL_MS + 10_000);
  });

  test('follows again once the wall clock has been put right', () => {
    const { clock, time } = running();
    clock.stepWall(2 * HOUR_MS);
    time.nowMs();
    clock.stepWall(-2 * HOUR_MS);
    expect(time.nowMs()).toBe(WALL_MS);
    expect(time.state).toBe('followed');
  });

  test('I10: of two jumps of 40 minutes only the first is followed', () => {
    const { clock, time } = running();
    clock.stepWall(40 * MINUTE_MS);
    expect(time.nowMs()).toBe(WALL_MS + 40 * MINUTE_MS);
    clock.advance(MINUTE_MS);
    clock.stepWall(40 * MINUTE_MS);
    expect(time.nowMs()).toBe(WALL_MS + MINUTE_MS);
    expect(time.state).toBe('not-followed');
  });

  test('I10: steps too small to be looked at one by one are noticed together', () => {
    const { clock, time } = running();
    for (let step = 0; step < 8_000; step += 1) {
      clock.stepWall(900);
      clock.advance(10);
      time.nowMs();
    }
    expect(time.state).toBe('not-followed');
    expect(time.nowMs()).toBeLessThanOrEqual(WALL_MS + 80_000);
  });

  test('an operator accepts the wall clock as it is, and that becomes the yardstick', () => {
    const { clock, time } = running();
    clock.stepWall(2 * HOUR_MS);
    time.nowMs();
    const anchor = time.anchorHere();
    expect(time.state).toBe('not-followed');
    time.accept(anchor);
    expect(time.state).toBe('followed');
    expect(time.nowMs()).toBe(WALL_MS + 2 * HOUR_MS);
    clock.stepWall(2 * HOUR_MS);
    expect(time.nowMs()).toBe(WALL_MS + 2 * HOUR_MS);
    expect(restarted(clock, time).state).toBe('not-followed');
  });

  test('a new boot has a yardstick of its own: days without power are not a jump', () => {
    const { clock, time } = running();
    clock.reboot(WALL_MS + 27 * DAY_MS);
    const next = restarted(clock, time, 'boot-2');
    expect(next.state).toBe('followed');
    expect(next.nowMs()).toBe(WALL_MS + 27 * DAY_MS);
    expect(next.anchor?.bootId).toBe('boot-2');
  });

  test('a new boot in 1970 is harmless and starts no yardstick; the correction is followed', () => {
    const { clock, time } = running();
    clock.reboot(0);
    const next = restarted(clock, time, 'boot-2');
    expect(next.state).toBe('behind');
    expect(next.anchor).toBeUndefined();
    expect(next.nowMs()).toBeLessThan(WALL_MS);
    clock.setWall(WALL_MS + DAY_MS);
    expect(next.nowMs()).toBe(WALL_MS + DAY_MS);
    expect(next.state).toBe('followed');
    expect(next.anchor).toBeDefined();
  });

  test.each([
    ['a month', 28],
    ['a year', 365],
  ])('I10: a battery-backed clock that was set %s ahead is not believed', (_what, days) => {
    const { clock, time } = running();
    clock.reboot(WALL_MS + days * DAY_MS);
    const next = restarted(clock, time, 'boot-2');
    expect(next.state).toBe('not-followed');
    expect(next.nowMs()).toBe(0);
    clock.setWall(WALL_MS);
    expect(next.nowMs()).toBe(WALL_MS);
    expect(next.state).toBe('followed');
  });

  test('a virtual machine that is paused for 10 minutes each night is followed for a whole boot', () => {
    const { clock, time } = running();
    for (let night = 0; night < 100; night += 1) {
      for (let hour = 0; hour < 24; hour += 1) {
        clock.advance(HOUR_MS);
        time.nowMs();
      }
      // While it is paused all its clocks stand still; afterwards its wall clock is set.
      clock.stepWall(10 * MINUTE_MS);
      expect(time.nowMs()).toBe(clock.wallMs());
      expect(time.state).toBe('followed');
    }
    expect(restarted(clock, time).state).toBe('followed');
  });

  test.each([2, 6])('I10: a clock that is led ahead by %i hours a day is not followed for long', (hours) => {
    const { clock, time } = running();
    const beganMs = clock.wallMs();
    let led = 0;
    for (let hour = 0; hour < 30 * 24 && time.state === 'followed'; hour += 1) {
      for (let minute = 0; minute < 60; minute += 1) {
        clock.advance(MINUTE_MS);
        clock.stepWall(hours * 2_500);
        time.nowMs();
      }
      led = time.nowMs() - beganMs - (hour + 1) * HOUR_MS;
    }
    expect(time.state).toBe('not-followed');
    expect(led).toBeLessThan(3 * HOUR_MS);
  });

  test('I10: of two jumps of 40 minutes a day apart both are followed, of two that are an hour apart only the first', () => {
    for (const [apart, state] of [
      [24, 'followed'],
      [1, 'not-followed'],
    ] as const) {
      const { clock, time } = running();
      clock.stepWall(40 * MINUTE_MS);
      for (let hour = 0; hour < apart; hour += 1) {
        clock.advance(HOUR_MS);
        time.nowMs();
      }
      clock.stepWall(40 * MINUTE_MS);
      time.nowMs();
      expect([apart, time.state]).toEqual([apart, state]);
    }
  });

  test('I10: a jump that was not followed is never followed by itself, however long it lasts', () => {
    const { clock, time } = running();
    clock.stepWall(2 * HOUR_MS);
    for (let hour = 0; hour < 100 * 24; hour += 1) {
      clock.advance(HOUR_MS);
      time.nowMs();
    }
    expect(time.state).toBe('not-followed');
    expect(time.nowMs()).toBe(clock.wallMs() - 2 * HOUR_MS);
  });

  test('a step back for an hour, and its correction, are both followed', () => {
    const { clock, time } = running();
    clock.stepWall(-10 * HOUR_MS);
    clock.advance(HOUR_MS);
    time.nowMs();
    clock.stepWall(10 * HOUR_MS);
    expect(time.nowMs()).toBe(WALL_MS + HOUR_MS);
    expect(time.state).toBe('followed');
  });

  test('a container that is started again on a machine that runs on has the anchor of before', () => {
    const { clock, time } = running();
    clock.resetUptime(120_000);
    const inContainer = restarted(clock, time);
    clock.advance(5 * DAY_MS);
    inContainer.nowMs();
    clock.resetUptime(1_000);
    const next = restarted(clock, inContainer);
    expect(next.state).toBe('followed');
    expect(next.nowMs()).toBe(WALL_MS + 5 * DAY_MS);
    // And its clock is believed no further than before.
    clock.stepWall(2 * HOUR_MS);
    next.nowMs();
    expect(next.state).toBe('not-followed');
  });

  test('a time since boot that goes back with the monotonic clock is a new boot: a jump of a day is believed, not one of a month', () => {
    for (const [days, state] of [
      [1, 'followed'],
      [28, 'not-followed'],
    ] as const) {
      const { clock, time } = running();
      clock.advance(HOUR_MS);
      time.nowMs();
      clock.reboot(clock.wallMs() + days * DAY_MS);
      expect([days, restarted(clock, time).state]).toEqual([days, state]);
    }
  });

  test('I10: a new boot in 2099 is not believed', () => {
    const { clock, time } = running();
    clock.reboot(Date.UTC(2099, 0, 1));
    const next = restarted(clock, time, 'boot-2');
    expect(next.state).toBe('not-followed');
    expect(next.anchor).toBeUndefined();
    expect(next.nowMs()).toBe(0);
    clock.setWall(WALL_MS + DAY_MS);
    expect(next.nowMs()).toBe(WALL_MS + DAY_MS);
    expect(next.state).toBe('followed');
  });

  test('I10: a boot that begins in 1970 and then jumps to 2099 is not believed either', () => {
    const { clock, time } = running();
    clock.reboot(0);
    const next = restarted(clock, time, 'boot-2');
    clock.setWall(Date.UTC(2099, 0, 1));
    expect(next.nowMs()).toBe(0);
    expect(next.state).toBe('not-followed');
  });

  test('a clock up to a minute behind the last one believed is a slow one, and is followed', () => {
    const { clock, time } = running();
    clock.reboot(WALL_MS - 59_000);
    expect(restarted(clock, time, 'boot-2').state).toBe('followed');
    clock.reboot(WALL_MS - 61_000);
    expect(restarted(clock, time, 'boot-3').state).toBe('behind');
  });
});
