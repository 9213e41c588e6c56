const FIRST_MS = 5;
const LONGEST_MS = 1_000;
// A daemon that was killed is back within a fraction of a second: doubled rests would sleep past it.
const EAGER_FOR_MS = 1_000;
const EAGER_REST_MS = 10;

/**
 * How long to rest between attempts: 5 and then 10 ms for the first second, then doubled each time up to a second. Half
 * of each is left to chance.
 */
export class Backoff {
  readonly #random: () => number;
  #stepMs = FIRST_MS;
  #restedMs = 0;

  /** `random` answers a number from 0 up to 1. */
  constructor(random: () => number) {
    this.#random = random;
  }

  /** The next rest, never over `capMs`. */
  next(capMs: number): number {
    const stepMs = Math.min(this.#stepMs, capMs);
    const longestMs = this.#restedMs < EAGER_FOR_MS ? EAGER_REST_MS : LONGEST_MS;
    this.#stepMs = Math.min(this.#stepMs * 2, longestMs);
    // Half by chance: bots that lost the daemon at the same moment must not come back at the same moment.
    const restMs = stepMs * (0.5 + this.#random() / 2);
    this.#restedMs += restMs;
    return restMs;
  }

  /** Starts over, once a connection has proved good. */
  reset(): void {
    this.#stepMs = FIRST_MS;
    this.#restedMs = 0;
  }
}
