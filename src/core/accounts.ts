import type { Account } from './entities.ts';
import type { NonceSequence } from './nonce-sequence.ts';

/** The accounts that are in use. The idle ones are forgotten when room is needed: nothing about nonces is lost by that. */
export class AccountTable {
  readonly #accounts = new Map<string, Account>();
  readonly #limit: number;
  readonly #sequence: NonceSequence;

  constructor(limit: number, sequence: NonceSequence) {
    this.#limit = limit;
    this.#sequence = sequence;
  }

  get size(): number {
    return this.#accounts.size;
  }

  values(): Iterable<Account> {
    return this.#accounts.values();
  }

  /** Undefined where all that fit are busy. */
  getOrAdd(name: string, nowMs: number): Account | undefined {
    return this.#accounts.get(name) ?? this.#add(name, nowMs);
  }

  #add(name: string, nowMs: number): Account | undefined {
    if (this.#accounts.size >= this.#limit && !this.#forgetOldest()) return undefined;
    const sequence = this.#sequence;
    const account: Account = { name, sequence, grants: 0, nonces: 0, waiting: 0, leases: 0, usedAtMs: nowMs };
    this.#accounts.set(name, account);
    return account;
  }

  #forgetOldest(): boolean {
    let oldest: Account | undefined;
    for (const account of this.#accounts.values()) {
      if (account.waiting > 0 || account.leases > 0) continue;
      if (oldest === undefined || account.usedAtMs < oldest.usedAtMs) oldest = account;
    }
    return oldest !== undefined && this.#accounts.delete(oldest.name);
  }
}
