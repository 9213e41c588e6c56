import { uptime } from 'node:os';

export interface Timer {
  /** Stops the timer; harmless when it has already fired. */
  cancel(): void;
}

/** Time as the three composition roots hand it to everything else, so that tests can advance it. */
export interface Clock {
  /** The wall clock: milliseconds since the Unix epoch, rounded down. It may step in either direction. */
  wallMs(): number;
  /** CLOCK_MONOTONIC in milliseconds: never steps, stands still while the machine is suspended, equal in all processes. */
  monotonicMs(): number;
  /** Time since boot in milliseconds: never steps and runs on through a suspend. */
  uptimeMs(): number;
  /** Calls `fire` once, `delayMs` from now or later. */
  after(delayMs: number, fire: () => void): Timer;
}

// setTimeout turns a longer delay into one millisecond.
const LONGEST_TIMEOUT_MS = 2 ** 31 - 1;

/** The machine's own clocks. */
export function systemClock(): Clock {
  // performance.now() is the cheap way to read CLOCK_MONOTONIC but counts from the start of this process.
  const originMs = Number(process.hrtime.bigint()) / 1e6 - performance.now();
  return {
    wallMs: () => Date.now(),
    monotonicMs: () => originMs + performance.now(),
    uptimeMs: () => uptime() * 1000,
    after: (delayMs, fire) => {
      const timeout = setTimeout(fire, Math.min(Math.max(Math.ceil(delayMs), 0), LONGEST_TIMEOUT_MS));
      return { cancel: () => clearTimeout(timeout) };
    },
  };
}
