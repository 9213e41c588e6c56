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
import { CeilingWriter, type DurableChange } from './ceiling-writer.ts';
import { type Deadline, DeadlineQueue } from './deadline-queue.ts';
import type { Account, Client, Draw, Lease, LeaseLane, Waiter } from './entities.ts';
import { Lane } from './lane.ts';
import { NonceSequence, type Taken } from './nonce-sequence.ts';
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
  seconds,
  unitMismatch,
  waitTimeout,
} from './refusals.ts';
import { type ClockState, nonceFloorAt, nonceSpanMs, SequenceClock } from './sequence-clock.ts';

/** The sequence that all accounts draw from, and the one that tokens are drawn from. */
export const DEFAULT_SEQUENCE = 'default';
export const TOKEN_SEQUENCE = '#tokens';

/** How long the lane of a lease from before a restart stays closed for a holder that has not come back (I4). */
export const RETURN_MS = 2_000;
/** A waiter that wants to be tried once still gets a write of the ceiling that is its only obstacle. */
const WRITE_GRACE_MS = 1_000;

/** A sequence this far ahead of the clock is worth a warning. */
const LEAD_WARNING_MS = 60_000;
/** A write that takes longer has met a disk that hangs. */
const HUNG_WRITE_MS = 10_000;
/** How many of a kind the status lists. */
const LISTED = 100;
const DEFAULT_EXCHANGE = 'default';

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

export interface AdvanceParams {
  readonly sequence: string;
  readonly target:
    | { readonly kind: 'to'; readonly nonce: bigint }
    | { readonly kind: 'by'; readonly nonces: bigint }
    | { readonly kind: 'now' };
  readonly maxLeadMs: number;
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

type Due = Waiter | Lease | LeaseLane | Reopening;

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
  readonly #sequenceClock: SequenceClock;
  readonly #sequences: ReadonlyMap<string, NonceSequence>;
  readonly #tokens: NonceSequence;
  readonly #defaultSequence: NonceSequence;
  readonly #writer: CeilingWriter;
  readonly #notes: LeaseNotes;
  readonly #observer: Observer;
  readonly #limits: Limits;
  readonly #startedAtMs: number;
  readonly #accounts = new Map<string, Account>();
  readonly #lanes = new Map<string, LeaseLane>();
  readonly #leases = new Map<Token, Lease>();
  /** Leases from before the restart whose holder has not come back yet. */
  readonly #orphans = new Set<Lease>();
  readonly #deadlines = new DeadlineQueue<Due>();
  /** Draws that wait for a ceiling, in the order of their arrival. */
  readonly #draws = new Set<Draw>();
  /** Lanes whose next waiter waits for a ceiling. */
  readonly #blocked = new Set<LeaseLane>();
  /** Sequences that were reported to be ahead of the clock. */
  readonly #ahead = new Set<NonceSequence>();
  readonly #reopening: Reopening = { kind: 'reopening', dueMs: 0, heapIndex: -1 };
  #policy: ExclusionPolicy;
  #phase: 'starting' | 'granting' | 'stopped' = 'starting';
  /** I4: a damaged note may stand for a lease in any lane, so all of them are closed. */
  #allClosed: boolean;
  #clockState: ClockState = 'followed';
  #arrivals = 0;
  #waiting = 0;
  #grants = 0;

  constructor(options: BrokerOptions) {
    const { clock, state, found } = options;
    this.#clock = clock;
    this.#notes = options.notes;
    this.#observer = options.observer;
    this.#limits = options.limits ?? DEFAULT_LIMITS;
    this.#startedAtMs = clock.monotonicMs();
    this.#policy = state.exclusive;
    this.#allClosed = found.damaged;
    this.#sequenceClock = new SequenceClock(clock, options.bootId, state);
    const sequences = Object.entries(state.sequences).map(
      ([name, durable]) => [name, new NonceSequence(name, durable)] as const,
    );
    this.#sequences = new Map(sequences);
    this.#tokens = this.#sequence(TOKEN_SEQUENCE);
    this.#defaultSequence = this.#sequence(DEFAULT_SEQUENCE);
    this.#writer = new CeilingWriter({
      clock,
      sequenceClock: this.#sequenceClock,
      sequences: this.#sequences,
      exclusive: state.exclusive,
      seenWallMs: state.seenWallMs,
      store: options.store,
      observer: { ...options.observer, failed: (error) => this.#fail(error) },
      onWritten: (failure) => this.#written(failure),
    });
    for (const noted of found.leases) {
      if (noted.expiresAtMs > this.#startedAtMs) this.#adopt(noted);
      // Its slot would be lost for the rest of this boot.
      else this.#strike(noted.token);
    }
  }

