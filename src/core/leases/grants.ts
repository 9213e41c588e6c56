/**
 * From a free lane to the next lease. The lane decides which waiter is next (I6), and the gate whether its call may begin.
 * The nonce is drawn here and not sooner (I3), and the lease is noted before anything is told of it (I4). After each
 * change of a lane, `pump` leaves no waiter behind that could be granted (I8).
 */
import type { Refusal } from '../../errors.ts';
import type { ExclusionPolicy } from '../../terms.ts';
import type { Account } from '../accounts/account.ts';
import { type Intent, judge, longestTtlMs, pass, refusalOf } from '../accounts/gate.ts';
import { unitMismatch } from '../accounts/refusals.ts';
import type { AccountQueue } from '../lanes/account-queue.ts';
import { CROWDED, exhausted, notDurable } from '../nonces/refusals.ts';
import type { Nonce, Token } from '../ports.ts';
import type { BrokerParts } from './broker-parts.ts';
import { callOf } from './calls.ts';
import type { Lease, LeaseLane, Waiter } from './lease.ts';
import { DRAINING, full } from './refusals.ts';
import type { Restart } from './restart.ts';
import type { WaitingRoom } from './waiting-room.ts';

/** What became of a waiter that has come. */
export type Admitted =
  /** It was granted or refused at once. */
  | 'answered'
  /** Only a write of the state keeps it from its grant. */
  | 'needs-write'
  | 'waits';

export class Grants {
  readonly #parts: BrokerParts;
  readonly #room: WaitingRoom;
  readonly #restart: Restart;
  /** Lanes whose next waiter needs a ceiling that must be raised first. */
  readonly #blocked = new Set<LeaseLane>();
  /** Parked queues whose account is being enlisted. */
  readonly #unlisted = new Set<AccountQueue<Waiter>>();
  #made = 0;

  constructor(parts: BrokerParts, room: WaitingRoom, restart: Restart) {
    this.#parts = parts;
    this.#room = room;
    this.#restart = restart;
  }

  /** How many leases have been granted. */
  get made(): number {
    return this.#made;
  }

