import type { Refusal } from '../../errors.ts';
import type { Outcome, Priority } from '../../terms.ts';
import type { Account } from './account.ts';
import type { BreakerProbe } from './breaker.ts';
import { type Caller, DOWN_TTL_MS, type ExchangeChange, type ExchangeProbe } from './exchange.ts';
import { costTooHigh, exchangeDown, paused, quarantined } from './refusals.ts';

/** Whether a call may begin. */
export type Judgement =
  | { readonly kind: 'open' }
  /** Not before then, on the monotonic clock. */
  | { readonly kind: 'paced'; readonly untilMs: number }
  | { readonly kind: 'refused'; readonly refusal: Refusal };

const OPEN: Judgement = { kind: 'open' };

/** What a call may begin with. */
export interface Intent {
  readonly caller: Caller;
  readonly priority: Priority;
  readonly cost: number;
}

/** What a call has taken that others must wait for. */
export interface Probe {
  readonly breaker: BreakerProbe | undefined;
  readonly exchange: ExchangeProbe | undefined;
}

/** Returns whether a call of the account may begin now. Changes nothing. */
export function judge(account: Account, intent: Intent, nowMs: number): Judgement {
  const refused = refusalOf(account, intent, nowMs);
  if (refused !== undefined) return { kind: 'refused', refusal: refused };
  const untilMs = account.bucket?.freeAtMs(intent.cost);
  return untilMs === undefined || untilMs <= nowMs ? OPEN : { kind: 'paced', untilMs };
}

/** Returns why a call of the account is refused at once, whatever its pace; undefined if it may wait. */
export function refusalOf(account: Account, { caller, priority, cost }: Intent, nowMs: number): Refusal | undefined {
  if (account.paused) return paused(account.name);
  const { exchange, breaker, bucket } = account;
  const silent = exchange.refuses(caller, priority, nowMs);
  if (silent !== undefined) return exchangeDown(exchange.name, silent);
  const broken = breaker.refuses(priority, nowMs);
  if (broken !== undefined) return quarantined(account.name, broken);
  if (bucket !== undefined && cost > bucket.pacing.max) return costTooHigh(account.name, cost, bucket.pacing.max);
  return undefined;
}

/** Counts a call that begins. Returns the probe if it was one: others of the account or exchange are refused from now on. */
export function pass(account: Account, { caller, priority, cost }: Intent, nowMs: number): Probe | undefined {
  account.bucket?.add(cost, nowMs);
  const exchange = account.exchange.passed(caller, priority, nowMs);
  const breaker = account.breaker.passed(priority, nowMs);
  return exchange === undefined && breaker === undefined ? undefined : { breaker, exchange };
}

/** Takes back a probe of which nothing was sent. */
export function takeBack(account: Account, { breaker, exchange }: Probe, nowMs: number): void {
  if (breaker !== undefined) account.breaker.takeBack(breaker);
  if (exchange !== undefined) account.exchange.takeBack(exchange, nowMs);
}

/** Returns how long a call may hold its lane, so that a dead exchange does not cost every caller a full timeout. */
export function longestTtlMs(account: Account, caller: Caller, nowMs: number): number {
  return account.exchange.isDoubted(caller, nowMs) ? DOWN_TTL_MS : Number.POSITIVE_INFINITY;
}

export interface Changes {
  /** The account's breaker opened or closed. */
  readonly breaker: boolean;
  /** The exchange went down or came back, for all or for one process. */
  readonly exchange: ExchangeChange | undefined;
}

/** What a call that has ended says. It began no earlier than `begunAtMs`. */
export interface Ended {
  readonly caller: Caller;
  readonly outcome: Outcome;
  readonly begunAtMs: number;
}

/** Counts a call that has ended. */
export function ended(account: Account, { caller, outcome, begunAtMs }: Ended, nowMs: number): Changes {
  if (outcome === 'rate-limited') account.bucket?.fill(nowMs);
  return {
    breaker: account.breaker.ended(outcome, begunAtMs, nowMs),
    exchange: account.exchange.ended(caller, outcome, nowMs),
  };
}
