import type { Clock, Timer } from '../../clock.ts';
import { NoncedError, type Refusal, systemErrorCode } from '../../errors.ts';
import type { Codec, HeldLease, Message, RequestId } from '../../protocol/messages.ts';
import { type DaemonVersion, fitted, isUnsupported } from '../../protocol/minor.ts';
import type { Outcome } from '../../terms.ts';
import type { ReleaseOptions } from '../api.ts';
import { type Bounds, PlainRequest, type Request, type WaitEnd, waitedTooLong } from '../calls/request.ts';
import { type Greeting, readReleased, readRevoked } from '../connection/answers.ts';
import type { Connection } from '../connection/connection.ts';
import { isForbidden, isUnavailable, unavailable } from '../connection/unavailable.ts';
import { type Need, Uplink, type UplinkEvents, type UplinkPorts } from '../connection/uplink.ts';
import { Alarm } from './alarm.ts';
import { GivenBack } from './given-back.ts';
import { Lease, type LeaseTerms, leaseLost } from './lease.ts';
import { WayBack } from './way-back.ts';

const LAST_ID = 2 ** 32 - 1;
const UNKNOWN_DAEMON: DaemonVersion = { version: 'unknown', minor: 0 };

export interface SessionPorts extends UplinkPorts {
  /** How long requests wait without a connection. */
  readonly connectTimeoutMs: number;
}

/**
 * What this client has asked the daemon for, what it holds, and what it gave back without having heard that it arrived.
 * It lasts over any number of connections: it asks again for what a broken one left unanswered, and compares what it
 * holds with what the daemon says.
 */
export class Session implements UplinkEvents {
  readonly clock: Clock;
  readonly #codec: Codec;
  readonly #connectTimeoutMs: number;
  readonly #uplink: Uplink;
  /** What waits for an answer, by id, in the order in which it was asked. Acquires that were cancelled are among them. */
  readonly #asked = new Map<number, Request<unknown>>();
  /** Ids of acquires that were cancelled: a grant may have crossed the cancel, and has to be given back. */
  readonly #unwanted = new Set<number>();
  /** Requests with a deadline whose callers wait, whether or not they have been sent. */
  readonly #bounded = new Set<Request<unknown>>();
  readonly #leases = new Set<Lease>();
  /** Tokens of leases whose release waits for an answer. */
  readonly #ending = new Set<bigint>();
  readonly #givenBack = new GivenBack();
  readonly #wayBack = new WayBack();
  #opening: { resolve(): void; reject(error: Error): void } | undefined;
  #closed: NoncedError | undefined;
  #lastId = 0;
  /** How many requests and notifications went out, over all connections. */
  #sent = 0;
  #lastReason: Error | undefined;
  /** Runs while something waits and there is no connection. */
  #outage: Timer | undefined;
  readonly #alarm: Alarm;

  constructor(ports: SessionPorts) {
    this.clock = ports.clock;
    this.#codec = ports.codec;
    this.#connectTimeoutMs = ports.connectTimeoutMs;
    this.#uplink = new Uplink(ports, this);
    this.#alarm = new Alarm(ports.clock, () => this.#wake());
  }

  get greeting(): Greeting | undefined {
    return this.#uplink.greeting;
  }

  get path(): string {
    return this.#uplink.path;
  }

  /** Whether the daemon knows the method and these of its parameters. */
  knows(method: string, params: object): boolean {
    return !isUnsupported(fitted(this.#daemon, method, params));
  }

  /** When a daemon that is there must have answered what is asked now. */
  get answerDueMs(): number {
    return this.clock.monotonicMs() + this.#connectTimeoutMs;
  }

  /** Takes the exclusion policy, heard of in another way than by a greeting. */
  learn(exclusive: Greeting['exclusive']): void {
    this.#uplink.learn(exclusive);
  }

  /** Resolves with the first connection. Rejects with UNAVAILABLE, and the session is closed then. */
  open(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#opening = { resolve, reject };
      this.#reconsider();
    });
  }

