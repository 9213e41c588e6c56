import type { Clock } from '../../clock.ts';
import type { Unit } from '../../terms.ts';
import { type ClockUnit, DIGITS, NONCES_PER_SECOND } from '../../terms.ts';
import type { BootAnchor } from '../ports.ts';

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

/** Within one boot, the wall clock is followed until it is further ahead of where the time since boot puts it. */
export const FOLLOWED_JUMP_MS = HOUR_MS;
/**
 * In another boot, a wall clock that is further past the last time that was believed is taken to be wrong. It is less than
 * any month: the likeliest wrong future of a battery-backed clock is a month or a year that was set wrongly.
 */
export const PLAUSIBLE_GAP_MS = 27 * DAY_MS;
/** How often the anchor is moved, and the wall clock is looked at if nothing is drawn. */
export const LOOK_EVERY_MS = HOUR_MS;
/** By how much of the time that has passed the anchor is moved towards the wall clock: an hour a day. */
const FOLLOWED_SHARE = 1 / 24;
/** A time since boot that has gone back by more was reset: it is that of a container which was started again. */
const RESET_MS = 1_000;
/** A clock that is no further behind the last time that was believed is a battery-backed clock that is a little slow. */
const SLOW_RTC_MS = 60_000;
/** The wall clock and the monotonic one may drift this far apart before the time since boot is read, which is slow. */
const RECHECK_MS = 1_000;

// Divided here once, because each draw multiplies by it.
const UNITS_PER_MS: Readonly<Record<Exclude<ClockUnit, 's'>, bigint>> = {
  ns: NONCES_PER_SECOND.ns / 1_000n,
  us: NONCES_PER_SECOND.us / 1_000n,
  ms: NONCES_PER_SECOND.ms / 1_000n,
};

/** Returns a unit as `ns (19 digits)`, which an operator can compare with the nonces that were sent. */
export function describeUnit(unit: Unit): string {
  return unit === 'counter' ? unit : `${unit} (${DIGITS[unit]} digits)`;
}

/** Returns the unit that a nonce has by its number of digits, if that is not `unit`. */
export function otherUnitOf(nonce: bigint, unit: Unit): Unit | undefined {
  if (unit === 'counter') return undefined;
  const digits = String(nonce).length;
  return (Object.keys(DIGITS) as ClockUnit[]).find((other) => other !== unit && DIGITS[other] === digits);
}

/**
 * Returns the first instant of `unit` after the wall clock's millisecond `wallMs` has ended; 0 for a counter. Rounded up,
 * because a nonce that a program made from a finer clock within this millisecond must lie below.
 */
export function nonceFloorAt(wallMs: number, unit: Unit): bigint {
  if (unit === 'counter') return 0n;
  if (unit === 's') return BigInt(Math.floor(wallMs / 1000) + 1);
  return BigInt(Math.floor(wallMs) + 1) * UNITS_PER_MS[unit];
}

/** Returns `nonces` of `unit` in milliseconds; undefined for a counter. */
export function nonceSpanMs(nonces: bigint, unit: Unit): number | undefined {
  if (unit === 'counter') return undefined;
  return unit === 's' ? Number(nonces) * 1000 : Number(nonces) / Number(UNITS_PER_MS[unit]);
}

export type ClockState = 'followed' | 'not-followed' | 'behind';

/** What the state file knows about time when the daemon starts. */
export interface KnownTime {
  readonly anchor: BootAnchor | undefined;
  /** The latest wall time that was believed when the state was written; undefined at a first start. */
  readonly seenWallMs: number | undefined;
}

/**
 * The wall clock, as far as it can be believed. A nonce from a wrong future can never be taken back. So a jump of more than
 * an hour ahead within one boot is not followed: time then goes on by the time since boot, from the anchor (I10).
 *
 * While the wall clock is followed, the anchor follows it too, by at most an hour a day: a virtual machine that is paused
 * each night loses that time since boot, and over a long boot it would add up to a jump. An anchor that followed faster
 * could be led away step by step.
 */
export class SequenceClock {
  readonly #clock: Clock;
  readonly #bootId: string;
  /** The latest wall time that was believed; undefined at a first start. */
  #seenWallMs: number | undefined;
  #anchor: BootAnchor | undefined;
  #state: ClockState = 'followed';
  #checkedWallMs = Number.NaN;
  #checkedMonotonicMs = 0;

