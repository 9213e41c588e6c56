import type { Pacing } from './policies.ts';

/**
 * A leaky bucket used as a meter: a call adds its cost, the bucket leaks `perSecond`, and a call is let through where
 * the bucket then holds no more than `max`. So over any window of `t` seconds the calls let through cost at most
 * `max + perSecond × t`. What is kept is when the bucket will be empty, as in the generic cell rate algorithm of ITU-T
 * I.371: an instant can be compared exactly, a level that is computed anew at each look cannot.
 */
export class LeakyBucket {
  readonly pacing: Pacing;
  readonly #msPerUnit: number;
  #emptyAtMs: number;

  /** `level` is what it holds at `nowMs`, at most `max`. */
  constructor(pacing: Pacing, level: number, nowMs: number) {
    this.pacing = pacing;
    this.#msPerUnit = 1000 / pacing.perSecond;
    this.#emptyAtMs = nowMs + Math.min(level, pacing.max) * this.#msPerUnit;
  }

  level(nowMs: number): number {
    return Math.max(0, this.#emptyAtMs - nowMs) / this.#msPerUnit;
  }

  /** From when on a call that costs `cost`, at most `max`, may be let through. */
  freeAtMs(cost: number): number {
    // What costs nothing is not counted by the exchange either, however full it is.
    return cost === 0 ? Number.NEGATIVE_INFINITY : this.#emptyAtMs - (this.pacing.max - cost) * this.#msPerUnit;
  }

  add(cost: number, nowMs: number): void {
    this.#emptyAtMs = Math.max(this.#emptyAtMs, nowMs) + cost * this.#msPerUnit;
  }

  /** The exchange says that its own counter is full. */
  fill(nowMs: number): void {
    this.#emptyAtMs = Math.max(this.#emptyAtMs, nowMs + this.pacing.max * this.#msPerUnit);
  }
}
