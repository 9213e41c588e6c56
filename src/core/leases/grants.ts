/**
 * From a free lane to the next lease. Who is next is the lane's word (I6), whether his call may begin the gate's; the
 * nonce is drawn here and nowhere sooner (I3), and the lease is noted before anybody hears of it (I4). After every change
 * of a lane, `pump` leaves no waiter behind that could be granted (I8).
 */
import type { Clock } from '../../clock.ts';
import type { Refusal } from '../../errors.ts';
import type { ExclusionPolicy } from '../../terms.ts';
import type { Account } from '../accounts/account.ts';
import type { AccountTable } from '../accounts/account-table.ts';
import { judge, longestTtlMs, pass, refusalOf } from '../accounts/gate.ts';
import { unitMismatch } from '../accounts/refusals.ts';
import type { DeadlineQueue } from '../lanes/deadline-queue.ts';
import type { AccountQueue } from '../lanes/lane.ts';
import type { Ledger } from '../nonces/ledger.ts';
import { CROWDED, exhausted, notDurable } from '../nonces/refusals.ts';
import type { Nonce, Observer, Token } from '../ports.ts';
import type { BrokerParts } from './broker-parts.ts';
import type { Due, Lease, LeaseLane, Waiter } from './entities.ts';
import type { LaneMap } from './lane-map.ts';
import type { LeaseTable } from './lease-table.ts';
import { callOf } from './lease-views.ts';
import type { Phase } from './phase.ts';
import { DRAINING, full } from './refusals.ts';
import type { Restart } from './restart.ts';
import type { WaitingRoom } from './waiting-room.ts';

/** What became of a waiter that has come. */
export type Admitted =
  /** It was granted or refused at once. */
  | 'answered'
  /** Nothing but a write of the state keeps it from its grant. */
  | 'needs-write'
  | 'waits';

export class Grants {
  readonly #clock: Clock;
  readonly #phase: Phase;
  readonly #ledger: Ledger;
  readonly #accounts: AccountTable;
  readonly #lanes: LaneMap;
  readonly #leases: LeaseTable;
  readonly #deadlines: DeadlineQueue<Due>;
  readonly #observer: Observer;
  readonly #room: WaitingRoom;
  readonly #restart: Restart;
  /** Lanes whose next waiter waits for a ceiling. */
  readonly #blocked = new Set<LeaseLane>();
  /** Parked queues whose account is being enlisted. */
  readonly #unlisted = new Set<AccountQueue<Waiter>>();
  #made = 0;

  constructor(foundation: BrokerParts, room: WaitingRoom, restart: Restart) {
    this.#clock = foundation.clock;
    this.#phase = foundation.phase;
    this.#ledger = foundation.ledger;
    this.#accounts = foundation.accounts;
    this.#lanes = foundation.lanes;
    this.#leases = foundation.leases;
    this.#deadlines = foundation.deadlines;
    this.#observer = foundation.observer;
    this.#room = room;
    this.#restart = restart;
  }

  /** How many leases have been granted. */
  get made(): number {
    return this.#made;
  }

