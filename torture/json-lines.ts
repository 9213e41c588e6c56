import { once } from 'node:events';
import { createConnection, type Socket } from 'node:net';
import { createInterface } from 'node:readline';

type Fields = Readonly<Record<string, unknown>>;

/** Thrown if the daemon refuses, or is gone before it answers (`GONE`). */
export class Refused extends Error {
  readonly code: string;

  constructor(code: string, message: string) {
    super(`${code}: ${message}`);
    this.code = code;
  }
}

/** A connection that speaks JSON lines, without the client library. */
export class JsonLines {
  readonly #socket: Socket;
  readonly #waiting = new Map<number, { resolve(result: Fields): void; reject(error: Refused): void }>();
  #lastId = 0;
  #isClosed = false;
  /** Called for each lease that the daemon has ended. */
  onRevoked: (token: string, reason: string) => void = () => {};

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.on('error', () => {});
    socket.on('close', () => {
      this.#isClosed = true;
      for (const { reject } of this.#waiting.values()) reject(new Refused('GONE', 'the connection is closed'));
      this.#waiting.clear();
    });
    createInterface({ input: socket })
      .on('line', (line) => this.#heard(line))
      .on('error', () => {});
  }

  /** Connects. Rejects if nothing listens. */
  static async open(path: string): Promise<JsonLines> {
    const socket = createConnection(path);
    await once(socket, 'connect');
    return new JsonLines(socket);
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** Sends a request. Rejects with Refused, whose code is GONE if no answer comes in time. */
  ask(method: string, params: object, withinMs: number): Promise<Fields> {
    const id = ++this.#lastId;
    return new Promise<Fields>((resolve, reject) => {
      if (this.#isClosed) {
        reject(new Refused('GONE', 'the connection is closed'));
        return;
      }
      const timer = setTimeout(() => {
        this.#waiting.delete(id);
        reject(new Refused('GONE', `no answer within ${withinMs} ms`));
      }, withinMs);
      const settled =
        <T>(settle: (value: T) => void) =>
        (value: T) => {
          clearTimeout(timer);
          settle(value);
        };
      this.#waiting.set(id, { resolve: settled(resolve), reject: settled(reject) });
      this.#socket.write(`${JSON.stringify({ jsonrpc: '2.0', id, method, params })}\n`);
    });
  }

  close(): void {
    this.#socket.destroy();
  }

  #heard(line: string): void {
    const message = JSON.parse(line) as {
      id?: number;
      result?: Fields;
      error?: { message: string; data?: { code: string } };
      params?: { token: string; reason: string };
    };
    if (message.id === undefined) {
      if (message.params !== undefined) this.onRevoked(message.params.token, message.params.reason);
      return;
    }
    const waiting = this.#waiting.get(message.id);
    this.#waiting.delete(message.id);
    if (message.error === undefined) waiting?.resolve(message.result ?? {});
    else waiting?.reject(new Refused(message.error.data?.code ?? 'UNKNOWN', message.error.message));
  }
}

/** Sends one request on a connection of its own. */
export async function askOnce(path: string, method: string, params: object, withinMs: number): Promise<Fields> {
  const connection = await JsonLines.open(path);
  try {
    return await connection.ask(method, params, withinMs);
  } finally {
    connection.close();
  }
}
