import type { Outcome } from '../ports.ts';
import { HourlyCount } from './hourly-count.ts';
import type { CallEnding } from './recent-calls.ts';

/** What became of an account's calls since the daemon started. */
export class CallTally {
  readonly outcomes: Record<Outcome, number> = {
    unknown: 0,
    ok: 0,
    unsettled: 0,
    unavailable: 0,
    'invalid-nonce': 0,
    'rate-limited': 0,
    'locked-out': 0,
    unused: 0,
  };
  readonly endings: Record<CallEnding, number> = { released: 0, expired: 0, preempted: 0, disconnected: 0, lost: 0 };
  #rejections: HourlyCount | undefined;

  add(ending: CallEnding, outcome: Outcome, nowMs: number): void {
    this.endings[ending] += 1;
    this.outcomes[outcome] += 1;
    if (outcome !== 'invalid-nonce') return;
    this.#rejections ??= new HourlyCount();
    this.#rejections.add(nowMs);
  }

  rejectedLastHour(nowMs: number): number {
    return this.#rejections?.of(nowMs) ?? 0;
  }
}
