/** The calls under one lease whose outcomes its holder may report one by one, before the lease ends. */
import type { Account } from '../accounts/account.ts';
import type { Probe } from '../accounts/gate.ts';
import type { Nonce } from '../ports.ts';

/** How many of them a lease remembers. A holder reports a call when it ends, so only those under way need a place. */
const REMEMBERED = 64;

/** A call under a lease that goes on after it. */
export interface FurtherCall {
  readonly account: Account;
  /** The first and the last of its nonces. */
  readonly nonce: Nonce;
  readonly lastNonce: Nonce;
  readonly drawnAtMs: number;
  readonly probe: Probe | undefined;
}

export class FurtherCalls {
  #calls: FurtherCall[] = [];

  /** Adds a call. Forgets the oldest one if there are too many. */
  add(call: FurtherCall): void {
    if (this.#calls.length === REMEMBERED) this.#calls.shift();
    this.#calls.push(call);
  }

  /** Returns the call whose first nonce this is, and forgets it: an outcome counts once. */
  take(nonce: bigint): FurtherCall | undefined {
    const at = this.#calls.findIndex((call) => call.nonce === nonce);
    return at < 0 ? undefined : this.#calls.splice(at, 1)[0];
  }
}
