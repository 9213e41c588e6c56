/**
 * The broker decides who gets which nonce and when, and what is exclusive. It does no input or output and knows no time
 * but what its clock says: everything reaches it through parameters and ports.
 *
 * The invariants it keeps, with its parts:
 *
 * I1  A nonce is sent only if it is below a ceiling that is already durable.
 * I2  For every account and sequence, each nonce sent is greater than every nonce sent before it.
 * I3  The nonce of a grant is drawn when the lease is granted, never when the request is queued.
 * I4  No lease is granted in a lane that has a live one, also across a restart.
 * I5  Tokens grow strictly; an operation on a lease needs its token and its connection.
 * I6  Among the waiters that could be granted now, order is by priority and then by arrival, but for the aged share.
 * I7  A lease ends no earlier than its TTL after the last renewal that was processed.
 * I8  A free lane and a waiter that could be granted never both exist when the daemon is at rest.
 * I9  State is refused rather than guessed (kept by the store).
 * I10 Nothing lowers a sequence, and nothing raises one but time, use, one reserve a crash, or an operator.
 */
import type { Clock } from '../clock.ts';
import { type Refusal, refusal } from '../errors.ts';
import { AccountTable } from './accounts.ts';
import { firstOf, leftMs, statusOf } from './broker-status.ts';
import { type Deadline, DeadlineQueue } from './deadline-queue.ts';
import type { Account, Client, Draw, Lease, LeaseLane, Waiter } from './entities.ts';
import { LaneMap } from './lanes.ts';
import { LeaseTable } from './leases.ts';
import { type AdvanceParams, Ledger } from './ledger.ts';
import type { NonceSequence } from './nonce-sequence.ts';
import type {
  DurableState,
  ExclusionPolicy,
  LeaseNotes,
  NotedLease,
  NotesFound,
  Observer,
  Outcome,
  Peer,
  Priority,
  RequestId,
  RevokeReason,
  StateStore,
  Token,
  Unit,
} from './ports.ts';
import {
  CANCELLED,
  exhausted,
  full,
  LEASE_LOST,
  nestedLane,
  notDurable,
  SHUTTING_DOWN,
  unitMismatch,
  waitTimeout,
} from './refusals.ts';

/** How long the lane of a lease from before a restart stays closed for a holder that has not come back (I4). */
export const RETURN_MS = 2_000;
/** A waiter whose only obstacle is a write of the ceiling gets at least this, however short its patience. */
const WRITE_GRACE_MS = 1_500;

const TTL_MS: Readonly<Record<Priority, number>> = { urgent: 30_000, normal: 20_000, background: 10_000 };
const WAIT_MS: Readonly<Record<Priority, number>> = { urgent: 15_000, normal: 30_000, background: 30_000 };

export interface Limits {
  readonly waitingPerClient: number;
  readonly waiting: number;
  readonly accounts: number;
}

export const DEFAULT_LIMITS: Limits = { waitingPerClient: 1_000, waiting: 10_000, accounts: 1_000 };

export interface AcquireParams {
  readonly account: string;
  readonly unit: Unit | undefined;
  readonly priority: Priority;
  readonly ttlMs: number | undefined;
  readonly waitMs: number | undefined;
  readonly label: string | undefined;
  readonly count: number;
}

export interface Advanced {
  readonly before: bigint;
  readonly after: bigint;
  readonly unit: Unit;
  readonly accounts: readonly string[];
}

/** A lease that a client finds again after a restart. */
export interface Resumed {
  readonly token: Token;
  readonly account: string;
  readonly requestId: RequestId | undefined;
  readonly ttlMs: number;
}

/** When lanes that were closed for a damaged note open again. */
interface Reopening extends Deadline {
  readonly kind: 'reopening';
}

/** When those who wait for a write of the ceiling go on without it, because it is slow. */
interface SlowWrite extends Deadline {
  readonly kind: 'slow-write';
}