  /** Whether any waiter waits for a write of the state. */
  get awaitsWrite(): boolean {
    return [...this.#blocked].some(({ waiting }) => waiting > 0) || [...this.#unlisted].some(({ parked }) => parked);
  }

  /** Adds a waiter, and grants what can be granted in its lane. */
  admit(waiter: Waiter): Admitted {
    const { lane } = waiter;
    this.#room.add(waiter);
    const blocked = this.pump(lane);
    if (!lane.has(waiter)) return 'answered';
    // A lane that is not exclusive is always free: what blocks its first waiter is all that the others wait for.
    const isBlocked = blocked !== undefined && (blocked === waiter || !lane.exclusive);
    return isBlocked || this.#awaitsEnlisting(waiter) ? 'needs-write' : 'waits';
  }

  /**
   * I8: to be called whenever a lane may have become free or a waiter has come. Grants until the lane is held. Returns the
   * next waiter if it needs a ceiling that must be raised first.
   */
  pump(lane: LeaseLane, failure?: Error): Waiter | undefined {
    const { clock, phase } = this.#parts;
    let refusing = failure;
    let blocked: Waiter | undefined;
    this.#blocked.delete(lane);
    if (phase.isGranting && !(this.#restart.allClosed && lane.exclusive)) {
      const nowMs = clock.monotonicMs();
      while (lane.isFree) {
        const waiter = lane.choose(nowMs);
        if (waiter === undefined) break;
        if (!this.mayBegin(lane, waiter, nowMs, refusing) || this.#grant(lane, waiter, nowMs)) continue;
        if (!phase.isGranting) return undefined;
        this.#room.watchWrite();
        if (refusing === undefined) {
          this.#blocked.add(lane);
          blocked = waiter;
          break;
        }
        // The ceiling cannot be raised: one waiter is refused. I8: the next one may need less than is durable. If it does
        // not, it waits for the next try.
        this.#room.refuse(waiter, notDurable(refusing));
        refusing = undefined;
      }
    }
    this.settle(lane);
    return blocked;
  }

  /** I8: to be called when a lease has ended. */
  pumpLanesOf({ lane, formerLane }: Lease): void {
    this.pump(lane);
    if (formerLane !== undefined) this.pump(formerLane);
  }

  /** Whether the chosen waiter's call may begin. If not, the waiter is parked or refused, so that the lane chooses another. */
  mayBegin(lane: LeaseLane, waiter: Waiter, nowMs: number, failure?: Error): boolean {
    const { account, unit } = waiter;
    if (!account.enlisted) {
      const enlisting = this.#parts.ledger.enlist(account);
      if (enlisting === 'crowded') {
        this.#room.refuse(waiter, CROWDED);
        this.#parts.accounts.dismiss(account);
        return false;
      }
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
    const judgement = judge(account, intentOf(waiter), nowMs);
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

  /** Updates the lane's own deadline: when an urgent waiter may end a hung background lease. */
  settle(lane: LeaseLane): void {
    const dueMs = lane.preemptionDueMs();
    if (dueMs === undefined) this.#parts.deadlines.remove(lane);
    else this.#parts.deadlines.reschedule(lane, dueMs);
  }

  /** Refuses the waiters of the accounts that `concerns` names, if their calls may not begin any more. */
  sweep(concerns: (account: Account) => boolean): void {
    const nowMs = this.#parts.clock.monotonicMs();
    this.#turnAway((waiter) =>
      concerns(waiter.account) ? refusalOf(waiter.account, intentOf(waiter), nowMs) : undefined,
    );
  }

  /** Refuses all waiters that are not urgent. */
  drain(): void {
    this.#turnAway(({ priority }) => (priority === 'urgent' ? undefined : DRAINING));
  }

  #turnAway(refusalFor: (waiter: Waiter) => Refusal | undefined): void {
    for (const lane of this.#parts.lanes.all()) {
      let swept = false;
      for (const waiter of lane.waiters()) {
        const why = refusalFor(waiter);
        if (why === undefined) continue;
        this.#room.refuse(waiter, why);
        swept = true;
      }
      // I8: the first waiter, which needed more than is durable, may be gone.
      if (swept) this.pump(lane);
    }
  }

  /** Tries again, after a write of the state or without it. With a `failure`, what cannot be served is refused. */
  retry(failure: Error | undefined): void {
    const listed = new Set<LeaseLane>();
    for (const queue of this.#unlisted) {
      if (!queue.parked) continue;
      const { lane } = queue.first;
      lane.unpark(queue);
      listed.add(lane);
    }
    this.#unlisted.clear();
    // I6: only after all are unparked. Otherwise an urgent waiter could come after one of its account that was parked first.
    for (const lane of listed) this.pump(lane, failure);
    const blocked = [...this.#blocked];
    this.#blocked.clear();
    for (const lane of blocked) this.pump(lane, failure);
  }

  /** Moves everything into the lane that `policy` gives its account. Leases stay, and waiters keep their order (I6). */
  switchTo(policy: ExclusionPolicy): void {
    const { deadlines, lanes, leases } = this.#parts;
    for (const lane of lanes.all()) deadlines.remove(lane);
    this.#blocked.clear();
    this.#unlisted.clear();
    lanes.switchTo(policy, leases.values());
    for (const lane of lanes.all()) this.pump(lane);
  }

  /** Whether the waiter's queue is parked until the state has its account. */
  #awaitsEnlisting({ queue }: Waiter): boolean {
    return queue !== undefined && this.#unlisted.has(queue);
  }

  /** Grants the lane to its next waiter, or refuses the waiter. Returns false if a ceiling must be raised first. */
  #grant(lane: LeaseLane, waiter: Waiter, nowMs: number): boolean {
    const { accounts, deadlines, ledger, leases, observer, phase } = this.#parts;
    const { account, client, id, count } = waiter;
    if (leases.isFull) {
      this.#room.refuse(waiter, full(`${leases.capacity} leases are held already`));
      return true;
    }
    const token = ledger.take(ledger.tokens, 1);
    if (token.kind === 'needs-ceiling') return false;
    if (token.kind === 'exhausted') {
      this.#room.refuse(waiter, exhausted(ledger.tokens));
      return true;
    }
    // I3: drawn here and not when the request was queued, or a later caller could be granted a lower nonce.
    const drawn = ledger.take(account.sequence, count);
    if (drawn.kind === 'needs-ceiling') return false;
    if (drawn.kind === 'exhausted') {
      this.#room.refuse(waiter, exhausted(account.sequence));
      return true;
    }
    const ttlMs = Math.min(waiter.ttlMs, longestTtlMs(account, client, nowMs));
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
      isResumed: false,
      taken: undefined,
      further: undefined,
      otherCosts: undefined,
      lane,
      exchange: account.exchange.name,
      formerLane: undefined,
      client,
      ttlMs,
      expiresAtMs,
      dueMs: expiresAtMs,
      heapIndex: -1,
    };
    // I4: noted before the grant is sent, so that a daemon that dies in between leaves a closed lane, not an open one.
    if (!leases.note(lease)) return false;
    const probe = pass(account, intentOf(waiter), nowMs);
    lease.taken = { probe };
    if (account.bucket !== undefined || probe !== undefined || !accounts.isNoted(account))
      accounts.note(account, nowMs);
    // Looked at again: a note that cannot be written ends everything.
    if (!phase.isGranting) return false;
    lane.granted(waiter, nowMs);
    this.#room.forget(waiter);
    leases.hold(lease);
    deadlines.add(lease);
    this.#made += 1;
    account.grants += 1;
    account.nonces += count;
    account.usedAtMs = nowMs;
    client.peer.granted(id, { nonce: drawn.nonce, count, token: lease.token, ttlMs, waitedMs });
    observer.granted?.(callOf(lease), count);
    if (probe !== undefined) this.sweep((other) => other === account || other.exchange === account.exchange);
    return true;
  }
}

function intentOf({ client, priority, cost }: Waiter): Intent {
  return { caller: client, priority, cost };
}
