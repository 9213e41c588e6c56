// A broker as a bot wants one, on Kraken. It has no nonce, no lock and no retry: all that is in ../kraken/account.ts.
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

  /** One call proves that the daemon grants, the key is right and the nonce is high enough. Rejects with CallFailed. */
  async connect(): Promise<Balances> {
    return this.#account.ask<Balances>('Balance', {}, { priority: 'normal' });
  }

  /** Rejects with CallFailed: a failure is never an empty balance. */
  async balance(): Promise<Balances> {
    return this.#account.ask<Balances>('Balance');
  }

  market(side: Order['side'], volume: string, pair: string, options?: PlaceOptions): Promise<Placed> {
    return placeOrder(this.#account, { side, volume, pair }, options);
  }

  limit(side: Order['side'], volume: string, pair: string, price: string, options?: PlaceOptions): Promise<Placed> {
    return placeOrder(this.#account, { side, volume, pair, price }, options);
  }

  /** By txid or by the `clOrdId` of when it was placed. */
  cancel(id: string): Promise<CallResult<'cancelled' | 'gone'>> {
    return cancelOrder(this.#account, id);
  }

  /** Rejects with CallFailed. */
  async positions(): Promise<Readonly<Record<string, Position>>> {
    return this.#account.ask<Readonly<Record<string, Position>>>('OpenPositions');
  }

  /** By txid or `clOrdId`; `undefined` in the answer: there is no such order. */
  orderStatus(id: string): Promise<CallResult<OrderState | undefined>> {
    return isTxid(id) ? queryOrder(this.#account, id) : findOrder(this.#account, id);
  }
}
