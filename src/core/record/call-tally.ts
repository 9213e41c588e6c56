import type { LeaseEnd, Outcome } from '../../terms.ts';
import { LEASE_ENDS, OUTCOMES } from '../../terms.ts';
import { HourlyCount } from './hourly-count.ts';

/** Counts what became of an account's calls since the daemon started. */
export class CallTally {
  readonly outcomes: Record<Outcome, number> = zeroOf(OUTCOMES);
  readonly endings: Record<LeaseEnd, number> = zeroOf(LEASE_ENDS);
  #rejections: HourlyCount | undefined;
  #silentInARow = 0;

  /** How many calls in a row, up to now, were released without an outcome. */
  get silentInARow(): number {
    return this.#silentInARow;
  }

  add(ending: LeaseEnd, outcome: Outcome, nowMs: number): void {
    this.endings[ending] += 1;
    // Other holders could not say anything.
    if (ending === 'released' && outcome === 'unknown') this.#silentInARow += 1;
    this.told(outcome, nowMs);
  }

  /** Counts the outcome of a call under a lease that goes on. */
  told(outcome: Outcome, nowMs: number): void {
    this.outcomes[outcome] += 1;
    if (outcome !== 'unknown') this.#silentInARow = 0;
    if (outcome !== 'invalid-nonce') return;
    this.#rejections ??= new HourlyCount();
    this.#rejections.add(nowMs);
  }

  rejectedLastHour(nowMs: number): number {
    return this.#rejections?.of(nowMs) ?? 0;
  }
}

function zeroOf<Word extends string>(words: readonly Word[]): Record<Word, number> {
  return Object.fromEntries(words.map((word) => [word, 0])) as Record<Word, number>;
}
