import type { Clock, Timer } from '../../clock.ts';
import { NoncedError, type Refusal, refusal } from '../../errors.ts';
import { type Codec, MAX_MESSAGE_BYTES, type Message, type RequestId } from '../../protocol/messages.ts';
import { type Greeting, readRevoked } from '../calls/answers.ts';
import type { Call } from '../calls/call.ts';
import type { HoldingsLink } from '../leases/holdings.ts';
import type { Connection } from './connection.ts';
import { PendingCalls } from './pending-calls.ts';
import { isForbidden, isUnavailable, unavailable } from './unavailable.ts';
import { type Need, Uplink, type UplinkEvents, type UplinkPorts } from './uplink.ts';

export interface LinkPorts extends UplinkPorts {
  /** How long those who wait do so without a connection. */
  readonly connectTimeoutMs: number;
}

/** Who is told what concerns leases. */
export interface LinkOwner {
  /** How many leases are held. */
  readonly size: number;
  /** Whether a release may not have arrived. */
  owes(): boolean;
  forgetOwed(): void;
  /** The daemon has read everything up to the message of this number. */
  confirmed(sentNumber: number): void;
  revoked(token: bigint, reason: unknown): void;
  /** What the daemon says is held, as of `asOfMs`. */
  reconcile(held: Greeting['held'], asOfMs: number): void;
  /** There will be no daemon any more, for this reason. */
  abandon(cause: NoncedError): void;
}

/** The way to the daemon: connects when something is to be asked or held, and asks again what a broken connection left unanswered. */
export class Link implements HoldingsLink, UplinkEvents {
  readonly #clock: Clock;
  readonly #codec: Codec;
  readonly #connectTimeoutMs: number;
  readonly #uplink: Uplink;
  readonly #pending = new PendingCalls();
  #owner: LinkOwner | undefined;
  #opening: { resolve(): void; reject(error: Error): void } | undefined;
  #closed: NoncedError | undefined;
  /** Runs while something waits and there is no connection. */
  #outage: Timer | undefined;
  #lastReason: Error | undefined;
  /** Requests and notifications that went out, over all connections. */
  #sent = 0;

  constructor(ports: LinkPorts) {
    this.#clock = ports.clock;
    this.#codec = ports.codec;
    this.#connectTimeoutMs = ports.connectTimeoutMs;
    this.#uplink = new Uplink(ports, this);
  }

  get greeting(): Greeting | undefined {
    return this.#uplink.greeting;
  }

  get path(): string {
    return this.#uplink.path;
  }

  get trouble(): NoncedError | undefined {
    return this.#uplink.connection === undefined ? unavailable(this.path, this.#lastReason) : undefined;
  }

  learn(exclusive: Greeting['exclusive']): void {
    this.#uplink.learn(exclusive);
  }

  /** Resolves with the first connection. Rejects with UNAVAILABLE, and the link is closed then. */
  open(owner: LinkOwner): Promise<void> {
    this.#owner = owner;
    return new Promise((resolve, reject) => {
      this.#opening = { resolve, reject };
      this.reconsider();
    });
  }

