import type { Clock, Timer } from '../../clock.ts';

/**
 * One timer for any number of deadlines. It is moved for a sooner deadline only, so that most calls arm no timer at all:
 * when it fires, the deadline that it was armed for may have gone.
 */
export class Alarm {
  readonly #clock: Clock;
  readonly #fire: () => void;
  #timer: Timer | undefined;
  #atMs = Number.POSITIVE_INFINITY;

  constructor(clock: Clock, fire: () => void) {
    this.#clock = clock;
    this.#fire = fire;
  }

  /** Fires at `atMs` on the session's clock, or sooner. */
  wakeBy(atMs: number): void {
    const nowMs = this.#clock.monotonicMs();
    // A timer that is overdue was armed before the machine slept, and would fire that much too late.
    if (atMs >= this.#atMs && nowMs < this.#atMs) return;
    this.#timer?.cancel();
    this.#atMs = Math.min(atMs, this.#atMs);
    this.#timer = this.#clock.after(this.#atMs - nowMs, () => {
      this.stop();
      this.#fire();
    });
  }

  stop(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#atMs = Number.POSITIVE_INFINITY;
  }
}
