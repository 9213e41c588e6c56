import type { Priority } from '../../terms.ts';

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
