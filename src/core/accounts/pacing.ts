import type { Pacing } from './policies.ts';

/**
 * A leaky bucket used as a meter: a call adds its cost, the bucket leaks `perSecond`, and a call is let through if the
 * bucket then holds no more than `max`. So in any window of `t` seconds, the calls that are let through cost at most
 * `max + perSecond × t`. The bucket keeps the time when it will be empty, as in the generic cell rate algorithm of ITU-T
 * I.371: a time can be compared exactly, but a level that is computed again at each look cannot.
 *
 * The exchange counts a call when it arrives there, not when it is let through here. If our bucket were empty by then, the
 * exchange's would have leaked less than ours, and a slow call followed by fast ones would pass its limit. So a call counts
 * as if it had arrived as late as possible: when it ended.
 */
export class LeakyBucket {
  readonly pacing: Pacing;
  readonly #msPerUnit: number;
  #emptyAtMs: number;
  /** What the calls under way cost: those that were let through and have not ended. */
  #underWay: number;
  /** The calls that began up to then are part of a level that was not counted here, so they cannot be taken out of it. */
  #toldAtMs: number;

  /** `level` is what it holds at `nowMs`, which may be more than `max`. `underWay` is the part of calls that have not ended. */
  constructor(pacing: Pacing, level: number, nowMs: number, underWay = 0) {
    this.pacing = pacing;
    this.#msPerUnit = 1000 / pacing.perSecond;
    this.#underWay = underWay;
    this.#toldAtMs = underWay > 0 ? nowMs : Number.NEGATIVE_INFINITY;
    this.#emptyAtMs = nowMs + level * this.#msPerUnit;
  }

  get underWay(): number {
    return this.#underWay;
  }

  level(nowMs: number): number {
    return Math.max(0, this.#emptyAtMs - nowMs) / this.#msPerUnit;
  }

  /** Returns when a call that costs `cost`, at most `max`, may be let through. */
  freeAtMs(cost: number): number {
    // A call that costs nothing is let through by the exchange too, however full its counter is.
    return cost === 0 ? Number.NEGATIVE_INFINITY : this.#emptyAtMs - (this.pacing.max - cost) * this.#msPerUnit;
  }

  /** Counts a call that is let through. `ended` must follow. */
  add(cost: number, nowMs: number): void {
    this.#emptyAtMs = Math.max(this.#emptyAtMs, nowMs) + cost * this.#msPerUnit;
    this.#underWay += cost;
  }

  /** Takes over a call under way from before a restart, which the level includes already. `ended` must follow. */
  resumed(cost: number): void {
    this.#underWay += cost;
  }

  /** Counts the end of a call that was let through. */
  ended(cost: number, nowMs: number): void {
    this.#emptyAtMs = Math.max(this.#emptyAtMs, nowMs + this.#underWay * this.#msPerUnit);
    this.#underWay = Math.max(0, this.#underWay - cost);
  }

  /**
   * Counts the end of a call of which nothing was sent, and gives back what it cost. That is no subtraction: what has
   * leaked since it began has leaked from it, too. What is still under way may arrive from now on, so the bucket is no
   * emptier than that.
   */
  givenBack(cost: number, begunAtMs: number, nowMs: number): void {
    if (begunAtMs <= this.#toldAtMs) {
      this.ended(cost, nowMs);
      return;
    }
    this.#underWay = Math.max(0, this.#underWay - cost);
    this.#emptyAtMs = Math.max(this.#emptyAtMs - cost * this.#msPerUnit, nowMs + this.#underWay * this.#msPerUnit);
  }

  /** Fills the bucket, because the exchange says that its own counter is full. */
  fill(nowMs: number): void {
    this.#toldAtMs = nowMs;
    this.#emptyAtMs = Math.max(this.#emptyAtMs, nowMs + this.pacing.max * this.#msPerUnit);
  }
}
