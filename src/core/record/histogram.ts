/** Upper bounds of the buckets in milliseconds, from a call over a Unix socket to a very long wait. The last bucket has none. */
export const BOUNDS_MS: readonly number[] = [
  1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000, 60_000,
];

/** Counts durations by bucket. Adding one costs a few comparisons and allocates nothing. */
export class Histogram {
  /** There is one bucket more than there are bounds. */
  readonly counts: number[] = new Array<number>(BOUNDS_MS.length + 1).fill(0);
  #count = 0;
  #sumMs = 0;

  get count(): number {
    return this.#count;
  }

  get sumMs(): number {
    return this.#sumMs;
  }

  add(ms: number): void {
    let bucket = 0;
    while (bucket < BOUNDS_MS.length && ms > (BOUNDS_MS[bucket] as number)) bucket += 1;
    this.counts[bucket] = (this.counts[bucket] as number) + 1;
    this.#count += 1;
    this.#sumMs += ms;
  }
}
