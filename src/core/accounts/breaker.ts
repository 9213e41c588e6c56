import type { Outcome, Priority } from '../../terms.ts';
import { REJECTED_IN_A_ROW } from '../../terms.ts';
import type { NotedBreaker } from '../ports.ts';

/** This many rejected nonces among the last calls open the breaker, even if they are not in a row. */
const AMONG_RECENT = 5;
const RECENT = 20;
const RECENT_MASK = 2 ** RECENT - 1;

const FIRST_PROBE_MS = 60_000;
const LONGEST_PROBE_MS = 15 * 60_000;
/** An urgent call passes this often: closing a position is worth a try, and a poll is not. */
const URGENT_EVERY_MS = 10_000;

export type BreakerTrouble = NonNullable<NotedBreaker['openFor']>;

/** Why an open breaker refuses a call. */
export interface BreakerRefusal {
  readonly trouble: BreakerTrouble;
  readonly inARow: number;
  readonly retryAfterMs: number;
}

/** A call that an open breaker has let through: what was noted before it and after it. */
export interface BreakerProbe {
  readonly before: NotedBreaker;
  readonly after: NotedBreaker;
}

const CLOSED: NotedBreaker = {
  openFor: undefined,
  openedAtMs: 0,
  probeAtMs: 0,
  urgentAtMs: 0,
  probeEveryMs: 0,
  inARow: 0,
  recent: 0,
};

/**
 * The circuit breaker of one account. Exchanges ban a key that keeps failing. So after a few rejected nonces, or one
 * lockout, the breaker lets only a probe through now and then, until a call is accepted. It never touches a sequence.
 */
export class Breaker {
  #now: NotedBreaker;

  constructor(noted: NotedBreaker = CLOSED) {
    this.#now = noted;
  }

  get isOpen(): boolean {
    return this.#now.openFor !== undefined;
  }

  get trouble(): BreakerTrouble | undefined {
    return this.#now.openFor;
  }

  /** Rejected nonces in a row. */
  get inARow(): number {
    return this.#now.inARow;
  }

  /** Whether it remembers nothing, so that it can be forgotten. */
  get isPristine(): boolean {
    return !this.isOpen && this.#now.recent === 0 && this.#now.inARow === 0;
  }

  noted(): NotedBreaker {
    return this.#now;
  }

  /** Returns why a call may not begin now, if so. */
  refuses(priority: Priority, nowMs: number): BreakerRefusal | undefined {
    const { openFor, inARow } = this.#now;
    if (openFor === undefined) return undefined;
    const passesAtMs = this.#passesAtMs(priority);
    if (passesAtMs <= nowMs) return undefined;
    return { trouble: openFor, inARow, retryAfterMs: passesAtMs - nowMs };
  }

  /** Counts a call that begins. Returns the probe if it was one, so that others must wait for the next one. */
  passed(priority: Priority, nowMs: number): BreakerProbe | undefined {
    if (!this.isOpen) return undefined;
    const before = this.#now;
    const { probeAtMs, probeEveryMs } = this.#now;
    if (probeAtMs <= nowMs) {
      const next = Math.min(2 * probeEveryMs, LONGEST_PROBE_MS);
      this.#now = { ...this.#now, probeAtMs: nowMs + probeEveryMs, probeEveryMs: next };
    }
    if (priority === 'urgent') this.#now = { ...this.#now, urgentAtMs: nowMs + URGENT_EVERY_MS };
    return { before, after: this.#now };
  }

  /** Takes back a probe of which nothing was sent, so that the next call is the probe. */
  takeBack({ before, after }: BreakerProbe): void {
    const now = this.#now;
    if (!this.isOpen || now.openedAtMs !== before.openedAtMs) return;
    // What a later probe has set stays.
    if (now.probeAtMs === after.probeAtMs) {
      this.#now = { ...this.#now, probeAtMs: before.probeAtMs, probeEveryMs: before.probeEveryMs };
    }
    if (now.urgentAtMs === after.urgentAtMs) this.#now = { ...this.#now, urgentAtMs: before.urgentAtMs };
  }

  /** Counts a call that began no earlier than `begunAtMs` and has ended. Returns true if that opened or closed the breaker. */
  ended(outcome: Outcome, begunAtMs: number, nowMs: number): boolean {
    if (outcome === 'unknown' || outcome === 'unused') return false;
    // The usual case: almost every release ends here.
    if (outcome === 'ok' && this.isPristine) return false;
    const rejected = outcome === 'invalid-nonce';
    // A call that began before the breaker opened proves nothing about now.
    const proves = begunAtMs >= this.#now.openedAtMs;
    const inARow = rejected ? this.#now.inARow + 1 : outcome === 'ok' ? 0 : this.#now.inARow;
    const recent = ((this.#now.recent << 1) | (rejected ? 1 : 0)) & RECENT_MASK;
    this.#now = { ...this.#now, inARow, recent };
    if (outcome === 'locked-out') return this.#open('locked-out', nowMs, LONGEST_PROBE_MS);
    if (this.isOpen) {
      if (outcome !== 'ok' || !proves) return false;
      this.#now = CLOSED;
      return true;
    }
    const opens = rejected && (inARow >= REJECTED_IN_A_ROW || ones(recent) >= AMONG_RECENT);
    return opens && this.#open('invalid-nonce', nowMs, FIRST_PROBE_MS);
  }

  /** Closes the breaker, because an operator says that the cause is gone. */
  close(): void {
    this.#now = CLOSED;
  }

  #open(openFor: BreakerTrouble, nowMs: number, probeAfterMs: number): true {
    this.#now = {
      ...this.#now,
      openFor,
      openedAtMs: nowMs,
      probeAtMs: nowMs + probeAfterMs,
      urgentAtMs: nowMs,
      probeEveryMs: Math.min(2 * probeAfterMs, LONGEST_PROBE_MS),
    };
    return true;
  }

  #passesAtMs(priority: Priority): number {
    const { openFor, probeAtMs, urgentAtMs } = this.#now;
    return priority === 'urgent' && openFor !== 'locked-out' ? Math.min(probeAtMs, urgentAtMs) : probeAtMs;
  }
}

function ones(bits: number): number {
  let count = 0;
  for (let rest = bits; rest !== 0; rest >>>= 1) count += rest & 1;
  return count;
}
