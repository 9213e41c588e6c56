/**
 * What the previous daemon has left: noted leases whose holders may come back. Until each has come back or is given up,
 * its lane stays closed. If a note is damaged, all lanes stay closed (I4).
 */
import type { NotedLease, NotesFound, RequestId, Token } from '../ports.ts';
import type { BrokerParts } from './broker-parts.ts';
import { type Client, leftMs, type Reopening } from './lease.ts';

/** How long the lane of a lease from before a restart stays closed for a holder that has not come back (I4). */
export const RETURN_MS = 2_000;

/** A lease that a client finds again after a restart. */
export interface Resumed {
  readonly token: Token;
  readonly account: string;
  readonly requestId: RequestId | undefined;
  readonly ttlMs: number;
}

export class Restart {
  readonly #parts: BrokerParts;
  readonly #reopening: Reopening = { kind: 'reopening', dueMs: 0, heapIndex: -1 };
  /** I4: a damaged note may stand for a lease in any lane, so all of them are closed. */
  #allClosed: boolean;
  readonly #stranded: ReadonlySet<Token>;

  constructor(parts: BrokerParts, found: NotesFound) {
    this.#parts = parts;
    this.#allClosed = found.damaged;
    this.#stranded = found.stranded ?? new Set();
    const { startedAtMs, ledger, leases } = parts;
    for (const noted of found.leases) {
      // I5: below the ceiling anyway, unless the state is a backup that is older than its leases.
      ledger.tokens.lift(BigInt(noted.token) + 1n);
      if (noted.expiresAtMs > startedAtMs) this.#adopt(noted);
      // Or its slot would be lost for the rest of this boot.
      else leases.strike(noted.token);
    }
  }

  /** Whether no lane may grant anything exclusive yet. */
  get allClosed(): boolean {
    return this.#allClosed;
  }

  /** Starts the time in which holders may come back. */
  open(nowMs: number): void {
    const { deadlines, leases } = this.#parts;
    for (const lease of leases.orphans()) {
      // I4: a holder that cannot come back does not learn that its lease was given up.
      const closedUntilMs = this.#stranded.has(lease.token) ? lease.expiresAtMs : nowMs + RETURN_MS;
      deadlines.reschedule(lease, Math.min(lease.expiresAtMs, closedUntilMs));
    }
    if (this.#allClosed) deadlines.reschedule(this.#reopening, nowMs + RETURN_MS);
  }

  /** Ends that time. */
  reopen(): void {
    this.#allClosed = false;
  }

  /** Binds the leases that the session held before the restart to its client's new connection, and returns them. */
  resume(client: Client, sessionHash: string, nowMs: number): Resumed[] {
    const { deadlines, leases } = this.#parts;
    return leases.resume(client, sessionHash).map((lease) => {
      deadlines.reschedule(lease, lease.expiresAtMs);
      const { token, account, requestId } = lease;
      return { token, account: account.name, requestId, ttlMs: leftMs(lease, nowMs) };
    });
  }

  /** Takes over a lease of the previous daemon: its lane stays closed until its holder comes back or is given up. */
  #adopt(noted: NotedLease): void {
    const { startedAtMs, accounts, lanes, leases } = this.#parts;
    const account = accounts.getOrAdd(noted.account, startedAtMs);
    if (account === undefined) {
      this.#allClosed = true;
      return;
    }
    // The noted level includes what this call cost, but not how much that was. Most calls cost 1; orders cost 0.
    account.bucket?.resumed(1);
    leases.hold({
      kind: 'lease',
      token: noted.token,
      account,
      requestId: noted.requestId,
      sessionHash: noted.sessionHash,
      priority: noted.priority,
      label: noted.label,
      grantedAtMs: startedAtMs,
      // Or the time of its last renewal.
      begunAtMs: noted.expiresAtMs - noted.ttlMs,
      waitedMs: 0,
      nonce: noted.nonces?.first,
      lastNonce: noted.nonces?.last,
      isResumed: true,
      alsoFor: undefined,
      cost: 1,
      taken: undefined,
      further: undefined,
      otherCosts: undefined,
      lane: lanes.of(account),
      exchange: account.exchange.name,
      formerLane: undefined,
      client: undefined,
      ttlMs: noted.ttlMs,
      expiresAtMs: noted.expiresAtMs,
      dueMs: noted.expiresAtMs,
      heapIndex: -1,
    });
  }
}
