/**
 * Requests for nonces and leases. Each is refused at once, or becomes a waiter or a draw that is answered later, exactly
 * once. Here it gets its place by arrival (I6), but no nonce (I3).
 */
import { type Refusal, refusal } from '../../errors.ts';
import type { Priority, Unit } from '../../terms.ts';
import { DEFAULT_TTL_MS, DEFAULT_WAIT_MS } from '../../terms.ts';
import type { Account } from '../accounts/account.ts';
import { refusalOf } from '../accounts/gate.ts';
import { SHUTTING_DOWN } from '../nonces/refusals.ts';
import type { RequestId, Token } from '../ports.ts';
import type { BrokerParts } from './broker-parts.ts';
import type { Draws } from './draws.ts';
import type { Grants } from './grants.ts';
import { refusalOfKey, refusalOfUnit } from './key-and-unit.ts';
import type { Client, Lease, Waiter } from './lease.ts';
import { CANCELLED, DRAINING, full, LEASE_LOST, ownLane, waitTimeout } from './refusals.ts';
import { refuse } from './refuse.ts';
import type { WaitingRoom } from './waiting-room.ts';

/** A waiter that only a write of the ceiling keeps from its grant waits at least this long, however short its `waitMs`. */
const WRITE_GRACE_MS = 1_500;

export interface AcquireParams {
  readonly account: string;
  /** Fingerprint of the account's API key. */
  readonly key: string | undefined;
  readonly unit: Unit | undefined;
  readonly priority: Priority;
  /** What the call adds to the account's bucket. */
  readonly cost: number;
  readonly ttlMs: number | undefined;
  readonly waitMs: number | undefined;
  readonly label: string | undefined;
  readonly count: number;
  /** Tokens of leases that the caller's program holds around the request. */
  readonly within: readonly number[];
}

export interface NextParams {
  readonly token: Token;
  /** By default the lease's own. */
  readonly account: string | undefined;
  readonly key: string | undefined;
  readonly unit: Unit | undefined;
  readonly cost: number;
  readonly count: number;
}

/** Where requests go: to the lanes, or to the draws. */
export interface AdmissionParts {
  readonly room: WaitingRoom;
  readonly grants: Grants;
  readonly draws: Draws;
}

export class Admission {
  readonly #parts: BrokerParts;
  readonly #room: WaitingRoom;
  readonly #grants: Grants;
  readonly #draws: Draws;
  #arrivals = 0;

  constructor(parts: BrokerParts, { room, grants, draws }: AdmissionParts) {
    this.#parts = parts;
    this.#room = room;
    this.#grants = grants;
    this.#draws = draws;
  }

  nonce(client: Client, id: RequestId, accountName: string, count: number): void {
    const account = this.#admit(client, id, accountName);
    if (account !== undefined) this.#draws.draw(client, id, account, count, undefined);
  }

  acquire(client: Client, id: RequestId, params: AcquireParams): void {
    const account = this.#admit(client, id, params.account);
    if (account === undefined) return;
    const { clock, deadlines, lanes } = this.#parts;
    const nowMs = clock.monotonicMs();
    const refused = this.#refusalOf(client, account, params, nowMs) ?? this.#room.noRoomFor(client);
    if (refused !== undefined) {
      refuse(this.#parts, client, id, refused, params);
      return;
    }
    const { priority } = params;
    const lane = lanes.of(account);
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
      deadlines.add(waiter);
    }
  }

  next(client: Client, id: RequestId, { token, account: name, key, unit, cost, count }: NextParams): void {
    const lease = this.#parts.leases.own(client, token);
    if (lease === undefined) {
      refuse(this.#parts, client, id, LEASE_LOST, { account: name });
      return;
    }
    const account = this.#admit(client, id, name ?? lease.account.name);
    if (account !== undefined) this.#draws.draw(client, id, account, count, { lease, key, unit, cost });
  }

  cancel(client: Client, id: RequestId): void {
    const waiting = client.waiting.get(id);
    if (waiting === undefined || !this.#parts.phase.isGranting) return;
    this.#room.refuse(waiting, CANCELLED);
    if (waiting.kind === 'waiter') this.#grants.pump(waiting.lane);
  }

  /** Returns the account of a new request, or refuses the request if it may not come in. */
  #admit(client: Client, id: RequestId, accountName: string): Account | undefined {
    const { accounts, clock, limits, phase } = this.#parts;
    const no = (why: Refusal): undefined => {
      refuse(this.#parts, client, id, why, { account: accountName });
    };
    if (!phase.isGranting) return no(SHUTTING_DOWN);
    if (client.waiting.has(id)) {
      return no(refusal('BAD_REQUEST', `request id ${id} is still waiting; give every request its own id`));
    }
    return (
      accounts.getOrAdd(accountName, clock.monotonicMs()) ?? no(full(`${limits.accounts} accounts are busy already`))
    );
  }

  /** Returns why an `acquire` of the account is refused at once, if so. */
  #refusalOf(
    caller: Client,
    account: Account,
    { unit, key, priority, cost, within }: AcquireParams,
    nowMs: number,
  ): Refusal | undefined {
    const wrongUnit = refusalOfUnit(account, unit);
    if (wrongUnit !== undefined) return wrongUnit;
    const own = this.#laneHolder(account, within);
    if (own !== undefined) return ownLane(own, account.name);
    if (this.#parts.drain.isOn && priority !== 'urgent') return DRAINING;
    return refusalOf(account, { caller, priority, cost }, nowMs) ?? refusalOfKey(this.#parts, account, key);
  }

  /** Returns the one of these leases that keeps the account's lane closed, if one does. */
  #laneHolder(account: Account, tokens: readonly number[]): Lease | undefined {
    if (tokens.length === 0) return undefined;
    const lane = this.#parts.lanes.of(account);
    return lane.exclusive ? [...lane.leases].find(({ token }) => tokens.includes(token)) : undefined;
  }
}
