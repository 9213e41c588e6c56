import type { Clock } from '../../clock.ts';
import type { Unit } from '../../terms.ts';
import { type ClockUnit, DIGITS, NONCES_PER_SECOND } from '../../terms.ts';
import type { BootAnchor } from '../ports.ts';

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

/** Within one boot, the wall clock is followed until it is further ahead of where the time since boot puts it. */
export const FOLLOWED_JUMP_MS = HOUR_MS;
/** In another boot, a wall clock that is further past the last time that was believed is taken to be wrong. */
export const PLAUSIBLE_GAP_MS = 400 * DAY_MS;
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
 * an hour ahead within one boot is not followed: time then goes on by the time since boot, from the anchor (I10). The
 * anchor stays where it is for the whole boot, because an anchor that followed could be led away step by step.
 */
export class SequenceClock {
  readonly #clock: Clock;
  readonly #bootId: string;
  readonly #known: KnownTime;
  #anchor: BootAnchor | undefined;
  #state: ClockState = 'followed';
  #checkedWallMs = Number.NaN;
  #checkedMonotonicMs = 0;

  constructor(clock: Clock, bootId: string, known: KnownTime) {
    this.#clock = clock;
    this.#bootId = bootId;
    this.#known = known;
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
      const driftMs = wallMs - this.#checkedWallMs - (this.#clock.monotonicMs() - this.#checkedMonotonicMs);
      if (Math.abs(driftMs) <= RECHECK_MS) return wallMs;
    }
    return this.#check(wallMs);
  }

  /** Returns an anchor where the wall clock stands now. An operator has said that it is right. */
  anchorHere(): BootAnchor {
    const wallMs = this.#clock.wallMs();
    return { bootId: this.#bootId, wallMs, uptimeMs: this.#clock.uptimeMs() };
  }

  /** Goes by `anchor` from now on. */
  accept(anchor: BootAnchor): void {
    this.#anchor = anchor;
    this.#check(this.#clock.wallMs());
  }

  #check(wallMs: number): number {
    this.#checkedWallMs = wallMs;
    this.#checkedMonotonicMs = this.#clock.monotonicMs();
    if (this.#anchor === undefined) {
      const seenMs = this.#known.seenWallMs ?? wallMs;
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
      this.#anchor = { bootId: this.#bootId, wallMs, uptimeMs: this.#clock.uptimeMs() };
    }
    const yardstickMs = this.#yardstickMs(this.#anchor);
    this.#state = wallMs - yardstickMs > FOLLOWED_JUMP_MS ? 'not-followed' : 'followed';
    return this.#state === 'followed' ? wallMs : yardstickMs;
  }

  #yardstickMs(anchor: BootAnchor): number {
    return anchor.wallMs + this.#clock.uptimeMs() - anchor.uptimeMs;
  }
}
