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
import { callOf, recordOf } from './account-record.ts';
import { AccountTable } from './accounts.ts';
import { firstOf, leftMs, statusOf, statusOfAccount } from './broker-status.ts';
import type { DurableChange } from './ceiling-writer.ts';
import { type Deadline, DeadlineQueue } from './deadline-queue.ts';
import { EndedCalls } from './ended-calls.ts';
import type { Account, Client, Draw, Lease, LeaseLane, Waiter } from './entities.ts';
import { ended, judge, longestTtlMs, pass, refusalOf } from './gate.ts';
import type { AccountQueue } from './lane.ts';
import { LaneMap } from './lanes.ts';
import { LeaseTable } from './leases.ts';
import { type AdvanceParams, type AdvancePlan, Ledger } from './ledger.ts';
import type { NonceSequence } from './nonce-sequence.ts';
import { NO_POLICIES, type Policies } from './policies.ts';
import type {
  AccountNotes,
  AccountNotesFound,
  DurableState,
  ExclusionPolicy,
  LeaseEnd,
  LeaseNotes,
  Nonce,
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
  CROWDED,
  exhausted,
  full,
  keyMismatch,
  LEASE_LOST,
  nestedLane,
  notDurable,
  paced,
  paused,
  SHUTTING_DOWN,
  unitMismatch,
  waitTimeout,
} from './refusals.ts';
import { whyOf } from './why.ts';

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

type PauseState = 'running' | 'paused';

export interface PauseChange {
  readonly before: PauseState;
  readonly after: PauseState;
  /** Whether the account has ever drawn: otherwise its label may be misspelt. */
  readonly isKnown: boolean;
}

export interface NextParams {
  readonly token: Token;
  /** Undefined: the lease's own. */
  readonly account: string | undefined;
  readonly cost: number;
  readonly count: number;
}

