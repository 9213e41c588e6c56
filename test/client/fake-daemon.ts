import { Client } from '../../src/client/client.ts';
import type { Transport, TransportEvents } from '../../src/client/connection/connection.ts';
import type { SessionPorts } from '../../src/client/leases/session.ts';
import { countingSleep } from '../../src/clock.ts';
import type { ErrorCode } from '../../src/errors.ts';
import { MessageScanner } from '../../src/protocol/message-scanner.ts';
import { MINOR } from '../../src/protocol/minor.ts';
import { msgpackRpc } from '../../src/protocol/msgpack-rpc.ts';
import { settle, VirtualClock } from '../fixtures/virtual-clock.ts';

export const SOCKET = '/run/nonced/nonced.sock';

type Params = Readonly<Record<string, unknown>>;

/** A message of the client as the daemon received it, and ways to answer it. */
export class Asked {
  readonly line: Line;
  readonly id: number;
  readonly method: string;
  readonly params: Params;

  constructor(line: Line, id: number, method: string, params: Params) {
    this.line = line;
    this.id = id;
    this.method = method;
    this.params = params;
  }

  answer(result: object): void {
    this.line.say(msgpackRpc.answer(this.id, result));
  }

  refuse(code: ErrorCode, retryAfterMs?: number): void {
    const refusal = { code, message: `${code} for a test` };
    this.line.say(msgpackRpc.refusal(this.id, retryAfterMs === undefined ? refusal : { ...refusal, retryAfterMs }));
  }

  grant(grant: { token: bigint; nonce?: bigint; ttlMs?: number; waitedMs?: number }): void {
    this.answer({ nonce: 100n, count: 1, ttlMs: 20_000, waitedMs: 0, ...grant });
  }
}

/** The daemon's end of one connection. */
export class Line implements Transport {
  readonly #daemon: FakeDaemon;
  readonly #events: TransportEvents;
  readonly #scanner = new MessageScanner({ maxBytes: 4096, encoding: 'msgpack' });
  open = true;
  /** Whether it keeps the client's process alive. */
  referenced = true;
  writes = 0;

  constructor(daemon: FakeDaemon, events: TransportEvents) {
    this.#daemon = daemon;
    this.#events = events;
  }

  write(bytes: Uint8Array): void {
    if (!this.open) return;
    this.writes += 1;
    this.#scanner.push(bytes);
    for (let frame = this.#scanner.next(); frame !== undefined; frame = this.#scanner.next()) {
      const message = msgpackRpc.decode(frame);
      if (message.kind !== 'request' && message.kind !== 'notification') throw new Error(`unexpected ${message.kind}`);
      const id = message.kind === 'request' ? Number(message.id) : 0;
      this.#daemon.heard.push(new Asked(this, id, message.method, message.params as Params));
    }
  }

  close(): void {
    this.open = false;
  }

  destroy(): void {
    this.open = false;
  }

  ref(): void {
    this.referenced = true;
  }

  unref(): void {
    this.referenced = false;
  }

  say(bytes: Uint8Array): void {
    if (this.open) this.#events.received(bytes);
  }

  revoke(token: bigint): void {
    this.say(msgpackRpc.notification('revoked', { token, reason: 'expired' }));
  }

  /** The connection breaks. */
  break(code?: string): void {
    this.open = false;
    this.#events.closed(code === undefined ? undefined : Object.assign(new Error(code), { code }));
  }
}

/** A daemon that does what the test says, over connections that are a function call. */
export class FakeDaemon {
  readonly clock = new VirtualClock();
  readonly lines: Line[] = [];
  /** What came in and no test has looked at. */
  heard: Asked[] = [];
  /** `up` takes connections; else each attempt fails with this code. */
  state: 'up' | 'ENOENT' | 'ECONNREFUSED' | 'EACCES' | 'EMFILE' = 'up';
  greeting = {
    protocol: 1,
    minor: MINOR,
    version: '0.2.0',
    instance: 'one',
    epoch: 1,
    exclusive: 'global',
    limits: {},
  };
  /** What `hello` says is held. */
  held: object[] = [];
  /** False: `hello` waits for the test. */
  greets = true;
  dialled: string[] = [];

  ports(changes: Partial<SessionPorts> = {}): SessionPorts {
    return {
      dial: (path, events) => this.#dial(path, events),
      find: () => ({ path: SOCKET, ownDirectory: undefined }),
      trust: () => {},
      codec: msgpackRpc,
      clock: countingSleep(this.clock),
      random: () => 1,
      introduction: { name: 'test', pid: 7, session: 'f'.repeat(32) },
      connectTimeoutMs: 5_000,
      ...changes,
    };
  }

  async connect(changes: Partial<SessionPorts> = {}): Promise<Client> {
    const client = new Client(this.ports(changes));
    const opened = client.open(undefined);
    await settle();
    this.greet();
    await opened;
    return client;
  }

  get line(): Line {
    const line = this.lines.at(-1);
    if (line === undefined) throw new Error('nobody has connected');
    return line;
  }

  /** The next message of this method that no test has looked at. */
  async hear(method: string): Promise<Asked> {
    await settle();
    const at = this.heard.findIndex((asked) => asked.method === method);
    const [asked] = at < 0 ? [] : this.heard.splice(at, 1);
    if (asked === undefined) throw new Error(`no ${method} came in, but ${JSON.stringify(this.methods())}`);
    return asked;
  }

  /** Methods of what no test has looked at. */
  methods(): string[] {
    return this.heard.map(({ method }) => method);
  }

  /** Answers a hello that came in. */
  greet(): void {
    const at = this.heard.findIndex(({ method }) => method === 'hello');
    const [hello] = at < 0 ? [] : this.heard.splice(at, 1);
    hello?.answer({ ...this.greeting, held: this.held });
  }

  /** The connection breaks, and the next daemon answers `hello` with `held`. */
  async restart(held: object[] = []): Promise<void> {
    this.held = held;
    this.line.break();
    await this.clock.advanceSettled(10);
    this.greet();
    await settle();
  }

  #dial(path: string, events: TransportEvents): Transport {
    this.dialled.push(path);
    const line = new Line(this, events);
    if (this.state === 'up') this.lines.push(line);
    else {
      const code = this.state;
      line.open = false;
      setImmediate(() => line.break(code));
    }
    return line;
  }
}

/** Looks at a promise without waiting for it. Returns what it has come to by then: its value, its error, or `pending`. */
export function watch(promise: Promise<unknown>): () => Promise<unknown> {
  let outcome: unknown = 'pending';
  promise.then(
    (value) => {
      outcome = value;
    },
    (error: unknown) => {
      outcome = error;
    },
  );
  return async () => {
    await settle();
    return outcome;
  };
}

/** What a promise has come to by now. */
export function outcomeOf(promise: Promise<unknown>): Promise<unknown> {
  return watch(promise)();
}
