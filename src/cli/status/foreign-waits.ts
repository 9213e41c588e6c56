import type { EndedCallRecord } from '../../protocol/messages.ts';

/** How much of the waiting was for calls of other accounts. */
export interface ForeignWaits {
  /** How many calls and accounts this is about. */
  readonly calls: number;
  readonly accounts: number;
  readonly waitedMs: number;
  /** The part of the waiting during which a call of another account held the lane. */
  readonly foreignMs: number;
}

type WaitedCall = Pick<EndedCallRecord, 'account' | 'lane' | 'exclusive' | 'waitedMs' | 'heldMs' | 'agoMs'>;

/**
 * Returns how long `calls` have waited, and for how much of that time a call of another account held their lane. Only
 * calls with a lane to themselves count, and only what these calls held is known, so the true share is at least this.
 */
export function foreignWaits(calls: readonly WaitedCall[]): ForeignWaits {
  const exclusive = calls.filter((call) => call.exclusive);
  const ofLane = groups(exclusive, ({ lane }) => lane);
  return {
    calls: exclusive.length,
    accounts: groups(exclusive, ({ account }) => account).size,
    waitedMs: sum(exclusive, ({ waitedMs }) => waitedMs),
    foreignMs: sum([...ofLane.values()], foreignMsIn),
  };
}

/** Returns, for one lane, how long other accounts held it while calls waited. */
function foreignMsIn(calls: readonly WaitedCall[]): number {
  const byAll = new HeldTime(calls);
  const byAccount = new Map(
    [...groups(calls, ({ account }) => account)].map(([name, own]) => [name, new HeldTime(own)]),
  );
  return sum(calls, (call) => {
    const { askedMs, grantedMs } = timesOf(call);
    return byAll.between(askedMs, grantedMs) - (byAccount.get(call.account)?.between(askedMs, grantedMs) ?? 0);
  });
}

/** Returns when a call asked, was granted and ended, in milliseconds relative to now, so below zero. */
function timesOf({ agoMs, heldMs, waitedMs }: WaitedCall) {
  const endedMs = -agoMs;
  const grantedMs = endedMs - heldMs;
  return { askedMs: grantedMs - waitedMs, grantedMs, endedMs };
}

/** Knows how long a set of calls held their lane up to any time, without going through all of them. */
class HeldTime {
  readonly #begins: Moments;
  readonly #ends: Moments;

  constructor(calls: readonly WaitedCall[]) {
    const times = calls.map(timesOf);
    this.#begins = new Moments(times.map(({ grantedMs }) => grantedMs));
    this.#ends = new Moments(times.map(({ endedMs }) => endedMs));
  }

  between(fromMs: number, toMs: number): number {
    return this.#until(toMs) - this.#until(fromMs);
  }

  #until(ms: number): number {
    return this.#begins.timeSince(ms) - this.#ends.timeSince(ms);
  }
}

class Moments {
  readonly #sorted: readonly number[];
  /** At each index the sum of the moments before it. */
  readonly #sums: readonly number[];

  constructor(moments: number[]) {
    this.#sorted = moments.sort((a, b) => a - b);
    let total = 0;
    this.#sums = [0, ...this.#sorted.map((moment) => (total += moment))];
  }

  /** Returns how long before `ms` the earlier moments were, summed up. */
  timeSince(ms: number): number {
    let count = 0;
    for (let end = this.#sorted.length; count < end; ) {
      const middle = (count + end) >> 1;
      if ((this.#sorted[middle] ?? ms) < ms) count = middle + 1;
      else end = middle;
    }
    return count * ms - (this.#sums[count] ?? 0);
  }
}

function groups<T>(items: readonly T[], keyOf: (item: T) => string): Map<string, T[]> {
  const found = new Map<string, T[]>();
  for (const item of items) {
    const key = keyOf(item);
    const group = found.get(key);
    if (group === undefined) found.set(key, [item]);
    else group.push(item);
  }
  return found;
}

function sum<T>(items: readonly T[], of: (item: T) => number): number {
  return items.reduce((total, item) => total + of(item), 0);
}
