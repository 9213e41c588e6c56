/** Requests that ended without a nonce or lease, as a page shows them. */
import { formatDuration } from '../../durations.ts';
import { needsAttention } from '../../errors.ts';
import { processText } from '../../process-text.ts';
import type { Refused, Wanted } from './incident.ts';

/** How many marks of them a page has at most. */
const MOST_MARKS = 1_000;
const FIRST_SLOT_MS = 1_000;

/** Adds up what was refused: second by second as long as that is not too much for a page, and else in longer slots. */
export class RefusedSums {
  #slotMs = FIRST_SLOT_MS;
  #sums = new Map<string, Refused>();
  readonly #wanted: Wanted;

  constructor(wanted: Wanted) {
    this.#wanted = wanted;
  }

  get all(): Refused[] {
    return [...this.#sums.values()].sort((a, b) => a.toMs - b.toMs);
  }

  add(refused: Refused): void {
    const { fromMs, toMs, accounts } = this.#wanted;
    if (refused.toMs < fromMs || refused.fromMs > toMs) return;
    if (accounts?.has(refused.account ?? refused.lastAccount ?? '') === false) return;
    this.#add(refused);
    while (this.#sums.size > MOST_MARKS) this.#double();
  }

  #double(): void {
    // If there are too many accounts, longer slots do not help any more.
    if (this.#slotMs > 2 ** 31) this.#sums.delete(this.#sums.keys().next().value ?? '');
    const before = this.#sums;
    this.#slotMs *= 2;
    this.#sums = new Map();
    for (const refused of before.values()) this.#add(refused);
  }

  #add(refused: Refused): void {
    const { account, code, toMs } = refused;
    const key = JSON.stringify([account, code, Math.floor(toMs / this.#slotMs)]);
    const before = this.#sums.get(key);
    this.#sums.set(key, before === undefined ? refused : sumOf(before, refused));
  }
}

/** Returns the requests by account and code, the latest first. */
export function byAccountAndCode(all: readonly Refused[]): Refused[] {
  const sums = new Map<string, Refused>();
  for (const refused of all) {
    const key = JSON.stringify([refused.account, refused.code]);
    const before = sums.get(key);
    sums.set(key, before === undefined ? refused : sumOf(before, refused));
  }
  return [...sums.values()].sort((a, b) => b.toMs - a.toMs);
}

function sumOf(before: Refused, later: Refused): Refused {
  return {
    ...later,
    fromMs: Math.min(before.fromMs, later.fromMs),
    toMs: Math.max(before.toMs, later.toMs),
    count: before.count + later.count,
    longestWaitMs: Math.max(before.longestWaitMs, later.longestWaitMs),
  };
}

/** Returns whether a bot or an operator has something to do. */
export const isToAttend = ({ code }: Refused): boolean => needsAttention(code);

/** Returns what was refused, in one line. */
export function refusedText(refused: Refused): string {
  const { code, count, longestWaitMs, fromMs, toMs } = refused;
  const times = count === 1 ? 'once' : `${count.toLocaleString('en')} times within ${formatDuration(toMs - fromMs)}`;
  const waited = longestWaitMs >= 1 ? `, after up to ${formatDuration(longestWaitMs)}` : '';
  return `${whoseText(refused)}: ${code} ${times}${waited}, by ${askerText(refused)}`;
}

/** Returns which account was meant. */
export function whoseText({ account, lastAccount }: Refused): string {
  return account ?? (lastAccount === null ? 'no account' : `not told apart (the last for ${lastAccount})`);
}

/** Returns what asked last. */
export function askerText({ holder, pid, label }: Refused): string {
  return processText(holder, pid, label ?? undefined);
}
