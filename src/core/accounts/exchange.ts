/**
 * Whether one exchange answers, and whether it answers one process. All its accounts share that. A process with a wrong
 * proxy or without DNS sees an outage that is its own, so it takes at least two processes to call an exchange down. One
 * that is alone with its trouble is held back alone.
 */
import type { Outcome, Priority } from '../../terms.ts';

/** After this many calls in a row without an answer, the exchange counts as down, or one process is held back. */
const SILENT_CALLS = 3;
/** What got no answer longer ago than this says nothing about now. */
const REMEMBERED_MS = 60_000;
const PROBE_EVERY_MS = 5_000;
/** Held back or down, a call that is let through holds its lane no longer than this. */
export const DOWN_TTL_MS = 5_000;

/** Which program makes a call. */
export interface Caller {
  readonly name: string | undefined;
  readonly pid: number | undefined;
}

export type ExchangeChange =
  | { readonly kind: 'down' | 'up' }
  /** One process alone gets no answer, or gets answers again. */
  | { readonly kind: 'held-back' | 'let-through'; readonly caller: Caller };

/** Why a call may not begin now. */
export interface ExchangeRefusal {
  readonly retryAfterMs: number;
  /** The process that gets no answer; undefined if no process does. */
  readonly only: Caller | undefined;
}

/** A process with calls that got no answer since its last accepted one. */
interface Unanswered {
  readonly caller: Caller;
  /** Its calls in a row without an answer. */
  inARow: number;
  /** How many of them came after the last answer to any process. */
  sinceAnyAnswer: number;
  lastAtMs: number;
  heldSinceMs: number | undefined;
  probeAtMs: number;
}

/** A call that was let through although others are refused: when the next one was due before it, and after it. */
export interface ExchangeProbe {
  readonly caller: Caller;
  readonly afterMs: number;
}

type Identity = string | Caller;

export class Exchange {
  readonly name: string;
  readonly #unanswered = new Map<Identity, Unanswered>();
  #downSinceMs: number | undefined;
  #probeAtMs = 0;
  /** The process that made the last probe. */
  #prober: Identity | undefined;

  constructor(name: string) {
    this.name = name;
  }

  /** Undefined while it answers. */
  get downSinceMs(): number | undefined {
    return this.#downSinceMs;
  }

  /** Returns the processes that alone get no answer. */
  heldBack(nowMs: number): { readonly caller: Caller; readonly sinceMs: number }[] {
    const held = [];
    for (const { caller, heldSinceMs, lastAtMs } of this.#unanswered.values()) {
      if (heldSinceMs !== undefined && nowMs - lastAtMs <= REMEMBERED_MS) held.push({ caller, sinceMs: heldSinceMs });
    }
    return held;
  }

  /** Whether a call of the process is a try: the exchange is down, or the process is held back. */
  isDoubted(caller: Caller, nowMs: number): boolean {
    return this.#downSinceMs !== undefined || this.#held(caller, nowMs) !== undefined;
  }

  /** Returns why a call of the process may not begin now, if so. */
  refuses(caller: Caller, priority: Priority, nowMs: number): ExchangeRefusal | undefined {
    if (priority === 'urgent') return undefined;
    const held = this.#held(caller, nowMs);
    const dueMs = this.#downSinceMs === undefined ? held?.probeAtMs : this.#probeDueMs(caller);
    return dueMs === undefined || dueMs <= nowMs ? undefined : { retryAfterMs: dueMs - nowMs, only: held?.caller };
  }

  /** Counts a call that begins. Returns the probe if it was one, so that others must wait for the next one. */
  passed(caller: Caller, priority: Priority, nowMs: number): ExchangeProbe | undefined {
    if (priority === 'urgent') return undefined;
    const afterMs = nowMs + PROBE_EVERY_MS;
    if (this.#downSinceMs !== undefined) {
      this.#probeAtMs = afterMs;
      this.#prober = identityOf(caller);
      return { caller, afterMs };
    }
    const held = this.#held(caller, nowMs);
    if (held === undefined) return undefined;
    held.probeAtMs = afterMs;
    return { caller, afterMs };
  }

