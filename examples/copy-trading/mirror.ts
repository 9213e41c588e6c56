// Mirrors a master's orders to the followers: each with its own key and its own call, all at the same time.
import type { CallResult, KrakenAccount } from '../kraken/account.ts';
import { type Order, type Placed, type PlaceOptions, placeOrder } from '../kraken/orders.ts';

export interface Follower {
  readonly account: KrakenAccount;
  /** How much it trades for one of the master's. */
  readonly scale: number;
}

/** What one account got of an order. */
export interface Share {
  readonly account: string;
  readonly volume: string;
  readonly placed: Placed;
}

export interface MirrorOptions extends PlaceOptions {
  /** Called for each share as soon as it is settled. */
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
   * Places the master's order, and then those of the followers. The next order need not wait for theirs. `maxAgeMs` is
   * only for theirs. `signal` is only for the master's: an order that stands is mirrored even after a stop.
   */
  async place(order: Order, options: MirrorOptions = {}): Promise<{ master: Share; followers: Promise<Share[]> }> {
    const master = await share(this.#master, order, { ...options, maxAgeMs: undefined });
    // An order whose end is unknown is not mirrored either: it may not stand.
    if (master.placed.state !== 'placed') return { master, followers: Promise.resolve([]) };
    // The orders of one account keep their order: nonced grants an account's leases in the order of the requests.
    const followers = this.#followers.map(({ account, scale }) =>
      share(account, { ...order, volume: scaled(order.volume, scale) }, { ...options, signal: undefined }),
    );
    return { master, followers: Promise.all(followers) };
  }

  /** Returns the balances of all accounts, the master's first. One that fails does not hold up the others. */
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

/** Scales a volume. Kraken takes eight decimals. */
export function scaled(volume: string, scale: number): string {
  return scale === 1 ? volume : (Number(volume) * scale).toFixed(8);
}
