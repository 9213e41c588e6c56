import type { Clock } from '../../clock.ts';

/**
 * How old a request is. The time since boot counts, and the wall clock if that says more: while a virtual machine is
 * paused, all its clocks stand still, and afterwards its wall clock is set.
 */
export class Age {
  readonly #clock: Clock;
  readonly #sinceMs: number;
  readonly #sinceWallMs: number;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#sinceMs = clock.monotonicMs();
    this.#sinceWallMs = clock.wallMs();
  }

  get ms(): number {
    const ageMs = this.#clock.monotonicMs() - this.#sinceMs;
    return Math.max(ageMs, this.#clock.wallMs() - this.#sinceWallMs);
  }

  isOver(maxAgeMs: number): boolean {
    return this.ms > maxAgeMs;
  }
}
