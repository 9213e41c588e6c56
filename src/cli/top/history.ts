import type { EndedCallRecord } from '../../protocol/messages.ts';

/** The period for which calls are counted and timed: "the last minute". */
export const WINDOW_MS = 60_000;
/** The period for a rate: as short as it can be without jumping. */
const RATE_MS = 10_000;
/** What one bar of a sparkline covers, and how many bars there are: five minutes in all. */
export const BUCKET_MS = 5_000;
export const BUCKETS = 60;
/** How many calls are kept at most: five minutes of three hundred a second. */
const MOST_CALLS = 100_000;

export interface Percentiles {
  readonly p50: number;
  readonly p99: number;
}

/** The figures of one account, or of all. What is not known yet is undefined. */
export interface Figures {
  /** How many calls ended a second, lately. */
  readonly perSecond: number | undefined;
  /** For the calls that ended in the last minute, in milliseconds. */
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

/** The calls that have ended in the last minutes, if they were read in time. */
export class CallHistory {
  #calls: Ended[] = [];
  /** Calls that the daemon forgot before they were read. Nothing else is known about them. */
  #missed: { readonly atMs: number; readonly count: number }[] = [];
  #knownSinceMs = Number.POSITIVE_INFINITY;
  readonly #mostCalls: number;

  constructor(mostCalls = MOST_CALLS) {
    this.#mostCalls = mostCalls;
  }

  /** Adds calls that were read at `nowMs`. From `knownSinceMs` on, no call is missing before the first of them. */
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

  /** Returns the figures of all calls together, and of each account: the `accounts`, and all others that had calls. */
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

  /** Counts in buckets that do not move with time, or every bar would change with every look. */
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
      // In a bucket that has just begun, a single call would look like a peak.
      return endMs <= beginMs ? undefined : (1_000 * count) / Math.max(1_000, endMs - beginMs);
    });
  }
}

/** Returns percentiles by the nearest rank; undefined without values. */
export function percentilesOf(values: readonly number[]): Percentiles | undefined {
  if (values.length === 0) return undefined;
  const sorted = [...values].sort((a, b) => a - b);
  const rank = (share: number) => sorted[Math.ceil(share * sorted.length) - 1] ?? 0;
  return { p50: rank(0.5), p99: rank(0.99) };
}
