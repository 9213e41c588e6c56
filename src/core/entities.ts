import type { Deadline } from './deadline-queue.ts';
import type { Lane, Queued } from './lane.ts';
import type { NonceSequence } from './nonce-sequence.ts';
import type { Peer, Priority, RequestId, Token } from './ports.ts';

/** What the broker knows of an account while it is in use. */
export interface Account {
  readonly name: string;
  readonly sequence: NonceSequence;
  grants: number;
  nonces: number;
  waiting: number;
  leases: number;
  usedAtMs: number;
}

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
  /** The lease under which it was asked for; undefined for a bare nonce. */
  readonly lease: Lease | undefined;
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
  lane: LeaseLane;
  /** Undefined while its holder from before the restart has not come back. */
  client: Client | undefined;
  ttlMs: number;
  /** I7: when it ends by its TTL. `dueMs` is sooner for one whose holder has not come back. */
  expiresAtMs: number;
}
