/**
 * What asks for nonces and leases: a request is refused at once, or becomes a waiter or a draw that is answered later,
 * once and no more. Here it gets its place by arrival (I6), but no nonce (I3).
 */

import type { Clock } from '../../clock.ts';
import { type Refusal, refusal } from '../../errors.ts';
import type { Priority, Unit } from '../../terms.ts';
import { DEFAULT_TTL_MS, DEFAULT_WAIT_MS } from '../../terms.ts';
import type { Account } from '../accounts/account.ts';
import type { AccountTable } from '../accounts/account-table.ts';
import type { Drain } from '../accounts/drain.ts';
import { refusalOf } from '../accounts/gate.ts';
import { keyMismatch, unitMismatch } from '../accounts/refusals.ts';
import type { DeadlineQueue } from '../lanes/deadline-queue.ts';
import { SHUTTING_DOWN } from '../nonces/refusals.ts';
import type { Observer, RequestId, Token } from '../ports.ts';
import type { BrokerParts, Limits } from './broker-parts.ts';
import type { Draws } from './draws.ts';
import type { Client, Due, Waiter } from './entities.ts';
import type { Grants } from './grants.ts';
import type { LaneMap } from './lane-map.ts';
import type { LeaseTable } from './lease-table.ts';
import type { Phase } from './phase.ts';
import { CANCELLED, DRAINING, full, LEASE_LOST, waitTimeout } from './refusals.ts';
import type { WaitingRoom } from './waiting-room.ts';

/** A waiter whose only obstacle is a write of the ceiling gets at least this, however short its patience. */
const WRITE_GRACE_MS = 1_500;

export interface AcquireParams {
  readonly account: string;
  /** Fingerprint of its API key. */
  readonly key: string | undefined;
  readonly unit: Unit | undefined;
  readonly priority: Priority;
  /** What the call adds to the account's bucket. */
  readonly cost: number;
  readonly ttlMs: number | undefined;
  readonly waitMs: number | undefined;
  readonly label: string | undefined;
  readonly count: number;
}

export interface NextParams {
  readonly token: Token;
  /** Undefined: the lease's own. */
  readonly account: string | undefined;
  readonly cost: number;
  readonly count: number;
}

/** What requests come in to: the lanes, and the draws. */
export interface AdmissionParts {
  readonly room: WaitingRoom;
  readonly grants: Grants;
  readonly draws: Draws;
}

export class Admission {
  readonly #clock: Clock;
  readonly #limits: Limits;
  readonly #phase: Phase;
  readonly #accounts: AccountTable;
  readonly #lanes: LaneMap;
  readonly #leases: LeaseTable;
  readonly #deadlines: DeadlineQueue<Due>;
  readonly #observer: Observer;
  readonly #drain: Drain;
  readonly #room: WaitingRoom;
  readonly #grants: Grants;
  readonly #draws: Draws;
  #arrivals = 0;

  constructor(foundation: BrokerParts, { room, grants, draws }: AdmissionParts) {
    this.#clock = foundation.clock;
    this.#limits = foundation.limits;
    this.#phase = foundation.phase;
    this.#accounts = foundation.accounts;
    this.#lanes = foundation.lanes;
    this.#leases = foundation.leases;
    this.#deadlines = foundation.deadlines;
    this.#observer = foundation.observer;
    this.#drain = foundation.drain;
    this.#room = room;
    this.#grants = grants;
    this.#draws = draws;
  }

  /** A bare nonce, the first of `count` consecutive ones, without any exclusivity. Answers `drawn` or `refused`. */
  nonce(client: Client, id: RequestId, accountName: string, count: number): void {
    const account = this.#admit(client, id, accountName);
    if (account !== undefined) this.#draws.draw(client, id, account, count, undefined);
  }