  /** Rejects all that waits with `reason`, now and from now on. What was sent still goes out. */
  close(reason: NoncedError): void {
    if (this.#closed !== undefined) return;
    this.#closed = reason;
    this.#outage?.cancel();
    this.#uplink.close();
    this.#failAll(reason);
  }

  ask(call: Call<unknown>): void {
    if (this.#closed !== undefined) {
      call.fail(this.#closed);
      return;
    }
    this.#pending.add(call);
    const { connection } = this.#uplink;
    if (connection === undefined) {
      this.reconsider();
      return;
    }
    connection.keepAlive(true);
    this.#send(connection, call);
  }

  forget(call: Call<unknown>): void {
    if (!this.#pending.has(call)) return;
    this.#pending.remove(call.id);
    this.reconsider();
  }

  cancel(call: Call<unknown>): void {
    if (!this.#pending.has(call)) return;
    if (call.sentAtMs === undefined || this.notify('cancel', { id: call.id }) === undefined) {
      this.forget(call);
      return;
    }
    this.#pending.keepUnwanted(call);
    this.reconsider();
  }

  notify(method: string, params: object): number | undefined {
    const { connection } = this.#uplink;
    if (connection === undefined) return undefined;
    connection.send(this.#codec.notification(method, params));
    this.#sent += 1;
    return this.#sent;
  }

  waiting(id: unknown): Call<unknown> | undefined {
    const call = this.#pending.get(id);
    return call?.wanted ? call : undefined;
  }

  releasing(token: bigint): boolean {
    return this.#pending.hasRelease(token);
  }

  reconsider(): void {
    this.#uplink.reconsider();
    this.#watchOutage();
  }

  /** Of the uplink. */
  need(): Need {
    if (this.#waits() || (this.#owner?.size ?? 0) > 0) return 'busy';
    // Of no interest while there is a connection: whatever is owed has gone out over it.
    return this.#uplink.connection === undefined && this.#owner?.owes() ? 'owed' : 'none';
  }

  /** Of the uplink. */
  newId(): RequestId {
    return this.#pending.newId();
  }

  /** Of the uplink. */
  up(greeting: Greeting, sentAtMs: number): void {
    this.#lastReason = undefined;
    this.#owner?.reconcile(greeting.held, sentAtMs);
    // Not all that is pending: some was asked just now, under a lease that was found again.
    for (const call of this.#pending.unsent()) {
      const { connection } = this.#uplink;
      if (connection !== undefined) this.#send(connection, call);
    }
    const opening = this.#opening;
    this.#opening = undefined;
    opening?.resolve();
    this.reconsider();
  }

  /** Of the uplink. */
  message(message: Message): void {
    switch (message.kind) {
      case 'answer':
        this.#answered(message.id, message.result);
        return;
      case 'error':
        this.#refused(message.id, message.error);
        return;
      case 'notification': {
        // Others may come from a newer daemon.
        const revoked = message.method === 'revoked' ? readRevoked(message.params) : undefined;
        if (revoked !== undefined) this.#owner?.revoked(revoked.token, revoked.reason);
        return;
      }
    }
  }

  /** Of the uplink. */
  down(reason: Error): void {
    this.#lastReason = reason;
    this.#pending.lostConnection();
    if (this.#opening !== undefined && isBadRequest(reason)) this.#end(reason);
    else if (this.#opening !== undefined && isFinal(reason)) this.#end(unavailable(this.path, reason));
    else this.#watchOutage();
  }

  /** Of the uplink. */
  replaced(error: NoncedError): void {
    this.#end(error);
  }

  #waits(): boolean {
    return this.#opening !== undefined || this.#pending.wanted;
  }

  #send(connection: Connection, call: Call<unknown>): void {
    const nowMs = this.#clock.monotonicMs();
    const bytes = this.#encoded(call, nowMs);
    if (bytes instanceof NoncedError) {
      this.#pending.remove(call.id);
      call.fail(bytes);
      this.reconsider();
      return;
    }
    connection.send(bytes);
    this.#sent += 1;
    call.sentAtMs = nowMs;
    call.sentNumber = this.#sent;
  }

  #encoded(call: Call<unknown>, nowMs: number): Uint8Array | NoncedError {
    try {
      const bytes = this.#codec.request(call.id, call.method, call.params(nowMs));
      if (bytes.length <= MAX_MESSAGE_BYTES) return bytes;
    } catch (cause) {
      return new NoncedError(refusal('BAD_REQUEST', `${call.method} was given what cannot be sent`), { cause });
    }
    // The daemon would close the connection over it, and over each repetition.
    return new NoncedError(refusal('TOO_LARGE', `a request is over ${MAX_MESSAGE_BYTES} bytes; shorten its label`));
  }

  #answered(id: RequestId, result: unknown): void {
    const call = this.#pending.get(id);
    // Given up on, or never asked.
    if (call === undefined) return;
    const { sentNumber } = call;
    if (!call.accept(result)) {
      this.#uplink.break(`its answer to ${call.method} makes no sense`);
      return;
    }
    // Only now: an answer that makes no sense leaves the call where it was in the order.
    this.#settled(id, sentNumber);
    this.#uplink.proved();
  }

  #refused(id: RequestId, cause: Refusal): void {
    const call = this.#pending.get(id);
    if (call === undefined) return;
    const { sentNumber } = call;
    if (cause.code === 'SHUTTING_DOWN' && call.wanted) {
      // Crosses to the next daemon. Not by our closing: with this connection the leases under it would end.
      call.sentAtMs = undefined;
      return;
    }
    call.refuse(cause);
    this.#settled(id, sentNumber);
  }

  #settled(id: RequestId, sentNumber: number): void {
    this.#pending.remove(Number(id));
    this.#owner?.confirmed(sentNumber);
    this.reconsider();
  }

  /** Lets those who wait do so for `connectTimeoutMs` without a connection. */
  #watchOutage(): void {
    const suffered =
      this.#closed === undefined &&
      this.#uplink.connection === undefined &&
      (this.#waits() || (this.#owner?.owes() ?? false));
    if (suffered) {
      this.#outage ??= this.#clock.after(this.#connectTimeoutMs, () => this.#outageOver());
    } else if (this.#outage !== undefined) {
      this.#outage.cancel();
      this.#outage = undefined;
    }
  }

  #outageOver(): void {
    this.#outage = undefined;
    const error = unavailable(this.path, this.#lastReason);
    if (this.#opening !== undefined) {
      this.#end(error);
      return;
    }
    this.#owner?.forgetOwed();
    this.#failAll(error);
    // Goes on while a lease is held, and stops otherwise: the next call tries anew.
    this.reconsider();
  }

  #failAll(error: NoncedError): void {
    const waiting = this.#pending.takeAll();
    const opening = this.#opening;
    this.#opening = undefined;
    opening?.reject(error);
    for (const call of waiting) call.fail(error);
  }

  /** For good, and not because the caller said so. */
  #end(error: NoncedError): void {
    this.close(error);
    this.#owner?.abandon(error);
  }
}

/** Worth telling at once at the first connection. Later it may be a daemon that is just being restarted. */
function isFinal(reason: Error): boolean {
  return isForbidden(reason) || isUnavailable(reason);
}

/** A `hello` that is wrong for ever: a name that is too long, say. */
function isBadRequest(reason: Error): reason is NoncedError {
  return reason instanceof NoncedError && reason.code === 'BAD_REQUEST';
}