  /** Releases what is held, and rejects what waits with `reason`, now and from now on. What was sent still goes out. */
  close(reason: NoncedError): void {
    for (const { token } of this.#leases) this.#notify('release', { token });
    this.#endLeases(leaseLost('the client was closed while the lease was held; close it when all calls are done'));
    this.#stop(reason);
  }

  /** Asks for something until it is answered or its wait ends, on as many connections as that takes. */
  ask<T>(request: Request<T>, bounds: Bounds): Promise<T> {
    const answer = this.begin(request, bounds);
    this.send(request);
    return answer;
  }

  /** Begins a wait for something that is asked for later, with `send`. */
  begin<T>(request: Request<T>, bounds: Bounds): Promise<T> {
    const answer = request.begin(bounds, this.#over);
    if (bounds.giveUpAtMs !== undefined && request.wanted) {
      this.#bounded.add(request);
      this.#alarm.wakeBy(request.giveUpAtMs);
    }
    return answer;
  }

  /** Sends a request under a new id, now or as soon as there is a connection, if its caller still waits. */
  send(request: Request<unknown>): void {
    if (!request.wanted) return;
    if (this.#closed !== undefined) {
      request.fail(this.#closed);
      this.#watchTime();
      return;
    }
    request.id = this.newId();
    request.sentAtMs = undefined;
    this.#asked.set(request.id, request);
    const { connection } = this.#uplink;
    if (connection === undefined) {
      this.#reconsider();
      return;
    }
    connection.keepAlive(true);
    this.#sendOn(connection, request);
  }

  /** Stops asking. A late answer is ignored. */
  forget(request: Request<unknown>): void {
    if (this.#asked.get(request.id) !== request) return;
    this.#remove(request.id);
    this.#reconsider();
  }

  hold(terms: LeaseTerms): Lease {
    const lease = new Lease(terms, this.clock, this.#alarm);
    this.#leases.add(lease);
    return lease;
  }

  /** Releases a lease without waiting for an answer. If it is over, the daemon only hears how its call ended. */
  release(lease: Lease, outcome: Outcome): void {
    if (this.#letGo(lease, outcome)) this.giveBack(lease.token, outcome, lease.endsAtMs);
  }

  /** Releases a lease and resolves with whether that ended it. Rejects for a mistake of the caller's only. */
  async end(lease: Lease, outcome: Outcome, { usedOwnClock }: ReleaseOptions): Promise<boolean> {
    const { token } = lease;
    if (!this.#letGo(lease, outcome)) return false;
    this.#ending.add(token);
    const giveUpAtMs = this.answerDueMs;
    try {
      const request = new PlainRequest('release', { token, outcome, usedOwnClock }, readReleased);
      return await this.ask(request, { giveUpAtMs, signal: undefined });
    } catch (error) {
      // Whatever else went wrong, the lease is not ours any more.
      if (error instanceof NoncedError && error.code === 'BAD_REQUEST') throw error;
      return false;
    } finally {
      this.#ending.delete(token);
    }
  }

  /** Tells how one call under a lease ended, which goes on. If there is no connection now, the daemon does not hear it. */
  report(lease: Lease, nonce: bigint, outcome: Outcome): void {
    if (lease.state !== 'lost' && lease.state !== 'released')
      this.#notify('report', { token: lease.token, nonce, outcome });
  }

  /** Gives back what the daemon granted, whether or not it was ever held here. */
  giveBack(token: bigint, outcome: Outcome, endsAtMs: number): void {
    const sentNumber = this.#notify('release', { token, outcome });
    this.#givenBack.add({ token, outcome, endsAtMs, sentNumber });
    // Otherwise once it is written: until then the next request may have come.
    if (sentNumber === undefined) this.#reconsider();
  }

  /** Ends a lease that the daemon does not have any more. */
  lost(lease: Lease, error: NoncedError): void {
    if (!this.#leases.delete(lease)) return;
    lease.lose(error);
    this.#reconsider();
  }

  /** Called by the uplink. */
  need(): Need {
    if (this.#waits() || this.#leases.size > 0) return 'busy';
    // While there is a connection, whatever is owed has gone out over it.
    return this.#uplink.connection === undefined && this.#owes() ? 'owed' : 'none';
  }

  /** Called by the uplink: an id that no other message of this client has, until 2^32 more were sent. */
  newId(): number {
    do this.#lastId = this.#lastId === LAST_ID ? 1 : this.#lastId + 1;
    while (this.#asked.has(this.#lastId));
    return this.#lastId;
  }

  /** Called by the uplink. */
  up({ held }: Greeting, sentAtMs: number): void {
    this.#lastReason = undefined;
    this.#wayBack.found();
    this.#reconcile(held, sentAtMs);
    // Not all: some was asked just now, under a lease that was found again.
    for (const request of this.#asked.values()) {
      const { connection } = this.#uplink;
      if (connection !== undefined && request.sentAtMs === undefined) this.#sendOn(connection, request);
    }
    const opening = this.#opening;
    this.#opening = undefined;
    opening?.resolve();
    this.#reconsider();
  }

  /** Called by the uplink. */
  message(message: Message): void {
    switch (message.kind) {
      case 'answer':
        this.#answered(message.id, message.result);
        return;
      case 'error':
        this.#refused(message.id, message.error);
        return;
      case 'notification':
        // Others may come from a newer daemon.
        if (message.method === 'revoked') this.#revoked(message.params);
        return;
    }
  }

  /** Called by the uplink. */
  written(): void {
    this.#reconsider();
  }

  /** Called by the uplink. */
  down(reason: Error, triedAtMs: number): void {
    this.#lastReason = reason;
    if (this.#wayBack.failed(reason, triedAtMs, this.clock.monotonicMs())) this.#endLeases(noWayBack(reason));
    // If one of these was granted, the next greeting tells.
    for (const id of this.#unwanted) this.#asked.delete(id);
    this.#unwanted.clear();
    for (const request of this.#asked.values()) request.sentAtMs = undefined;
    if (this.#opening !== undefined && isBadRequest(reason)) this.#end(reason);
    else if (this.#opening !== undefined && isFinal(reason)) this.#end(unavailable(this.path, reason));
    else this.#watchTime();
  }

  /** Called by the uplink. */
  replaced(error: NoncedError): void {
    this.#end(error);
  }

  #letGo(lease: Lease, outcome: Outcome): boolean {
    if (lease.release()) {
      this.#leases.delete(lease);
      return true;
    }
    // For `nonced why`: the call outlived its lease. Nothing else comes of it.
    const says = outcome !== 'unknown' && outcome !== 'unused';
    if (lease.state === 'lost' && says) this.#notify('release', { token: lease.token, outcome });
    return false;
  }

  #waits(): boolean {
    return this.#opening !== undefined || this.#asked.size > this.#unwanted.size;
  }

  /** Whether the daemon may still hold a lease that was given back. */
  #owes(): boolean {
    return this.#givenBack.mayBeHeld(this.clock.monotonicMs());
  }

  /** Looks whether a connection is wanted, and which timers must run. */
  #reconsider(): void {
    this.#uplink.reconsider();
    this.#watchTime();
  }

  /** Lets requests wait for `connectTimeoutMs` without a connection, and stops the alarm when nothing has a deadline. */
  #watchTime(): void {
    const suffered =
      this.#uplink.connection === undefined && this.#closed === undefined && (this.#waits() || this.#owes());
    if (suffered) {
      this.#outage ??= this.clock.after(this.#connectTimeoutMs, () => this.#outageOver());
    } else if (this.#outage !== undefined) {
      this.#outage.cancel();
      this.#outage = undefined;
    }
    if (this.#bounded.size === 0 && this.#leases.size === 0) this.#alarm.stop();
  }

  #outageOver(): void {
    this.#outage = undefined;
    const error = unavailable(this.path, this.#lastReason);
    if (this.#opening !== undefined) {
      this.#end(error);
      return;
    }
    // The daemon presumes us dead by now, so nothing is owed any more.
    this.#givenBack.clear();
    this.#failAll(error);
    // Goes on while a lease is held, and stops otherwise: the next request tries again.
    this.#reconsider();
  }

  #wake(): void {
    const nowMs = this.clock.monotonicMs();
    for (const request of this.#bounded) if (request.giveUpAtMs <= nowMs) request.leave(this.#tooLate(request));
    for (const lease of this.#leases) {
      if (lease.dueAtMs <= nowMs) lease.due(nowMs);
      if (lease.state !== 'lost') continue;
      this.#leases.delete(lease);
      // Or its lane would stay closed, for nobody, for as long as the renewal asked for. Not before the end: until then an
      // aborted call winds down.
      if (lease.mayOutlive) this.#notify('release', { token: lease.token });
    }
    for (const { giveUpAtMs } of this.#bounded) this.#alarm.wakeBy(giveUpAtMs);
    for (const { dueAtMs } of this.#leases) this.#alarm.wakeBy(dueAtMs);
    this.#reconsider();
  }

  #tooLate({ id }: Request<unknown>): NoncedError {
    // Without a connection that is the cause, however long the caller was ready to wait.
    const isCutOff = id !== 0 && this.#uplink.connection === undefined;
    return isCutOff ? unavailable(this.path, this.#lastReason) : waitedTooLong();
  }

  readonly #over = (request: Request<unknown>, end: WaitEnd): void => {
    this.#bounded.delete(request);
    if (end === 'settled' || this.#asked.get(request.id) !== request) return;
    const isCancelled =
      request.method === 'acquire' &&
      request.sentAtMs !== undefined &&
      this.#notify('cancel', { id: request.id }) !== undefined;
    // Its answer still matters: a grant may cross the cancel.
    if (isCancelled) this.#unwanted.add(request.id);
    else this.#remove(request.id);
    this.#reconsider();
  };

  /** Nothing is sent before a daemon has told its version. */
  get #daemon(): DaemonVersion {
    return this.#uplink.greeting ?? UNKNOWN_DAEMON;
  }

  #remove(id: number): void {
    this.#unwanted.delete(id);
    this.#asked.delete(id);
  }

  #sendOn(connection: Connection, request: Request<unknown>): void {
    const nowMs = this.clock.monotonicMs();
    const bytes = request.encoded(this.#codec, this.#daemon, nowMs);
    if (bytes instanceof NoncedError) {
      this.#remove(request.id);
      request.fail(bytes);
      this.#reconsider();
      return;
    }
    connection.send(bytes);
    this.#sent += 1;
    request.sentAtMs = nowMs;
    request.sentNumber = this.#sent;
  }

  /** Sends a notification if there is a connection. Returns its place among all messages, or undefined if there is none. */
  #notify(method: string, params: object): number | undefined {
    const { connection } = this.#uplink;
    if (connection === undefined) return undefined;
    const fitting = fitted(this.#daemon, method, params);
    // No caller waits for it, and the daemon has no use for it.
    if (isUnsupported(fitting)) return undefined;
    connection.send(this.#codec.notification(method, fitting));
    this.#sent += 1;
    return this.#sent;
  }

  #answered(id: RequestId, result: unknown): void {
    const request = this.#find(id);
    // Given up on, or never asked.
    if (request === undefined) return;
    const { sentNumber } = request;
    if (!request.accept(result)) {
      this.#uplink.break(`its answer to ${request.method} makes no sense`);
      return;
    }
    // Only now: an answer that makes no sense leaves the request where it was in the order.
    this.#settled(id, sentNumber);
    this.#uplink.proved();
  }

  #refused(id: RequestId, cause: Refusal): void {
    const request = this.#find(id);
    if (request === undefined) return;
    const { sentNumber } = request;
    if (cause.code === 'SHUTTING_DOWN' && request.wanted) {
      // Crosses to the next daemon. Not by our closing: with this connection the leases under it would end.
      request.sentAtMs = undefined;
      return;
    }
    request.refuse(cause);
    this.#settled(id, sentNumber);
  }

  #find(id: unknown): Request<unknown> | undefined {
    return typeof id === 'number' ? this.#asked.get(id) : undefined;
  }

  #settled(id: RequestId, sentNumber: number): void {
    this.#remove(Number(id));
    this.#givenBack.confirm(sentNumber);
    this.#reconsider();
  }

  #revoked(params: unknown): void {
    const revoked = readRevoked(params);
    const lease = revoked && this.#leaseOf(revoked.token);
    if (lease === undefined) return;
    const why =
      revoked?.reason === 'preempted'
        ? 'an urgent caller has ended this background lease, which was held for over 3 s'
        : 'the daemon has ended the lease, whose time was over';
    this.lost(lease, leaseLost(`${why}; a call that was sent may have arrived`));
  }

  /** After a reconnection: what the daemon says we hold, as of `asOfMs`, is what we hold. */
  #reconcile(held: readonly HeldLease[], asOfMs: number): void {
    const gone = new Set(this.#leases);
    // What is not listed any more has arrived, or ended by itself.
    const owed = this.#givenBack.clear();
    for (const one of held) {
      const endsAtMs = asOfMs + one.ttlMs;
      const lease = this.#leaseOf(one.token);
      if (lease !== undefined) {
        gone.delete(lease);
        lease.extend(endsAtMs, lease.ttlMs);
        continue;
      }
      if (this.#ending.has(one.token)) continue;
      const given = owed.find(({ token }) => token === one.token);
      // Granted to a request that still waits, by an answer that got lost; or to one that has been given up.
      const waiting = this.#find(one.id);
      const isWaiting = waiting?.wanted ?? false;
      if (given === undefined && isWaiting && waiting?.adopt(one, endsAtMs)) continue;
      // If nothing waits, the call may have been made, and its release given up on.
      this.giveBack(one.token, given?.outcome ?? (isWaiting ? 'unused' : 'unknown'), endsAtMs);
    }
    for (const lease of gone) {
      this.lost(
        lease,
        leaseLost('the lease ended while there was no connection to the daemon; a call that was sent may have arrived'),
      );
    }
  }

  #leaseOf(token: bigint): Lease | undefined {
    for (const lease of this.#leases) if (lease.token === token) return lease;
    return undefined;
  }

  #failAll(error: NoncedError): void {
    const waiting = [...this.#asked.values()];
    this.#asked.clear();
    this.#unwanted.clear();
    const opening = this.#opening;
    this.#opening = undefined;
    opening?.reject(error);
    for (const request of waiting) request.fail(error);
  }

  #endLeases(error: NoncedError): void {
    this.#givenBack.clear();
    for (const lease of [...this.#leases]) this.lost(lease, error);
  }

  #stop(reason: NoncedError): void {
    if (this.#closed !== undefined) return;
    this.#closed = reason;
    this.#uplink.close();
    this.#failAll(reason);
    this.#watchTime();
  }

  /** There will be no daemon any more, and not because the caller said so. */
  #end(error: NoncedError): void {
    this.#stop(error);
    this.#endLeases(leaseLost(error.message, { cause: error }));
  }
}

function noWayBack(reason: Error): NoncedError {
  const why = systemErrorCode(reason) ?? reason.message;
  return leaseLost(
    `this process could not come back to the daemon (${why}), which keeps a lane closed for no longer than 2 s; a call ` +
      'that was sent may have arrived',
    { cause: reason },
  );
}

/** Worth telling at once at the first connection. Later it may be a daemon that is just being restarted. */
function isFinal(reason: Error): boolean {
  return isForbidden(reason) || isUnavailable(reason);
}

/** A `hello` that is wrong for ever: a name that is too long, say. */
function isBadRequest(reason: Error): reason is NoncedError {
  return reason instanceof NoncedError && reason.code === 'BAD_REQUEST';
}