  /**
   * Raises the epoch and the ceilings durably. Answers why that failed; nothing may be asked of the broker then.
   * Nothing is granted before `open`.
   */
  start(): Promise<Error | undefined> {
    return this.#writer.open();
  }

  /** Clients can come from now on: the time in which holders from before the restart may return begins. */
  open(): void {
    const nowMs = this.#clock.monotonicMs();
    this.#phase = 'granting';
    for (const lease of this.#orphans) {
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
    return this.#writer.close();
  }

  /** Whether a plausible wall clock has been seen in this boot, or it is at least harmless. */
  get clockIsPlausible(): boolean {
    return this.#sequenceClock.anchor !== undefined || this.#sequenceClock.state !== 'not-followed';
  }

  /** Whether a write of the state has been under way for so long that the disk must be hung. */
  get isOverdue(): boolean {
    const sinceMs = this.#writer.writingSinceMs;
    return sinceMs !== undefined && this.#clock.monotonicMs() - sinceMs > HUNG_WRITE_MS;
  }

  /** What is exclusive now. */
  get exclusive(): ExclusionPolicy {
    return this.#policy;
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
          this.#settle(due.lane);
          break;
        case 'lease':
          this.#revoke(due, 'expired');
          break;
        case 'lane':
          for (const lease of [...due.leases]) this.#revoke(lease, 'preempted');
          break;
        case 'reopening':
          this.#allClosed = false;
          for (const lane of [...this.#lanes.values()]) this.#pump(lane);
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
    const resumed: Resumed[] = [];
    for (const lease of this.#orphans) {
      if (lease.sessionHash !== sessionHash) continue;
      this.#orphans.delete(lease);
      lease.client = client;
      client.leases.add(lease);
      this.#deadlines.reschedule(lease, lease.expiresAtMs);
      const { token, account, requestId } = lease;
      resumed.push({ token, account: account.name, requestId, ttlMs: leftMs(lease, nowMs) });
    }
    return resumed;
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
    const nowMs = this.#clock.monotonicMs();
    const { priority } = params;
    const lane = this.#laneOf(account.name);
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
    client.waiting.set(id, waiter);
    account.waiting += 1;
    this.#waiting += 1;
    this.#pump(lane);
    if (waiter.queue === undefined) return;
    // What is to be tried once may still wait for a write, where that is all that is in its way.
    const isNext = !lane.exclusive || (lane.isFree && lane.choose(nowMs) === waiter);
    if (waiter.dueMs === nowMs && this.#blocked.has(lane) && isNext) waiter.dueMs = nowMs + WRITE_GRACE_MS;
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
    const lease = this.#ownLease(client, token);
    if (lease === undefined) {
      client.peer.refused(id, LEASE_LOST);
      return;
    }
    if (accountName !== undefined && this.#laneName(accountName) !== lease.lane.name) {
      client.peer.refused(id, nestedLane(lease, accountName));
      return;
    }
    const account = this.#admit(client, id, accountName ?? lease.account.name);
    if (account !== undefined) this.#draw(client, id, account, count, lease);
  }

  /** Lets the lease's TTL begin anew. Answers its TTL in milliseconds. */
  renew(client: Client, token: Token, ttlMs: number | undefined): number | Refusal {
    const lease = this.#ownLease(client, token);
    if (this.#phase !== 'granting') return SHUTTING_DOWN;
    if (lease === undefined) return LEASE_LOST;
    lease.ttlMs = ttlMs ?? lease.ttlMs;
    lease.expiresAtMs = this.#clock.monotonicMs() + lease.ttlMs;
    // I7: a renewal that is not noted would not count after a restart, and so is not promised.
    if (!this.#note(lease)) return SHUTTING_DOWN;
    this.#deadlines.reschedule(lease, lease.expiresAtMs);
    return lease.ttlMs;
  }

  /** Ends the client's lease and grants the lane to the next. True once; false where the client holds no such lease. */
  release(client: Client, token: Token, _outcome: Outcome, usedOwnClock: boolean): boolean {
    const lease = this.#ownLease(client, token);
    if (lease === undefined) return false;
    if (usedOwnClock) {
      const { sequence } = lease.account;
      sequence.lift(this.#floor(sequence.unit));
      this.#raiseIfWanted(sequence);
    }
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
    if (waiting.kind === 'waiter') this.#settle(waiting.lane);
  }

  /** Switches what is exclusive, durably. Live leases stay; waiters are queued anew in the order of their arrival. */
  async setExclusive(policy: ExclusionPolicy): Promise<Refusal | { before: ExclusionPolicy; after: ExclusionPolicy }> {
    const before = this.#policy;
    const failed = await this.#commit({ exclusive: policy });
    return failed ?? { before, after: policy };
  }

  /** Raises a sequence for ever, durably. Answers the lowest nonce that could have come next, before and after. */
  async advance(request: AdvanceParams): Promise<Refusal | Advanced> {
    const sequence = this.#sequences.get(request.sequence);
    if (sequence === undefined || sequence === this.#tokens) {
      return refusal('BAD_REQUEST', `there is no sequence ${request.sequence}; \`nonced status\` lists them`);
    }
    const { unit } = sequence;
    const before = sequence.last + 1n;
    const accepted = request.target.kind === 'now' ? this.#sequenceClock.anchorHere() : undefined;
    if (accepted !== undefined && unit === 'counter') {
      return refusal('BAD_REQUEST', `sequence ${sequence.name} is a counter and has no now; give a number`);
    }
    const next = targetOf(request.target, before, nonceFloorAt(accepted?.wallMs ?? 0, unit));
    if (next > sequence.max) {
      return refusal('LIMIT', `${next} is past the highest nonce of sequence ${sequence.name}, ${sequence.max}`);
    }
    const leadMs = nonceSpanMs(next - this.#floor(unit), unit) ?? 0;
    if (leadMs > request.maxLeadMs) {
      return refusal(
        'BAD_REQUEST',
        `${next} is ${seconds(leadMs)} ahead of the clock, and that cannot be undone; ` +
          'to go on all the same: a higher maxLeadMs (nonced advance: --yes up to 24 h, --force any distance)',
      );
    }
    const failed = await this.#commit({
      lift: { sequence, next },
      ...(accepted === undefined ? {} : { anchor: accepted }),
    });
    if (failed !== undefined) return failed;
    const accounts = [...this.#accounts.values()].filter((account) => account.sequence === sequence);
    return {
      before,
      after: next > before ? next : before,
      unit,
      accounts: accounts.slice(0, LISTED).map(({ name }) => name),
    };
  }

  /** What an operator wants to see; at most 100 of a kind, and never a token. */
  status() {
    const nowMs = this.#clock.monotonicMs();
    const wallMs = this.#sequenceClock.nowMs();
    const nonces = [...this.#sequences.values()].reduce((sum, { issued }) => sum + issued, 0) - this.#tokens.issued;
    const uptimeMs = nowMs - this.#startedAtMs;
    return {
      uptimeMs: Math.round(uptimeMs),
      exclusive: this.#policy,
      totals: {
        accounts: this.#accounts.size,
        leases: this.#leases.size,
        waiting: this.#waiting,
        grants: this.#grants,
        nonces,
        noncesPerSecond: uptimeMs > 0 ? (1000 * nonces) / uptimeMs : 0,
      },
      sequences: [...this.#sequences.values()]
        .filter((sequence) => sequence !== this.#tokens)
        .slice(0, LISTED)
        .map(({ name, unit, last, ceiling, issued }) => ({
          name,
          unit,
          last,
          ceiling,
          leadMs: rounded(nonceSpanMs(last - nonceFloorAt(wallMs, unit), unit)),
          issued,
        })),
      accounts: firstOf(this.#accounts.values(), (account) => ({
        account: account.name,
        grants: account.grants,
        nonces: account.nonces,
        waiting: account.waiting,
        idleMs: Math.round(nowMs - account.usedAtMs),
      })),
      lanes: firstOf(this.#busyLanes(), (lane) => ({
        lane: lane.name,
        holders: firstOf(lane.leases, (lease) => ({
          account: lease.account.name,
          name: lease.client?.name ?? null,
          pid: lease.client?.pid ?? null,
          label: lease.label ?? null,
          priority: lease.priority,
          heldMs: Math.round(nowMs - lease.grantedAtMs),
          leftMs: leftMs(lease, nowMs),
        })),
        waiting: lane.waiting,
        oldestWaitMs: Math.round(nowMs - (lane.oldest?.sinceMs ?? nowMs)),
      })),
      durability: {
        state: this.#writer.problem === undefined ? ('durable' as const) : ('retrying' as const),
        problem: this.#writer.problem?.message ?? null,
        writes: this.#writer.writes,
      },
      clock: { state: this.#sequenceClock.state, offMs: Math.round(this.#sequenceClock.offMs()) },
    };
  }

  #sequence(name: string): NonceSequence {
    const sequence = this.#sequences.get(name);
    if (sequence === undefined) throw new Error(`the state has no sequence ${name}`);
    return sequence;
  }

  *#busyLanes(): Iterable<LeaseLane> {
    for (const lane of this.#lanes.values()) if (lane.leases.size > 0 || lane.waiting > 0) yield lane;
  }

  /** Looks whether a new request may come in, and answers it where it may not. */
  #admit(client: Client, id: RequestId, accountName: string): Account | undefined {
    const account = this.#accounts.get(accountName) ?? this.#newAccount(accountName);
    const refused = this.#refusedNow(client, id, account);
    if (refused === undefined) return account;
    client.peer.refused(id, refused);
    return undefined;
  }

  #refusedNow(client: Client, id: RequestId, account: Account | undefined): Refusal | undefined {
    if (this.#phase !== 'granting') return SHUTTING_DOWN;
    if (client.waiting.has(id)) {
      return refusal('BAD_REQUEST', `request id ${id} is still waiting; give every request its own`);
    }
    if (client.waiting.size + client.leases.size >= this.#limits.waitingPerClient) {
      return full(`this connection has ${this.#limits.waitingPerClient} requests waiting or held`);
    }
    if (this.#waiting >= this.#limits.waiting) {
      return full(`${this.#limits.waiting} requests are waiting already`);
    }
    return account === undefined ? full(`${this.#limits.accounts} accounts are busy already`) : undefined;
  }

  /** Undefined where too many accounts are in use. */
  #newAccount(name: string): Account | undefined {
    if (this.#accounts.size >= this.#limits.accounts) {
      const idle = [...this.#accounts.values()].filter((account) => account.waiting === 0 && account.leases === 0);
      const oldest = idle.reduce<Account | undefined>(
        (oldest, account) => (oldest === undefined || account.usedAtMs < oldest.usedAtMs ? account : oldest),
        undefined,
      );
      if (oldest === undefined) return undefined;
      this.#forget(oldest);
    }
    const account: Account = {
      name,
      sequence: this.#defaultSequence,
      grants: 0,
      nonces: 0,
      waiting: 0,
      leases: 0,
      usedAtMs: this.#clock.monotonicMs(),
    };
    this.#accounts.set(name, account);
    return account;
  }

  #forget(account: Account): void {
    this.#accounts.delete(account.name);
    const lane = this.#lanes.get(account.name);
    if (this.#policy === 'account' && lane !== undefined) this.#lanes.delete(lane.name);
  }

  #laneName(accountName: string): string {
    return this.#policy === 'account' ? accountName : DEFAULT_EXCHANGE;
  }

  #laneOf(accountName: string): LeaseLane {
    const name = this.#laneName(accountName);
    const known = this.#lanes.get(name);
    if (known !== undefined) return known;
    const lane: LeaseLane = new Lane(name, this.#policy !== 'off');
    this.#lanes.set(name, lane);
    return lane;
  }

  #ownLease(client: Client, token: Token): Lease | undefined {
    const lease = this.#leases.get(token);
    // I5: the token alone is not enough; it must come over the connection that holds the lease.
    return lease?.client === client ? lease : undefined;
  }

  #floor(unit: Unit): bigint {
    const nowMs = this.#sequenceClock.nowMs();
    if (this.#sequenceClock.state !== this.#clockState) {
      this.#clockState = this.#sequenceClock.state;
      this.#observer.clockChanged(this.#clockState, this.#sequenceClock.offMs());
    }
    return nonceFloorAt(nowMs, unit);
  }

  #take(sequence: NonceSequence, count: number): Taken {
    const floor = this.#floor(sequence.unit);
    const taken = sequence.take(floor, count, this.#writer.problem !== undefined);
    if (taken.kind !== 'exhausted') this.#raiseIfWanted(sequence);
    this.#reportLead(sequence, floor);
    return taken;
  }

  #raiseIfWanted(sequence: NonceSequence): void {
    if (sequence.wantsRaise) this.#writer.request();
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
        // The ceiling cannot be raised: the one whose turn it is hears so, the others wait for the next try.
        if (failure !== undefined) this.#refuseUndurable(waiter, failure);
        break;
      }
    }
    this.#settle(lane);
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
    const { account, client, id } = waiter;
    if (this.#leases.size >= this.#notes.capacity) {
      this.#drop(waiter);
      client.peer.refused(id, full(`${this.#notes.capacity} leases are held already`));
      return true;
    }
    const token = this.#take(this.#tokens, 1);
    if (token.kind !== 'taken') return false;
    // I3: drawn here and not when the request was queued, or a later caller could be granted a lower nonce.
    const drawn = this.#take(account.sequence, waiter.count);
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
    if (!this.#note(lease)) return false;
    lane.granted(waiter, nowMs);
    this.#forgetWaiting(waiter);
    this.#hold(lease);
    client.leases.add(lease);
    this.#deadlines.add(lease);
    this.#grants += 1;
    account.grants += 1;
    account.nonces += waiter.count;
    account.usedAtMs = nowMs;
    client.peer.granted(id, {
      nonce: drawn.nonce,
      count: waiter.count,
      token: lease.token,
      ttlMs: lease.ttlMs,
      waitedMs: nowMs - waiter.sinceMs,
    });
    return true;
  }

