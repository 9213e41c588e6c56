/**
 * The broker decides which request gets which nonce and when, and what is exclusive. It does no input or output, and it
 * knows the time only from its clock: everything reaches it through parameters and ports.
 *
 * This file is its face. Behind it are its parts, in the order in which they are made, and each knows only those before
 * it: `phase`, `broker-parts` (ledger, tables, deadlines), `waiting-room`, `restart`, `grants`, `draws`, `lease-ends`,
 * `admission`, `operations`. A method of a part that has the name of one here does what is written here.
 *
 * The invariants that it keeps, together with its parts:
 *
 * I1  A nonce is sent only if it is below a ceiling that is already durable.
 * I2  For every account and sequence, each nonce sent is greater than every nonce sent before it.
 * I3  The nonce of a grant is drawn when the lease is granted, never when the request is queued.
 * I4  No lease is granted in a lane that has a live one, not even across a restart.
 * I5  Tokens strictly increase. An operation on a lease needs both its token and its connection.
 * I6  Among the waiters that could be granted now, order is by priority and then by arrival, except for the aged share.
 * I7  A lease ends no earlier than its TTL after the last renewal that was processed.
 * I8  A free lane and a waiter that could be granted never both exist when the daemon is at rest.
 * I9  State is refused rather than guessed (kept by the store).
 * I10 Nothing lowers a sequence. Nothing raises one but time, use, one reserve per crash, or an operator.
 */
import type { Clock } from '../clock.ts';
import type { Refusal } from '../errors.ts';
import type { ExclusionPolicy, Outcome } from '../terms.ts';
import type { Policies } from './accounts/policies.ts';
import { type AcquireParams, Admission, type NextParams } from './leases/admission.ts';
import { type BrokerOptions, type BrokerParts, brokerPartsOf } from './leases/broker-parts.ts';
import { Draws } from './leases/draws.ts';
import { Grants } from './leases/grants.ts';
import type { Client, Draw, LeaseLane, Waiter } from './leases/lease.ts';
import { LeaseEnds } from './leases/lease-ends.ts';
import { waitTimeout } from './leases/refusals.ts';
import { traceDisconnected, traceRefusal } from './leases/refuse.ts';
import { Restart, type Resumed } from './leases/restart.ts';
import { WaitingRoom } from './leases/waiting-room.ts';
import {
  type Advanced,
  type DrainChange,
  type ExclusionChange,
  type Followed,
  Operations,
  type PauseChange,
} from './operator/operations.ts';
import type { AdvanceParams } from './operator/operator-plans.ts';
import type { CommandOf } from './operator/policy-plan.ts';
import type { Peer, RequestId, Token } from './ports.ts';
import { metricsOf } from './reports/metrics.ts';
import { type CallsAsked, callsPage, type EventsAsked, eventsPage, refusalsPage } from './reports/record-pages.ts';
import { statusOf } from './reports/status.ts';
import { whyOf } from './reports/why.ts';

export type { AcquireParams } from './leases/admission.ts';
export { DEFAULT_LIMITS, type Limits } from './leases/broker-parts.ts';
export { RETURN_MS, type Resumed } from './leases/restart.ts';
export type { Advanced } from './operator/operations.ts';

export class Broker {
  readonly #clock: Clock;
  readonly #parts: BrokerParts;
  readonly #room: WaitingRoom;
  readonly #restart: Restart;
  readonly #grants: Grants;
  readonly #draws: Draws;
  readonly #ends: LeaseEnds;
  readonly #admission: Admission;
  readonly #operations: Operations;

