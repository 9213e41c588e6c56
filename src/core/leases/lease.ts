/**
 * A lease, the client that holds it, and the requests that wait for one or draw under one.
 */
import type { Priority, Unit } from '../../terms.ts';
import type { Account } from '../accounts/account.ts';
import type { Probe } from '../accounts/gate.ts';
import type { AccountQueue, Queued } from '../lanes/account-queue.ts';
import type { Deadline } from '../lanes/deadline-queue.ts';
import type { Lane } from '../lanes/lane.ts';
import type { Nonce, Peer, RequestId, Token } from '../ports.ts';
import { FurtherCalls } from './further-calls.ts';

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
  readonly sinceMs: number;
  /** Undefined for a bare nonce. */
  readonly under: UnderLease | undefined;
}

/** The lease that a further nonce is drawn under, and what its caller says of the call. */
export interface UnderLease {
  readonly lease: Lease;
  readonly key: string | undefined;
  readonly unit: Unit | undefined;
  readonly cost: number;
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
  /** When its call can have begun at the earliest. What its outcome says about its account is no older. */
  readonly begunAtMs: number;
  readonly waitedMs: number;
  /** The nonce that it was granted with; undefined if that was before a restart and is not noted. */
  readonly nonce: Nonce | undefined;
  /** The last nonce drawn under it, as far as that is known after a restart. */
  lastNonce: Nonce | undefined;
  /** It was granted before a restart and nothing has been drawn under it since. Its grant may not have arrived. */
  isResumed: boolean;
  /** Another account that drew a nonce under it. */
  alsoFor: string | undefined;
  /** What the calls of its own account cost. */
  cost: number;
  /** What its first call has taken, which is given back if nothing was sent; undefined once more than that was drawn. */
  taken: { readonly probe: Probe | undefined } | undefined;
  /** The calls whose outcomes may be reported before its end; undefined while only the first has been made. */
  further: FurtherCalls | undefined;
  /** What the calls of other accounts under it cost; undefined while there are none. */
  otherCosts: Map<Account, number> | undefined;
  lane: LeaseLane;
  /** The exchange that its call goes to, whatever is configured since. */
  readonly exchange: string;
  /** The lane of that exchange, if a configuration has put its account elsewhere. It stays closed too (I4). */
  formerLane: LeaseLane | undefined;
  /** Undefined until its holder from before a restart has come back. */
  client: Client | undefined;
  ttlMs: number;
  /** I7: when it ends by its TTL. `dueMs` is sooner while its holder has not come back. */
  expiresAtMs: number;
}

/** When the lanes that were closed because of a damaged note open again. */
export interface Reopening extends Deadline {
  readonly kind: 'reopening';
}

/** When requests that wait for a write of the ceiling go on without it, because it is slow. */
export interface SlowWrite extends Deadline {
  readonly kind: 'slow-write';
}

/** Everything that can fall due. */
export type Due = Waiter | AccountQueue<Waiter> | Lease | LeaseLane | Reopening | SlowWrite;

/** Returns how long the lease lasts from now, in whole milliseconds. */
export function leftMs(lease: Lease, nowMs: number): number {
  return Math.max(0, Math.floor(lease.expiresAtMs - nowMs));
}

/** Returns the calls whose outcomes may be reported. The first one is among them: it may be followed by a retry. */
export function furtherOf(lease: Lease): FurtherCalls {
  if (lease.further === undefined) {
    lease.further = new FurtherCalls();
    const { account, nonce, lastNonce, grantedAtMs } = lease;
    if (nonce !== undefined && lastNonce !== undefined) {
      lease.further.add({ account, nonce, lastNonce, drawnAtMs: grantedAtMs, probe: undefined });
    }
  }
  return lease.further;
}

/** Returns what the calls under way cost, by account. */
export function costsOf(leases: Iterable<Lease>): ReadonlyMap<Account, number> {
  const costs = new Map<Account, number>();
  for (const lease of leases) {
    for (const [account, cost] of [[lease.account, lease.cost] as const, ...(lease.otherCosts ?? [])]) {
      costs.set(account, (costs.get(account) ?? 0) + cost);
    }
  }
  return costs;
}
