/**
 * Nonces that are drawn outside a grant: bare ones, and further ones under a live lease. What waits for a ceiling is
 * served in the order of its arrival within its sequence; nothing is drawn above a ceiling that is durable (I1, by the
 * ledger), nor under a lease that is over (I5).
 */
import type { Clock } from '../../clock.ts';
import type { Refusal } from '../../errors.ts';
import type { Account } from '../accounts/account.ts';
import type { AccountTable } from '../accounts/account-table.ts';
import { judge, pass } from '../accounts/gate.ts';
import { paced, paused } from '../accounts/refusals.ts';
import type { Ledger } from '../nonces/ledger.ts';
import type { NonceSequence } from '../nonces/nonce-sequence.ts';
import { CROWDED, exhausted, notDurable } from '../nonces/refusals.ts';
import type { Nonce, Observer, RequestId } from '../ports.ts';
import type { BrokerParts } from './broker-parts.ts';
import type { Client, Draw, Lease } from './entities.ts';
import type { Grants } from './grants.ts';
import type { LaneMap } from './lane-map.ts';
import type { LeaseTable } from './lease-table.ts';
import type { Phase } from './phase.ts';
import { LEASE_LOST, nestedLane } from './refusals.ts';
import type { WaitingRoom } from './waiting-room.ts';

export class Draws {
  readonly #clock: Clock;
  readonly #phase: Phase;
  readonly #ledger: Ledger;
  readonly #accounts: AccountTable;
  readonly #lanes: LaneMap;
  readonly #leases: LeaseTable;
  readonly #room: WaitingRoom;
  readonly #grants: Grants;
  readonly #observer: Observer;

  constructor(foundation: BrokerParts, room: WaitingRoom, grants: Grants) {
    this.#clock = foundation.clock;
    this.#phase = foundation.phase;
    this.#ledger = foundation.ledger;
    this.#accounts = foundation.accounts;
    this.#lanes = foundation.lanes;
    this.#leases = foundation.leases;
    this.#room = room;
    this.#grants = grants;
    this.#observer = foundation.observer;
  }

  /** Answers `drawn` or `refused`, now or once its ceiling is durable. */
  draw(client: Client, id: RequestId, account: Account, count: number, under: Draw['under']): void {
    const draw: Draw = { kind: 'draw', client, id, account, count, under };
    if (this.#room.draws.size === 0 || !this.#isDrawnFor(account.sequence)) {
      if (this.#drawNow(draw)) return;
    }
    const noRoom = this.#room.noRoomFor(client);
    if (noRoom !== undefined) {
      client.peer.refused(id, noRoom);
      return;
    }
    this.#room.add(draw);
    this.#room.watchWrite();
  }

  /** Tries again, after a write of the state or without it; with a `failure`, what cannot be served hears of it. */
  retry(failure: Error | undefined): void {
    for (const draw of [...this.#room.draws]) {
      if (this.#drawNow(draw)) this.#room.drop(draw);
      else if (failure !== undefined) this.#room.refuse(draw, notDurable(failure));
      else this.#room.watchWrite();
    }
  }

  /** Whether somebody waits for the sequence's ceiling already, and so comes first. */
  #isDrawnFor(sequence: NonceSequence): boolean {
    for (const { account } of this.#room.draws) if (account.enlisted && account.sequence === sequence) return true;
    return false;
  }

  /** Answers the draw, unless something must be durable first. */
  #drawNow(draw: Draw): boolean {
    const { client, id, account, count, under } = draw;
    const nowMs = this.#clock.monotonicMs();
    // While the draw waited the account may have been paused or used its pace, and the lease have come to cover another lane.
    const refused =
      under === undefined ? bareRefusal(account) : this.#uncovered(under.lease, account, under.cost, nowMs);
    if (refused !== undefined) {
      client.peer.refused(id, refused);
      return true;
    }
    if (!account.enlisted) {
      const enlisting = this.#ledger.enlist(account);
      if (enlisting === 'under-way') return false;
      if (enlisting === 'crowded') {
        client.peer.refused(id, CROWDED);
        return true;
      }
    }
    const taken = this.#ledger.take(account.sequence, count);
    if (taken.kind === 'needs-ceiling') return false;
    if (taken.kind === 'exhausted') {
      client.peer.refused(id, exhausted(account.sequence));
      return true;
    }
    account.nonces += count;
    account.usedAtMs = nowMs;
    const last = (taken.nonce + BigInt(count - 1)) as Nonce;
    let isProbe = false;
    if (under === undefined) {
      account.bare = { count: (account.bare?.count ?? 0) + count, last };
    } else {
      under.lease.lastNonce = last;
      if (account !== under.lease.account) under.lease.alsoFor = account.name;
      this.#charge(under.lease, account, under.cost);
      isProbe = pass(account, under.lease.priority, under.cost, nowMs);
      if (account.bucket !== undefined || isProbe) this.#accounts.note(account, nowMs);
      if (!this.#phase.isGranting) return false;
    }
    client.peer.drawn(id, taken.nonce, count);
    this.#observer.drawn?.(account.name, taken.nonce, count);
    if (isProbe) this.#grants.sweep((other) => other === account || other.exchange === account.exchange);
    return true;
  }

  /** The call of an account is made under the lease: until its end the account is in use. */
  #charge(lease: Lease, account: Account, cost: number): void {
    if (account === lease.account) {
      lease.cost += cost;
      return;
    }
    lease.otherCosts ??= new Map();
    const before = lease.otherCosts.get(account);
    if (before === undefined) account.leases += 1;
    lease.otherCosts.set(account, (before ?? 0) + cost);
  }

  /** Why the lease gives no right to a further call of the account now, if so. */
  #uncovered(lease: Lease, account: Account, cost: number, nowMs: number): Refusal | undefined {
    if (!this.#leases.isLive(lease)) return LEASE_LOST;
    if (account !== lease.account && !this.#lanes.covers(lease.lane, account)) return nestedLane(lease, account.name);
    const judgement = judge(account, lease.priority, cost, nowMs);
    switch (judgement.kind) {
      case 'open':
        return undefined;
      case 'paced':
        return paced(account.name, judgement.untilMs - nowMs);
      case 'refused':
        return judgement.refusal;
    }
  }
}

/** Why a bare nonce is refused. It is nobody's call as far as the daemon knows, so that only a pause counts. */
function bareRefusal(account: Account): Refusal | undefined {
  return account.paused ? paused(account.name) : undefined;
}
