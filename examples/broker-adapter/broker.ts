// A broker for a bot, on Kraken. It has no nonce, no lock and no retry: all of that is in ../kraken/account.ts.
import type { CallResult, KrakenAccount } from '../kraken/account.ts';
import {
  cancelOrder,
  findOrder,
  isTxid,
  type Order,
  type OrderState,
  type Placed,
  type PlaceOptions,
  placeOrder,
  queryOrder,
} from '../kraken/orders.ts';

export type Balances = Readonly<Record<string, string>>;

export interface Position {
  readonly pair: string;
  readonly type: 'buy' | 'sell';
  readonly vol: string;
}

export class KrakenBroker {
  readonly #account: KrakenAccount;

  constructor(account: KrakenAccount) {
    this.#account = account;
  }

  get name(): string {
    return this.#account.name;
  }

  /**
   * Proves by one call that the daemon grants, the key is right and the nonce is high enough. Rejects with CallFailed.
   */
  async connect(): Promise<Balances> {
    return this.#account.ask<Balances>('Balance', {}, { priority: 'normal' });
  }

  /** Returns the balances. Rejects with CallFailed: a failure is never an empty balance. */
  async balance(): Promise<Balances> {
    return this.#account.ask<Balances>('Balance');
  }

  market(side: Order['side'], volume: string, pair: string, options?: PlaceOptions): Promise<Placed> {
    return placeOrder(this.#account, { side, volume, pair }, options);
  }

  limit(side: Order['side'], volume: string, pair: string, price: string, options?: PlaceOptions): Promise<Placed> {
    return placeOrder(this.#account, { side, volume, pair, price }, options);
  }

  /** Cancels an order by its txid, or by the `clOrdId` that it was placed with. */
  cancel(id: string): Promise<CallResult<'cancelled' | 'gone'>> {
    return cancelOrder(this.#account, id);
  }

  /** Returns the open positions. Rejects with CallFailed. */
  async positions(): Promise<Readonly<Record<string, Position>>> {
    return this.#account.ask<Readonly<Record<string, Position>>>('OpenPositions');
  }

  /** Returns the state of an order by its txid or `clOrdId`; `undefined` if there is no such order. */
  orderStatus(id: string): Promise<CallResult<OrderState | undefined>> {
    return isTxid(id) ? queryOrder(this.#account, id) : findOrder(this.#account, id);
  }
}
