/** Binds Unix domain sockets: only where no program answers, and never open to more users than intended. */
import { chmodSync, lstatSync, unlinkSync } from 'node:fs';
import { connect, type Server } from 'node:net';
import { asError, EXIT, ExitError, systemErrorCode } from '../../errors.ts';
import { MAX_SOCKET_PATH_BYTES } from '../host/directories.ts';

/** Throws ExitError (78) for a path that Node would silently cut short. `option` is the one that chooses the path. */
export function checkSocketPath(path: string, option: string): void {
  const bytes = Buffer.byteLength(path);
  if (bytes <= MAX_SOCKET_PATH_BYTES) return;
  throw new ExitError(
    EXIT.config,
    `socket path ${path} is ${bytes} bytes long, and a Unix socket's may have ${MAX_SOCKET_PATH_BYTES} at most; ` +
      `choose a shorter ${option}`,
  );
}

/**
 * Unlinks the socket of a process that has died. Throws ExitError, and leaves the file alone, if a program answers on
 * it or it is not a socket.
 */
export async function removeLeftoverSocket(path: string, option: string): Promise<void> {
  const found = lstatSync(path, { throwIfNoEntry: false });
  if (found === undefined) return;
  if (!found.isSocket()) {
    throw new ExitError(EXIT.config, `${path} is not a socket; move it away`);
  }
  if (await answers(path)) {
    throw new ExitError(
      EXIT.tempFail,
      `another program answers on ${path}; stop it (sudo ss -xlp names it), or choose another ${option}`,
    );
  }
  unlinkSync(path);
}

/** Whether a process accepts connections on the socket `path`. */
export function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    const settle = (accepted: boolean) => {
      socket.destroy();
      resolve(accepted);
    };
    socket.once('connect', () => settle(true));
    // A full backlog, or a socket that is closed to us, has a process behind it.
    socket.once('error', (error) => settle(['EAGAIN', 'EACCES'].includes(systemErrorCode(error) ?? '')));
  });
}

/** Listens on a new socket at `path`, with the permissions `mode`. Rejects with ExitError. */
export async function bindSocket(server: Server, path: string, mode: number): Promise<void> {
  await listening(server, path, () => bindPrivately(server, path));
  try {
    chmodSync(path, mode);
  } catch (error) {
    throw new ExitError(EXIT.noPermission, `the permissions of ${path} cannot be set: ${asError(error).message}`);
  }
}

/** Calls `listen` and waits until `server` listens. Rejects with ExitError, which names `place`. */
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

/** Binds the socket so that no other user can connect before its permissions are set, whatever the umask. */
function bindPrivately(server: Server, path: string): void {
  const umask = process.umask(0o177);
  try {
    server.listen({ path, backlog: 511 });
  } finally {
    process.umask(umask);
  }
}
