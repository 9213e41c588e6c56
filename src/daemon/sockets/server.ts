import { lstatSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import type { Log } from '../log/log.ts';
import type { Switchboard } from './switchboard.ts';
import { bindSocket, listening, removeLeftoverSocket } from './unix-listener.ts';

/** How many connections may be open beyond `maxConnections` until room is made for them, or they are closed. */
const NEWCOMERS = 128;

export interface Listener {
  readonly path: string;
  /** The descriptor of the socket at `path` that systemd holds; undefined if it is made here. */
  readonly descriptor: number | undefined;
  readonly role: 'bot' | 'admin';
  /** Permissions of the socket. They alone decide who may connect: Node cannot ask who calls. */
  readonly mode: number;
  readonly maxConnections: number;
}

/** A listening socket and its connections. */
export interface Listening {
  readonly path: string;
  /** Whether clients find this socket at its path, or have never found it there. */
  whereabouts(): 'there' | 'gone' | 'never there';
  /** Closes the socket and cuts off its connections. */
  close(): void;
}

/** Listens on the socket that was passed, or on a new one at `path`. Rejects with ExitError. */
export async function listen(listener: Listener, switchboard: Switchboard, log: Log): Promise<Listening> {
  const { path, descriptor, role, mode, maxConnections } = listener;
  if (descriptor === undefined) await removeLeftoverSocket(path, '--runtime-dir');
  const sockets = new Set<Socket>();
  // Half-open: `printf … | nc -N` in a shell closes its side before it has the answer.
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
    // A broken connection is closed next; there is nothing else to do.
    socket.on('error', () => {});
    if (sockets.size <= maxConnections) {
      attach(socket, role, switchboard);
      return;
    }
    switchboard.makeRoom(role, maxConnections, (room) => {
      if (room === 'made') closedIdle();
      if (room === 'none') {
        refused();
        socket.destroy();
      } else if (!socket.destroyed) {
        attach(socket, role, switchboard);
      }
    });
  });
  const isFull = `${maxConnections} are open already; some bot does not close its connections (sudo ss -xp names it)`;
  const refused = counted((times) => log.warn(`${times} connections refused on ${path}: ${isFull}`));
  const closedIdle = counted((times) => log.warn(`${times} idle connections closed on ${path}: ${isFull}`));
  server.maxConnections = maxConnections + NEWCOMERS;
  server.on('drop', refused);
  // The unit of a socket that systemd holds says who may connect.
  if (descriptor === undefined) await bindSocket(server, path, mode);
  else await listening(server, path, () => server.listen({ fd: descriptor }));
  const bound = identityOf(path);
  // Most likely there are no descriptors left. The connection is lost; the daemon goes on.
  server.on('error', (error) => log.error(`a connection on ${path} could not be accepted: ${error.message}`));
  return {
    path,
    whereabouts: () => (bound === undefined ? 'never there' : identityOf(path) === bound ? 'there' : 'gone'),
    close() {
      server.close();
      for (const socket of sockets) socket.destroy();
    },
  };
}

/** Says it the first time, and then at every power of two: a client that tries again and again must not fill the log. */
function counted(say: (times: number) => void): () => void {
  let times = 0;
  return () => {
    times += 1;
    if (Number.isInteger(Math.log2(times))) say(times);
  };
}

function attach(socket: Socket, role: 'bot' | 'admin', switchboard: Switchboard): void {
  const connection = switchboard.connect(
    {
      write: (bytes) => {
        if (!socket.destroyed) socket.write(bytes);
      },
      get unsentBytes() {
        return socket.writableLength;
      },
      end: () => socket.end(),
      destroy: () => socket.destroy(),
      pause: () => socket.pause(),
      resume: () => socket.resume(),
    },
    role,
  );
  socket.on('data', (chunk) => switchboard.receive(connection, chunk));
  socket.on('drain', () => switchboard.drained(connection));
  socket.on('end', () => switchboard.receiveEnd(connection));
  socket.on('close', () => switchboard.closed(connection));
}

/** Returns what tells the socket at `path` from another one; undefined if there is none. */
function identityOf(path: string): string | undefined {
  const found = lstatSync(path, { bigint: true, throwIfNoEntry: false });
  return found?.isSocket() ? `${found.dev}:${found.ino}` : undefined;
}
