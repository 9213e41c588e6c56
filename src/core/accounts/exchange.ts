import type { Outcome, Priority } from '../../terms.ts';

/** So many calls without an answer in a row, over all accounts, and the exchange counts as down. */
const SILENT_CALLS = 3;
const PROBE_EVERY_MS = 5_000;
/** While it is down, a call that is let through holds its lane no longer. */
export const DOWN_TTL_MS = 5_000;

/** One exchange, as far as its accounts share it: whether it answers. */
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

  /** How long until a call may be tried, where one may not begin now. */
  refuses(priority: Priority, nowMs: number): number | undefined {
    if (this.#downSinceMs === undefined || priority === 'urgent' || this.#probeAtMs <= nowMs) return undefined;
    return this.#probeAtMs - nowMs;
  }

  /** A call begins that it did not refuse. True where it was the probe, so that others must wait for the next one. */
  passed(priority: Priority, nowMs: number): boolean {
    if (this.#downSinceMs === undefined || priority === 'urgent') return false;
    this.#probeAtMs = nowMs + PROBE_EVERY_MS;
    return true;
  }

  /** A call ended. True where the exchange went down or came back by it. */
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
        // A refusal by what stands before the exchange proves no more than that; it ends the row, not the outage.
        this.#silent = 0;
        return false;
    }
  }
}
