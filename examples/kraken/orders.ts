// Orders that are placed once. An order whose answer was lost is looked up by the id that we gave it, and never sent
// again: it might be placed twice.
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { CallOptions, CallResult, KrakenAccount } from './account.ts';

export interface Order {
  readonly side: 'buy' | 'sell';
  readonly pair: string;
  readonly volume: string;
  /** At the market if left out. */
  readonly price?: string;
}

export interface OrderState {
  readonly txid: string;
  readonly status: string;
  readonly volume: string;
  readonly executed: string;
}

/** What happened to an order. In every state but `placed` and `unknown` it certainly does not stand. */
export type Placed =
  | { readonly state: 'placed'; readonly clOrdId: string; readonly txid: string; readonly foundByLookup: boolean }
  | { readonly state: 'refused' | 'not-sent'; readonly clOrdId: string; readonly why: string }
  /** The answer was lost, and Kraken says that there is no such order. */
  | { readonly state: 'not-placed'; readonly clOrdId: string; readonly why: string }
  /**
   * The answer was lost, and so were the answers when it was looked up. Look for `clOrdId` before you do anything else.
   */
  | { readonly state: 'unknown'; readonly clOrdId: string; readonly why: string };

export interface PlaceOptions extends CallOptions {
  /** The pauses before the first look for an order whose answer was lost, the second, and so on. */
  readonly lookAfterMs?: readonly number[] | undefined;
}

export const LOOK_AFTER_MS: readonly number[] = [0, 1_000, 2_000, 4_000];

/** Places an order, once. Whatever happens is in the result. */
export async function placeOrder(account: KrakenAccount, order: Order, options: PlaceOptions = {}): Promise<Placed> {
  // Kraken keeps it with the order, so that it can be found again without a txid.
  const clOrdId = randomUUID();
  const { lookAfterMs, ...callOptions } = options;
  const sent = await account.call<{ txid: readonly string[] }>('AddOrder', formOf(order, clOrdId), callOptions);
  switch (sent.state) {
    case 'answered':
      return { state: 'placed', clOrdId, txid: sent.result.txid[0] ?? '', foundByLookup: false };
    case 'refused':
    case 'not-sent':
      return { state: sent.state, clOrdId, why: sent.why };
    case 'unknown':
      return lookUp(account, clOrdId, sent.why, lookAfterMs);
  }
}

async function lookUp(
  account: KrakenAccount,
  clOrdId: string,
  lost: string,
  lookAfterMs: readonly number[] = LOOK_AFTER_MS,
): Promise<Placed> {
  let absences = 0;
  let why = lost;
  for (const pauseMs of lookAfterMs) {
    if (pauseMs > 0) await sleep(pauseMs);
    const found = await findOrder(account, clOrdId);
    if (found.state === 'answered') {
      if (found.result) return { state: 'placed', clOrdId, txid: found.result.txid, foundByLookup: true };
      // Our question had a higher nonce than the order, so the order can no longer be accepted (with a nonce window of
      // 0). It is asked twice, in case the order was accepted and not on the books yet.
      absences += 1;
      if (absences === 2) return { state: 'not-placed', clOrdId, why: lost };
    } else {
      why = `${lost}; then, when looked up, ${found.why}`;
      if (found.state === 'not-sent' && found.retryAfterMs !== undefined) await sleep(found.retryAfterMs);
    }
  }
  return { state: 'unknown', clOrdId, why };
}

/** Looks for an order by the id that we gave it. The answer is `undefined` if there is none. */
export async function findOrder(account: KrakenAccount, clOrdId: string): Promise<CallResult<OrderState | undefined>> {
  const form = { cl_ord_id: clOrdId };
  // A trader waits to know what the account holds.
  const options: CallOptions = { priority: 'urgent' };
  const open = await account.call<{ open: Listed }>('OpenOrders', form, options);
  if (open.state !== 'answered') return open;
  const standing = firstOf(open.result.open);
  if (standing) return { state: 'answered', result: standing };
  const closed = await account.call<{ closed: Listed }>('ClosedOrders', form, options);
  if (closed.state !== 'answered') return closed;
  return { state: 'answered', result: firstOf(closed.result.closed) };
}

/** Returns the state of an order by its txid. */
export async function queryOrder(account: KrakenAccount, txid: string): Promise<CallResult<OrderState | undefined>> {
  const found = await account.call<Listed>('QueryOrders', { txid });
  return found.state === 'answered' ? { state: 'answered', result: firstOf(found.result) } : found;
}

/**
 * Cancels an order by its txid or by our own id. A cancel without an answer is repeated: a second one does no harm.
 * `gone`: the order is no longer open, because a cancel whose answer was lost had arrived, or because it was filled.
 */
export async function cancelOrder(account: KrakenAccount, id: string): Promise<CallResult<'cancelled' | 'gone'>> {
  const form: Record<string, string> = isTxid(id) ? { txid: id } : { cl_ord_id: id };
  for (let attempt = 1; ; attempt++) {
    const result = await account.call('CancelOrder', form);
    if (result.state === 'answered') return { state: 'answered', result: 'cancelled' };
    if (attempt > 1 && result.state === 'refused' && result.why === 'EOrder:Unknown order') {
      return { state: 'answered', result: 'gone' };
    }
    if (result.state !== 'unknown' || attempt === 3) return result;
  }
}

/** Kraken's ids look like `OABCDE-FGHIJ-KLMNOP`; ours are UUIDs. */
export function isTxid(id: string): boolean {
  return /^O[A-Z0-9]{5}-[A-Z0-9]{5}-[A-Z0-9]{6}$/.test(id);
}

type Listed = Readonly<Record<string, { status: string; vol: string; vol_exec: string }>>;

function firstOf(listed: Listed): OrderState | undefined {
  const [entry] = Object.entries(listed);
  if (!entry) return undefined;
  const [txid, { status, vol, vol_exec }] = entry;
  return { txid, status, volume: vol, executed: vol_exec };
}

function formOf({ side, pair, volume, price }: Order, clOrdId: string): Record<string, string> {
  const form = { pair, type: side, volume, cl_ord_id: clOrdId };
  return price === undefined ? { ...form, ordertype: 'market' } : { ...form, ordertype: 'limit', price };
}
