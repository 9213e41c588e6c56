import type { Clock, Timer } from '../../clock.ts';
import type { Broker } from '../../core/broker.ts';
import { Connection, type Surroundings, type Wire } from './connection.ts';
import { Outbox } from './outbox.ts';

export interface SwitchboardOptions extends Omit<Surroundings, 'connections' | 'refusals' | 'outbox'> {
  /** Calls back once all input that had arrived by now was handed to the connections. */
  readonly afterInput: (done: () => void) => void;
}

/** Brings connections, the broker and time together. It knows no sockets, so a simulation can drive it. */
export class Switchboard {
  readonly #broker: Broker;
  readonly #clock: Clock;
  readonly #afterInput: (done: () => void) => void;
  readonly #around: Surroundings;
  readonly #connections = new Set<Connection>();
  readonly #outbox = new Outbox();
  #timer: { readonly dueMs: number; readonly timer: Timer } | undefined;

  constructor({ afterInput, ...around }: SwitchboardOptions) {
    this.#broker = around.broker;
    this.#clock = around.clock;
    this.#afterInput = afterInput;
    this.#around = { ...around, connections: this.#connections, refusals: new Map(), outbox: this.#outbox };
    this.#broker.announceDueTo((dueMs) => this.#arm(dueMs));
  }

  /** Begins a connection. The caller passes its bytes to `receive` and its end to `closed`. */
  connect(wire: Wire, role: 'bot' | 'admin'): Connection {
    const connection = new Connection(wire, role, this.#around);
    this.#connections.add(connection);
    return connection;
  }

  /**
   * Calls back with whether there is room for one more connection of the role, beside `most` of them, once all input that
   * had arrived by now was read. If they are all there, it makes room by closing the one that has been idle for longest.
   */
  makeRoom(role: 'bot' | 'admin', most: number, done: (room: 'free' | 'made' | 'none') => void): void {
    // A connection whose request is unread in its socket's buffer only looks idle.
    this.#afterInput(() => {
      const connections = [...this.#connections].filter((connection) => connection.role === role);
      if (connections.length < most) {
        done('free');
        return;
      }
      const idle = longestIdle(connections);
      if (idle === undefined) {
        done('none');
        return;
      }
      this.#connections.delete(idle);
      idle.cutOff();
      done('made');
    });
  }

  receive(connection: Connection, chunk: Uint8Array): void {
    this.#outbox.hold();
    connection.receive(chunk);
    this.#outbox.flush();
  }

  /** Takes in that everything that was written to the connection has been taken. */
  drained(connection: Connection): void {
    this.#outbox.hold();
    connection.drained();
    this.#outbox.flush();
  }

  receiveEnd(connection: Connection): void {
    connection.receiveEnd();
  }

  closed(connection: Connection): void {
    this.#connections.delete(connection);
    connection.closed();
  }

  /** Sets the timer for the next deadline. An idle daemon has none, and so never wakes for nothing. */
  #arm(dueMs: number): void {
    // A timer that fires too soon is harmless: it looks, and is set again.
    if (this.#timer !== undefined && this.#timer.dueMs <= dueMs) return;
    this.#timer?.timer.cancel();
    const timer = this.#clock.after(dueMs - this.#clock.monotonicMs(), () => {
      // I7: after a stall of this process a renewal may be unread in a socket's buffer. It is read first.
      this.#afterInput(() => {
        this.#timer = undefined;
        this.#broker.expire();
        const nextMs = this.#broker.nextDueMs();
        if (nextMs !== undefined) this.#arm(nextMs);
      });
    });
    this.#timer = { dueMs, timer };
  }
}

/** Returns the connection that has been idle for longest; undefined if all of them hold or wait for something. */
function longestIdle(connections: readonly Connection[]): Connection | undefined {
  let longest: { readonly connection: Connection; readonly sinceMs: number } | undefined;
  for (const connection of connections) {
    const sinceMs = connection.idleSinceMs;
    if (sinceMs === undefined || (longest !== undefined && longest.sinceMs <= sinceMs)) continue;
    longest = { connection, sinceMs };
  }
  return longest?.connection;
}
