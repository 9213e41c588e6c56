const FIRST_MS = 5;
const LONGEST_MS = 1_000;

/** How long to rest between attempts: 5 ms, doubled each time up to a second, of which half is left to chance. */
export class Backoff {
  readonly #random: () => number;
  #stepMs = FIRST_MS;

  /** `random` answers a number from 0 up to 1. */
  constructor(random: () => number) {
    this.#random = random;
  }

  /** The next rest, never over `capMs`. */
  next(capMs: number): number {
    const stepMs = Math.min(this.#stepMs, capMs);
    this.#stepMs = Math.min(this.#stepMs * 2, LONGEST_MS);
    // Half by chance: bots that lost the daemon at the same moment must not come back at the same moment.
    return stepMs * (0.5 + this.#random() / 2);
  }

  /** Starts over, once a connection has proved good. */
  reset(): void {
    this.#stepMs = FIRST_MS;
  }
}
