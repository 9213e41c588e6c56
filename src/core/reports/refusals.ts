import type { RefusalSum } from '../record/refusal-sums.ts';

/** Returns refusals of one account and code as an operator sees them. */
export function describedRefusals(
  { account, code, count, longestWaitMs, sinceMs, lastAtMs, last }: RefusalSum,
  nowMs: number,
) {
  return {
    account: account ?? null,
    code,
    count,
    forMs: Math.round(lastAtMs - sinceMs),
    agoMs: Math.round(nowMs - lastAtMs),
    longestWaitMs: Math.round(longestWaitMs),
    // Of the last one.
    lastAccount: last.account ?? null,
    holder: last.holder ?? null,
    pid: last.pid ?? null,
    label: last.label ?? null,
  };
}
