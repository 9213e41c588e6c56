import type { EndedCallRecord } from '../../protocol/messages.ts';

/** Over which calls are counted and timed: what is said of "the last minute". */
export const WINDOW_MS = 60_000;
/** Over which a rate is taken: as short as it can be without jumping. */
const RATE_MS = 10_000;
/** What one bar of a sparkline stands for, and how many there are: five minutes. */
export const BUCKET_MS = 5_000;
export const BUCKETS = 60;
/** At most so many calls are kept, which is five minutes of three hundred a second. */
const MOST_CALLS = 100_000;

export interface Percentiles {
  readonly p50: number;
  readonly p99: number;
}

/** Of one account or of all. What cannot be known yet is undefined. */
export interface Figures {
  /** Calls that ended, a second, lately. */
  readonly perSecond: number | undefined;
  /** Of the calls that ended in the last minute, in milliseconds. */
  readonly wait: Percentiles | undefined;
  readonly hold: Percentiles | undefined;
  /** Calls a second, the latest last. */
  readonly trend: readonly (number | undefined)[];
}

interface Ended {
  readonly atMs: number;
  readonly account: string;
  readonly waitedMs: number;
  readonly heldMs: number;
}

/** The calls that have ended in the last minutes, as far as they were read in time. */
export class CallHistory {
  #calls: Ended[] = [];
  /** Calls that were forgotten before they were read: that they were is all that is known of them. */
  #missed: { readonly atMs: number; readonly count: number }[] = [];
  #knownSinceMs = Number.POSITIVE_INFINITY;
  readonly #mostCalls: number;

  constructor(mostCalls = MOST_CALLS) {
    this.#mostCalls = mostCalls;
  }

  /** Calls that were read at `nowMs`. `knownSinceMs`: no call since then is missing before the first of them. */
  add(calls: readonly EndedCallRecord[], missed: number, nowMs: number, knownSinceMs?: number): void {
    for (const { account, waitedMs, heldMs, agoMs } of calls) {
      this.#calls.push({ atMs: nowMs - agoMs, account, waitedMs, heldMs });
    }
    if (missed > 0) this.#missed.push({ atMs: nowMs, count: missed });
    const sinceMs = nowMs - BUCKETS * BUCKET_MS - BUCKET_MS;
    this.#missed = this.#missed.filter(({ atMs }) => atMs > sinceMs);
    const excess = Math.max(0, this.#calls.length - this.#mostCalls);
    const first = this.#calls.findIndex(({ atMs }, index) => atMs > sinceMs && index >= excess);
    if (excess > 0) this.#knownSinceMs = this.#calls[first]?.atMs ?? nowMs;
    if (first !== 0) this.#calls = first < 0 ? [] : this.#calls.slice(first);
    if (knownSinceMs !== undefined) this.#knownSinceMs = knownSinceMs;
  }

  /** Of all calls together, and of those of each account: the `accounts`, and all others that had calls. */
  figures(
    nowMs: number,
    accounts: readonly string[],
  ): { readonly total: Figures; readonly byAccount: ReadonlyMap<string, Figures> } {
    const calls = new Map<string, Ended[]>(accounts.map((account) => [account, []]));
    for (const call of this.#calls) {
      const found = calls.get(call.account);
      if (found === undefined) calls.set(call.account, [call]);
      else found.push(call);
    }
    const byAccount = new Map([...calls].map(([account, its]) => [account, this.#figuresOf(its, [], nowMs)]));
    return { total: this.#figuresOf(this.#calls, this.#missed, nowMs), byAccount };
  }

  #figuresOf(calls: readonly Ended[], missed: readonly { atMs: number; count: number }[], nowMs: number): Figures {
    const recent = calls.filter(({ atMs }) => atMs > nowMs - WINDOW_MS);
    const counted = [...calls.map(({ atMs }) => ({ atMs, count: 1 })), ...missed];
    const rateSinceMs = Math.max(nowMs - RATE_MS, this.#knownSinceMs);
    const inRate = counted.filter(({ atMs }) => atMs >= rateSinceMs).reduce((sum, { count }) => sum + count, 0);
    const overMs = nowMs - rateSinceMs;
    return {
      perSecond: overMs < 1_000 ? undefined : (1_000 * inRate) / overMs,
      wait: percentilesOf(recent.map(({ waitedMs }) => waitedMs)),
      hold: percentilesOf(recent.map(({ heldMs }) => heldMs)),
      trend: this.#trendOf(counted, nowMs),
    };
  }

  /** Buckets stand still while time goes on, or every bar would change with every look. */
  #trendOf(counted: readonly { readonly atMs: number; readonly count: number }[], nowMs: number) {
    const last = Math.floor(nowMs / BUCKET_MS);
    const first = last - BUCKETS + 1;
    const counts = new Array<number>(BUCKETS).fill(0);
    for (const { atMs, count } of counted) {
      const at = Math.floor(atMs / BUCKET_MS) - first;
      if (at >= 0 && at < BUCKETS) counts[at] = (counts[at] ?? 0) + count;
    }
    return counts.map((count, index) => {
      const beginMs = Math.max((first + index) * BUCKET_MS, this.#knownSinceMs);
      const endMs = Math.min((first + index + 1) * BUCKET_MS, nowMs);
      // In a bucket that has only begun, a single call would be a peak.
      return endMs <= beginMs ? undefined : (1_000 * count) / Math.max(1_000, endMs - beginMs);
    });
  }
}

/** The nearest ranks; undefined of nothing. */
export function percentilesOf(values: readonly number[]): Percentiles | undefined {
  if (values.length === 0) return undefined;
  const sorted = [...values].sort((a, b) => a - b);
  const rank = (share: number) => sorted[Math.ceil(share * sorted.length) - 1] ?? 0;
  return { p50: rank(0.5), p99: rank(0.99) };
}
