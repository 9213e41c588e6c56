import type { Outcome, Priority } from '../../terms.ts';

/** After this many calls in a row without an answer, of all accounts together, the exchange counts as down. */
const SILENT_CALLS = 3;
const PROBE_EVERY_MS = 5_000;
/** While it is down, a call that is let through holds its lane no longer than this. */
export const DOWN_TTL_MS = 5_000;

/** Whether one exchange answers. All its accounts share that. */
export class Exchange {
  readonly name: string;
  #silent = 0;
  #downSinceMs: number | undefined;
  #probeAtMs = 0;

  constructor(name: string) {
    this.name = name;
  }

  /** Undefined while it answers. */
  get downSinceMs(): number | undefined {
    return this.#downSinceMs;
  }

  /** Returns how long until a call may be tried, if none may begin now. */
  refuses(priority: Priority, nowMs: number): number | undefined {
    if (this.#downSinceMs === undefined || priority === 'urgent' || this.#probeAtMs <= nowMs) return undefined;
    return this.#probeAtMs - nowMs;
  }

  /** Counts a call that begins. Returns true if it was the probe, so that others must wait for the next one. */
  passed(priority: Priority, nowMs: number): boolean {
    if (this.#downSinceMs === undefined || priority === 'urgent') return false;
    this.#probeAtMs = nowMs + PROBE_EVERY_MS;
    return true;
  }

  /** Counts a call that has ended. Returns true if the exchange went down or came back by it. */
  ended(outcome: Outcome, nowMs: number): boolean {
    switch (outcome) {
      case 'unknown':
      case 'unused':
        return false;
      case 'unsettled':
      case 'unavailable':
        this.#silent += 1;
        if (this.#downSinceMs !== undefined || this.#silent < SILENT_CALLS) return false;
        this.#downSinceMs = nowMs;
        this.#probeAtMs = nowMs + PROBE_EVERY_MS;
        return true;
      case 'ok': {
        const wasDown = this.#downSinceMs !== undefined;
        this.#downSinceMs = undefined;
        this.#silent = 0;
        return wasDown;
      }
      default:
        // A refusal may come from something in front of the exchange. It ends the row, but not the outage.
        this.#silent = 0;
        return false;
    }
  }
}
