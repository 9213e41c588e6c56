import type { Outcome } from '../../terms.ts';

/** A lease that was given back by a notification, which has no answer. */
export interface Return {
  readonly token: bigint;
  readonly outcome: Outcome;
  readonly endsAtMs: number;
  /** The place of the notification among all messages; undefined if there was no connection to send it on. */
  readonly sentNumber: number | undefined;
}

/** Leases that were given back and that the daemon may still hold, because nothing has confirmed that it read so. */
export class GivenBack {
  #returns: Return[] = [];

  add(given: Return): void {
    this.#returns.push(given);
  }

  /** The daemon has answered message `sentNumber`, so it has read all that went out before it on that connection. */
  confirm(sentNumber: number): void {
    const returns = this.#returns;
    while (returns[0]?.sentNumber !== undefined && returns[0].sentNumber <= sentNumber) returns.shift();
  }

  /** Whether the daemon may still hold one at `nowMs`. */
  mayBeHeld(nowMs: number): boolean {
    if (this.#returns.length === 0) return false;
    this.#returns = this.#returns.filter(({ endsAtMs }) => endsAtMs > nowMs);
    return this.#returns.length > 0;
  }

  /** Forgets all of them, and returns what they were. */
  clear(): readonly Return[] {
    const returns = this.#returns;
    this.#returns = [];
    return returns;
  }
}
