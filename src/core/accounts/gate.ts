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

/** What an account's policy says to a call that would begin now. Changes nothing. */
export function judge(account: Account, priority: Priority, cost: number, nowMs: number): Judgement {
  const refused = refusalOf(account, priority, cost, nowMs);
  if (refused !== undefined) return { kind: 'refused', refusal: refused };
  const untilMs = account.bucket?.freeAtMs(cost);
  return untilMs === undefined || untilMs <= nowMs ? OPEN : { kind: 'paced', untilMs };
}

/** Why a call of the account is refused at once, whatever its pace; undefined where it may wait. */
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

/** Counts a call that begins. True where it was a probe: others of the account or exchange are refused from now on. */
export function pass(account: Account, priority: Priority, cost: number, nowMs: number): boolean {
  account.bucket?.add(cost, nowMs);
  const probesExchange = account.exchange.passed(priority, nowMs);
  return account.breaker.passed(priority, nowMs) || probesExchange;
}

/** How long a call may hold its lane: a dead exchange must not be one timeout after another for everybody. */
export function longestTtlMs(account: Account): number {
  return account.exchange.downSinceMs === undefined ? Number.POSITIVE_INFINITY : DOWN_TTL_MS;
}

export interface Changes {
  /** The account's breaker opened or closed. */
  readonly breaker: boolean;
  /** The exchange went down or came back. */
  readonly exchange: boolean;
}

/** A call that began no earlier than `begunAtMs` has ended with `outcome`. */
export function ended(account: Account, outcome: Outcome, begunAtMs: number, nowMs: number): Changes {
  if (outcome === 'rate-limited') account.bucket?.fill(nowMs);
  return {
    breaker: account.breaker.ended(outcome, begunAtMs, nowMs),
    exchange: account.exchange.ended(outcome, nowMs),
  };
}
