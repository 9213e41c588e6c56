import { chmodSync, lstatSync, unlinkSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { EXIT, ExitError, systemErrorCode } from '../errors.ts';
import { MAX_SOCKET_PATH_BYTES } from './config.ts';
import type { Log } from './log.ts';
import type { Switchboard } from './switchboard.ts';

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

/** Throws ExitError (78) for a path that Node would cut short without a word. */
export function checkSocketPath(path: string): void {
  const bytes = Buffer.byteLength(path);
  if (bytes <= MAX_SOCKET_PATH_BYTES) return;
  throw new ExitError(
    EXIT.config,
    `socket path ${path} is ${bytes} bytes long, over the ${MAX_SOCKET_PATH_BYTES} a Unix socket can have; ` +
      'choose a shorter --runtime-dir',
  );
}

/**
 * Unlinks the socket of a daemon that has died. The caller holds the lock of the runtime directory; a socket that
 * answers all the same, or a file that is no socket, is left alone: throws ExitError.
 */
async function removeLeftoverSocket(path: string): Promise<void> {
  const found = lstatSync(path, { throwIfNoEntry: false });
  if (found === undefined) return;
  if (!found.isSocket()) {
    throw new ExitError(EXIT.config, `${path} is in the way and is no socket; move it away`);
  }
  if (await answers(path)) {
    throw new ExitError(EXIT.tempFail, `another program answers on ${path}; stop it, or choose another --runtime-dir`);
  }
  unlinkSync(path);
}

/** Whether some process accepts connections on the socket `path`. */
export function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    const settle = (accepted: boolean) => {
      socket.destroy();
      resolve(accepted);
    };
    socket.once('connect', () => settle(true));
    // A full backlog or a forbidden socket has somebody behind it.
    socket.once('error', (error) => settle(['EAGAIN', 'EACCES'].includes(systemErrorCode(error) ?? '')));
  });
}

/** Listens on the socket that was passed, or on a new one at `path`. Rejects with ExitError where it cannot. */
export async function listen(listener: Listener, switchboard: Switchboard, log: Log): Promise<Listening> {
  const { path, descriptor, role, mode, maxConnections } = listener;
  if (descriptor === undefined) await removeLeftoverSocket(path);
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
  return new Promise((resolve, reject) => {
    server.once('error', (error) => {
      reject(new ExitError(EXIT.tempFail, `cannot listen on ${path}: ${error.message}`, { cause: error }));
    });
    if (descriptor === undefined) bindPrivately(server, path);
    else server.listen({ fd: descriptor });
    server.once('listening', () => {
      try {
        // Who may connect to a socket of systemd's is said in its unit.
        if (descriptor === undefined) chmodSync(path, mode);
      } catch (error) {
        reject(new ExitError(EXIT.noPermission, `cannot set the permissions of ${path}: ${String(error)}`));
        return;
      }
      server.removeAllListeners('error');
      // Out of descriptors, most likely: the connection is lost, the daemon is not.
      server.on('error', (error) => log.error(`a connection on ${path} could not be accepted: ${error.message}`));
      resolve({
        close() {
          server.close();
          for (const socket of sockets) socket.destroy();
        },
      });
    });
  });
}

/** Binds so that nobody else can connect before the permissions are set, whatever the umask. */
function bindPrivately(server: Server, path: string): void {
  const umask = process.umask(0o177);
  try {
    server.listen({ path, backlog: 511 });
  } finally {
    process.umask(umask);
  }
}

function attach(socket: Socket, role: 'bot' | 'admin', switchboard: Switchboard): void {
  const session = switchboard.connect(
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
  socket.on('data', (chunk) => switchboard.receive(session, chunk));
  socket.on('end', () => switchboard.receiveEnd(session));
  // A broken connection is closed next, and that is all there is to do.
  socket.on('error', () => {});
  socket.on('close', () => switchboard.closed(session));
}