  constructor(clock: Clock, bootId: string, known: KnownTime) {
    this.#clock = clock;
    this.#bootId = bootId;
    this.#seenWallMs = known.seenWallMs;
    this.#anchor = known.anchor?.bootId === bootId ? known.anchor : undefined;
    this.nowMs();
  }

  get state(): ClockState {
    return this.#state;
  }

  /** Undefined until the wall clock has been plausible once in this boot. */
  get anchor(): BootAnchor | undefined {
    return this.#anchor;
  }

  /** How far the wall clock is ahead of where the time since boot puts it, in milliseconds; 0 without an anchor. */
  offMs(): number {
    const wallMs = this.#clock.wallMs();
    return this.#anchor === undefined ? 0 : wallMs - this.#yardstickMs(this.#anchor);
  }

  /** Returns the wall time to draw nonces from, in milliseconds; 0 if no clock can be believed. */
  nowMs(): number {
    // The wall clock is read first, so that a stall between the readings looks like a step back, which is harmless.
    const wallMs = this.#clock.wallMs();
    if (this.#state === 'followed') {
      const passedMs = this.#clock.monotonicMs() - this.#checkedMonotonicMs;
      const driftMs = wallMs - this.#checkedWallMs - passedMs;
      if (Math.abs(driftMs) <= RECHECK_MS && passedMs < LOOK_EVERY_MS) return wallMs;
    }
    return this.#check(wallMs);
  }

  /** Returns an anchor where the wall clock stands now. An operator has said that it is right. */
  anchorHere(): BootAnchor {
    const wallMs = this.#clock.wallMs();
    return { bootId: this.#bootId, wallMs, uptimeMs: this.#uptimeMs() };
  }

  /** Goes by `anchor` from now on. */
  accept(anchor: BootAnchor): void {
    this.#anchor = anchor;
    this.#check(this.#clock.wallMs());
  }

  #check(wallMs: number): number {
    this.#checkedWallMs = wallMs;
    this.#checkedMonotonicMs = this.#clock.monotonicMs();
    const uptimeMs = this.#uptimeMs();
    if (this.#anchor !== undefined && uptimeMs < this.#anchor.uptimeMs - RESET_MS) this.#anchor = undefined;
    if (this.#anchor === undefined) {
      const seenMs = this.#seenWallMs ?? wallMs;
      if (wallMs < seenMs - SLOW_RTC_MS) {
        // A machine without a battery-backed clock, before its time service has started. That is wrong but harmless,
        // because the ceilings are above it. No anchor may be set here, or the correction would look like a jump.
        this.#state = 'behind';
        return wallMs;
      }
      if (wallMs > seenMs + PLAUSIBLE_GAP_MS) {
        this.#state = 'not-followed';
        return 0;
      }
      this.#anchor = { bootId: this.#bootId, wallMs, uptimeMs };
    }
    const passedMs = uptimeMs - this.#anchor.uptimeMs;
    const yardstickMs = this.#anchor.wallMs + passedMs;
    const offMs = wallMs - yardstickMs;
    if (offMs > FOLLOWED_JUMP_MS) {
      this.#state = 'not-followed';
      return yardstickMs;
    }
    this.#state = 'followed';
    this.#seenWallMs = Math.max(this.#seenWallMs ?? wallMs, wallMs);
    if (passedMs >= LOOK_EVERY_MS) {
      const mostMs = passedMs * FOLLOWED_SHARE;
      const movedMs = Math.round(Math.min(Math.max(offMs, -mostMs), mostMs));
      this.#anchor = { bootId: this.#bootId, wallMs: yardstickMs + movedMs, uptimeMs };
    }
    return wallMs;
  }

  #yardstickMs(anchor: BootAnchor): number {
    return anchor.wallMs + this.#uptimeMs() - anchor.uptimeMs;
  }

  /**
   * Returns the time since boot. In a container it may be that since the container was started, but the monotonic clock is
   * the machine's.
   */
  #uptimeMs(): number {
    return Math.max(this.#clock.uptimeMs(), this.#clock.monotonicMs());
  }
}
