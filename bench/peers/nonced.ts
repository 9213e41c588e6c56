import { once } from 'node:events';
import { createConnection, type Socket } from 'node:net';
import { join } from 'node:path';
import { connect } from 'nonced-client';
import { MessageScanner } from '../../src/protocol/message-scanner.ts';
import { msgpackRpc } from '../../src/protocol/msgpack-rpc.ts';
import { type DaemonPlace, spawnDaemon } from '../../test/fixtures/daemon-process.ts';
import { RawConnection } from '../../test/fixtures/raw-connection.ts';
import { type Connection, laneName, type Peer, type Server } from '../peer.ts';
import { ready, stop, track } from '../processes.ts';

/** Long enough for the last of 10,000 waiters. */
const WAIT_MS = 600_000;

/** The daemon as a bot has it, through the client library. */
export const nonced: Peer = {
  name: 'nonced',
  title: 'nonced, client library',
  can: ['nonce', 'exclusive'],
  isDurable: true,
  missing: () => undefined,
  start: startNonced,
  async open(socket): Promise<Connection> {
    const client = await connect({ name: 'bench', socket });
    return {
      nonce: () => client.nonce(),
      close: () => client.close(),
      exclusive: (lane, call) =>
        client.exclusive({ account: laneName(lane), waitMs: WAIT_MS }, (grant) => call(grant.nonce)),
    };
  },
};

/** The same daemon, and as little as can be between a caller and the socket. */
export const noncedProtocol: Peer = {
  ...nonced,
  name: 'nonced-protocol',
  title: 'nonced, bare protocol',
  async open(socket): Promise<Connection> {
    const link = await ProtocolLink.open(socket);
    return {
      nonce: async () => (await link.ask('nonce', {})).nonce,
      async exclusive(lane, call) {
        const { nonce, token } = await link.ask('acquire', { account: laneName(lane), waitMs: WAIT_MS });
        await call(nonce);
        link.tell('release', { token, outcome: 'ok' });
      },
    };
  },
};

export interface NoncedServer extends Server {
  readonly pid: number;
}

/** Starts the daemon with a lane for each account. */
export async function startNonced(dir: string): Promise<NoncedServer> {
  const place = placeIn(dir);
  const daemon = spawnDaemon(place);
  track(daemon.child);
  await ready(daemon.child, 'nonced', () => daemon.log().includes('is ready'));
  const admin = await RawConnection.open(place.adminSocket);
  await admin.ask('set-exclusive', { policy: 'account' });
  admin.destroy();
  return { endpoint: place.socket, pid: daemon.pid, stop: () => stop(daemon.child) };
}

export function placeIn(dir: string): DaemonPlace {
  const runtimeDir = join(dir, 'r');
  return {
    dir,
    stateDir: join(dir, 's'),
    runtimeDir,
    socket: join(runtimeDir, 'nonced.sock'),
    adminSocket: join(runtimeDir, 'admin.sock'),
    remove: () => {},
  };
}

interface Drawn {
  readonly nonce: bigint;
  readonly token: bigint;
}

/** Requests and their answers, without deadlines, reconnection or checks. */
export class ProtocolLink {
  readonly #socket: Socket;
  readonly #pending = new Map<number | string, (result: Drawn) => void>();
  #lastId = 0;

  private constructor(socket: Socket) {
    this.#socket = socket;
  }

  static async open(path: string): Promise<ProtocolLink> {
    const socket = createConnection(path);
    await once(socket, 'connect');
    const link = new ProtocolLink(socket);
    const scanner = new MessageScanner({ maxBytes: 1 << 20, encoding: 'msgpack' });
    socket.on('data', (chunk) => {
      scanner.push(chunk);
      for (let frame = scanner.next(); frame !== undefined; frame = scanner.next()) link.#take(frame);
    });
    return link;
  }

  ask(method: string, params: object): Promise<Drawn> {
    this.#lastId += 1;
    const id = this.#lastId;
    return new Promise((resolve) => {
      this.#pending.set(id, resolve);
      this.#socket.write(msgpackRpc.request(id, method, params));
    });
  }

  tell(method: string, params: object): void {
    this.#socket.write(msgpackRpc.notification(method, params));
  }

  close(): void {
    this.#socket.destroy();
  }

  #take(frame: Uint8Array): void {
    const message = msgpackRpc.decode(frame);
    if (message.kind !== 'answer') throw new Error(`the daemon sent ${JSON.stringify(message)}`);
    this.#pending.get(message.id)?.(message.result as Drawn);
    this.#pending.delete(message.id);
  }
}
