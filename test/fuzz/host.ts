import { expect } from 'vitest';
import { RETURN_MS } from '../../src/core/broker.ts';
import type { Connection, Wire } from '../../src/daemon/sockets/connection.ts';
import { Switchboard } from '../../src/daemon/sockets/switchboard.ts';
import { jsonRpc } from '../../src/protocol/json-rpc.ts';
import { MessageScanner } from '../../src/protocol/message-scanner.ts';
import type { Codec, Message, RequestId } from '../../src/protocol/messages.ts';
import { msgpackRpc } from '../../src/protocol/msgpack-rpc.ts';
import { Machine, type MachineOptions, settled } from '../core/simulation.ts';

/** Longer than any TTL or wait that can be asked for: nothing of before is left afterwards. */
export const PAST_EVERYTHING_MS = 3 * 600_000;

const BRACE = 0x7b;

export const codecOf = (encoding: Codec['encoding']): Codec => (encoding === 'json' ? jsonRpc : msgpackRpc);

/** A client's end of a connection that is a function call: it keeps what came back, or leaves it unread. */
export class Caller implements Wire {
  readonly role: 'bot' | 'admin';
  /** Set once it is connected. */
  connection!: Connection;
  /** `ended` and `cut` by the daemon, which in the latter case would not even deliver what it had answered. */
  state: 'open' | 'ended' | 'cut' | 'hung-up' = 'open';
  unsentBytes = 0;
  /** Leaves everything unread, as if its socket's buffers were full. */
  deaf = false;
  /** The daemon reads nothing of it. */
  isPaused = false;
  /** All that came back, in the order of its coming. */
  readonly received: Uint8Array[] = [];
  readonly #unread: Uint8Array[] = [];
  readonly #host: Host;

  constructor(host: Host, role: 'bot' | 'admin') {
    this.#host = host;
    this.role = role;
  }

  write(bytes: Uint8Array): void {
    // An answer in the turn of the event loop in which the caller hangs up is lost, as on a socket.
    if (this.state === 'hung-up') return;
    if (this.state !== 'open') throw new Error(`written to when ${this.state}`);
    if (this.deaf) {
      this.#unread.push(bytes);
      this.unsentBytes += bytes.length;
    } else this.received.push(bytes);
  }

  /** The daemon closes it. */
  end(): void {
    this.state = 'ended';
    this.#host.switchboard.closed(this.connection);
  }

  destroy(): void {
    this.state = 'cut';
    this.#host.switchboard.closed(this.connection);
  }

  pause(): void {
    this.isPaused = true;
  }

  resume(): void {
    this.isPaused = false;
  }

  /** Reads everything that it has left unread so far. */
  readOn(): void {
    this.received.push(...this.#unread.splice(0));
    this.unsentBytes = 0;
    if (this.state === 'open') this.#host.switchboard.drained(this.connection);
  }

  send(bytes: Uint8Array): void {
    if (this.state === 'open') this.#host.switchboard.receive(this.connection, bytes);
  }

  /** Says that it sends nothing more, and listens on. */
  halfClose(): void {
    if (this.state === 'open') this.#host.switchboard.receiveEnd(this.connection);
  }

  hangUp(): void {
    if (this.state !== 'open') return;
    this.state = 'hung-up';
    this.#host.switchboard.closed(this.connection);
  }

  /** What came back, as messages. */
  messages(): Message[] {
    const bytes = Buffer.concat(this.received);
    return messagesIn(bytes, bytes[0] === BRACE ? 'json' : 'msgpack');
  }
}

/** The messages in bytes that the daemon sent: every one of them must be one. */
function messagesIn(bytes: Uint8Array, encoding: Codec['encoding']): Message[] {
  const scanner = new MessageScanner({ maxBytes: 1 << 20, encoding });
  scanner.push(bytes);
  const messages: Message[] = [];
  for (let frame = scanner.next(); frame !== undefined; frame = scanner.next()) {
    messages.push(codecOf(encoding).decode(frame));
  }
  expect(scanner.pendingBytes).toBe(0);
  return messages;
}

/** How often each id was answered. Ids that could not be read are answered as 0. */
export function answersById(messages: readonly Message[]): Map<RequestId, number> {
  const counts = new Map<RequestId, number>();
  for (const message of messages) {
    if (message.kind === 'notification') continue;
    if (message.kind !== 'answer' && message.kind !== 'error') throw new Error(`the daemon sent a ${message.kind}`);
    counts.set(message.id, (counts.get(message.id) ?? 0) + 1);
  }
  return counts;
}

/** A daemon with everything but its sockets: a simulated disk and clock below, callers above. */
export class Host {
  readonly machine: Machine;
  switchboard!: Switchboard;
  callers: Caller[] = [];
  /**
   * Timers of the switchboard, which all must be gone when nothing is left to wait for. One more always runs: the ledger
   * looks at the clock each hour.
   */
  get timers(): number {
    return this.machine.clock.timers - 1;
  }

