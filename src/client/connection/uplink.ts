import type { Clock, Timer } from '../../clock.ts';
import { asError, NoncedError } from '../../errors.ts';
import type { Codec, Message, RequestId } from '../../protocol/messages.ts';
import { fitted, isUnsupported } from '../../protocol/minor.ts';
import { type Greeting, readGreeting } from './answers.ts';
import { Backoff } from './backoff.ts';
import { Connection, type Dial } from './connection.ts';
import type { SocketPlace } from './socket-path.ts';
import { otherInstance } from './unavailable.ts';

const LONGEST_REST_MS = 1_000;
/** While something is held or waited for: the daemon keeps a lane closed for 2 s after its restart, and no longer. */
export const LONGEST_BUSY_REST_MS = 250;

export interface UplinkPorts {
  readonly dial: Dial;
  /** Where the daemon is; asked until one has answered there, and never again. Throws a NoncedError to give up. */
  readonly find: () => SocketPlace;
  /** Looked at before each attempt; throws if the place is not to be trusted. */
  readonly trust: (place: SocketPlace) => void;
  readonly codec: Codec;
  readonly clock: Clock;
  /** A number from 0 up to 1. */
  readonly random: () => number;
  /** What `hello` tells. */
  readonly introduction: { readonly name: string | undefined; readonly pid: number; readonly session: string };
}

/** How much a connection is wanted: `busy` while something is held or waited for, `owed` while only a release is. */
export type Need = 'none' | 'owed' | 'busy';

export interface UplinkEvents {
  need(): Need;
  /** An id for `hello`. */
  newId(): RequestId;
  /** A daemon has answered `hello`, which went out at `sentAtMs`. */
  up(greeting: Greeting, sentAtMs: number): void;
  /** What else came in. */
  message(message: Message): void;
  /** What was sent has been written. */
  written(): void;
  /** There is no connection, or no longer, and this is why. The attempt began at `triedAtMs`, if there had been none. */
  down(reason: Error, triedAtMs: number): void;
  /** Another instance answers: there will be no connection any more. */
  replaced(error: NoncedError): void;
}

type UplinkState =
  | { readonly state: 'down' }
  | { readonly state: 'resting'; readonly timer: Timer; readonly untilMs: number }
  | {
      readonly state: 'greeting';
      readonly connection: Connection;
      readonly helloId: RequestId;
      readonly sentAtMs: number;
    }
  | { readonly state: 'up'; readonly connection: Connection }
  | { readonly state: 'closed' };

/** The connection to the daemon, made again whenever it breaks and is wanted, to the same place and the same instance. */
export class Uplink {
  readonly #ports: UplinkPorts;
  readonly #events: UplinkEvents;
  readonly #backoff: Backoff;
  #state: UplinkState = { state: 'down' };
  #place: SocketPlace | undefined;
  #greeting: Greeting | undefined;

  constructor(ports: UplinkPorts, events: UplinkEvents) {
    this.#ports = ports;
    this.#events = events;
    this.#backoff = new Backoff(ports.random);
  }

