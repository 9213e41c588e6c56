/** How a Unix domain socket is bound: only where nobody answers, and never open to more than it is meant for. */
import { chmodSync, lstatSync, unlinkSync } from 'node:fs';
import { connect, type Server } from 'node:net';
import { EXIT, ExitError, systemErrorCode } from '../../errors.ts';
import { MAX_SOCKET_PATH_BYTES } from '../host/directories.ts';

/** Throws ExitError (78) for a path that Node would cut short without a word; `option` is what chooses it. */
export function checkSocketPath(path: string, option: string): void {
  const bytes = Buffer.byteLength(path);
  if (bytes <= MAX_SOCKET_PATH_BYTES) return;
  throw new ExitError(
    EXIT.config,
    `socket path ${path} is ${bytes} bytes long, over the ${MAX_SOCKET_PATH_BYTES} a Unix socket can have; ` +
      `choose a shorter ${option}`,
  );
}

/**
 * Unlinks the socket of a process that has died. One that answers, or a file that is no socket, is left alone: throws
 * ExitError.
 */
export async function removeLeftoverSocket(path: string, option: string): Promise<void> {
  const found = lstatSync(path, { throwIfNoEntry: false });
  if (found === undefined) return;
  if (!found.isSocket()) {
    throw new ExitError(EXIT.config, `${path} is in the way and is no socket; move it away`);
  }
  if (await answers(path)) {
    throw new ExitError(EXIT.tempFail, `another program answers on ${path}; stop it, or choose another ${option}`);
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

/** Listens on a new socket at `path`, to which whoever `mode` lets may connect. Rejects with ExitError. */
export async function bindSocket(server: Server, path: string, mode: number): Promise<void> {
  await listening(server, path, () => bindPrivately(server, path));
  try {
    chmodSync(path, mode);
  } catch (error) {
    throw new ExitError(EXIT.noPermission, `cannot set the permissions of ${path}: ${String(error)}`);
  }
}

/** Waits until `server` listens, as `listen` has told it to; `place` is for people. Rejects with ExitError. */
export function listening(server: Server, place: string, listen: () => void): Promise<void> {
  return new Promise((resolve, reject) => {
    const failed = (error: Error) => {
      reject(new ExitError(EXIT.tempFail, `cannot listen on ${place}: ${error.message}`, { cause: error }));
    };
    server.once('error', failed);
    server.once('listening', () => {
      server.off('error', failed);
      resolve();
    });
    listen();
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
