import type { Pacing } from './policies.ts';

/**
 * A leaky bucket used as a meter: a call adds its cost, the bucket leaks `perSecond`, and a call is let through where
 * the bucket then holds no more than `max`. So over any window of `t` seconds the calls let through cost at most
 * `max + perSecond × t`. What is kept is when the bucket will be empty, as in the generic cell rate algorithm of ITU-T
 * I.371: an instant can be compared exactly, a level that is computed anew at each look cannot.
 *
 * The exchange counts a call when it arrives, and not when it is let through. Where the bucket would be empty by then,
 * it would count less leaked away than we do, and calls that took long and then short would pass its limit. So a call
 * counts as if it had arrived as late as it can have: when it ended.
 */
export class LeakyBucket {
  readonly pacing: Pacing;
  readonly #msPerUnit: number;
  #emptyAtMs: number;
  /** What the calls cost that have been let through and have not ended. */
  #underWay: number;

  /** `level` is what it holds at `nowMs`, over `max` too where it has held more before; `underWay` what of it belongs to calls that have not ended. */
  constructor(pacing: Pacing, level: number, nowMs: number, underWay = 0) {
    this.pacing = pacing;
    this.#msPerUnit = 1000 / pacing.perSecond;
    this.#underWay = underWay;
    this.#emptyAtMs = nowMs + level * this.#msPerUnit;
  }

  get underWay(): number {
    return this.#underWay;
  }

  level(nowMs: number): number {
    return Math.max(0, this.#emptyAtMs - nowMs) / this.#msPerUnit;
  }

  /** From when on a call that costs `cost`, at most `max`, may be let through. */
  freeAtMs(cost: number): number {
    // What costs nothing is not counted by the exchange either, however full it is.
    return cost === 0 ? Number.NEGATIVE_INFINITY : this.#emptyAtMs - (this.pacing.max - cost) * this.#msPerUnit;
  }

  /** A call is let through. `ended` must follow. */
  add(cost: number, nowMs: number): void {
    this.#emptyAtMs = Math.max(this.#emptyAtMs, nowMs) + cost * this.#msPerUnit;
    this.#underWay += cost;
  }

  /** A call is under way that the level counts already: it was let through before a restart. `ended` must follow. */
  resumed(cost: number): void {
    this.#underWay += cost;
  }

  /** A call that was let through has ended. */
  ended(cost: number, nowMs: number): void {
    this.#emptyAtMs = Math.max(this.#emptyAtMs, nowMs + this.#underWay * this.#msPerUnit);
    this.#underWay = Math.max(0, this.#underWay - cost);
  }

  /** The exchange says that its own counter is full. */
  fill(nowMs: number): void {
    this.#emptyAtMs = Math.max(this.#emptyAtMs, nowMs + this.pacing.max * this.#msPerUnit);
  }
}