type Due = Waiter | Lease | LeaseLane | Reopening | SlowWrite;

export interface BrokerOptions {
  readonly clock: Clock;
  readonly bootId: string;
  readonly state: DurableState;
  readonly store: StateStore;
  readonly notes: LeaseNotes;
  readonly found: NotesFound;
  readonly observer: Observer;
  readonly limits?: Limits;
}

export class Broker {
  readonly #clock: Clock;
  readonly #ledger: Ledger;
  readonly #accounts: AccountTable;
  readonly #lanes: LaneMap;
  readonly #leases: LeaseTable;
  readonly #observer: Observer;
  readonly #limits: Limits;
  readonly #startedAtMs: number;
  readonly #deadlines = new DeadlineQueue<Due>();
  /** Draws that wait for a ceiling, in the order of their arrival. */
  readonly #draws = new Set<Draw>();
  /** Lanes whose next waiter waits for a ceiling. */
  readonly #blocked = new Set<LeaseLane>();
  readonly #reopening: Reopening = { kind: 'reopening', dueMs: 0, heapIndex: -1 };
  readonly #slowWrite: SlowWrite = { kind: 'slow-write', dueMs: 0, heapIndex: -1 };
  #phase: 'starting' | 'granting' | 'stopped' | 'failed' = 'starting';
  /** I4: a damaged note may stand for a lease in any lane, so all of them are closed. */
  #allClosed: boolean;
  #arrivals = 0;
  #waiting = 0;
  #grants = 0;

