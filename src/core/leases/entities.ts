import type { Priority, Unit } from '../../terms.ts';
import type { Account } from '../accounts/account.ts';
import type { Deadline } from '../lanes/deadline-queue.ts';
import type { AccountQueue, Lane, Queued } from '../lanes/lane.ts';
import type { Nonce, Peer, RequestId, Token } from '../ports.ts';

/** One connection, as the broker knows it. */
export interface Client {
  readonly peer: Peer;
  name: string | undefined;
  pid: number | undefined;
  sessionHash: string | undefined;
  readonly waiting: Map<RequestId, Waiter | Draw>;
  readonly leases: Set<Lease>;
}

export type LeaseLane = Lane<Waiter, Lease>;

/** An `acquire` that has not been answered. */
export interface Waiter extends Queued<Waiter>, Deadline {
  readonly kind: 'waiter';
  readonly client: Client;
  readonly id: RequestId;
  readonly account: Account;
  readonly count: number;
  readonly cost: number;
  readonly unit: Unit | undefined;
  readonly ttlMs: number;
  readonly label: string | undefined;
  lane: LeaseLane;
}

/** A `nonce` or `next` that waits for a ceiling. */
export interface Draw {
  readonly kind: 'draw';
  readonly client: Client;
  readonly id: RequestId;
  readonly account: Account;
  readonly count: number;
  /** The lease under which it was asked for, and what the call costs; undefined for a bare nonce. */
  readonly under: { readonly lease: Lease; readonly cost: number } | undefined;
}

export interface Lease extends Deadline {
  readonly kind: 'lease';
  readonly token: Token;
  readonly account: Account;
  readonly requestId: RequestId | undefined;
  readonly sessionHash: string | undefined;
  readonly priority: Priority;
  readonly label: string | undefined;
  readonly grantedAtMs: number;
  /** When its call can have begun at the earliest: what its outcome says of its account is no older. */
  readonly begunAtMs: number;
  readonly waitedMs: number;
  /** The nonce it was granted with, and the last one drawn under it; undefined after a restart. */
  readonly nonce: Nonce | undefined;
  lastNonce: Nonce | undefined;
  /** Another account for which a nonce was drawn under it. */
  alsoFor: string | undefined;
  /** What the calls of its account cost that it was granted for. */
  cost: number;
  /** What calls of other accounts cost that were made under it; undefined while there were none. */
  otherCosts: Map<Account, number> | undefined;
  lane: LeaseLane;
  /** Undefined while its holder from before the restart has not come back. */
  client: Client | undefined;
  ttlMs: number;
  /** I7: when it ends by its TTL. `dueMs` is sooner for one whose holder has not come back. */
  expiresAtMs: number;
}

/** When lanes that were closed for a damaged note open again. */
export interface Reopening extends Deadline {
  readonly kind: 'reopening';
}

/** When those who wait for a write of the ceiling go on without it, because it is slow. */
export interface SlowWrite extends Deadline {
  readonly kind: 'slow-write';
}

/** Whatever falls due at a time. */
export type Due = Waiter | AccountQueue<Waiter> | Lease | LeaseLane | Reopening | SlowWrite;
