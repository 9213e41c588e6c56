/**
 * Nonces that are drawn outside a grant: bare ones, and further ones under a live lease. Draws that wait for the ceiling of
 * a sequence are served in the order of their arrival. Nothing is drawn above a durable ceiling (I1, by the ledger), nor
 * under a lease that is over (I5).
 */
import type { Refusal } from '../../errors.ts';
import type { Account } from '../accounts/account.ts';
import { judge, pass } from '../accounts/gate.ts';
import { paced, paused } from '../accounts/refusals.ts';
import type { NonceSequence } from '../nonces/nonce-sequence.ts';
import { CROWDED, exhausted, notDurable } from '../nonces/refusals.ts';
import type { Nonce, RequestId } from '../ports.ts';
import type { BrokerParts } from './broker-parts.ts';
import type { Grants } from './grants.ts';
import { refusalOfKey, refusalOfUnit } from './key-and-unit.ts';
import { type Client, type Draw, furtherOf, type Lease, type UnderLease } from './lease.ts';
import { LEASE_LOST, nestedLane } from './refusals.ts';
import { askedBy, refuse } from './refuse.ts';
import type { WaitingRoom } from './waiting-room.ts';

export class Draws {
  readonly #parts: BrokerParts;
  readonly #room: WaitingRoom;
  readonly #grants: Grants;

  constructor(parts: BrokerParts, room: WaitingRoom, grants: Grants) {
    this.#parts = parts;
    this.#room = room;
    this.#grants = grants;
  }

  /** Tells the client `drawn` or `refused`, now or when the ceiling is durable. */
  draw(client: Client, id: RequestId, account: Account, count: number, under: Draw['under']): void {
    const sinceMs = this.#parts.clock.monotonicMs();
    const draw: Draw = { kind: 'draw', client, id, account, count, sinceMs, under };
    if (this.#room.draws.size === 0 || !this.#isAwaited(account.sequence)) {
      if (this.#drawNow(draw)) return;
    }
    const noRoom = this.#room.noRoomFor(client);
    if (noRoom !== undefined) {
      refuse(this.#parts, client, id, noRoom, askedBy(draw));
      return;
    }
    this.#room.add(draw);
    this.#room.watchWrite();
  }

  /** Tries again, after a write of the state or without it. With a `failure`, what cannot be served is refused. */
  retry(failure: Error | undefined): void {
    for (const draw of [...this.#room.draws]) {
      if (this.#drawNow(draw)) this.#room.drop(draw);
      else if (failure !== undefined) this.#room.refuse(draw, notDurable(failure));
      else this.#room.watchWrite();
    }
  }

  /** Whether an earlier draw waits for the ceiling of the sequence, and so comes first. */
  #isAwaited(sequence: NonceSequence): boolean {
    for (const { account } of this.#room.draws) if (account.enlisted && account.sequence === sequence) return true;
    return false;
  }

  /** Answers the draw. Returns false if something must be durable first. */
  #drawNow(draw: Draw): boolean {
    const { accounts, clock, ledger, observer, phase } = this.#parts;
    const { client, id, account, count, under } = draw;
    const nowMs = clock.monotonicMs();
    // Looked at again: while the draw waited, its account may have been paused or used up its pace, and the lease may have
    // moved to another lane.
    const refused = under === undefined ? bareRefusal(account) : this.#uncovered(draw, under, nowMs);
    if (refused !== undefined) return this.#refuse(draw, refused);
    if (!account.enlisted) {
      const enlisting = ledger.enlist(account);
      if (enlisting === 'under-way') return false;
      if (enlisting === 'crowded') {
        const isRefused = this.#refuse(draw, CROWDED);
        accounts.dismiss(account);
        return isRefused;
      }
    }
    const taken = ledger.take(account.sequence, count);
    if (taken.kind === 'needs-ceiling') return false;
    if (taken.kind === 'exhausted') return this.#refuse(draw, exhausted(account.sequence));
    account.nonces += count;
    account.usedAtMs = nowMs;
    const last = (taken.nonce + BigInt(count - 1)) as Nonce;
    let isProbe = false;
    if (under === undefined) {
      account.bare = { count: (account.bare?.count ?? 0) + count, last };
    } else {
      const further = furtherOf(under.lease);
      under.lease.lastNonce = last;
      if (account !== under.lease.account) under.lease.alsoFor = account.name;
      charge(under.lease, account, under.cost);
      const { priority } = under.lease;
      const isGranted = isGrantAgain(draw, under);
      under.lease.isResumed = false;
      const probe = isGranted ? undefined : pass(account, { caller: client, priority, cost: under.cost }, nowMs);
      isProbe = probe !== undefined;
      further.add({ account, nonce: taken.nonce, lastNonce: last, drawnAtMs: nowMs, probe });
      if (account.bucket !== undefined || isProbe) accounts.note(account, nowMs);
      if (!phase.isGranting) return false;
    }
    client.peer.drawn(id, taken.nonce, count);
    observer.drawn?.(account.name, taken.nonce, count);
    if (isProbe) this.#grants.sweep((other) => other === account || other.exchange === account.exchange);
    return true;
  }

  #refuse(draw: Draw, why: Refusal): true {
    refuse(this.#parts, draw.client, draw.id, why, askedBy(draw));
    return true;
  }

  /** Returns why the lease does not allow a further call of the account now, if so. */
  #uncovered(draw: Draw, under: UnderLease, nowMs: number): Refusal | undefined {
    const { client, account } = draw;
    const { lease, key, unit, cost } = under;
    const { lanes, leases } = this.#parts;
    if (!leases.isLive(lease)) return LEASE_LOST;
    if (account !== lease.account && !lanes.covers(lease.lane, account)) return nestedLane(lease, account.name);
    const wrongUnit = refusalOfUnit(account, unit);
    if (wrongUnit !== undefined) return wrongUnit;
    if (isGrantAgain(draw, under)) return bareRefusal(account) ?? refusalOfKey(this.#parts, account, key);
    const judgement = judge(account, { caller: client, priority: lease.priority, cost }, nowMs);
    switch (judgement.kind) {
      case 'open':
        return refusalOfKey(this.#parts, account, key);
      case 'paced':
        return paced(account.name, judgement.untilMs - nowMs);
      case 'refused':
        return judgement.refusal;
    }
  }
}

/**
 * Whether the draw stands for a grant that got lost with a restart. The gate has let its call through already: if that was
 * the probe of a breaker, it would now be refused for its own sake.
 */
function isGrantAgain({ account }: Draw, { lease, cost }: UnderLease): boolean {
  return lease.isResumed && account === lease.account && cost === 0;
}

/** Adds a call of the account to the lease. Until the lease ends, the account is in use. */
function charge(lease: Lease, account: Account, cost: number): void {
  lease.taken = undefined;
  if (account === lease.account) {
    lease.cost += cost;
    return;
  }
  lease.otherCosts ??= new Map();
  const before = lease.otherCosts.get(account);
  if (before === undefined) account.leases += 1;
  lease.otherCosts.set(account, (before ?? 0) + cost);
}

/** Returns why a nonce is refused that the gate has no say in, if so. Only a pause counts. */
function bareRefusal(account: Account): Refusal | undefined {
  return account.paused ? paused(account.name) : undefined;
}