  constructor(options: BrokerOptions) {
    const { clock, state, found } = options;
    const failed = (error: Error) => this.#fail(error);
    this.#clock = clock;
    this.#observer = options.observer;
    this.#limits = options.limits ?? DEFAULT_LIMITS;
    this.#startedAtMs = clock.monotonicMs();
    this.#ledger = new Ledger({
      clock,
      bootId: options.bootId,
      state,
      store: options.store,
      observer: { ...options.observer, failed },
      onWritten: (failure) => this.#written(failure),
    });
    this.#accounts = new AccountTable(this.#limits.accounts, this.#ledger.defaultSequence);
    this.#lanes = new LaneMap(state.exclusive);
    this.#leases = new LeaseTable(options.notes, failed);
    this.#allClosed = found.damaged;
    for (const noted of found.leases) {
      if (noted.expiresAtMs > this.#startedAtMs) this.#adopt(noted);
      // Its slot would be lost for the rest of this boot.
      else this.#leases.strike(noted.token);
    }
  }

  /**
   * Raises the epoch and the ceilings durably. Answers why that failed; nothing may be asked of the broker then.
   * Nothing is granted before `open`.
   */
  start(): Promise<Error | undefined> {
    return this.#ledger.open();
  }

  /** Clients can come from now on: the time in which holders from before the restart may return begins. */
  open(): void {
    const nowMs = this.#clock.monotonicMs();
    this.#phase = 'granting';
    for (const lease of this.#leases.orphans()) {
      this.#deadlines.reschedule(lease, Math.min(lease.expiresAtMs, nowMs + RETURN_MS));
    }
    if (this.#allClosed) this.#deadlines.reschedule(this.#reopening, nowMs + RETURN_MS);
  }

  /**
   * A clean stop: nothing is granted any more, and the ceilings are put right behind the last nonces. Leases stay
   * noted and waiters stay unanswered: both cross to the next daemon. Answers why the last write failed.
   */
  stop(): Promise<Error | undefined> {
    this.#phase = 'stopped';
    return this.#ledger.close();
  }

  /** Whether a plausible wall clock has been seen in this boot, or it is at least harmless. */
  get clockIsPlausible(): boolean {
    return this.#ledger.clockIsPlausible;
  }

  /** Whether a write of the state has been under way for so long that the disk must be hung. */
  get isOverdue(): boolean {
    // Inside the durable ceilings it grants without the disk: only where somebody waits for it, it is no use to anybody.
    return this.#ledger.isOverdue && (this.#draws.size > 0 || [...this.#blocked].some(({ waiting }) => waiting > 0));
  }

  /** What is exclusive now. */
  get exclusive(): ExclusionPolicy {
    return this.#lanes.policy;
  }

  /** When `expire` is due next, on the monotonic clock. */
  nextDueMs(): number | undefined {
    return this.#phase === 'granting' ? this.#deadlines.peek()?.dueMs : undefined;
  }

  /**
   * Ends what is due. The caller must have handed over all input that had arrived by now: a renewal counts from when
   * it is processed, and after a stall of the daemon it may lie unread although it came in time (I7).
   */
  expire(): void {
    if (this.#phase !== 'granting') return;
    const nowMs = this.#clock.monotonicMs();
    for (let due = this.#deadlines.peek(); due !== undefined && due.dueMs <= nowMs; due = this.#deadlines.peek()) {
      this.#deadlines.remove(due);
      switch (due.kind) {
        case 'waiter':
          this.#drop(due);
          due.client.peer.refused(due.id, waitTimeout(due, nowMs));
          // I8: where it was the head that wanted more than is durable, the next one may need less.
          this.#pump(due.lane);
          break;
        case 'lease':
          this.#revoke(due, 'expired');
          break;
        case 'lane':
          for (const lease of [...due.leases]) this.#revoke(lease, 'preempted');
          break;
        case 'reopening':
          this.#allClosed = false;
          for (const lane of this.#lanes.all()) this.#pump(lane);
          break;
        case 'slow-write':
          this.#serveBlocked(undefined);
          break;
      }
    }
  }

  connect(peer: Peer): Client {
    return { peer, name: undefined, pid: undefined, sessionHash: undefined, waiting: new Map(), leases: new Set() };
  }

  /** The client is gone: its leases end at once and its waiters are never granted (I6). */
  disconnect(client: Client): void {
    for (const waiting of client.waiting.values()) if (waiting.kind === 'draw') this.#drop(waiting);
    this.abandon(client);
  }

  /** The client still listens but says nothing more: its leases and waiters end, its bare nonces are answered. */
  abandon(client: Client): void {
    // After a stop the leases cross to the next daemon, by their notes.
    if (this.#phase !== 'granting') return;
    const lanes = new Set<LeaseLane>();
    for (const waiting of client.waiting.values()) {
      if (waiting.kind === 'draw') continue;
      lanes.add(waiting.lane);
      this.#drop(waiting);
    }
    for (const lease of client.leases) {
      lanes.add(lease.lane);
      this.#end(lease);
    }
    for (const lane of lanes) this.#pump(lane);
  }

  /** Binds what the client's session held before a restart to its new connection, and tells what that is. */
  hello(client: Client, name: string | undefined, pid: number | undefined, sessionHash: string | undefined): Resumed[] {
    client.name = name;
    client.pid = pid;
    client.sessionHash = sessionHash;
    if (sessionHash === undefined) return [];
    const nowMs = this.#clock.monotonicMs();
    return this.#leases.resume(client, sessionHash).map((lease) => {
      this.#deadlines.reschedule(lease, lease.expiresAtMs);
      const { token, account, requestId } = lease;
      return { token, account: account.name, requestId, ttlMs: leftMs(lease, nowMs) };
    });
  }

  /** A bare nonce, the first of `count` consecutive ones, without any exclusivity. Answers `drawn` or `refused`. */
  nonce(client: Client, id: RequestId, accountName: string, count: number): void {
    const account = this.#admit(client, id, accountName);
    if (account !== undefined) this.#draw(client, id, account, count, undefined);
  }

  /** Queues for the account's lane. Answers `granted` or `refused`, now or later. */
  acquire(client: Client, id: RequestId, params: AcquireParams): void {
    const account = this.#admit(client, id, params.account);
    if (account === undefined) return;
    if (params.unit !== undefined && params.unit !== account.sequence.unit) {
      client.peer.refused(id, unitMismatch(account, params.unit));
      return;
    }
    const noRoom = this.#noRoomFor(client);
    if (noRoom !== undefined) {
      client.peer.refused(id, noRoom);
      return;
    }
    const nowMs = this.#clock.monotonicMs();
    const { priority } = params;
    const lane = this.#lanes.of(account.name);
    const waiter: Waiter = {
      kind: 'waiter',
      client,
      id,
      account,
      priority,
      count: params.count,
      ttlMs: params.ttlMs ?? TTL_MS[priority],
      label: params.label,
      arrival: this.#arrivals++,
      sinceMs: nowMs,
      lane,
      queue: undefined,
      previous: undefined,
      next: undefined,
      dueMs: nowMs + (params.waitMs ?? WAIT_MS[priority]),
      heapIndex: -1,
    };
    lane.enqueue(waiter);
    this.#rememberWaiting(waiter);
    this.#pump(lane);
    if (waiter.queue === undefined) return;
    const isNext = !lane.exclusive || (lane.isFree && lane.choose(nowMs) === waiter);
    if (this.#blocked.has(lane) && isNext) waiter.dueMs = Math.max(waiter.dueMs, nowMs + WRITE_GRACE_MS);
    if (waiter.dueMs <= nowMs) {
      this.#drop(waiter);
      client.peer.refused(id, waitTimeout(waiter, nowMs));
      this.#settle(lane);
    } else {
      this.#deadlines.add(waiter);
    }
  }

  /** A further nonce under a live lease, also for another account of its lane. Answers `drawn` or `refused`. */
  next(client: Client, id: RequestId, token: Token, accountName: string | undefined, count: number): void {
    const lease = this.#leases.own(client, token);
    if (lease === undefined) {
      client.peer.refused(id, LEASE_LOST);
      return;
    }
    const account = this.#admit(client, id, accountName ?? lease.account.name);
    if (account !== undefined) this.#draw(client, id, account, count, lease);
  }

  /** Lets the lease's TTL begin anew. Answers its TTL in milliseconds. */
  renew(client: Client, token: Token, ttlMs: number | undefined): number | Refusal {
    const lease = this.#leases.own(client, token);
    if (this.#phase !== 'granting') return SHUTTING_DOWN;
    if (lease === undefined) return LEASE_LOST;
    lease.ttlMs = ttlMs ?? lease.ttlMs;
    lease.expiresAtMs = this.#clock.monotonicMs() + lease.ttlMs;
    // I7: a renewal that is not noted would not count after a restart, and so is not promised.
    if (!this.#leases.note(lease)) return SHUTTING_DOWN;
    this.#deadlines.reschedule(lease, lease.expiresAtMs);
    return lease.ttlMs;
  }

  /** Ends the client's lease and grants the lane to the next. True once; false where the client holds no such lease. */
  release(client: Client, token: Token, _outcome: Outcome, usedOwnClock: boolean): boolean {
    const lease = this.#leases.own(client, token);
    if (lease === undefined) return false;
    if (usedOwnClock) this.#ledger.liftToNow(lease.account.sequence);
    this.#end(lease);
    this.#pump(lease.lane);
    return true;
  }

  /** Takes back a request that has not been answered; where it has been, the answer holds. */
  cancel(client: Client, id: RequestId): void {
    const waiting = client.waiting.get(id);
    if (waiting === undefined || this.#phase !== 'granting') return;
    this.#drop(waiting);
    client.peer.refused(id, CANCELLED);
    if (waiting.kind === 'waiter') this.#pump(waiting.lane);
  }

  /** Switches what is exclusive, durably. Live leases stay; waiters are queued anew in the order of their arrival. */
  async setExclusive(policy: ExclusionPolicy): Promise<Refusal | { before: ExclusionPolicy; after: ExclusionPolicy }> {
    const before = this.#lanes.policy;
    if (this.#phase !== 'granting') return SHUTTING_DOWN;
    const failure = await this.#ledger.commit({ exclusive: policy });
    return failure === undefined ? { before, after: policy } : this.#notCommitted(failure);
  }

  /** Raises a sequence for ever, durably. Answers the lowest nonce that could have come next, before and after. */
  async advance(params: AdvanceParams): Promise<Refusal | Advanced> {
    if (this.#phase !== 'granting') return SHUTTING_DOWN;
    const plan = this.#ledger.planAdvance(params);
    if ('code' in plan) return plan;
    const failure = await this.#ledger.commit(plan.change);
    if (failure !== undefined) return this.#notCommitted(failure);
    const { sequence, before, after } = plan;
    const accounts = [...this.#accounts.values()].filter((account) => account.sequence === sequence);
    return { before, after, unit: sequence.unit, accounts: firstOf(accounts, ({ name }) => name) };
  }

  /** What an operator wants to see; at most 100 of a kind, and never a token. */
  status() {
    return statusOf({
      nowMs: this.#clock.monotonicMs(),
      startedAtMs: this.#startedAtMs,
      accounts: this.#accounts,
      lanes: this.#lanes,
      leases: this.#leases,
      ledger: this.#ledger,
      waiting: this.#waiting,
      grants: this.#grants,
    });
  }

  /** Looks whether a new request may come in, and answers it where it may not. */
  #admit(client: Client, id: RequestId, accountName: string): Account | undefined {
    if (this.#phase !== 'granting') {
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

  /** Why no further request of the client may wait, if so. */
  #noRoomFor(client: Client): Refusal | undefined {
    const { waitingPerClient, waiting } = this.#limits;
    if (client.waiting.size + client.leases.size >= waitingPerClient) {
      return full(`this connection has ${waitingPerClient} requests waiting or held`);
    }
    return this.#waiting >= waiting ? full(`${waiting} requests are waiting already`) : undefined;
  }

  /** I8: called whenever a lane may have become free or a waiter has come. Grants until the lane is held. */
  #pump(lane: LeaseLane, failure?: Error): void {
    if (this.#phase === 'granting' && !(this.#allClosed && lane.exclusive)) {
      const nowMs = this.#clock.monotonicMs();
      while (lane.isFree) {
        const waiter = lane.choose(nowMs);
        if (waiter === undefined) break;
        if (this.#grant(lane, waiter, nowMs)) continue;
        if (this.#phase !== 'granting') return;
        this.#blocked.add(lane);
        this.#watchWrite();
        // The ceiling cannot be raised: the one whose turn it is hears so, the others wait for the next try.
        if (failure !== undefined) this.#refuseUndurable(waiter, failure);
        break;
      }
    }
    this.#settle(lane);
  }

  /** Sees to it that nobody waits long for a write that hangs. */
  #watchWrite(): void {
    const slowAtMs = this.#ledger.slowAtMs;
    // Past it, the sequences do without the write already: what still waits has used all that is durable.
    if (slowAtMs !== undefined && slowAtMs > this.#clock.monotonicMs()) {
      this.#deadlines.reschedule(this.#slowWrite, slowAtMs);
    }
  }

  #refuseUndurable(waiting: Waiter | Draw, failure: Error): void {
    this.#drop(waiting);
    waiting.client.peer.refused(waiting.id, notDurable(failure));
  }

  /** Brings the lane's own deadline up to date: when an urgent waiter may end a hung background lease. */
  #settle(lane: LeaseLane): void {
    const dueMs = lane.preemptionDueMs();
    if (dueMs === undefined) this.#deadlines.remove(lane);
    else this.#deadlines.reschedule(lane, dueMs);
  }

  /** Grants the lane to its next waiter, or refuses it for good. False where a ceiling must be raised first. */
  #grant(lane: LeaseLane, waiter: Waiter, nowMs: number): boolean {
    const { account, client, id, count } = waiter;
    if (this.#leases.isFull) {
      this.#drop(waiter);
      client.peer.refused(id, full(`${this.#leases.capacity} leases are held already`));
      return true;
    }
    const token = this.#ledger.take(this.#ledger.tokens, 1);
    if (token.kind === 'needs-ceiling') return false;
    if (token.kind === 'exhausted') {
      this.#drop(waiter);
      client.peer.refused(id, exhausted(this.#ledger.tokens));
      return true;
    }
    // I3: drawn here and not when the request was queued, or a later caller could be granted a lower nonce.
    const drawn = this.#ledger.take(account.sequence, count);
    if (drawn.kind === 'needs-ceiling') return false;
    if (drawn.kind === 'exhausted') {
      this.#drop(waiter);
      client.peer.refused(id, exhausted(account.sequence));
      return true;
    }
    const expiresAtMs = nowMs + waiter.ttlMs;
    const lease: Lease = {
      kind: 'lease',
      token: Number(token.nonce) as Token,
      account,
      requestId: id,
      sessionHash: client.sessionHash,
      priority: waiter.priority,
      label: waiter.label,
      grantedAtMs: nowMs,
      lane,
      client,
      ttlMs: waiter.ttlMs,
      expiresAtMs,
      dueMs: expiresAtMs,
      heapIndex: -1,
    };
    // I4: noted before the grant is sent, so that a daemon that dies in between leaves a closed lane, not an open one.
    if (!this.#leases.note(lease)) return false;
    lane.granted(waiter, nowMs);
    this.#forgetWaiting(waiter);
    this.#leases.hold(lease);
    this.#deadlines.add(lease);
    this.#grants += 1;
    account.grants += 1;
    account.nonces += count;
    account.usedAtMs = nowMs;
    const waitedMs = nowMs - waiter.sinceMs;
    client.peer.granted(id, { nonce: drawn.nonce, count, token: lease.token, ttlMs: lease.ttlMs, waitedMs });
    return true;
  }

  /** Takes up a lease of the daemon before this one: its lane stays closed until its holder returns or is given up. */
  #adopt(noted: NotedLease): void {
    const account = this.#accounts.getOrAdd(noted.account, this.#startedAtMs);
    if (account === undefined) {
      this.#allClosed = true;
      return;
    }
    this.#leases.hold({
      kind: 'lease',
      token: noted.token,
      account,
      requestId: noted.requestId,
      sessionHash: noted.sessionHash,
      priority: noted.priority,
      label: undefined,
      grantedAtMs: this.#startedAtMs,
      lane: this.#lanes.of(account.name),
      client: undefined,
      ttlMs: noted.ttlMs,
      expiresAtMs: noted.expiresAtMs,
      dueMs: noted.expiresAtMs,
      heapIndex: -1,
    });
  }

  #end(lease: Lease): void {
    this.#leases.end(lease);
    this.#deadlines.remove(lease);
    lease.account.usedAtMs = this.#clock.monotonicMs();
  }

  #revoke(lease: Lease, reason: RevokeReason): void {
    this.#end(lease);
    lease.client?.peer.revoked(lease.token, reason);
    this.#pump(lease.lane);
  }

  #fail(error: Error): void {
    // Several notes may fail in one turn; the first one ends it all.
    if (this.#phase === 'failed') return;
    this.#phase = 'failed';
    this.#observer.failed(error);
  }

  #draw(client: Client, id: RequestId, account: Account, count: number, lease: Lease | undefined): void {
    const draw: Draw = { kind: 'draw', client, id, account, count, lease };
    if (this.#draws.size === 0 || !this.#isDrawnFor(account.sequence)) {
      if (this.#drawNow(draw)) return;
    }
    const noRoom = this.#noRoomFor(client);
    if (noRoom !== undefined) {
      client.peer.refused(id, noRoom);
      return;
    }
    this.#draws.add(draw);
    this.#rememberWaiting(draw);
    this.#watchWrite();
  }

  /** Whether somebody waits for the sequence's ceiling already, and so comes first. */
  #isDrawnFor(sequence: NonceSequence): boolean {
    for (const draw of this.#draws) if (draw.account.sequence === sequence) return true;
    return false;
  }

  /** Answers the draw, unless a ceiling must be raised first. */
  #drawNow(draw: Draw): boolean {
    const { client, id, account, count, lease } = draw;
    // While the draw waited its lease may have ended, or come to cover another lane.
    const refused = lease === undefined ? undefined : this.#uncovered(lease, account);
    if (refused !== undefined) {
      client.peer.refused(id, refused);
      return true;
    }
    const taken = this.#ledger.take(account.sequence, count);
    if (taken.kind === 'needs-ceiling') return false;
    if (taken.kind === 'exhausted') {
      client.peer.refused(id, exhausted(account.sequence));
      return true;
    }
    account.nonces += count;
    account.usedAtMs = this.#clock.monotonicMs();
    client.peer.drawn(id, taken.nonce, count);
    return true;
  }

  /** Why the lease gives no right to a call of the account, if so. */
  #uncovered(lease: Lease, account: Account): Refusal | undefined {
    if (!this.#leases.isLive(lease)) return LEASE_LOST;
    if (account === lease.account || this.#lanes.covers(lease.lane, account.name)) return undefined;
    return nestedLane(lease, account.name);
  }

  #rememberWaiting(waiting: Waiter | Draw): void {
    waiting.client.waiting.set(waiting.id, waiting);
    waiting.account.waiting += 1;
    this.#waiting += 1;
  }

  #forgetWaiting(waiting: Waiter | Draw): void {
    if (waiting.kind === 'waiter') this.#deadlines.remove(waiting);
    waiting.client.waiting.delete(waiting.id);
    waiting.account.waiting -= 1;
    this.#waiting -= 1;
  }

  /** Takes a waiter or draw out of everything that knows it. */
  #drop(waiting: Waiter | Draw): void {
    if (waiting.kind === 'waiter') waiting.lane.remove(waiting);
    else this.#draws.delete(waiting);
    this.#forgetWaiting(waiting);
  }

  #notCommitted(failure: Error): Refusal {
    // Looked at again: the daemon may have been told to stop while the change was being written.
    return this.#phase === 'stopped' ? SHUTTING_DOWN : notDurable(failure);
  }

  /** After a write of the state: a policy that has become durable holds from here on, and what waited goes on. */
  #written(failure: Error | undefined): void {
    if (this.#phase !== 'granting') return;
    this.#deadlines.remove(this.#slowWrite);
    if (this.#lanes.policy !== this.#ledger.exclusive) this.#switchTo(this.#ledger.exclusive);
    this.#serveBlocked(failure);
  }

  /** Tries again what waits for a ceiling; with a `failure`, what cannot be served hears of it. */
  #serveBlocked(failure: Error | undefined): void {
    for (const draw of [...this.#draws]) {
      if (this.#drawNow(draw)) this.#drop(draw);
      else if (failure !== undefined) this.#refuseUndurable(draw, failure);
      else this.#watchWrite();
    }
    const blocked = [...this.#blocked];
    this.#blocked.clear();
    for (const lane of blocked) this.#pump(lane, failure);
  }

  #switchTo(policy: ExclusionPolicy): void {
    for (const lane of this.#lanes.all()) this.#deadlines.remove(lane);
    this.#blocked.clear();
    this.#lanes.switchTo(policy, this.#leases.values());
    for (const lane of this.#lanes.all()) this.#pump(lane);
  }
}
