const SLICES = 12;
const SLICE_MS = 300_000;

/** Counts how often something happened in the last hour, give or take five minutes. */
export class HourlyCount {
  readonly #counts = new Array<number>(SLICES).fill(0);
  /** The slice of time that was counted in last. */
  #slice = 0;

  add(nowMs: number): void {
    this.#moveTo(nowMs);
    const place = this.#slice % SLICES;
    this.#counts[place] = (this.#counts[place] as number) + 1;
  }

  of(nowMs: number): number {
    this.#moveTo(nowMs);
    return this.#counts.reduce((sum, count) => sum + count, 0);
  }

  /** Moves on to the slice of `nowMs` and empties those that have come since. */
  #moveTo(nowMs: number): void {
    const slice = Math.floor(nowMs / SLICE_MS);
    const emptied = Math.min(slice - this.#slice, SLICES);
    for (let n = 1; n <= emptied; n += 1) this.#counts[(this.#slice + n) % SLICES] = 0;
    this.#slice = Math.max(this.#slice, slice);
  }
}
