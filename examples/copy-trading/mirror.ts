// Mirrors a master's orders to those who follow him: each with his own key and his own call, all at the same time.
import type { CallResult, KrakenAccount } from '../kraken/account.ts';
import { type Order, type Placed, type PlaceOptions, placeOrder } from '../kraken/orders.ts';

export interface Follower {
  readonly account: KrakenAccount;
  /** What he trades for one of the master's. */
  readonly scale: number;
}

/** What one account got of an order. */
export interface Share {
  readonly account: string;
  readonly volume: string;
  readonly placed: Placed;
}

export interface MirrorOptions extends PlaceOptions {
  /** Hears of each share as soon as it is settled. */
  readonly tell?: ((share: Share) => void) | undefined;
}

export class Mirror {
  readonly #master: KrakenAccount;
  readonly #followers: readonly Follower[];

  constructor(master: KrakenAccount, followers: readonly Follower[]) {
    this.#master = master;
    this.#followers = followers;
  }

  /**
   * Places the master's order, and then those of his followers, which need not be waited for before the next order is
   * placed. `maxAgeMs` is theirs alone. `signal` is the master's alone: what stands is mirrored, stopped or not.
   */
  async place(order: Order, options: MirrorOptions = {}): Promise<{ master: Share; followers: Promise<Share[]> }> {
    const master = await share(this.#master, order, { ...options, maxAgeMs: undefined });
    // An order of which nobody knows is not followed either: it may not stand.
    if (master.placed.state !== 'placed') return { master, followers: Promise.resolve([]) };
    // Two orders of one account keep their order, for nonced serves the calls of an account as they were asked for.
    const followers = this.#followers.map(({ account, scale }) =>
      share(account, { ...order, volume: scaled(order.volume, scale) }, { ...options, signal: undefined }),
    );
    return { master, followers: Promise.all(followers) };
  }

  /** The balances of all, the master's first. One that cannot be had does not keep the others back. */
  balances(signal: AbortSignal): Promise<{ account: string; balance: CallResult<Readonly<Record<string, string>>> }[]> {
    const accounts = [this.#master, ...this.#followers.map(({ account }) => account)];
    return Promise.all(
      accounts.map(async (account) => ({
        account: account.name,
        balance: await account.call<Readonly<Record<string, string>>>('Balance', {}, { signal }),
      })),
    );
  }
}

async function share(account: KrakenAccount, order: Order, { tell, ...options }: MirrorOptions): Promise<Share> {
  const settled = { account: account.name, volume: order.volume, placed: await placeOrder(account, order, options) };
  tell?.(settled);
  return settled;
}

/** Kraken takes eight decimals. */
export function scaled(volume: string, scale: number): string {
  return scale === 1 ? volume : (Number(volume) * scale).toFixed(8);
}
