// What Kraken's methods and errors mean to nonced, as far as the examples need it. Add what your bot calls.
import type { Outcome, Priority } from 'nonced-client';

export interface CallTerms {
  readonly priority: Priority;
  /** What the call adds to the key's call counter. Before the grant the daemon waits until there is room for it. */
  readonly cost: number;
}

const TERMS: ReadonlyMap<string, CallTerms> = new Map([
  // Orders have a limiter of their own for each pair.
  ['AddOrder', { priority: 'normal', cost: 0 }],
  ['CancelOrder', { priority: 'urgent', cost: 0 }],
  ['CancelAll', { priority: 'urgent', cost: 0 }],
  ['Balance', { priority: 'background', cost: 1 }],
  ['OpenOrders', { priority: 'normal', cost: 1 }],
  ['ClosedOrders', { priority: 'normal', cost: 1 }],
  ['QueryOrders', { priority: 'normal', cost: 1 }],
  ['OpenPositions', { priority: 'normal', cost: 1 }],
  ['Ledgers', { priority: 'background', cost: 2 }],
  ['TradesHistory', { priority: 'background', cost: 2 }],
]);

export function termsOf(method: string): CallTerms {
  return TERMS.get(method) ?? { priority: 'normal', cost: 1 };
}

/** Returns the outcome of a call that was answered with these errors, the worst first. */
export function outcomeOf(errors: readonly string[]): Outcome {
  const said = (pattern: RegExp) => errors.some((error) => pattern.test(error));
  if (said(/^EGeneral:Temporary lockout/)) return 'locked-out';
  if (said(/^EAPI:Invalid nonce/)) return 'invalid-nonce';
  if (said(/^EAPI:Rate limit exceeded|^EService: ?Throttled/)) return 'rate-limited';
  if (said(/^EService:(Unavailable|Busy)/)) return 'unavailable';
  if (said(/^EService:(Timeout|Deadline elapsed)/)) return 'unsettled';
  if (said(/^EGeneral:Internal error|^EAPI:Invalid (key|signature)/)) return 'unknown';
  // Any other error is the answer of a working exchange that took the nonce, such as a lack of funds.
  return 'ok';
}

/** Whether the call may have been carried out although Kraken answered with these errors. */
export function mayHaveArrived(errors: readonly string[]): boolean {
  return errors.some((error) => /^EService:(Unavailable|Busy|Timeout|Deadline)|^EGeneral:Internal error/.test(error));
}
