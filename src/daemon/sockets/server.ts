import { createServer, type Socket } from 'node:net';
import type { Log } from '../log/log.ts';
import type { Switchboard } from './switchboard.ts';
import { bindSocket, listening, removeLeftoverSocket } from './unix-listener.ts';

export interface Listener {
  readonly path: string;
  /** The socket at `path`, made and kept by systemd; undefined: it is made here. */
  readonly descriptor: number | undefined;
  readonly role: 'bot' | 'admin';
  /** Permissions of the socket: who may connect. Node has no other way to tell who calls. */
  readonly mode: number;
  readonly maxConnections: number;
}

/** A listening socket, with its connections. */
export interface Listening {
  /** Closes it and cuts off its connections. */
  close(): void;
}

/** Listens on the socket that was passed, or on a new one at `path`. Rejects with ExitError where it cannot. */
export async function listen(listener: Listener, switchboard: Switchboard, log: Log): Promise<Listening> {
  const { path, descriptor, role, mode, maxConnections } = listener;
  if (descriptor === undefined) await removeLeftoverSocket(path, '--runtime-dir');
  const sockets = new Set<Socket>();
  // Half-open: a shell's `printf … | nc -N` closes its side before it has the answer.
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
    attach(socket, role, switchboard);
  });
  server.maxConnections = maxConnections;
  let drops = 0;
  server.on('drop', () => {
    // The first and then every power of two: a client that tries again and again must not fill the log.
    drops += 1;
    if (Number.isInteger(Math.log2(drops))) {
      log.warn(
        `${drops} connections refused on ${path}: ${maxConnections} are open already; some bot does not close its`,
      );
    }
  });
  // Who may connect to a socket of systemd's is said in its unit.
  if (descriptor === undefined) await bindSocket(server, path, mode);
  else await listening(server, path, () => server.listen({ fd: descriptor }));
  // Out of descriptors, most likely: the connection is lost, the daemon is not.
  server.on('error', (error) => log.error(`a connection on ${path} could not be accepted: ${error.message}`));
  return {
    close() {
      server.close();
      for (const socket of sockets) socket.destroy();
    },
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
    },
    role,
  );
  socket.on('data', (chunk) => switchboard.receive(connection, chunk));
  socket.on('end', () => switchboard.receiveEnd(connection));
  // A broken connection is closed next, and that is all there is to do.
  socket.on('error', () => {});
  socket.on('close', () => switchboard.closed(connection));
}
