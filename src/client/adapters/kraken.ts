import type { Outcome, Priority } from '../../terms.ts';

/** What a private call of Kraken's REST API is to the daemon. */
export interface CallTerms {
  readonly priority: Priority;
  /** What it adds to the key's call counter. */
  readonly cost: number;
}

/** What changes orders goes first, and Kraken counts it with the limiter of the pair, not with the key's counter. */
const ORDERS: CallTerms = { priority: 'urgent', cost: 0 };
/** What reads the past can wait; Kraken counts ledgers and trade history double. */
const HISTORY: CallTerms = { priority: 'background', cost: 2 };
const POLL: CallTerms = { priority: 'background', cost: 1 };
const OTHER: CallTerms = { priority: 'normal', cost: 1 };

/** A map, for a method may be called `constructor`. */
const TERMS: ReadonlyMap<string, CallTerms> = new Map([
  ...named(ORDERS, ['AddOrder', 'AddOrderBatch', 'AmendOrder', 'EditOrder']),
  // Kraken exempts CancelOrder by name and says nothing of its relatives: an exit must not wait for the counter to fall.
  ...named(ORDERS, ['CancelOrder', 'CancelOrderBatch', 'CancelAll', 'CancelAllOrdersAfter']),
  ...named(HISTORY, ['Ledgers', 'QueryLedgers', 'TradesHistory']),
  ...named(POLL, ['QueryTrades', 'ClosedOrders', 'OrderAmends']),
  ...named(POLL, ['Balance', 'BalanceEx', 'TradeBalance', 'CreditLines']),
  ...named(POLL, ['AddExport', 'ExportStatus', 'RetrieveExport', 'RemoveExport']),
]);

function named(terms: CallTerms, methods: readonly string[]): [string, CallTerms][] {
  return methods.map((method) => [method, terms]);
}

/** The terms of a private method by its name in the URL (`AddOrder`); one that is not known is `normal` and costs 1. */
export function termsOf(method: string): CallTerms {
  return TERMS.get(method) ?? OTHER;
}

/** The worst first: of several errors in one answer, it is the one to hear about. */
const OUTCOMES_BY_ERROR: readonly (readonly [error: RegExp, outcome: Outcome])[] = [
  [/^EGeneral:Temporary lockout/, 'locked-out'],
  [/^EAPI:Invalid nonce/, 'invalid-nonce'],
  // Not `EOrder:Rate limit exceeded`: that is the limiter of one pair, and the key's counter has room.
  [/^E(API|Auth):Rate limit exceeded|^E(General|Auth):Too many requests|^EService:Throttled/, 'rate-limited'],
  [/^EService:(Unavailable|Busy)/, 'unavailable'],
  // Kraken gave up waiting for its own engine. Other errors of EService are a market's, not the exchange's.
  [/^EService:(Deadline elapsed|Timeout)/, 'unsettled'],
  // Refused before the nonce was looked at, or broken inside: no word on whether nonces and exchange are well.
  [/^EAPI:Invalid (key|signature)|^EAuth:|^EGeneral:Internal error/, 'unknown'],
];

/**
 * How a call ended that Kraken answered with these errors. None, a mere warning (`W…`), and an error that is not about
 * the nonce, the rate or the service, are answers of a living exchange that took the nonce: `ok`.
 */
export function outcomeOfErrors(errors: readonly string[]): Outcome {
  // Kraken writes `EService: Throttled` with a space, and others without.
  const written = errors.map((error) => error.replace(/^(\w+):\s+/, '$1:'));
  const worst = OUTCOMES_BY_ERROR.find(([pattern]) => written.some((error) => pattern.test(error)));
  return worst?.[1] ?? 'ok';
}

/** How a call ended that was answered with this HTTP status and nothing of Kraken's in the body. */
export function outcomeOfStatus(status: number): Outcome {
  if (status >= 500) return 'unavailable';
  return status === 429 ? 'rate-limited' : 'unknown';
}