export interface Advanced {
  readonly sequence: string;
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

type Due = Waiter | AccountQueue<Waiter> | Lease | LeaseLane | Reopening | SlowWrite;

export interface BrokerOptions {
  readonly clock: Clock;
  readonly bootId: string;
  readonly state: DurableState;
  readonly store: StateStore;
  readonly notes: LeaseNotes;
  readonly found: NotesFound;
  readonly accountNotes: AccountNotes;
  readonly accountsFound: AccountNotesFound;
  /** Left out: nothing is configured. What they need of the state, it must have. */
  readonly policies?: Policies;
  readonly observer: Observer;
  /** A write of the state has ended, and `nextDueMs` may be sooner for it although nobody has been answered. */
  readonly onWritten?: () => void;
  readonly limits?: Limits;
}

export class Broker {
  readonly #clock: Clock;
  readonly #ledger: Ledger;
  readonly #accounts: AccountTable;
  readonly #lanes: LaneMap;
  readonly #leases: LeaseTable;
  readonly #observer: Observer;
  readonly #onWritten: (() => void) | undefined;
  readonly #limits: Limits;
  readonly #startedAtMs: number;
  readonly #deadlines = new DeadlineQueue<Due>();
  readonly #ended = new EndedCalls();
  /** Parked queues whose account is being enlisted. */
  readonly #unlisted = new Set<AccountQueue<Waiter>>();
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
    this.#onWritten = options.onWritten;
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
    this.#accounts = new AccountTable({
      limit: this.#limits.accounts,
      ledger: this.#ledger,
      policies: options.policies ?? NO_POLICIES,
      notes: options.accountNotes,
      found: options.accountsFound,
      nowMs: this.#startedAtMs,
      failed,
    });
    this.#lanes = new LaneMap(state.exclusive, this.#deadlines);
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
    const isWaitedFor = (): boolean =>
      this.#draws.size > 0 ||
      [...this.#blocked].some(({ waiting }) => waiting > 0) ||
      [...this.#unlisted].some(({ parked }) => parked);
    return this.#ledger.isOverdue && isWaitedFor();
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
        case 'parked': {
          const { lane } = due.first;
          lane.unpark(due);
          this.#pump(lane);
          break;
        }
        case 'lease':
          this.#revoke(due, due.client === undefined ? 'lost' : 'expired');
          break;
        case 'lane':
          this.#preempt(due, nowMs);
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
    this.#ended.forget(client);
    const lanes = new Set<LeaseLane>();
    for (const waiting of client.waiting.values()) {
      if (waiting.kind === 'draw') continue;
      lanes.add(waiting.lane);
      this.#drop(waiting);
    }
    for (const lease of client.leases) {
      lanes.add(lease.lane);
      this.#end(lease, 'disconnected', 'unknown', false);
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
    const nowMs = this.#clock.monotonicMs();
    const refused = this.#refusalOf(account, params, nowMs) ?? this.#noRoomFor(client);
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
    if ((this.#blocked.has(lane) && isNext) || this.#unlisted.has(waiter.queue))
      waiter.dueMs = Math.max(waiter.dueMs, nowMs + WRITE_GRACE_MS);
    if (waiter.dueMs <= nowMs) {
      this.#drop(waiter);
      client.peer.refused(id, waitTimeout(waiter, nowMs));
      this.#settle(lane);
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
    if (account !== undefined) this.#draw(client, id, account, count, { lease, cost });
  }

  /** Lets the lease's TTL begin anew. Answers its TTL in milliseconds. */
  renew(client: Client, token: Token, ttlMs: number | undefined): number | Refusal {
    const lease = this.#leases.own(client, token);
    if (this.#phase !== 'granting') return SHUTTING_DOWN;
    if (lease === undefined) return LEASE_LOST;
    const nowMs = this.#clock.monotonicMs();
    lease.ttlMs = ttlMs ?? lease.ttlMs;
    const asked = nowMs + lease.ttlMs;
    const allowed = nowMs + longestTtlMs(lease.account);
    // I7: an outage shortens no lease that was granted before it, also not when its holder asks for more.
    lease.expiresAtMs = Math.min(asked, Math.max(allowed, lease.expiresAtMs));
    // I7: a renewal that is not noted would not count after a restart, and so is not promised.
    if (!this.#leases.note(lease)) return SHUTTING_DOWN;
    this.#deadlines.reschedule(lease, lease.expiresAtMs);
    return leftMs(lease, nowMs);
  }

  /** Ends the client's lease and grants the lane to the next. True once; false where the client holds no such lease. */
  release(client: Client, token: Token, outcome: Outcome, usedOwnClock: boolean): boolean {
    const lease = this.#leases.own(client, token);
    if (lease === undefined) {
      // I5: it changes nothing but what is remembered of the call, for whoever asks why it failed.
      const late = this.#ended.tellLate(token, client, outcome, this.#clock.monotonicMs());
      if (late?.outcome === 'invalid-nonce') this.#observer.rejected(late, this.#ended.before(late));
      return false;
    }
    if (usedOwnClock) this.#ledger.liftToNow(lease.account.sequence);
    this.#end(lease, 'released', outcome, usedOwnClock);
    this.#learn(lease, outcome);
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
    const refused = await this.#commit(() => ({ exclusive: policy, inEffect: () => this.#switchTo(policy) }));
    return refused ?? { before, after: policy };
  }

  /** Raises a sequence for ever, durably. Answers the lowest nonce that could have come next, before and after. */
  async advance(params: AdvanceParams): Promise<Refusal | Advanced> {
    let planned: AdvancePlan | undefined;
    let { target } = params;
    const refused = await this.#commit(() => {
      const plan = this.#ledger.planAdvance({ ...params, target }, this.#accounts.policies.of(params.account ?? ''));
      if ('code' in plan) return plan;
      planned = plan;
      // By so much above what was the last one when it was asked for, and not when its write begins.
      if (target.kind === 'by') target = { kind: 'to', nonce: plan.after };
      const inEffect = () => this.#accounts.advanced(plan.sequence, this.#clock.monotonicMs());
      return { ...plan.change, inEffect };
    });
    if (refused !== undefined || planned === undefined) return refused ?? SHUTTING_DOWN;
    const { sequence, before, after } = planned;
    const sharing = [...this.#accounts.values()].filter((account) => account.sequence === sequence);
    const accounts = params.account === undefined ? firstOf(sharing, ({ name }) => name) : [params.account];
    return { sequence: sequence.name, before, after, unit: sequence.unit, accounts };
  }

  /**
   * Stops an account, or lets it go on, durably. Calls under way are not touched. Letting it go on also closes its
   * circuit breaker: the operator knows that the cause is gone.
   */
  async setPaused(accountName: string, pausing: boolean): Promise<Refusal | PauseChange> {
    const isKnown = this.#ledger.isKnown(accountName);
    const before = this.#ledger.isPaused(accountName) ? 'paused' : 'running';
    const refused = await this.#commit(() => ({
      ...this.#ledger.planPause(accountName, pausing),
      inEffect: () => this.#pausedOrResumed(accountName, pausing),
    }));
    return refused ?? { before, after: pausing ? 'paused' : 'running', isKnown };
  }

  /** Goes by other policies from now on. Answers what an operator should hear of it; where refused nothing has changed. */
  async follow(policies: Policies): Promise<Refusal | { readonly kept: readonly string[] }> {
    let kept: readonly string[] = [];
    const refused = await this.#commit(() => {
      const plan = this.#ledger.planPolicies(policies);
      if ('code' in plan) return plan;
      kept = plan.kept;
      // Not written along: who has never drawn draws first from where these policies say.
      this.#ledger.forgetNewcomers();
      const inEffect = () => {
        this.#ledger.forgetNewcomers();
        this.#accounts.follow(policies, this.#clock.monotonicMs());
        this.#switchTo(this.#lanes.policy);
      };
      return { ...plan.change, inEffect };
    });
    return refused ?? { kept };
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

  /** An account's last calls, and what a rejected nonce was probably due to. */
  why(accountName: string) {
    const nowMs = this.#clock.monotonicMs();
    const account = this.#accounts.get(accountName);
    const record = recordOf({
      name: accountName,
      account,
      ended: this.#ended,
      leases: this.#leases.values(),
      ledger: this.#ledger,
      exclusive: this.#lanes.policy,
      policies: this.#accounts.policies,
    });
    return {
      ...whyOf(record, this.#ended, nowMs),
      paused: this.#ledger.isPaused(accountName),
      isKnown: this.#ledger.isKnown(accountName),
      status: account === undefined ? null : statusOfAccount(account, nowMs),
    };
  }

  get #isStopped(): boolean {
    return this.#phase === 'stopped';
  }

  /** Makes a change durable. Answers why not; then nothing has changed. */
  async #commit(plan: () => DurableChange | Refusal): Promise<Refusal | undefined> {
    if (this.#phase !== 'granting') return SHUTTING_DOWN;
    const committed = await this.#ledger.commit(() => {
      const change = plan();
      if ('code' in change) return change;
      // Looked at again: the daemon may have been told to stop while the change was being written.
      return { ...change, inEffect: () => this.#phase === 'granting' && change.inEffect?.() };
    });
    switch (committed.kind) {
      case 'durable':
        return undefined;
      case 'refused':
        return committed.refusal;
      case 'failed':
        return this.#isStopped ? SHUTTING_DOWN : notDurable(committed.error);
    }
  }

  #pausedOrResumed(accountName: string, pausing: boolean): void {
    const account = this.#accounts.get(accountName);
    if (account === undefined) return;
    account.paused = pausing;
    if (pausing) {
      this.#sweep((other) => other === account);
    } else {
      account.breaker.close();
      this.#accounts.note(account, this.#clock.monotonicMs());
    }
  }

  /** Why an `acquire` of the account is refused at once, if so. */
  #refusalOf(account: Account, { unit, key, priority, cost }: AcquireParams, nowMs: number): Refusal | undefined {
    if (unit !== undefined && unit !== account.sequence.unit) {
      account.refusedUnits = { count: (account.refusedUnits?.count ?? 0) + 1, unit };
      return unitMismatch(account, unit);
    }
    const refused = refusalOf(account, priority, cost, nowMs);
    if (refused !== undefined || key === undefined) return refused;
    const claim = this.#accounts.claim(account, key);
    if (claim?.kind === 'changed') this.#observer.keyChanged(account.name);
    return claim?.kind === 'taken' ? keyMismatch(account, claim.by) : undefined;
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
        if (!this.#mayBegin(lane, waiter, nowMs, failure) || this.#grant(lane, waiter, nowMs)) continue;
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

  /** Whether the chosen waiter's call may begin; where not, it is out of the lane's turns afterwards, and the next is looked at. */
  #mayBegin(lane: LeaseLane, waiter: Waiter, nowMs: number, failure?: Error): boolean {
    const { account, unit, priority, cost } = waiter;
    if (!account.enlisted) {
      const enlisting = this.#ledger.enlist(account);
      if (enlisting === 'crowded') return this.#refuse(waiter, CROWDED);
      if (enlisting === 'under-way') {
        if (failure !== undefined) return this.#refuse(waiter, notDurable(failure));
        // Parked, so that accounts which the state knows do not wait for a disk that hangs.
        lane.park(waiter, Number.POSITIVE_INFINITY);
        if (waiter.queue !== undefined) this.#unlisted.add(waiter.queue);
        return false;
      }
    }
    // Looked at again: all this may have changed while it waited.
    if (unit !== undefined && unit !== account.sequence.unit) return this.#refuse(waiter, unitMismatch(account, unit));
    const judgement = judge(account, priority, cost, nowMs);
    switch (judgement.kind) {
      case 'open':
        return true;
      case 'paced':
        lane.park(waiter, judgement.untilMs);
        return false;
      case 'refused':
        return this.#refuse(waiter, judgement.refusal);
    }
  }

  #refuse(waiting: Waiter | Draw, why: Refusal): false {
    this.#drop(waiting);
    waiting.client.peer.refused(waiting.id, why);
    return false;
  }

  /** Ends hung background leases for an urgent waiter, if there is one that may begin. */
  #preempt(lane: LeaseLane, nowMs: number): void {
    for (let urgent = lane.urgent; urgent !== undefined; urgent = lane.urgent) {
      if (!this.#mayBegin(lane, urgent, nowMs)) continue;
      for (const lease of [...lane.leases]) this.#revoke(lease, 'preempted');
      return;
    }
  }

  /** Refuses whoever waits for one of the accounts that `concerns` names and may not pass any more. */
  #sweep(concerns: (account: Account) => boolean): void {
    const nowMs = this.#clock.monotonicMs();
    for (const lane of this.#lanes.all()) {
      let swept = false;
      for (const waiter of lane.waiters()) {
        const { account, priority, cost } = waiter;
        const why = concerns(account) ? refusalOf(account, priority, cost, nowMs) : undefined;
        if (why === undefined) continue;
        this.#refuse(waiter, why);
        swept = true;
      }
      // I8: the head may have gone that wanted more than is durable.
      if (swept) this.#pump(lane);
    }
  }

  /** What the end of a call says of its account and exchange. */
  #learn(lease: Lease, outcome: Outcome): void {
    if (outcome === 'unknown' || outcome === 'unused') return;
    const { account } = lease;
    const { exchange, breaker } = account;
    const nowMs = this.#clock.monotonicMs();
    if (outcome === 'ok') account.okAtMs = nowMs;
    if (outcome === 'invalid-nonce') {
      account.rejected += 1;
      const call = callOf(lease);
      this.#observer.rejected(call, this.#ended.before(call));
    }
    const before = breaker.noted();
    const changed = ended(account, outcome, lease.begunAtMs, nowMs);
    if (breaker.noted() !== before || outcome === 'rate-limited') this.#accounts.note(account, nowMs);
    if (changed.breaker) this.#observer.breakerChanged(account.name, breaker.trouble);
    if (changed.exchange) this.#observer.exchangeChanged(exchange.name, exchange.downSinceMs !== undefined);
    if (changed.breaker || changed.exchange) {
      this.#sweep((other) => other === account || (changed.exchange && other.exchange === exchange));
    }
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
    this.#refuse(waiting, notDurable(failure));
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
      costs: new Map([[account, waiter.cost]]),
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
    if (this.#phase !== 'granting') return false;
    lane.granted(waiter, nowMs);
    this.#forgetWaiting(waiter);
    this.#leases.hold(lease);
    this.#deadlines.add(lease);
    this.#grants += 1;
    account.grants += 1;
    account.nonces += count;
    account.usedAtMs = nowMs;
    client.peer.granted(id, { nonce: drawn.nonce, count, token: lease.token, ttlMs, waitedMs });
    this.#observer.granted?.(callOf(lease));
    if (isProbe) this.#sweep((other) => other === account || other.exchange === account.exchange);
    return true;
  }

  /** Takes up a lease of the daemon before this one: its lane stays closed until its holder returns or is given up. */
  #adopt(noted: NotedLease): void {
    const account = this.#accounts.getOrAdd(noted.account, this.#startedAtMs);
    if (account === undefined) {
      this.#allClosed = true;
      return;
    }
    // What it cost is not noted. An order costs nothing, and most other calls this.
    account.bucket?.add(1, this.#startedAtMs);
    this.#leases.hold({
      kind: 'lease',
      token: noted.token,
      account,
      requestId: noted.requestId,
      sessionHash: noted.sessionHash,
      priority: noted.priority,
      label: undefined,
      grantedAtMs: this.#startedAtMs,
      // Or when it was last renewed.
      begunAtMs: noted.expiresAtMs - noted.ttlMs,
      waitedMs: 0,
      nonce: undefined,
      lastNonce: undefined,
      alsoFor: undefined,
      costs: new Map([[account, 1]]),
      lane: this.#lanes.of(account),
      client: undefined,
      ttlMs: noted.ttlMs,
      expiresAtMs: noted.expiresAtMs,
      dueMs: noted.expiresAtMs,
      heapIndex: -1,
    });
  }

  #end(lease: Lease, how: LeaseEnd, outcome: Outcome, ownClock: boolean): void {
    const nowMs = this.#clock.monotonicMs();
    this.#leases.end(lease);
    this.#deadlines.remove(lease);
    lease.account.usedAtMs = nowMs;
    for (const [account, cost] of lease.costs) {
      if (account !== lease.account) account.leases -= 1;
      if (account.bucket === undefined) continue;
      account.bucket.ended(cost, nowMs);
      this.#accounts.note(account, nowMs);
    }
    const call = { ...callOf(lease), endedAtMs: nowMs, ended: how, ownClock, outcome, toldAtMs: nowMs, late: false };
    // Whose lease was ended for him may still tell how the call went.
    this.#ended.add(call, how === 'expired' || how === 'preempted' ? lease.client : undefined);
  }

  #revoke(lease: Lease, how: RevokeReason | 'lost'): void {
    this.#end(lease, how, 'unknown', false);
    if (how !== 'lost') lease.client?.peer.revoked(lease.token, how);
    this.#pump(lease.lane);
  }

  #fail(error: Error): void {
    // Several notes may fail in one turn; the first one ends it all.
    if (this.#phase === 'failed') return;
    this.#phase = 'failed';
    this.#observer.failed(error);
  }

  #draw(client: Client, id: RequestId, account: Account, count: number, under: Draw['under']): void {
    const draw: Draw = { kind: 'draw', client, id, account, count, under };
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
    for (const { account } of this.#draws) if (account.enlisted && account.sequence === sequence) return true;
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
      if (this.#phase !== 'granting') return false;
    }
    client.peer.drawn(id, taken.nonce, count);
    if (isProbe) this.#sweep((other) => other === account || other.exchange === account.exchange);
    return true;
  }

  /** The call of an account is made under the lease: until its end the account is in use. */
  #charge(lease: Lease, account: Account, cost: number): void {
    const before = lease.costs.get(account);
    if (before === undefined) account.leases += 1;
    lease.costs.set(account, (before ?? 0) + cost);
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

  /** After a write of the state: what waited for it goes on. */
  #written(failure: Error | undefined): void {
    if (this.#phase !== 'granting') return;
    this.#deadlines.remove(this.#slowWrite);
    this.#serveBlocked(failure);
    this.#onWritten?.();
  }

  /** Tries again what waits for a ceiling; with a `failure`, what cannot be served hears of it. */
  #serveBlocked(failure: Error | undefined): void {
    for (const draw of [...this.#draws]) {
      if (this.#drawNow(draw)) this.#drop(draw);
      else if (failure !== undefined) this.#refuseUndurable(draw, failure);
      else this.#watchWrite();
    }
    const listed = new Set<LeaseLane>();
    for (const queue of this.#unlisted) {
      if (!queue.parked) continue;
      const { lane } = queue.first;
      lane.unpark(queue);
      listed.add(lane);
    }
    this.#unlisted.clear();
    // I6: only now, or an urgent waiter of the same account would come after whoever was parked before it.
    for (const lane of listed) this.#pump(lane, failure);
    const blocked = [...this.#blocked];
    this.#blocked.clear();
    for (const lane of blocked) this.#pump(lane, failure);
  }

  #switchTo(policy: ExclusionPolicy): void {
    for (const lane of this.#lanes.all()) this.#deadlines.remove(lane);
    this.#blocked.clear();
    this.#unlisted.clear();
    this.#lanes.switchTo(policy, this.#leases.values());
    for (const lane of this.#lanes.all()) this.#pump(lane);
  }
}

/** Why a bare nonce is refused. It is nobody's call as far as the daemon knows, so that only a pause counts. */
function bareRefusal(account: Account): Refusal | undefined {
  return account.paused ? paused(account.name) : undefined;
}
