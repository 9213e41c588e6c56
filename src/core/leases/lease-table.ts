import { asError } from '../../errors.ts';
import type { LeaseNotes, Token } from '../ports.ts';
import type { Client, Lease } from './lease.ts';

/** The live leases. Each is noted outside the process while it lives, so that the next daemon finds it. */
export class LeaseTable {
  readonly #leases = new Map<Token, Lease>();
  /** Leases from before the restart whose holders have not come back yet. */
  readonly #orphans = new Set<Lease>();
  readonly #notes: LeaseNotes;
  readonly #onFailed: (error: Error) => void;

  /** `onFailed` is called when a note cannot be written: nothing may be granted any more. */
  constructor(notes: LeaseNotes, onFailed: (error: Error) => void) {
    this.#notes = notes;
    this.#onFailed = onFailed;
  }

  get size(): number {
    return this.#leases.size;
  }

  get capacity(): number {
    return this.#notes.capacity;
  }

  get isFull(): boolean {
    return this.#leases.size >= this.#notes.capacity;
  }

  values(): Iterable<Lease> {
    return this.#leases.values();
  }

  orphans(): Iterable<Lease> {
    return this.#orphans;
  }

  isLive(lease: Lease): boolean {
    return this.#leases.get(lease.token) === lease;
  }

  /** I5: the token alone is not enough. It must come over the connection that holds the lease. */
  own(client: Client, token: Token): Lease | undefined {
    const lease = this.#leases.get(token);
    return lease?.client === client ? lease : undefined;
  }

  /** Adds a lease. One without a client is from before the restart, and noted already. */
  hold(lease: Lease): void {
    this.#leases.set(lease.token, lease);
    lease.lane.leases.add(lease);
    lease.account.leases += 1;
    if (lease.client === undefined) this.#orphans.add(lease);
    else lease.client.leases.add(lease);
  }

  /** Binds the leases that the session held before the restart to its client's new connection, and returns them. */
  resume(client: Client, sessionHash: string): Lease[] {
    const resumed: Lease[] = [];
    for (const lease of this.#orphans) {
      if (lease.sessionHash !== sessionHash) continue;
      this.#orphans.delete(lease);
      lease.client = client;
      client.leases.add(lease);
      resumed.push(lease);
    }
    return resumed;
  }

  end(lease: Lease): void {
    this.#leases.delete(lease.token);
    lease.lane.leases.delete(lease);
    lease.formerLane?.leases.delete(lease);
    lease.account.leases -= 1;
    lease.client?.leases.delete(lease);
    this.#orphans.delete(lease);
    this.strike(lease.token);
  }

  /** Returns false if the note could not be written. */
  note(lease: Lease): boolean {
    try {
      const {
        token,
        priority,
        ttlMs,
        expiresAtMs,
        sessionHash,
        requestId,
        nonce: first,
        lastNonce: last,
        label,
      } = lease;
      const account = lease.account.name;
      const nonces = first === undefined || last === undefined ? undefined : { first, last };
      this.#notes.note({ account, token, priority, ttlMs, expiresAtMs, sessionHash, requestId, nonces, label });
      return true;
    } catch (error) {
      this.#onFailed(asError(error));
      return false;
    }
  }

  strike(token: Token): void {
    try {
      this.#notes.strike(token);
    } catch (error) {
      this.#onFailed(asError(error));
    }
  }
}
