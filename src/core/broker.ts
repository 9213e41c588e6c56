/**
 * The broker decides who gets which nonce and when, and what is exclusive. It does no input or output and knows no time
 * but what its clock says: everything reaches it through parameters and ports.
 *
 * This file is its face, and the order in which its parts have their turn. Each part knows those before it and none after:
 * `phase`, `foundation` (ledger, tables, deadlines), `waiting-room`, `restart`, `grants`, `draws`, `lease-ends`,
 * `admission`, `operations`.
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
import type { Refusal } from '../errors.ts';
import type { ExclusionPolicy, Outcome } from '../terms.ts';
import type { Policies } from './accounts/policies.ts';
import { type AcquireParams, Admission, type NextParams } from './leases/admission.ts';
import { type BrokerOptions, type BrokerParts, brokerPartsOf } from './leases/broker-parts.ts';
import { Draws } from './leases/draws.ts';
import type { Client, LeaseLane } from './leases/entities.ts';
import { Grants } from './leases/grants.ts';
import { LeaseEnds } from './leases/lease-ends.ts';
import { waitTimeout } from './leases/refusals.ts';
import { Restart, type Resumed } from './leases/restart.ts';
import { WaitingRoom } from './leases/waiting-room.ts';
import { type Advanced, type DrainChange, Operations, type PauseChange } from './operator/operations.ts';
import type { AdvanceParams } from './operator/operator-plans.ts';
import type { Peer, RequestId, Token } from './ports.ts';
import { recordOf } from './reports/account-record.ts';
import { metricsOf } from './reports/metrics.ts';
import { callsPage, eventsPage } from './reports/record-pages.ts';
import { statusOf, statusOfAccount } from './reports/status.ts';
import { whyOf } from './reports/why.ts';

export type { AcquireParams } from './leases/admission.ts';
export { DEFAULT_LIMITS, type Limits } from './leases/broker-parts.ts';
export { RETURN_MS, type Resumed } from './leases/restart.ts';
export type { Advanced } from './operator/operations.ts';

export class Broker {
  readonly #clock: Clock;
  readonly #foundation: BrokerParts;
  readonly #room: WaitingRoom;
  readonly #restart: Restart;
  readonly #grants: Grants;
  readonly #draws: Draws;
  readonly #ends: LeaseEnds;
  readonly #admission: Admission;
  readonly #operations: Operations;

  constructor(options: BrokerOptions) {
    const foundation = brokerPartsOf(options, (failure) => this.#written(failure));
    this.#clock = options.clock;
    this.#foundation = foundation;
    this.#room = new WaitingRoom(foundation);
    this.#restart = new Restart(foundation, options.found);
    this.#grants = new Grants(foundation, this.#room, this.#restart);
    this.#draws = new Draws(foundation, this.#room, this.#grants);
    this.#ends = new LeaseEnds(foundation, this.#grants);
    this.#admission = new Admission(foundation, { room: this.#room, grants: this.#grants, draws: this.#draws });
    this.#operations = new Operations(foundation, this.#grants);
  }

  /**
   * Raises the epoch and the ceilings durably. Answers why that failed; nothing may be asked of the broker then.
   * Nothing is granted before `open`.
   */
  start(): Promise<Error | undefined> {
    return this.#foundation.ledger.open();
  }

  /** Clients can come from now on: the time in which holders from before the restart may return begins. */
  open(): void {
    const nowMs = this.#clock.monotonicMs();
    this.#foundation.phase.open();
    this.#restart.open(nowMs);
    this.#foundation.observer.observe({ kind: 'started' });
  }

  /**
   * A clean stop: nothing is granted any more, and the ceilings are put right behind the last nonces. Leases stay
   * noted and waiters stay unanswered: both cross to the next daemon. Answers why the last write failed.
   */
  stop(): Promise<Error | undefined> {
    this.#foundation.phase.stop();
    return this.#foundation.ledger.close();
  }

  /** Whether a plausible wall clock has been seen in this boot, or it is at least harmless. */
  get clockIsPlausible(): boolean {
    return this.#foundation.ledger.clockIsPlausible;
  }

  /** Whether a write of the state has been under way for so long that the disk must be hung. */
  get isOverdue(): boolean {
    // Inside the durable ceilings it grants without the disk: only where somebody waits for it, it is no use to anybody.
    return this.#foundation.ledger.isOverdue && (this.#room.draws.size > 0 || this.#grants.awaitsWrite);
  }

  /** What is exclusive now. */
  get exclusive(): ExclusionPolicy {
    return this.#foundation.lanes.policy;
  }

  /**
   * Sets the function that is told whenever `expire` is due sooner than before, on the monotonic clock. It must not call
   * back into the broker.
   */
  announceDueTo(announce: (dueMs: number) => void): void {
    this.#foundation.deadlines.announceTo(announce);
  }

  /** When `expire` is due next, on the monotonic clock. */
  nextDueMs(): number | undefined {
    return this.#foundation.phase.isGranting ? this.#foundation.deadlines.peek()?.dueMs : undefined;
  }

  /**
   * Ends what is due. The caller must have handed over all input that had arrived by now: a renewal counts from when
   * it is processed, and after a stall of the daemon it may lie unread although it came in time (I7).
   */
  expire(): void {
    const { phase, deadlines, lanes } = this.#foundation;
    if (!phase.isGranting) return;
    const nowMs = this.#clock.monotonicMs();
    for (let due = deadlines.peek(); due !== undefined && due.dueMs <= nowMs; due = deadlines.peek()) {
      deadlines.remove(due);
      switch (due.kind) {
        case 'waiter':
          this.#room.drop(due);
          due.client.peer.refused(due.id, waitTimeout(due, nowMs));
          // I8: where it was the head that wanted more than is durable, the next one may need less.
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

  /** The client is gone: its leases end at once and its waiters are never granted (I6). */
  disconnect(client: Client): void {
    for (const waiting of client.waiting.values()) if (waiting.kind === 'draw') this.#room.drop(waiting);
    this.abandon(client);
  }

  /** The client still listens but says nothing more: its leases and waiters end, its bare nonces are answered. */
  abandon(client: Client): void {
    // After a stop the leases cross to the next daemon, by their notes.
    if (!this.#foundation.phase.isGranting) return;
    this.#foundation.ended.forget(client);
    const lanes = new Set<LeaseLane>();
    for (const waiting of client.waiting.values()) {
      if (waiting.kind === 'draw') continue;
      lanes.add(waiting.lane);
      this.#room.drop(waiting);
    }
    for (const lease of client.leases) {
      lanes.add(lease.lane);
      this.#ends.end(lease, 'disconnected', 'unknown', false);
    }
    for (const lane of lanes) this.#grants.pump(lane);
  }

  /** Binds what the client's session held before a restart to its new connection, and tells what that is. */
  hello(client: Client, name: string | undefined, pid: number | undefined, sessionHash: string | undefined): Resumed[] {
    client.name = name;
    client.pid = pid;
    client.sessionHash = sessionHash;
    if (sessionHash === undefined) return [];
    return this.#restart.resume(client, sessionHash, this.#clock.monotonicMs());
  }

  /** A bare nonce, the first of `count` consecutive ones, without any exclusivity. Answers `drawn` or `refused`. */
  nonce(client: Client, id: RequestId, accountName: string, count: number): void {
    this.#admission.nonce(client, id, accountName, count);
  }

  /** Queues for the account's lane. Answers `granted` or `refused`, now or later. */
  acquire(client: Client, id: RequestId, params: AcquireParams): void {
    this.#admission.acquire(client, id, params);
  }

  /** A further nonce under a live lease, also for another account of its lane. Answers `drawn` or `refused`. */
  next(client: Client, id: RequestId, params: NextParams): void {
    this.#admission.next(client, id, params);
  }

  /** Lets the lease's TTL begin anew. Answers its TTL in milliseconds. */
  renew(client: Client, token: Token, ttlMs: number | undefined): number | Refusal {
    return this.#ends.renew(client, token, ttlMs);
  }

  /** Ends the client's lease and grants the lane to the next. True once; false where the client holds no such lease. */
  release(client: Client, token: Token, outcome: Outcome, usedOwnClock: boolean): boolean {
    return this.#ends.release(client, token, outcome, usedOwnClock);
  }

  /** Takes back a request that has not been answered; where it has been, the answer holds. */
  cancel(client: Client, id: RequestId): void {
    this.#admission.cancel(client, id);
  }

  /** Switches what is exclusive, durably. Live leases stay; waiters are queued anew in the order of their arrival. */
  setExclusive(policy: ExclusionPolicy): Promise<Refusal | { before: ExclusionPolicy; after: ExclusionPolicy }> {
    return this.#operations.setExclusive(policy);
  }

  /** Raises a sequence for ever, durably. Answers the lowest nonce that could have come next, before and after. */
  advance(params: AdvanceParams): Promise<Refusal | Advanced> {
    return this.#operations.advance(params);
  }

  /**
   * Stops an account, or lets it go on, durably. Calls under way are not touched. Letting it go on also closes its
   * circuit breaker: the operator knows that the cause is gone.
   */
  setPaused(accountName: string, pausing: boolean): Promise<Refusal | PauseChange> {
    return this.#operations.setPaused(accountName, pausing);
  }

  /** Lets only urgent calls begin from now on, or all again. Calls under way are not touched. */
  setDraining(draining: boolean): DrainChange {
    return this.#operations.setDraining(draining);
  }

  /** Goes by other policies from now on. Answers what an operator should hear of it; where refused nothing has changed. */
  follow(policies: Policies): Promise<Refusal | { readonly kept: readonly string[] }> {
    return this.#operations.follow(policies);
  }

  /** A new configuration cannot be followed, and why: for whoever looks. */
  refuseConfiguration(problem: string): void {
    this.#operations.refuseConfiguration(problem);
  }

  /** What an operator wants to see; at most 100 of a kind, and never a token. */
  status() {
    return statusOf(this.#parts());
  }

  /** What a program wants to count. */
  metrics() {
    return metricsOf(this.#parts());
  }

  /** The calls that ended last, or those that ended after the one numbered `after`. */
  calls(page: { readonly after: number | undefined; readonly limit: number; readonly account: string | undefined }) {
    return callsPage(this.#foundation.ended, page, this.#clock.monotonicMs());
  }

  /** What happened last that an operator should know of, or what happened after the event numbered `after`. */
  events(page: { readonly after: number | undefined; readonly limit: number }) {
    return eventsPage(this.#foundation.recentEvents, page, this.#clock.monotonicMs());
  }

  /** An account's last calls, and what a rejected nonce was probably due to. */
  why(accountName: string) {
    const { accounts, leases, ledger, lanes, ended } = this.#foundation;
    const nowMs = this.#clock.monotonicMs();
    const account = accounts.get(accountName);
    const record = recordOf({
      name: accountName,
      account,
      ended,
      leases: leases.values(),
      ledger,
      exclusive: lanes.policy,
      policies: accounts.policies,
    });
    return {
      ...whyOf(record, ended, nowMs),
      paused: ledger.isPaused(accountName),
      isKnown: ledger.isKnown(accountName),
      status: account === undefined ? null : statusOfAccount(account, nowMs),
    };
  }

  #parts() {
    return {
      ...this.#foundation,
      nowMs: this.#clock.monotonicMs(),
      waiting: this.#room.size,
      grants: this.#grants.made,
      configurationProblem: this.#operations.configurationProblem,
    };
  }

  /** After a write of the state: what waited for it goes on. */
  #written(failure: Error | undefined): void {
    if (!this.#foundation.phase.isGranting) return;
    this.#room.unwatchWrite();
    this.#serveBlocked(failure);
  }

  /** Tries again what waits for a ceiling; with a `failure`, what cannot be served hears of it. */
  #serveBlocked(failure: Error | undefined): void {
    this.#draws.retry(failure);
    this.#grants.retry(failure);
  }
}
