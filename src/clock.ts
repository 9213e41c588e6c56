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

/** The wall clock and the monotonic one may drift this far apart before the time since boot is read, which is slow. */
const DRIFT_MS = 1_000;

/**
 * Returns a clock whose monotonic time also counts the time that the machine has slept, to a second. What a program asked
 * for or was granted before a suspend is as old as that afterwards. Timers do not count it: they fire later, so the time
 * must be asked for when it matters.
 */
export function countingSleep(clock: Clock): Clock {
  const awakeAtMs = clock.uptimeMs() - clock.monotonicMs();
  let sleptMs = 0;
  let checkedWallMs = clock.wallMs();
  let checkedMs = clock.monotonicMs();
  return {
    wallMs: () => clock.wallMs(),
    monotonicMs() {
      const nowMs = clock.monotonicMs();
      // A suspend moves the wall clock ahead of the monotonic one.
      const wallMs = clock.wallMs();
      if (Math.abs(wallMs - checkedWallMs - (nowMs - checkedMs)) > DRIFT_MS) {
        checkedWallMs = wallMs;
        checkedMs = nowMs;
        // Never less than before: this clock does not go back either.
        sleptMs = Math.max(sleptMs, clock.uptimeMs() - nowMs - awakeAtMs);
      }
      return nowMs + sleptMs;
    },
    uptimeMs: () => clock.uptimeMs(),
    after: (delayMs, fire) => clock.after(delayMs, fire),
  };
}
