import type { Refusal } from '../../errors.ts';
import type { Outcome, Priority } from '../../terms.ts';
import type { Account } from './account.ts';
import { DOWN_TTL_MS } from './exchange.ts';
import { costTooHigh, exchangeDown, paused, quarantined } from './refusals.ts';

/** Whether a call may begin. */
export type Judgement =
  | { readonly kind: 'open' }
  /** Not before then, on the monotonic clock. */
  | { readonly kind: 'paced'; readonly untilMs: number }
  | { readonly kind: 'refused'; readonly refusal: Refusal };

const OPEN: Judgement = { kind: 'open' };

/** Returns whether a call of the account may begin now. Changes nothing. */
export function judge(account: Account, priority: Priority, cost: number, nowMs: number): Judgement {
  const refused = refusalOf(account, priority, cost, nowMs);
  if (refused !== undefined) return { kind: 'refused', refusal: refused };
  const untilMs = account.bucket?.freeAtMs(cost);
  return untilMs === undefined || untilMs <= nowMs ? OPEN : { kind: 'paced', untilMs };
}

/** Returns why a call of the account is refused at once, whatever its pace; undefined if it may wait. */
export function refusalOf(account: Account, priority: Priority, cost: number, nowMs: number): Refusal | undefined {
  if (account.paused) return paused(account.name);
  const { exchange, breaker, bucket } = account;
  const downMs = exchange.refuses(priority, nowMs);
  if (downMs !== undefined) return exchangeDown(exchange.name, downMs);
  const broken = breaker.refuses(priority, nowMs);
  if (broken !== undefined) return quarantined(account.name, broken);
  if (bucket !== undefined && cost > bucket.pacing.max) return costTooHigh(account.name, cost, bucket.pacing.max);
  return undefined;
}

/** Counts a call that begins. Returns true if it was a probe: other calls of the account or exchange are refused from now on. */
export function pass(account: Account, priority: Priority, cost: number, nowMs: number): boolean {
  account.bucket?.add(cost, nowMs);
  const probesExchange = account.exchange.passed(priority, nowMs);
  return account.breaker.passed(priority, nowMs) || probesExchange;
}

/** Returns how long a call may hold its lane, so that a dead exchange does not cost every caller a full timeout. */
export function longestTtlMs(account: Account): number {
  return account.exchange.downSinceMs === undefined ? Number.POSITIVE_INFINITY : DOWN_TTL_MS;
}

export interface Changes {
  /** The account's breaker opened or closed. */
  readonly breaker: boolean;
  /** The exchange went down or came back. */
  readonly exchange: boolean;
}

/** Counts a call that began no earlier than `begunAtMs` and has ended with `outcome`. */
export function ended(account: Account, outcome: Outcome, begunAtMs: number, nowMs: number): Changes {
  if (outcome === 'rate-limited') account.bucket?.fill(nowMs);
  return {
    breaker: account.breaker.ended(outcome, begunAtMs, nowMs),
    exchange: account.exchange.ended(outcome, nowMs),
  };
}
