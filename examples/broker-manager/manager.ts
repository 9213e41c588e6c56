// Many accounts in one process: each is polled at its own pace, and an exit goes before all polls.
import { setTimeout as sleep } from 'node:timers/promises';
import type { CallOptions, CallResult, KrakenAccount } from '../kraken/account.ts';
import { type Order, type Placed, placeOrder } from '../kraken/orders.ts';

/** What happens to a call: it waits for its lease, it is sent, and it ends. */
export interface CallEvent {
  readonly account: string;
  readonly what: string;
  readonly step: 'waits' | 'is sent' | 'ended';
  /** How it ended. */
  readonly end?: string;
}

export interface ManagerOptions {
  /** The pause between the answer to a poll and the next poll of the same account. */
  readonly pauseMs: number;
  /** How many polls of each account; until it is stopped if left out. */
  readonly rounds?: number | undefined;
  readonly tell: (event: CallEvent) => void;
}

export class BrokerManager {
  readonly #accounts: ReadonlyMap<string, KrakenAccount>;
  readonly #options: ManagerOptions;
  readonly #exits = new Set<Promise<Placed>>();

  constructor(accounts: readonly KrakenAccount[], options: ManagerOptions) {
    this.#accounts = new Map(accounts.map((account) => [account.name, account]));
    this.#options = options;
  }

  /** Polls all accounts until each has had its rounds, or until `stop` aborts and the calls under way have ended. */
  async run(stop: AbortSignal): Promise<void> {
    await Promise.all([...this.#accounts.values()].map((account) => this.#watch(account, stop)));
    // An exit that was asked for is carried out, even after a stop.
    await Promise.all(this.#exits);
  }

  /** Exits an account's position, before all polls. Returns undefined if there is no such account. */
  exit(name: string, order: Order): Promise<Placed> | undefined {
    const account = this.#accounts.get(name);
    if (!account) return undefined;
    const exit = placeOrder(account, order, { priority: 'urgent', begins: this.#waits(name, 'exit') });
    this.#exits.add(exit);
    void exit.then((placed) => {
      this.#exits.delete(exit);
      this.#ended(name, 'exit', placed.state === 'placed' ? `placed ${placed.txid}` : `${placed.state}: ${placed.why}`);
    });
    return exit;
  }

  async #watch(account: KrakenAccount, stop: AbortSignal): Promise<void> {
    const { pauseMs, rounds = Number.POSITIVE_INFINITY } = this.#options;
    for (let round = 1; round <= rounds && !stop.aborted; round++) {
      const what = `poll ${round}`;
      const options: CallOptions = { priority: 'background', signal: stop, begins: this.#waits(account.name, what) };
      const balance = await account.call('Balance', {}, options);
      this.#ended(account.name, what, balance.state === 'answered' ? 'answered' : `${balance.state}: ${balance.why}`);
      // Here and not under the lease, so that no other account waits for it. The daemon's own pacing, which goes by the
      // cost that account.ts gives, also happens before the lease is granted.
      if (round < rounds) await pause(Math.max(pauseMs, backOffMs(balance)), stop);
    }
  }

  /** Reports that the call waits. Returns the function to call when the lease is granted. */
  #waits(account: string, what: string): () => void {
    this.#options.tell({ account, what, step: 'waits' });
    return () => this.#options.tell({ account, what, step: 'is sent' });
  }

  #ended(account: string, what: string, end: string): void {
    this.#options.tell({ account, what, step: 'ended', end });
  }
}

/** Returns how long to wait: a key that is paced, paused or quarantined says so itself. */
function backOffMs(result: CallResult): number {
  return result.state === 'not-sent' ? (result.retryAfterMs ?? 0) : 0;
}

async function pause(ms: number, stop: AbortSignal): Promise<void> {
  // It rejects only because it was stopped.
  await sleep(ms, undefined, { signal: stop }).catch(() => {});
}
