import type { ObservedRefusal } from '../ports.ts';
import { type RefusalSum, RefusalSums } from './refusal-sums.ts';
import { Ring } from './ring.ts';

/** How many sums of a second are remembered. */
const REMEMBERED_REFUSALS = 2_000;
const SECOND_MS = 1_000;
/** Refusals of one account with one code are a series as long as no more time passes between two of them. */
export const SERIES_GAP_MS = 600_000;

/** What was refused lately: for an operator by account and code, and for a picture second by second. */
export class RecentRefusals {
  readonly #series = new RefusalSums(SERIES_GAP_MS);
  readonly #ofSecond = new RefusalSums();
  readonly #seconds = new Ring<RefusalSum>(REMEMBERED_REFUSALS);
  #second = 0;

  /** The sums of each second and of each account and code in it. */
  get seconds(): Ring<RefusalSum> {
    return this.#seconds;
  }

  /** Returns the series that the refusal belongs to. */
  add(refusal: ObservedRefusal, nowMs: number): RefusalSum {
    const series = this.#series.add(refusal, nowMs);
    const second = Math.floor(nowMs / SECOND_MS);
    if (second !== this.#second) {
      this.#second = second;
      this.#ofSecond.take();
    }
    const sum = this.#ofSecond.add(refusal, nowMs);
    if (sum.count === 1) this.#seconds.add(sum);
    return series;
  }

  /** Returns the series that go on or ended within the last ten minutes, the latest first. */
  lately(nowMs: number): RefusalSum[] {
    return this.#series.lately(nowMs);
  }
}
