/**
 * What the daemon before this one has left: noted leases, whose holders may come back. Until they have, or are given up,
 * their lanes stay closed; and where a note is damaged, all lanes do (I4).
 */
import type { AccountTable } from '../accounts/account-table.ts';
import type { DeadlineQueue } from '../lanes/deadline-queue.ts';
import type { NotedLease, NotesFound, RequestId, Token } from '../ports.ts';
import type { BrokerParts } from './broker-parts.ts';
import type { Client, Due, Reopening } from './entities.ts';
import type { LaneMap } from './lane-map.ts';
import type { LeaseTable } from './lease-table.ts';
import { leftMs } from './lease-views.ts';

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
  readonly #startedAtMs: number;
  readonly #accounts: AccountTable;
  readonly #lanes: LaneMap;
  readonly #leases: LeaseTable;
  readonly #deadlines: DeadlineQueue<Due>;
  readonly #reopening: Reopening = { kind: 'reopening', dueMs: 0, heapIndex: -1 };
  /** I4: a damaged note may stand for a lease in any lane, so all of them are closed. */
  #allClosed: boolean;

  constructor({ startedAtMs, accounts, lanes, leases, deadlines, ledger }: BrokerParts, found: NotesFound) {
    this.#startedAtMs = startedAtMs;
    this.#accounts = accounts;
    this.#lanes = lanes;
    this.#leases = leases;
    this.#deadlines = deadlines;
    this.#allClosed = found.damaged;
    for (const noted of found.leases) {
      // I5: below the ceiling, unless the state is a backup's, and older than its leases.
      ledger.tokens.lift(BigInt(noted.token) + 1n);
      if (noted.expiresAtMs > this.#startedAtMs) this.#adopt(noted);
      // Its slot would be lost for the rest of this boot.
      else this.#leases.strike(noted.token);
    }
  }

  /** Whether nothing exclusive may be granted in any lane yet. */
  get allClosed(): boolean {
    return this.#allClosed;
  }

  /** The time in which holders may return begins. */
  open(nowMs: number): void {
    for (const lease of this.#leases.orphans()) {
      this.#deadlines.reschedule(lease, Math.min(lease.expiresAtMs, nowMs + RETURN_MS));
    }
    if (this.#allClosed) this.#deadlines.reschedule(this.#reopening, nowMs + RETURN_MS);
  }

  /** That time is over. */
  reopen(): void {
    this.#allClosed = false;
  }

  /** Binds what the session held before the restart to its client's new connection, and tells what that is. */
  resume(client: Client, sessionHash: string, nowMs: number): Resumed[] {
    return this.#leases.resume(client, sessionHash).map((lease) => {
      this.#deadlines.reschedule(lease, lease.expiresAtMs);
      const { token, account, requestId } = lease;
      return { token, account: account.name, requestId, ttlMs: leftMs(lease, nowMs) };
    });
  }

  /** Takes up a lease of the daemon before this one: its lane stays closed until its holder returns or is given up. */
  #adopt(noted: NotedLease): void {
    const account = this.#accounts.getOrAdd(noted.account, this.#startedAtMs);
    if (account === undefined) {
      this.#allClosed = true;
      return;
    }
    // What it cost is in the level that was noted, but not told apart. An order costs nothing, and most other calls this.
    account.bucket?.resumed(1);
    this.#leases.hold({
      kind: 'lease',
      token: noted.token,
      account,
      requestId: noted.requestId,
      sessionHash: noted.sessionHash,
      priority: noted.priority,
      label: undefined,
      grantedAtMs: this.#startedAtMs,
      // Or when it was last renewed.
      begunAtMs: noted.expiresAtMs - noted.ttlMs,
      waitedMs: 0,
      nonce: undefined,
      lastNonce: undefined,
      alsoFor: undefined,
      cost: 1,
      otherCosts: undefined,
      lane: this.#lanes.of(account),
      client: undefined,
      ttlMs: noted.ttlMs,
      expiresAtMs: noted.expiresAtMs,
      dueMs: noted.expiresAtMs,
      heapIndex: -1,
    });
  }
}
