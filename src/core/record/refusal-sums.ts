import type { ObservedRefusal } from '../ports.ts';

/** A wait or a call that takes longer is worth a line in the log. */
export const LONG_MS = 5_000;
/** How many accounts, each with a code, are told apart. */
export const MOST_TOLD_APART = 512;
/** How many of them the state need not know: a client may make up an account for every request. */
export const MOST_UNKNOWN = 8;

/** Requests of one account that were refused with one code. Times are on the monotonic clock. */
export interface RefusalSum {
  /** Undefined for all accounts that are not told apart, and for requests that named none. */
  readonly account: string | undefined;
  readonly code: ObservedRefusal['code'];
  /** Whether the state knew the account when the first of them was refused. */
  readonly isKnown: boolean;
  readonly sinceMs: number;
  count: number;
  longestWaitMs: number;
  /** How many of them had waited for over five seconds. */
  longWaits: number;
  lastAtMs: number;
  last: ObservedRefusal;
}

/**
 * Adds refusals up by account and code, however many there are. Its size is bounded, so no client can fill the memory with
 * requests that are refused.
 */
export class RefusalSums {
  readonly #sums = new Map<string, RefusalSum>();
  readonly #quietMs: number;
  #toldApart = 0;
  #unknown = 0;

  /** A sum that nothing was added to for `quietMs` is over: what comes later begins a new one. */
  constructor(quietMs: number = Number.POSITIVE_INFINITY) {
    this.#quietMs = quietMs;
  }

  get size(): number {
    return this.#sums.size;
  }

  /** Returns the sum that the refusal now belongs to. */
  add(refusal: ObservedRefusal, nowMs: number): RefusalSum {
    const { account, code, waitedMs } = refusal;
    const named = account === undefined ? undefined : this.#keyFor(account, refusal, nowMs);
    const key = named ?? ` ${code}`;
    const before = this.#sums.get(key);
    if (before !== undefined && !this.#isOver(before, nowMs)) {
      before.count += 1;
      before.longestWaitMs = Math.max(before.longestWaitMs, waitedMs);
      if (waitedMs > LONG_MS) before.longWaits += 1;
      before.lastAtMs = nowMs;
      before.last = refusal;
      return before;
    }
    if (before !== undefined) this.#forget(key, before);
    const sum: RefusalSum = {
      account: named === undefined ? undefined : account,
      code,
      isKnown: refusal.isKnown,
      sinceMs: nowMs,
      count: 1,
      longestWaitMs: waitedMs,
      longWaits: waitedMs > LONG_MS ? 1 : 0,
      lastAtMs: nowMs,
      last: refusal,
    };
    this.#sums.set(key, sum);
    this.#count(sum, 1);
    return sum;
  }

  /** Returns the sums that are not over, the latest first. */
  lately(nowMs: number): RefusalSum[] {
    this.#forgetOver(nowMs);
    return [...this.#sums.values()].sort((a, b) => b.lastAtMs - a.lastAtMs);
  }

  /** Returns all sums, and begins again with none. */
  take(): RefusalSum[] {
    const sums = [...this.#sums.values()];
    this.#sums.clear();
    this.#toldApart = 0;
    this.#unknown = 0;
    return sums;
  }

  /** Returns the key of the account's own sum; undefined if there is no room to tell it apart. */
  #keyFor(account: string, { code, isKnown }: ObservedRefusal, nowMs: number): string | undefined {
    const key = `${account} ${code}`;
    if (this.#sums.has(key) || this.#hasRoom(isKnown)) return key;
    this.#forgetOver(nowMs);
    return this.#hasRoom(isKnown) ? key : undefined;
  }

  #hasRoom(isKnown: boolean): boolean {
    return this.#toldApart < MOST_TOLD_APART && (isKnown || this.#unknown < MOST_UNKNOWN);
  }

  #isOver({ lastAtMs }: RefusalSum, nowMs: number): boolean {
    return nowMs - lastAtMs > this.#quietMs;
  }

  #forgetOver(nowMs: number): void {
    for (const [key, sum] of this.#sums) {
      if (this.#isOver(sum, nowMs)) this.#forget(key, sum);
    }
  }

  #forget(key: string, sum: RefusalSum): void {
    this.#sums.delete(key);
    this.#count(sum, -1);
  }

  #count({ account, isKnown }: RefusalSum, by: 1 | -1): void {
    if (account === undefined) return;
    this.#toldApart += by;
    if (!isKnown) this.#unknown += by;
  }
}