  constructor(options: BrokerOptions) {
    const parts = brokerPartsOf(options, (failure) => this.#onWritten(failure));
    this.#clock = options.clock;
    this.#parts = parts;
    this.#room = new WaitingRoom(parts);
    this.#restart = new Restart(parts, options.found);
    this.#grants = new Grants(parts, this.#room, this.#restart);
    this.#draws = new Draws(parts, this.#room, this.#grants);
    this.#ends = new LeaseEnds(parts, this.#grants);
    this.#admission = new Admission(parts, { room: this.#room, grants: this.#grants, draws: this.#draws });
    this.#operations = new Operations(parts, this.#grants);
  }

  /**
   * Raises the epoch and the ceilings durably. Nothing is granted before `open`. Returns the error if the write failed;
   * then the broker must not be used.
   */
  start(): Promise<Error | undefined> {
    return this.#parts.ledger.open();
  }

  /** Lets clients in, and starts the time in which holders from before the restart may come back. */
  open(): void {
    const nowMs = this.#clock.monotonicMs();
    this.#parts.phase.open();
    this.#restart.open(nowMs);
    // Not before: the timer of a broker that is never opened would keep its process alive.
    this.#parts.ledger.watchClock();
    this.#parts.observer.observe({ kind: 'started' });
    this.#parts.ledger.reportRegister();
  }

  /**
   * Stops cleanly: nothing more is granted, and each ceiling is put right behind the last nonce. Leases stay noted and
   * waiters stay unanswered: both cross to the next daemon. Returns the error if the last write failed.
   */
  stop(): Promise<Error | undefined> {
    this.#parts.phase.stop();
    return this.#parts.ledger.close();
  }

  /** Ends it for a reason outside of it: grants nothing more, and tells the observer. */
  fail(error: Error): void {
    this.#parts.phase.fail(error);
  }

  /** Whether the next daemon must reckon with holders: there are leases, or there may be some from before the start. */
  get mayHaveHolders(): boolean {
    return this.#parts.leases.size > 0 || this.#restart.allClosed;
  }

  /** Whether a plausible wall clock has been seen in this boot, or the clock is at least harmless. */
  get clockIsPlausible(): boolean {
    return this.#parts.ledger.clockIsPlausible;
  }

  /** Whether a write of the state has taken so long that the disk must hang, and requests wait for it. */
  get isOverdue(): boolean {
    // Below the durable ceilings, grants do not need the disk. Only if requests wait for it is the daemon of no use.
    return this.#parts.ledger.isOverdue && (this.#room.draws.size > 0 || this.#grants.awaitsWrite);
  }

  /** Whether a write of the state has been under way for over a second. */
  get isWriteSlow(): boolean {
    return this.#parts.ledger.isSlow;
  }

  /** The exclusion policy in effect. */
  get exclusive(): ExclusionPolicy {
    return this.#parts.lanes.policy;
  }

  /**
   * Sets the function that is told whenever `expire` is due sooner than before, on the monotonic clock. It must not call
   * back into the broker.
   */
  announceDueTo(announce: (dueMs: number) => void): void {
    this.#parts.deadlines.announceTo(announce);
  }

  /** When `expire` is due next, on the monotonic clock. */
  nextDueMs(): number | undefined {
    return this.#parts.phase.isGranting ? this.#parts.deadlines.peek()?.dueMs : undefined;
  }

  /**
   * Ends what is due. The caller must first have handed over all input that had arrived by now: a renewal counts from
   * when it is processed, and after a stall of the daemon it may still be unread although it arrived in time (I7).
   */
  expire(): void {
    const { phase, deadlines, lanes } = this.#parts;
    if (!phase.isGranting) return;
    const nowMs = this.#clock.monotonicMs();
    for (let due = deadlines.peek(); due !== undefined && due.dueMs <= nowMs; due = deadlines.peek()) {
      deadlines.remove(due);
      switch (due.kind) {
        case 'waiter':
          this.#room.refuse(due, waitTimeout(due, nowMs));
          // I8: if it was the first and needed more than is durable, the next one may need less.
          this.#grants.pump(due.lane);
          break;
        case 'parked': {
          const { lane } = due.first;
          lane.unpark(due);
          this.#grants.pump(lane);
          break;
        }
        case 'lease':
          this.#ends.revoke(due, due.client === undefined ? 'lost' : 'expired');
          break;
        case 'lane':
          this.#ends.preempt(due, nowMs);
          break;
        case 'reopening':
          this.#restart.reopen();
          for (const lane of lanes.all()) this.#grants.pump(lane);
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

  /** The client is gone: its leases end at once, and its waiters are never granted (I6). */
  disconnect(client: Client): void {
    for (const waiting of client.waiting.values()) if (waiting.kind === 'draw') this.#leave(waiting);
    this.abandon(client);
  }

  /** The client still listens but sends no more: its leases and waiters end, and its bare nonces are still answered. */
  abandon(client: Client): void {
    // After a stop, the leases cross to the next daemon by their notes.
    if (!this.#parts.phase.isGranting) return;
    this.#parts.recentCalls.forget(client);
    const lanes = new Set<LeaseLane>();
    for (const waiting of client.waiting.values()) {
      if (waiting.kind === 'draw') continue;
      lanes.add(waiting.lane);
      this.#leave(waiting);
    }
    for (const lease of client.leases) {
      lanes.add(lease.lane);
      if (lease.formerLane !== undefined) lanes.add(lease.formerLane);
      this.#ends.end(lease, 'disconnected', 'unknown', false);
    }
    for (const lane of lanes) this.#grants.pump(lane);
  }

  /** Binds what the client's session held before a restart to its new connection, and returns it. */
  hello(client: Client, name: string | undefined, pid: number | undefined, sessionHash: string | undefined): Resumed[] {
    client.name = name;
    client.pid = pid;
    client.sessionHash = sessionHash;
    if (sessionHash === undefined) return [];
    return this.#restart.resume(client, sessionHash, this.#clock.monotonicMs());
  }

  /** Remembers that the client knew another instance and stays away from this daemon. */
  refusedBy(client: Client, expected: string): void {
    const { refusingClients, observer } = this.#parts;
    const isNew = refusingClients.refused(client, expected, this.#clock.monotonicMs());
    // Once for each of them: a client that repeats itself must not fill the log.
    if (isNew) observer.observe({ kind: 'instance-refused', holder: client.name, pid: client.pid, expected });
  }

  /** Takes in that the client, which has said hello, goes on to use this daemon. */
  acceptedBy(client: Client): void {
    this.#parts.refusingClients.accepted(client);
  }

  /**
   * Draws a bare nonce, the first of `count` consecutive ones, without any exclusivity. Tells the client `drawn` or
   * `refused`, now or later.
   */
  nonce(client: Client, id: RequestId, accountName: string, count: number): void {
    this.#admission.nonce(client, id, accountName, count);
  }

  /** Queues for the account's lane. Tells the client `granted` or `refused`, now or later. */
  acquire(client: Client, id: RequestId, params: AcquireParams): void {
    this.#admission.acquire(client, id, params);
  }

  /**
   * Draws a further nonce under a live lease, also for another account of its lane. Tells the client `drawn` or `refused`,
   * now or later.
   */
  next(client: Client, id: RequestId, params: NextParams): void {
    this.#admission.next(client, id, params);
  }

  /** Restarts the lease's TTL. Returns the TTL in milliseconds. */
  renew(client: Client, token: Token, ttlMs: number | undefined): number | Refusal {
    return this.#ends.renew(client, token, ttlMs);
  }

  /** Ends the client's lease and grants the lane to the next waiter. Returns false if the client holds no such lease. */
  release(client: Client, token: Token, outcome: Outcome, usedOwnClock: boolean): boolean {
    return this.#ends.release(client, token, outcome, usedOwnClock);
  }

  /**
   * Takes the outcome of one call under the client's live lease, by its first nonce. The lease goes on. Returns false if there is no
   * such call, or its outcome has been told.
   */
  report(client: Client, token: Token, nonce: bigint, outcome: Outcome): boolean {
    return this.#ends.report(client, token, nonce, outcome);
  }

  /** Takes back a request that has not been answered. If it has been, the answer holds. */
  cancel(client: Client, id: RequestId): void {
    this.#admission.cancel(client, id);
  }

  /** Switches what is exclusive, durably. Live leases stay, and waiters are queued again in the order of their arrival. */
  setExclusive(policy: ExclusionPolicy): Promise<Refusal | ExclusionChange> {
    return this.#operations.setExclusive(policy);
  }

  /** Raises a sequence for ever, durably. Returns the lowest nonce that could have come next, before and after. */
  advance(params: AdvanceParams): Promise<Refusal | Advanced> {
    return this.#operations.advance(params);
  }

  /**
   * Pauses or resumes an account, durably. Calls under way are not touched. Resuming also closes its circuit breaker: the
   * operator knows that the cause is gone.
   */
  setPaused(accountName: string, pausing: boolean): Promise<Refusal | PauseChange> {
    return this.#operations.setPaused(accountName, pausing);
  }

  /** Lets only urgent calls begin from now on, or all calls again. Calls under way are not touched. */
  setDraining(draining: boolean): DrainChange {
    return this.#operations.setDraining(draining);
  }

  /**
   * Replaces the policies, durably. If they are refused, nothing has changed. `commandOf` makes the command that a refusal
   * names.
   */
  follow(policies: Policies, commandOf?: CommandOf): Promise<Refusal | Followed> {
    return this.#operations.follow(policies, commandOf);
  }

  /** Remembers, for the status, why a new configuration cannot be followed. The one in effect stays. */
  refuseConfiguration(problem: string): void {
    this.#operations.refuseConfiguration(problem);
  }

  status() {
    return statusOf(this.#parts, {
      waiting: this.#room.size,
      grants: this.#grants.made,
      configurationProblem: this.#operations.configurationProblem,
    });
  }

  metrics() {
    return metricsOf(this.#parts);
  }

  calls(asked: CallsAsked) {
    return callsPage(this.#parts, asked);
  }

  events(asked: EventsAsked) {
    return eventsPage(this.#parts, asked);
  }

  refusals(asked: EventsAsked) {
    return refusalsPage(this.#parts, asked);
  }

  /** Remembers that a request was refused before it reached the broker. */
  traceRefusal(client: Client, refusal: Refusal): void {
    traceRefusal(this.#parts, client, refusal, { account: undefined });
  }

  why(accountName: string) {
    return whyOf(this.#parts, accountName);
  }

  /** Lets a request go whose client is gone. */
  #leave(waiting: Waiter | Draw): void {
    this.#room.drop(waiting);
    traceDisconnected(this.#parts, waiting);
  }

  /** After a write of the state: serves what waited for it. */
  #onWritten(failure: Error | undefined): void {
    if (!this.#parts.phase.isGranting) return;
    this.#room.unwatchWrite();
    this.#serveBlocked(failure);
  }

  /** Tries again to serve what waits for a ceiling. With a `failure`, what cannot be served is refused. */
  #serveBlocked(failure: Error | undefined): void {
    this.#draws.retry(failure);
    this.#grants.retry(failure);
  }
}
