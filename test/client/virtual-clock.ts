import type { Clock, Timer } from '../../src/clock.ts';

interface Due {
  readonly atMs: number;
  readonly fire: () => void;
}

/** Lets what is under way come to rest: all microtasks, and what was put off to the next tick. */
export function settle(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** A clock that stands still until a test moves it. */
export class VirtualClock implements Clock {
  #nowMs = 1_000_000;
  readonly #timers = new Set<Due>();

  wallMs(): number {
    return this.#nowMs;
  }

  monotonicMs(): number {
    return this.#nowMs;
  }

  uptimeMs(): number {
    return this.#nowMs;
  }

  after(delayMs: number, fire: () => void): Timer {
    const timer: Due = { atMs: this.#nowMs + Math.max(0, delayMs), fire };
    this.#timers.add(timer);
    return { cancel: () => this.#timers.delete(timer) };
  }

  /** How many timers run: they would keep a process alive. */
  get running(): number {
    return this.#timers.size;
  }

  /** How long until the next timer fires. */
  get nextInMs(): number | undefined {
    const next = this.#next();
    return next === undefined ? undefined : next.atMs - this.#nowMs;
  }

  /** Lets time pass, firing what falls due in its order. */
  async advance(byMs: number): Promise<void> {
    const untilMs = this.#nowMs + byMs;
    for (;;) {
      await settle();
      const next = this.#next();
      if (next === undefined || next.atMs > untilMs) break;
      this.#timers.delete(next);
      this.#nowMs = Math.max(this.#nowMs, next.atMs);
      next.fire();
    }
    this.#nowMs = untilMs;
    await settle();
  }

  /** Time passes while the process does not run: no timer has fired yet. */
  stall(byMs: number): void {
    this.#nowMs += byMs;
  }

  #next(): Due | undefined {
    let next: Due | undefined;
    for (const timer of this.#timers) if (next === undefined || timer.atMs < next.atMs) next = timer;
    return next;
  }
}