  /** Whether somebody waits here for a write of the state. */
  get awaitsWrite(): boolean {
    return [...this.#blocked].some(({ waiting }) => waiting > 0) || [...this.#unlisted].some(({ parked }) => parked);
  }

  /** Takes in a waiter and grants what can be granted in its lane. */
  admit(waiter: Waiter): Admitted {
    const { lane } = waiter;
    this.#room.add(waiter);
    const blocked = this.pump(lane);
    if (!lane.has(waiter)) return 'answered';
    // A lane that is not exclusive is never held: all that wait in it wait for what its first one waits for.
    const isBlocked = blocked !== undefined && (blocked === waiter || !lane.exclusive);
    return isBlocked || this.#awaitsEnlisting(waiter) ? 'needs-write' : 'waits';
  }

  /**
   * I8: called whenever a lane may have become free or a waiter has come. Grants until the lane is held. Returns the next
   * waiter if it needs a ceiling that must be raised first.
   */
  pump(lane: LeaseLane, failure?: Error): Waiter | undefined {
    let refusing = failure;
    let blocked: Waiter | undefined;
    this.#blocked.delete(lane);
    if (this.#phase.isGranting && !(this.#restart.allClosed && lane.exclusive)) {
      const nowMs = this.#clock.monotonicMs();
      while (lane.isFree) {
        const waiter = lane.choose(nowMs);
        if (waiter === undefined) break;
        if (!this.mayBegin(lane, waiter, nowMs, refusing) || this.#grant(lane, waiter, nowMs)) continue;
        if (!this.#phase.isGranting) return undefined;
        this.#room.watchWrite();
        if (refusing === undefined) {
          this.#blocked.add(lane);
          blocked = waiter;
          break;
        }
        // The ceiling cannot be raised: the one whose turn it is hears so. I8: the next may need less than is durable;
        // where it does not, it waits for the next try.
        this.#room.refuse(waiter, notDurable(refusing));
        refusing = undefined;
      }
    }
    this.settle(lane);
    return blocked;
  }

  /** Whether the chosen waiter's call may begin; where not, it is out of the lane's turns afterwards, and the next is looked at. */
  mayBegin(lane: LeaseLane, waiter: Waiter, nowMs: number, failure?: Error): boolean {
    const { account, unit, priority, cost } = waiter;
    if (!account.enlisted) {
      const enlisting = this.#ledger.enlist(account);
      if (enlisting === 'crowded') return this.#room.refuse(waiter, CROWDED);
      if (enlisting === 'under-way') {
        if (failure !== undefined) return this.#room.refuse(waiter, notDurable(failure));
        // Parked, so that accounts which the state knows do not wait for a disk that hangs.
        lane.park(waiter, Number.POSITIVE_INFINITY);
        if (waiter.queue !== undefined) this.#unlisted.add(waiter.queue);
        return false;
      }
    }
    // Looked at again: all this may have changed while it waited.
    if (unit !== undefined && unit !== account.sequence.unit)
      return this.#room.refuse(waiter, unitMismatch(account, unit));
    const judgement = judge(account, priority, cost, nowMs);
    switch (judgement.kind) {
      case 'open':
        return true;
      case 'paced':
        lane.park(waiter, judgement.untilMs);
        return false;
      case 'refused':
        return this.#room.refuse(waiter, judgement.refusal);
    }
  }

  /** Brings the lane's own deadline up to date: when an urgent waiter may end a hung background lease. */
  settle(lane: LeaseLane): void {
    const dueMs = lane.preemptionDueMs();
    if (dueMs === undefined) this.#deadlines.remove(lane);
    else this.#deadlines.reschedule(lane, dueMs);
  }

  /** Refuses whoever waits for one of the accounts that `concerns` names and may not pass any more. */
  sweep(concerns: (account: Account) => boolean): void {
    const nowMs = this.#clock.monotonicMs();
    this.#turnAway(({ account, priority, cost }) =>
      concerns(account) ? refusalOf(account, priority, cost, nowMs) : undefined,
    );
  }

  /** Refuses whoever waits and is not urgent. */
  drain(): void {
    this.#turnAway(({ priority }) => (priority === 'urgent' ? undefined : DRAINING));
  }

  #turnAway(refusalFor: (waiter: Waiter) => Refusal | undefined): void {
    for (const lane of this.#lanes.all()) {
      let swept = false;
      for (const waiter of lane.waiters()) {
        const why = refusalFor(waiter);
        if (why === undefined) continue;
        this.#room.refuse(waiter, why);
        swept = true;
      }
      // I8: the head may have gone that wanted more than is durable.
      if (swept) this.pump(lane);
    }
  }

  /** Tries again, after a write of the state or without it; with a `failure`, who cannot be served hears of it. */
  retry(failure: Error | undefined): void {
    const listed = new Set<LeaseLane>();
    for (const queue of this.#unlisted) {
      if (!queue.parked) continue;
      const { lane } = queue.first;
      lane.unpark(queue);
      listed.add(lane);
    }
    this.#unlisted.clear();
    // I6: only now, or an urgent waiter of the same account would come after whoever was parked before it.
    for (const lane of listed) this.pump(lane, failure);
    const blocked = [...this.#blocked];
    this.#blocked.clear();
    for (const lane of blocked) this.pump(lane, failure);
  }

  /** Whether its queue is parked until the state has its account, and the waiter with it. */
  #awaitsEnlisting({ queue }: Waiter): boolean {
    return queue !== undefined && this.#unlisted.has(queue);
  }

  /** From now on everybody is in the lane that `policy` gives him; leases stay, and waiters keep their order (I6). */
  switchTo(policy: ExclusionPolicy): void {
    for (const lane of this.#lanes.all()) this.#deadlines.remove(lane);
    this.#blocked.clear();
    this.#unlisted.clear();
    this.#lanes.switchTo(policy, this.#leases.values());
    for (const lane of this.#lanes.all()) this.pump(lane);
  }

  /** Grants the lane to its next waiter, or refuses it for good. False where a ceiling must be raised first. */
  #grant(lane: LeaseLane, waiter: Waiter, nowMs: number): boolean {
    const { account, client, id, count } = waiter;
    if (this.#leases.isFull) {
      this.#room.drop(waiter);
      client.peer.refused(id, full(`${this.#leases.capacity} leases are held already`));
      return true;
    }
    const token = this.#ledger.take(this.#ledger.tokens, 1);
    if (token.kind === 'needs-ceiling') return false;
    if (token.kind === 'exhausted') {
      this.#room.drop(waiter);
      client.peer.refused(id, exhausted(this.#ledger.tokens));
      return true;
    }
    // I3: drawn here and not when the request was queued, or a later caller could be granted a lower nonce.
    const drawn = this.#ledger.take(account.sequence, count);
    if (drawn.kind === 'needs-ceiling') return false;
    if (drawn.kind === 'exhausted') {
      this.#room.drop(waiter);
      client.peer.refused(id, exhausted(account.sequence));
      return true;
    }
    const ttlMs = Math.min(waiter.ttlMs, longestTtlMs(account));
    const expiresAtMs = nowMs + ttlMs;
    const waitedMs = nowMs - waiter.sinceMs;
    const lease: Lease = {
      kind: 'lease',
      token: Number(token.nonce) as Token,
      account,
      requestId: id,
      sessionHash: client.sessionHash,
      priority: waiter.priority,
      label: waiter.label,
      grantedAtMs: nowMs,
      begunAtMs: nowMs,
      waitedMs,
      nonce: drawn.nonce,
      lastNonce: (drawn.nonce + BigInt(count - 1)) as Nonce,
      alsoFor: undefined,
      cost: waiter.cost,
      otherCosts: undefined,
      lane,
      client,
      ttlMs,
      expiresAtMs,
      dueMs: expiresAtMs,
      heapIndex: -1,
    };
    // I4: noted before the grant is sent, so that a daemon that dies in between leaves a closed lane, not an open one.
    if (!this.#leases.note(lease)) return false;
    const isProbe = pass(account, waiter.priority, waiter.cost, nowMs);
    if (account.bucket !== undefined || isProbe || !this.#accounts.isNoted(account))
      this.#accounts.note(account, nowMs);
    // Looked at again: a note that cannot be kept ends everything.
    if (!this.#phase.isGranting) return false;
    lane.granted(waiter, nowMs);
    this.#room.forget(waiter);
    this.#leases.hold(lease);
    this.#deadlines.add(lease);
    this.#made += 1;
    account.grants += 1;
    account.nonces += count;
    account.usedAtMs = nowMs;
    client.peer.granted(id, { nonce: drawn.nonce, count, token: lease.token, ttlMs, waitedMs });
    this.#observer.granted?.(callOf(lease), count);
    if (isProbe) this.sweep((other) => other === account || other.exchange === account.exchange);
    return true;
  }
}
