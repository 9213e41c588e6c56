import type { Clock, Timer } from '../clock.ts';
import { NoncedError, refusal } from '../errors.ts';
import { type Codec, MAX_MESSAGE_BYTES, type Message } from '../protocol/messages.ts';
import { type Greeting, readGreeting, readRevoked } from './answers.ts';
import { Backoff } from './backoff.ts';
import type { Call } from './call.ts';
import { Connection, type Dial } from './connection.ts';
import type { HoldingsLink } from './holdings.ts';
import { ReleaseCall } from './lease-calls.ts';
import type { SocketPlace } from './socket-path.ts';
import { isForbidden, isUnavailable, otherInstance, unavailable } from './unavailable.ts';

const LONGEST_REST_MS = 1_000;
/** While something is held or waited for: the daemon keeps a lane closed for 2 s after its restart, and no longer. */
const LONGEST_BUSY_REST_MS = 250;
const LAST_ID = 2 ** 32 - 1;

export interface LinkPorts {
  readonly dial: Dial;
  /** Where the daemon is; asked until it has been found, then for the last time. Throws a NoncedError to give up. */
  readonly find: () => SocketPlace;
  /** Looked at before each attempt; throws if the place is not to be trusted. */
  readonly trust: (place: SocketPlace) => void;
  readonly codec: Codec;
  readonly clock: Clock;
  /** A number from 0 up to 1. */
  readonly random: () => number;
  /** What `hello` tells. */
  readonly introduction: { readonly name: string | undefined; readonly pid: number; readonly session: string };
  readonly connectTimeoutMs: number;
}

/** Who is told what concerns leases. */
export interface LinkOwner {
  /** How many leases are held. */
  readonly size: number;
  owes(): boolean;
  forgetOwed(): void;
  confirmed(sentNumber: number): void;
  revoked(token: bigint): void;
  reconcile(held: Greeting['held'], asOfMs: number): void;
  /** There will be no daemon any more, for this reason. */
  abandon(cause: NoncedError): void;
}

type LinkState =
  /** Nothing asks for a connection. */
  | { readonly state: 'down' }
  | { readonly state: 'resting'; readonly timer: Timer; readonly untilMs: number }
  | { readonly state: 'greeting'; readonly connection: Connection; readonly helloId: number; readonly sentAtMs: number }
  | { readonly state: 'up'; readonly connection: Connection }
  | { readonly state: 'closed'; readonly reason: NoncedError };

/** The way to the daemon: connects when something is to be asked or held, reconnects, and asks again what was not answered. */
export class Link implements HoldingsLink {
  readonly #ports: LinkPorts;
  readonly #clock: Clock;
  readonly #codec: Codec;
  readonly #backoff: Backoff;
  /** What waits for an answer, in the order in which it was asked; with it acquires that nobody wants any more. */
  readonly #pending = new Map<number, Call<unknown>>();
  #owner: LinkOwner | undefined;
  #opening: { resolve(): void; reject(error: Error): void } | undefined;
  #state: LinkState = { state: 'down' };
  #place: SocketPlace | undefined;
  #greeting: Greeting | undefined;
  /** Runs while something waits and there is no connection. */
  #outage: Timer | undefined;
  #lastReason: Error | undefined;
  #unwanted = 0;
  #lastId = 0;
  #sent = 0;

  constructor(ports: LinkPorts) {
    this.#ports = ports;
    this.#clock = ports.clock;
    this.#codec = ports.codec;
    this.#backoff = new Backoff(ports.random);
  }

  /** What the daemon said of itself at the last connection. */
  get greeting(): Greeting | undefined {
    return this.#greeting;
  }