  /** Queues for the account's lane. Answers `granted` or `refused`, now or later. */
  acquire(client: Client, id: RequestId, params: AcquireParams): void {
    const account = this.#admit(client, id, params.account);
    if (account === undefined) return;
    const nowMs = this.#clock.monotonicMs();
    const refused = this.#refusalOf(account, params, nowMs) ?? this.#room.noRoomFor(client);
    if (refused !== undefined) {
      client.peer.refused(id, refused);
      return;
    }
    const { priority } = params;
    const lane = this.#lanes.of(account);
    const waiter: Waiter = {
      kind: 'waiter',
      client,
      id,
      account,
      priority,
      count: params.count,
      cost: params.cost,
      unit: params.unit,
      ttlMs: params.ttlMs ?? DEFAULT_TTL_MS[priority],
      label: params.label,
      arrival: this.#arrivals++,
      sinceMs: nowMs,
      lane,
      queue: undefined,
      previous: undefined,
      next: undefined,
      dueMs: nowMs + (params.waitMs ?? DEFAULT_WAIT_MS[priority]),
      heapIndex: -1,
    };
    switch (this.#grants.admit(waiter)) {
      case 'answered':
        return;
      case 'needs-write':
        waiter.dueMs = Math.max(waiter.dueMs, nowMs + WRITE_GRACE_MS);
        break;
      case 'waits':
        break;
    }
    if (waiter.dueMs <= nowMs) {
      this.#room.refuse(waiter, waitTimeout(waiter, nowMs));
      this.#grants.settle(lane);
    } else {
      this.#deadlines.add(waiter);
    }
  }

  /** A further nonce under a live lease, also for another account of its lane. Answers `drawn` or `refused`. */
  next(client: Client, id: RequestId, { token, account: name, cost, count }: NextParams): void {
    const lease = this.#leases.own(client, token);
    if (lease === undefined) {
      client.peer.refused(id, LEASE_LOST);
      return;
    }
    const account = this.#admit(client, id, name ?? lease.account.name);
    if (account !== undefined) this.#draws.draw(client, id, account, count, { lease, cost });
  }

  /** Takes back a request that has not been answered; where it has been, the answer holds. */
  cancel(client: Client, id: RequestId): void {
    const waiting = client.waiting.get(id);
    if (waiting === undefined || !this.#phase.isGranting) return;
    this.#room.drop(waiting);
    client.peer.refused(id, CANCELLED);
    if (waiting.kind === 'waiter') this.#grants.pump(waiting.lane);
  }

  /** Looks whether a new request may come in, and answers it where it may not. */
  #admit(client: Client, id: RequestId, accountName: string): Account | undefined {
    if (!this.#phase.isGranting) {
      client.peer.refused(id, SHUTTING_DOWN);
      return undefined;
    }
    if (client.waiting.has(id)) {
      client.peer.refused(id, refusal('BAD_REQUEST', `request id ${id} is still waiting; give every request its own`));
      return undefined;
    }
    const account = this.#accounts.getOrAdd(accountName, this.#clock.monotonicMs());
    if (account === undefined) client.peer.refused(id, full(`${this.#limits.accounts} accounts are busy already`));
    return account;
  }

  /** Why an `acquire` of the account is refused at once, if so. */
  #refusalOf(account: Account, { unit, key, priority, cost }: AcquireParams, nowMs: number): Refusal | undefined {
    if (unit !== undefined && unit !== account.sequence.unit) {
      account.refusedUnits = { count: (account.refusedUnits?.count ?? 0) + 1, unit };
      return unitMismatch(account, unit);
    }
    if (this.#drain.isOn && priority !== 'urgent') return DRAINING;
    const refused = refusalOf(account, priority, cost, nowMs);
    if (refused !== undefined || key === undefined) return refused;
    const claim = this.#accounts.claim(account, key);
    if (claim?.kind === 'changed') this.#observer.observe({ kind: 'key-changed', account: account.name });
    return claim?.kind === 'taken' ? keyMismatch(account, claim.by) : undefined;
  }
}