  private constructor(machine: Machine) {
    this.machine = machine;
    this.#open();
  }

  static async started(options: MachineOptions = {}): Promise<Host> {
    return new Host(await Machine.started(options));
  }

  connect(role: 'bot' | 'admin' = 'bot'): Caller {
    const caller = new Caller(this, role);
    caller.connection = this.switchboard.connect(caller, role);
    this.callers.push(caller);
    return caller;
  }

  /** Time passes, and what is due happens when it is due. */
  async pass(ms: number): Promise<void> {
    const endMs = this.machine.clock.monotonicMs() + ms;
    for (;;) {
      await settled();
      const dueMs = this.machine.clock.nextDueMs();
      if (dueMs === undefined || dueMs > endMs) break;
      this.machine.clock.advance(Math.max(0, dueMs - this.machine.clock.monotonicMs()));
    }
    this.machine.clock.advance(Math.max(0, endMs - this.machine.clock.monotonicMs()));
    await settled();
  }

  /** `kill -9` and a new daemon; every connection is gone. */
  async restart(): Promise<void> {
    this.callers = [];
    await this.machine.crashAndRestart();
    this.#open();
  }

  /** Closes the connections that are left, and checks that nothing of them stays. */
  async expectNothingLeft(): Promise<void> {
    const { broker, store } = this.machine;
    store.held = false;
    store.failing = undefined;
    for (const caller of this.callers) caller.hangUp();
    store.settle();
    // By then the holders from before a restart are given up. No other lease outlives its connection.
    await this.pass(RETURN_MS);
    const { totals, lanes, accounts } = broker.status();
    expect(totals).toMatchObject({ leases: 0, waiting: 0 });
    expect(lanes).toEqual([]);
    expect(accounts.filter(({ waiting }) => waiting !== 0)).toEqual([]);
    expect(this.machine.notes.slots.size).toBe(0);
    // A timer that was set for one of them may still fire, for nothing, and then there is none.
    await this.pass(PAST_EVERYTHING_MS);
    expect(broker.nextDueMs()).toBeUndefined();
    expect(this.timers).toBe(0);
    expect(this.machine.observed).not.toContain('failed');
    const last = this.connect('admin');
    last.send(jsonRpc.request(1, 'status', {}));
    await settled();
    expect(last.messages()).toMatchObject([{ kind: 'answer', result: { totals: { connections: 1 } } }]);
    last.hangUp();
  }

  #open(): void {
    const { machine } = this;
    this.switchboard = new Switchboard({
      clock: machine.clock,
      broker: machine.broker,
      waitingPerClient: 1_000,
      version: '0.0.0',
      instance: 'one',
      pid: 1,
      epoch: 1,
      afterInput: (done) => done(),
    });
  }
}

/** Milliseconds of processor time that `work` takes. */
export function cpuMsOf(work: () => void): number {
  const before = process.cpuUsage();
  work();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1000;
}