  /** Takes back a probe of which nothing was sent, so that the next call is the probe. */
  takeBack({ caller, afterMs }: ExchangeProbe, nowMs: number): void {
    // What a later probe has set stays.
    if (this.#downSinceMs !== undefined) {
      if (this.#probeAtMs !== afterMs) return;
      this.#probeAtMs = nowMs;
      this.#prober = undefined;
      return;
    }
    const held = this.#held(caller, nowMs);
    if (held?.probeAtMs === afterMs) held.probeAtMs = nowMs;
  }

  /** Counts a call of the process that has ended. Returns what changed by it. */
  ended(caller: Caller, outcome: Outcome, nowMs: number): ExchangeChange | undefined {
    switch (outcome) {
      case 'unknown':
      case 'unused':
        return undefined;
      case 'unsettled':
      case 'unavailable':
        return this.#downSinceMs === undefined ? this.#gotNoAnswer(caller, nowMs) : undefined;
      case 'ok':
        return this.#accepted(caller, nowMs);
      default: {
        // A refusal may come from something in front of the exchange. It ends the row, but not the outage.
        this.#answered();
        const process = this.#unanswered.get(identityOf(caller));
        if (process !== undefined) process.inARow = 0;
        return undefined;
      }
    }
  }

  #gotNoAnswer(caller: Caller, nowMs: number): ExchangeChange | undefined {
    for (const [identity, { lastAtMs }] of this.#unanswered) {
      if (nowMs - lastAtMs > REMEMBERED_MS) this.#unanswered.delete(identity);
    }
    const identity = identityOf(caller);
    const process = this.#unanswered.get(identity) ?? newlyUnanswered(caller);
    this.#unanswered.set(identity, process);
    process.inARow += 1;
    process.sinceAnyAnswer += 1;
    process.lastAtMs = nowMs;
    if (this.#isDown()) {
      // From now on the trouble is the exchange's.
      this.#unanswered.clear();
      this.#downSinceMs = nowMs;
      this.#probeAtMs = nowMs + PROBE_EVERY_MS;
      this.#prober = undefined;
      return { kind: 'down' };
    }
    if (process.inARow < SILENT_CALLS && process.heldSinceMs === undefined) return undefined;
    // Counted from the end of a probe, so that a lane which others use is not held by probes alone.
    process.probeAtMs = nowMs + PROBE_EVERY_MS;
    if (process.heldSinceMs !== undefined) return undefined;
    process.heldSinceMs = nowMs;
    return { kind: 'held-back', caller };
  }

  /** Whether at least two processes got no answer, three times in a row. The calls of one that is held back count once. */
  #isDown(): boolean {
    const counts = [...this.#unanswered.values()]
      .filter(({ sinceAnyAnswer }) => sinceAnyAnswer > 0)
      .map(({ sinceAnyAnswer, heldSinceMs }) => (heldSinceMs === undefined ? sinceAnyAnswer : 1));
    return counts.length > 1 && counts.reduce((sum, count) => sum + count) >= SILENT_CALLS;
  }

  #accepted(caller: Caller, nowMs: number): ExchangeChange | undefined {
    if (this.#downSinceMs !== undefined) {
      this.#downSinceMs = undefined;
      return { kind: 'up' };
    }
    // The usual case: almost every release ends here.
    if (this.#unanswered.size === 0) return undefined;
    this.#answered();
    const held = this.#held(caller, nowMs);
    this.#unanswered.delete(identityOf(caller));
    return held && { kind: 'let-through', caller };
  }

  #answered(): void {
    for (const process of this.#unanswered.values()) process.sinceAnyAnswer = 0;
  }

  #held(caller: Caller, nowMs: number): Unanswered | undefined {
    if (this.#unanswered.size === 0) return undefined;
    const process = this.#unanswered.get(identityOf(caller));
    return process?.heldSinceMs !== undefined && nowMs - process.lastAtMs <= REMEMBERED_MS ? process : undefined;
  }

  /** The process whose probe was the last one lets others go first: it may be broken itself. */
  #probeDueMs(caller: Caller): number {
    return this.#prober === identityOf(caller) ? this.#probeAtMs + PROBE_EVERY_MS : this.#probeAtMs;
  }
}

/**
 * Returns what tells one process from another. Its name counts too, because programs in two containers may have the same
 * pid. A connection that has told neither stands for itself.
 */
function identityOf(caller: Caller): Identity {
  const { name, pid } = caller;
  return name === undefined && pid === undefined ? caller : `${pid ?? ''} ${name ?? ''}`;
}

function newlyUnanswered(caller: Caller): Unanswered {
  return { caller, inARow: 0, sinceAnyAnswer: 0, lastAtMs: 0, heldSinceMs: undefined, probeAtMs: 0 };
}