  /** The connection, once a daemon has answered on it. */
  get connection(): Connection | undefined {
    return this.#state.state === 'up' ? this.#state.connection : undefined;
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

  /** The connection is of use: should it break, the next one is tried for at once. */
  proved(): void {
    this.#backoff.reset();
  }

  /** Looks whether a connection is wanted, how soon, and whether it keeps the process alive. */
  reconsider(): void {
    const state = this.#state;
    if (state.state === 'closed') return;
    const need = this.#events.need();
    switch (state.state) {
      case 'up':
        state.connection.keepAlive(need === 'busy');
        return;
      case 'greeting':
        if (need === 'none') this.#giveUp();
        else state.connection.keepAlive(need === 'busy');
        return;
      case 'resting':
        if (need === 'none') this.#giveUp();
        else if (need === 'busy' && state.untilMs - this.#ports.clock.monotonicMs() > LONGEST_BUSY_REST_MS)
          this.#rest();
        return;
      case 'down':
        if (need !== 'none') this.#connect();
        return;
    }
  }

  /** The daemon makes no sense. */
  break(message: string): void {
    const state = this.#state;
    if (state.state === 'up' || state.state === 'greeting') {
      state.connection.destroy();
      this.#failed(new Error(message));
    }
  }

  /** For good. What was sent still goes out. */
  close(): void {
    const state = this.#state;
    this.#state = { state: 'closed' };
    if (state.state === 'resting') state.timer.cancel();
    if (state.state === 'up') state.connection.close();
    if (state.state === 'greeting') state.connection.destroy();
  }

  #connect(): void {
    let place: SocketPlace;
    try {
      // Once a daemon has answered somewhere, another one elsewhere would be another authority.
      place = this.#greeting !== undefined && this.#place !== undefined ? this.#place : this.#ports.find();
      this.#place = place;
      this.#ports.trust(place);
    } catch (error) {
      this.#failed(asError(error));
      return;
    }
    const connection: Connection = new Connection(this.#ports.dial, place.path, this.#ports.codec, {
      message: (message) => this.#received(connection, message),
      written: () => this.#events.written(),
      broken: (reason) => {
        if (this.#isCurrent(connection)) this.#failed(reason ?? new Error('it closed the connection'));
      },
    });
    const helloId = this.#events.newId();
    this.#state = { state: 'greeting', connection, helloId, sentAtMs: this.#ports.clock.monotonicMs() };
    connection.keepAlive(this.#events.need() === 'busy');
    connection.send(this.#ports.codec.request(helloId, 'hello', this.#ports.introduction));
  }

  #rest(): void {
    if (this.#state.state === 'resting') this.#state.timer.cancel();
    const { clock } = this.#ports;
    const restMs = this.#backoff.next(this.#events.need() === 'busy' ? LONGEST_BUSY_REST_MS : LONGEST_REST_MS);
    const timer = clock.after(restMs, () => this.#connect());
    this.#state = { state: 'resting', timer, untilMs: clock.monotonicMs() + restMs };
  }

  #giveUp(): void {
    const state = this.#state;
    this.#state = { state: 'down' };
    if (state.state === 'resting') state.timer.cancel();
    if (state.state === 'greeting') state.connection.destroy();
  }

  #failed(reason: Error): void {
    const triedAtMs = this.#state.state === 'greeting' ? this.#state.sentAtMs : this.#ports.clock.monotonicMs();
    this.#state = { state: 'down' };
    this.#events.down(reason, triedAtMs);
    // Looked at again: what heard of it may have closed everything, or asked for a connection already.
    if (this.#state.state === 'down' && this.#events.need() !== 'none') this.#rest();
  }

  #isCurrent(connection: Connection): boolean {
    const state = this.#state;
    return (state.state === 'up' || state.state === 'greeting') && state.connection === connection;
  }

  #received(connection: Connection, message: Message): void {
    const state = this.#state;
    if (!this.#isCurrent(connection)) return;
    if (message.kind === 'request' || message.kind === 'malformed') {
      this.break(`it sent a ${message.kind} message`);
    } else if (state.state !== 'greeting') {
      this.#events.message(message);
    } else if (message.kind === 'answer' && message.id === state.helloId) {
      this.#greeted(connection, message.result, state.sentAtMs);
    } else if (message.kind === 'error' && message.id === state.helloId) {
      connection.destroy();
      this.#failed(new NoncedError(message.error));
    }
  }

  #greeted(connection: Connection, result: unknown, sentAtMs: number): void {
    const greeting = readGreeting(result);
    if (greeting === undefined) {
      this.break('its answer to hello makes no sense');
      return;
    }
    const was = this.#greeting?.instance ?? greeting.instance;
    if (greeting.instance !== was) {
      this.#state = { state: 'closed' };
      this.#refuse(connection, greeting, was);
      this.#events.replaced(otherInstance(this.path, was, greeting.instance));
      return;
    }
    this.#greeting = greeting;
    this.#state = { state: 'up', connection };
    this.#events.up(greeting, sentAtMs);
  }

  /** Tells the daemon which instance was expected, so that its operator learns of this client, and closes the connection. */
  #refuse(connection: Connection, greeting: Greeting, expected: string): void {
    const params = fitted(greeting, 'refuse', { expected });
    if (!isUnsupported(params)) connection.send(this.#ports.codec.notification('refuse', params));
    connection.close();
  }
}
