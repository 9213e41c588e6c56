import type { ObservedRefusal, RefusalSeries } from '../../core/ports.ts';
import { LONG_MS } from '../../core/record/refusal-sums.ts';
import { formatDuration } from '../../durations.ts';
import { needsAttention } from '../../errors.ts';
import { processText } from '../../process-text.ts';

/** Ends that are part of everyday work, unless the wait before them was long. */
const EVERYDAY: readonly ObservedRefusal['code'][] = ['WAIT_TIMEOUT', 'CANCELLED', 'DISCONNECTED'];

/** Returns the severity of the line that a refusal gets in the log; undefined for one that gets none. */
export function severityOf({ code, waitedMs }: ObservedRefusal, { count, longWaits }: RefusalSeries) {
  if (code === 'SHUTTING_DOWN') return undefined;
  const isEveryday = EVERYDAY.includes(code);
  if (isEveryday && waitedMs <= LONG_MS) return undefined;
  // The first, and then ten times as many each time: a bot that asks again and again must not fill the log.
  if (!isPowerOfTen(isEveryday ? longWaits : count)) return undefined;
  return needsAttention(code) ? 'warn' : 'info';
}

/** Returns the line: which account, how often, the code, what asked last, and what it was told. */
export function refusalText(
  { code, text, holder, pid, label, waitedMs, account: lastAccount }: ObservedRefusal,
  { account, count, sinceMs, lastAtMs }: RefusalSeries,
): string {
  const last = lastAccount === undefined ? '' : ` (the last for ${lastAccount})`;
  const whose = account === undefined ? `requests that cannot be told apart${last} were` : `account ${account} was`;
  const times = count === 1 ? '' : ` ${count} times within ${formatDuration(lastAtMs - sinceMs)}`;
  const waited = waitedMs > LONG_MS ? ` after ${formatDuration(waitedMs)}` : '';
  return `${whose} refused${times}: ${code}${waited}, by ${processText(holder, pid, label)}: ${text}`;
}

function isPowerOfTen(count: number): boolean {
  let rest = count;
  while (rest >= 10 && rest % 10 === 0) rest /= 10;
  return rest === 1;
}