  #hold(lease: Lease): void {
    this.#leases.set(lease.token, lease);
    lease.lane.leases.add(lease);
    lease.account.leases += 1;
  }

  /** Takes up a lease of the daemon before this one: its lane stays closed until its holder returns or is given up. */
  #adopt(noted: NotedLease): void {
    const account = this.#accounts.get(noted.account) ?? this.#newAccount(noted.account);
    if (account === undefined) {
      this.#allClosed = true;
      return;
    }
    const lease: Lease = {
      kind: 'lease',
      token: noted.token,
      account,
      requestId: noted.requestId,
      sessionHash: noted.sessionHash,
      priority: noted.priority,
      label: undefined,
      grantedAtMs: this.#startedAtMs,
      lane: this.#laneOf(account.name),
      client: undefined,
      ttlMs: noted.ttlMs,
      expiresAtMs: noted.expiresAtMs,
      dueMs: noted.expiresAtMs,
      heapIndex: -1,
    };
    this.#hold(lease);
    this.#orphans.add(lease);
  }

  #end(lease: Lease): void {
    this.#leases.delete(lease.token);
    lease.lane.leases.delete(lease);
    lease.account.leases -= 1;
    lease.account.usedAtMs = this.#clock.monotonicMs();
    lease.client?.leases.delete(lease);
    this.#orphans.delete(lease);
    this.#deadlines.remove(lease);
    this.#strike(lease.token);
  }

  #strike(token: Token): void {
    try {
      this.#notes.strike(token);
    } catch (error) {
      this.#fail(asError(error));
    }
  }

  #revoke(lease: Lease, reason: RevokeReason): void {
    this.#end(lease);
    lease.client?.peer.revoked(lease.token, reason);
    this.#pump(lease.lane);
  }

  /** False where the note could not be kept: nothing may be granted any more then. */
  #note(lease: Lease): boolean {
    try {
      this.#notes.note({ ...lease, account: lease.account.name });
      return true;
    } catch (error) {
      this.#fail(asError(error));
      return false;
    }
  }

  #fail(error: Error): void {
    this.#phase = 'stopped';
    this.#observer.failed(error);
  }

  #draw(client: Client, id: RequestId, account: Account, count: number, lease: Lease | undefined): void {
    const draw: Draw = { kind: 'draw', client, id, account, count, lease };
    if (this.#draws.size === 0 || !this.#isDrawnFor(account.sequence)) {
      if (this.#drawNow(draw)) return;
    }
    this.#draws.add(draw);
    client.waiting.set(id, draw);
    account.waiting += 1;
    this.#waiting += 1;
  }

  /** Whether somebody waits for the sequence's ceiling already, and so comes first. */
  #isDrawnFor(sequence: NonceSequence): boolean {
    for (const draw of this.#draws) if (draw.account.sequence === sequence) return true;
    return false;
  }

  /** Answers the draw, unless a ceiling must be raised first. */
  #drawNow(draw: Draw): boolean {
    const { client, id, account, count, lease } = draw;
    // The lease may have ended while the draw waited.
    if (lease !== undefined && this.#leases.get(lease.token) !== lease) {
      client.peer.refused(id, LEASE_LOST);
      return true;
    }
    const taken = this.#take(account.sequence, count);
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

  /** Takes a waiter or draw out of everything that knows it. */
  #drop(waiting: Waiter | Draw): void {
    if (waiting.kind === 'waiter') waiting.lane.remove(waiting);
    else this.#draws.delete(waiting);
    this.#forgetWaiting(waiting);
  }

  #forgetWaiting(waiting: Waiter | Draw): void {
    if (waiting.kind === 'waiter') this.#deadlines.remove(waiting);
    waiting.client.waiting.delete(waiting.id);
    waiting.account.waiting -= 1;
    this.#waiting -= 1;
  }

  async #commit(change: DurableChange): Promise<Refusal | undefined> {
    if (this.#phase !== 'granting') return SHUTTING_DOWN;
    const failure = await this.#writer.commit(change);
    return failure === undefined ? undefined : notDurable(failure);
  }

  /** After a write of the state: what waited for it goes on, or hears that it failed. */
  #written(failure: Error | undefined): void {
    if (this.#phase !== 'granting') return;
    if (this.#policy !== this.#writer.exclusive) this.#switchTo(this.#writer.exclusive);
    for (const draw of [...this.#draws]) {
      if (this.#drawNow(draw)) this.#drop(draw);
      else if (failure !== undefined) this.#refuseUndurable(draw, failure);
    }
    const blocked = [...this.#blocked];
    this.#blocked.clear();
    for (const lane of blocked) this.#pump(lane, failure);
  }

  #switchTo(policy: ExclusionPolicy): void {
    const waiters = [...this.#lanes.values()].flatMap((lane) => [...lane.waiters()]);
    for (const lane of this.#lanes.values()) this.#deadlines.remove(lane);
    this.#lanes.clear();
    this.#blocked.clear();
    this.#policy = policy;
    // I4: a lease belongs to its account; under the new policy it may hold another lane, together with others.
    for (const lease of this.#leases.values()) {
      lease.lane = this.#laneOf(lease.account.name);
      lease.lane.leases.add(lease);
    }
    // I6: nobody loses its place by a switch.
    waiters.sort((a, b) => a.arrival - b.arrival);
    for (const waiter of waiters) {
      waiter.lane = this.#laneOf(waiter.account.name);
      waiter.lane.enqueue(waiter);
    }
    for (const lane of [...this.#lanes.values()]) this.#pump(lane);
  }

  #reportLead(sequence: NonceSequence, floor: bigint): void {
    const leadMs = nonceSpanMs(sequence.last - floor, sequence.unit) ?? 0;
    if (leadMs <= LEAD_WARNING_MS) this.#ahead.delete(sequence);
    else if (!this.#ahead.has(sequence)) {
      this.#ahead.add(sequence);
      this.#observer.ahead(sequence.name, leadMs);
    }
  }
}

const leftMs = (lease: Lease, nowMs: number): number => Math.max(0, Math.ceil(lease.expiresAtMs - nowMs));

const rounded = (ms: number | undefined): number | null => (ms === undefined ? null : Math.round(ms));

const asError = (thrown: unknown): Error => (thrown instanceof Error ? thrown : new Error(String(thrown)));

function firstOf<T, R>(items: Iterable<T>, describe: (item: T) => R): R[] {
  const listed: R[] = [];
  for (const item of items) {
    if (listed.length === LISTED) break;
    listed.push(describe(item));
  }
  return listed;
}

function targetOf(target: AdvanceParams['target'], before: bigint, now: bigint): bigint {
  switch (target.kind) {
    case 'to':
      return target.nonce;
    case 'by':
      return before + target.nonces;
    case 'now':
      return now;
  }
}