  /** The exclusion policy, heard of in another way. */
  learn(exclusive: Greeting['exclusive']): void {
    if (this.#greeting !== undefined) this.#greeting = { ...this.#greeting, exclusive };
  }

  get path(): string {
    return this.#place?.path ?? '';
  }

  get trouble(): NoncedError | undefined {
    return this.#state.state === 'up' ? undefined : unavailable(this.path, this.#lastReason);
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
    const state = this.#state;
    if (state.state === 'closed') return;
    this.#state = { state: 'closed', reason };
    this.#outage?.cancel();
    if (state.state === 'resting') state.timer.cancel();
    if (state.state === 'up') state.connection.close();
    if (state.state === 'greeting') state.connection.destroy();
    this.#failAll(reason);
  }

  ask(call: Call<unknown>): void {
    const state = this.#state;
    if (state.state === 'closed') {
      call.fail(state.reason);
      return;
    }
    call.id = this.#newId();
    call.sentAtMs = undefined;
    this.#pending.set(call.id, call);
    if (state.state === 'up') {
      state.connection.keepAlive(true);
      this.#send(state.connection, call);
    } else {
      this.reconsider();
    }
  }

  forget(call: Call<unknown>): void {
    if (this.#pending.get(call.id) !== call) return;
    this.#pending.delete(call.id);
    this.reconsider();
  }

  cancel(call: Call<unknown>): void {
    if (this.#pending.get(call.id) !== call) return;
    if (call.sentAtMs === undefined || this.notify('cancel', { id: call.id }) === undefined) {
      this.forget(call);
      return;
    }
    // Kept: a grant may have crossed the cancel, and has to be given back.
    this.#unwanted += 1;
    this.reconsider();
  }

  notify(method: string, params: object): number | undefined {
    if (this.#state.state !== 'up') return undefined;
    this.#state.connection.send(this.#codec.notification(method, params));
    this.#sent += 1;
    return this.#sent;
  }

  waiting(id: unknown): Call<unknown> | undefined {
    const call = typeof id === 'number' ? this.#pending.get(id) : undefined;
    return call?.wanted ? call : undefined;
  }

  releasing(token: bigint): boolean {
    for (const call of this.#pending.values()) if (call instanceof ReleaseCall && call.token === token) return true;
    return false;
  }

  /** Looks whether a connection is worth having, how soon, and whether it keeps the process alive. */
  reconsider(): void {
    const state = this.#state;
    const busy = this.#busy();
    switch (state.state) {
      case 'closed':
        return;
      case 'up':
        state.connection.keepAlive(busy);
        return;
      case 'greeting':
        if (busy || this.#owner?.owes()) state.connection.keepAlive(busy);
        else this.#giveUp();
        break;
      case 'resting':
        if (!busy && !this.#owner?.owes()) this.#giveUp();
        else if (busy && state.untilMs - this.#clock.monotonicMs() > LONGEST_BUSY_REST_MS) this.#rest();
        break;
      case 'down':
        if (busy || this.#owner?.owes()) this.#connect();
        break;
    }
    this.#watchOutage();
  }

  /** Something is held or waited for. */
  #busy(): boolean {
    return this.#waits() || (this.#owner?.size ?? 0) > 0;
  }

  #waits(): boolean {
    return this.#opening !== undefined || this.#pending.size > this.#unwanted;
  }

  #newId(): number {
    do this.#lastId = this.#lastId === LAST_ID ? 1 : this.#lastId + 1;
    while (this.#pending.has(this.#lastId));
    return this.#lastId;
  }

  #send(connection: Connection, call: Call<unknown>): void {
    const nowMs = this.#clock.monotonicMs();
    const bytes = this.#encoded(call, nowMs);
    if (bytes instanceof NoncedError) {
      this.#pending.delete(call.id);
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

  #connect(): void {
    let place: SocketPlace;
    try {
      place = this.#greeting !== undefined && this.#place !== undefined ? this.#place : this.#ports.find();
      this.#place = place;
      this.#ports.trust(place);
    } catch (error) {
      this.#attemptFailed(error instanceof Error ? error : new Error(String(error)));
      return;
    }
    const connection: Connection = new Connection(this.#ports.dial, place.path, this.#codec, {
      message: (message) => this.#received(connection, message),
      broken: (reason) => this.#broken(connection, reason),
    });
    const helloId = this.#newId();
    this.#state = { state: 'greeting', connection, helloId, sentAtMs: this.#clock.monotonicMs() };
    connection.keepAlive(this.#busy());
    connection.send(this.#codec.request(helloId, 'hello', this.#ports.introduction));
    this.#sent += 1;
  }

  #rest(): void {
    if (this.#state.state === 'resting') this.#state.timer.cancel();
    const restMs = this.#backoff.next(this.#busy() ? LONGEST_BUSY_REST_MS : LONGEST_REST_MS);
    const timer = this.#clock.after(restMs, () => this.#connect());
    this.#state = { state: 'resting', timer, untilMs: this.#clock.monotonicMs() + restMs };
  }

  #giveUp(): void {
    const state = this.#state;
    this.#state = { state: 'down' };
    if (state.state === 'resting') state.timer.cancel();
    if (state.state === 'greeting') state.connection.destroy();
  }

  #received(connection: Connection, message: Message): void {
    const state = this.#state;
    if ((state.state !== 'up' && state.state !== 'greeting') || state.connection !== connection) return;
    switch (message.kind) {
      case 'answer':
        if (state.state === 'up') this.#answered(connection, message.id, message.result);
        else if (message.id === state.helloId) this.#greeted(connection, message.result, state.sentAtMs);
        return;
      case 'error':
        if (state.state === 'up') this.#refused(message.id, message.error);
        else if (message.id === state.helloId) this.#helloRefused(connection, new NoncedError(message.error));
        return;
      case 'notification': {
        // Others may come from a newer daemon.
        const token = message.method === 'revoked' ? readRevoked(message.params) : undefined;
        if (token !== undefined) this.#owner?.revoked(token);
        return;
      }
      case 'request':
      case 'malformed':
        this.#break(connection, `a message makes no sense: a ${message.kind} one`);
        return;
    }
  }

  #answered(connection: Connection, id: number | string, result: unknown): void {
    const call = typeof id === 'number' ? this.#pending.get(id) : undefined;
    // Given up on, or never asked.
    if (typeof id !== 'number' || call === undefined) return;
    const { wanted, sentNumber } = call;
    if (!call.accept(result)) {
      this.#break(connection, `the answer to ${call.method} makes no sense`);
      return;
    }
    // Only now: an answer that makes no sense leaves the call where it was in the order.
    this.#settled(id, wanted, sentNumber);
    this.#backoff.reset();
  }

  #refused(id: number | string, cause: ConstructorParameters<typeof NoncedError>[0]): void {
    const call = typeof id === 'number' ? this.#pending.get(id) : undefined;
    if (typeof id !== 'number' || call === undefined) return;
    const { wanted, sentNumber } = call;
    if (cause.code === 'SHUTTING_DOWN' && wanted) {
      // Crosses to the next daemon. Not by our closing: with this connection the leases under it would end.
      call.sentAtMs = undefined;
      return;
    }
    call.refuse(cause);
    this.#settled(id, wanted, sentNumber);
  }

  #settled(id: number, wasWanted: boolean, sentNumber: number): void {
    // It may have been closed meanwhile, and everything is gone then.
    if (!this.#pending.delete(id)) return;
    if (!wasWanted) this.#unwanted -= 1;
    this.#owner?.confirmed(sentNumber);
    this.reconsider();
  }

  #greeted(connection: Connection, result: unknown, sentAtMs: number): void {
    const greeting = readGreeting(result);
    if (greeting === undefined) {
      this.#break(connection, 'the answer to hello makes no sense');
      return;
    }
    const was = this.#greeting?.instance ?? greeting.instance;
    if (greeting.instance !== was) {
      // Leases of ours are not this daemon's to end, and those who hold them must not go on.
      connection.destroy();
      this.#end(otherInstance(this.path, was, greeting.instance));
      return;
    }
    this.#greeting = greeting;
    this.#state = { state: 'up', connection };
    this.#outage?.cancel();
    this.#outage = undefined;
    this.#owner?.reconcile(greeting.held, sentAtMs);
    for (const call of this.#pending.values()) {
      // Unless it was asked just now, under a lease that was found again.
      if (call.sentAtMs === undefined) this.#send(connection, call);
    }
    const opening = this.#opening;
    this.#opening = undefined;
    opening?.resolve();
    this.reconsider();
  }

  #helloRefused(connection: Connection, error: NoncedError): void {
    connection.destroy();
    // Wrong for ever, and not only now: a name that is too long, say.
    if (error.code === 'BAD_REQUEST' && this.#opening !== undefined) this.#end(error);
    else this.#broken(connection, error);
  }

  #break(connection: Connection, message: string): void {
    connection.destroy();
    this.#broken(connection, new Error(message));
  }

  #broken(connection: Connection, reason: Error | undefined): void {
    const state = this.#state;
    if ((state.state !== 'up' && state.state !== 'greeting') || state.connection !== connection) return;
    for (const [id, call] of this.#pending) {
      // Nobody wants it, and no answer can come. Should it have been granted, the next hello tells.
      if (!call.wanted) this.#pending.delete(id);
      call.sentAtMs = undefined;
    }
    this.#unwanted = 0;
    this.#attemptFailed(reason);
  }

  #attemptFailed(reason: Error | undefined): void {
    this.#lastReason = reason;
    // Afterwards it may be a daemon that is just being restarted; at first it is a mistake, and better told at once.
    if (this.#opening !== undefined && (isForbidden(reason) || isUnavailable(reason))) {
      this.#end(unavailable(this.path, reason));
      return;
    }
    if (this.#busy() || this.#owner?.owes()) this.#rest();
    else this.#state = { state: 'down' };
    this.#watchOutage();
  }

  /** Lets those who wait do so for `connectTimeoutMs` without a connection. */
  #watchOutage(): void {
    if (!this.#waits() && !this.#owner?.owes()) {
      this.#outage?.cancel();
      this.#outage = undefined;
      return;
    }
    const { state } = this.#state;
    if (state === 'up' || state === 'closed' || this.#outage !== undefined) return;
    this.#outage = this.#clock.after(this.#ports.connectTimeoutMs, () => {
      this.#outage = undefined;
      const error = unavailable(this.path, this.#lastReason);
      this.#owner?.forgetOwed();
      if (this.#opening !== undefined) this.#end(error);
      else {
        this.#failAll(error);
        // Goes on while a lease is held, and stops otherwise: the next call tries anew.
        this.reconsider();
      }
    });
  }

  #failAll(error: NoncedError): void {
    const waiting = [...this.#pending.values()];
    this.#pending.clear();
    this.#unwanted = 0;
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
