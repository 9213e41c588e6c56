import type { LeaseEnd, Outcome } from '../../terms.ts';
import { LEASE_ENDS, OUTCOMES } from '../../terms.ts';
import { HourlyCount } from './hourly-count.ts';

/** Counts what became of an account's calls since the daemon started. */
export class CallTally {
  readonly outcomes: Record<Outcome, number> = zeroOf(OUTCOMES);
  readonly endings: Record<LeaseEnd, number> = zeroOf(LEASE_ENDS);
  #rejections: HourlyCount | undefined;

  add(ending: LeaseEnd, outcome: Outcome, nowMs: number): void {
    this.endings[ending] += 1;
    this.told(outcome, nowMs);
  }

  /** Counts the outcome of a call under a lease that goes on. */
  told(outcome: Outcome, nowMs: number): void {
    this.outcomes[outcome] += 1;
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
