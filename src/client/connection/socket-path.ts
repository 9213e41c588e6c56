import { join, resolve } from 'node:path';
import { NoncedError, refusal } from '../../errors.ts';
import { isServiceInstalled, SERVICE_RUNTIME_DIR, SERVICE_SOCKET } from '../../service-places.ts';

/** What Node passes to the kernel; it cuts a longer path short without a word. */
const MAX_PATH_BYTES = 107;

/** Where to connect to. */
export interface SocketPlace {
  readonly path: string;
  /** Must be the user's alone before anything is said there; undefined where an administrator or the caller vouches for it. */
  readonly ownDirectory: string | undefined;
}

export interface Owner {
  readonly uid: number;
  readonly mode: number;
  readonly isDirectory: boolean;
}

/** What the search looks at, from the composition root. */
export interface Surroundings {
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly uid: number;
  readonly temporaryDirectory: string;
  /** True also where the answer is forbidden: a socket that may not be looked at is there. */
  exists(path: string): boolean;
  /** Whether a directory is there, or a symbolic link to one. */
  isDirectory(path: string): boolean;
  /** Undefined where nothing is there. Does not follow a symbolic link. */
  owner(path: string): Owner | undefined;
}

/**
 * The socket to use: the one asked for, `$NONCED_SOCKET`, the service's, or the user's own; the first there is, else
 * where a daemon of this user would be. The path is absolute. Throws UNAVAILABLE for a path over 107 bytes, and for
 * one that was asked for and is a directory, has quotes or a blank around it, or begins with `unix:`.
 */
export function findSocket(asked: string | undefined, around: Surroundings): SocketPlace {
  const explicit = explicitOf(asked, around);
  if (explicit !== undefined) checkForm(explicit, around);
  const [first, ...others] = socketPlaces(asked, around);
  const found = [first, ...others].find(({ path }) => around.exists(path));
  // In a container, the directory of the host's service is all that there is to see of it while it is down.
  const expected = around.exists(SERVICE_RUNTIME_DIR) ? first : others[0];
  return checkedLength(found ?? expected ?? first);
}

/** Where findSocket looks, in its order. */
export function socketPlaces(
  asked: string | undefined,
  around: Surroundings,
): readonly [SocketPlace, ...(readonly SocketPlace[])] {
  const explicit = explicitOf(asked, around);
  // Absolute, and once: the process may change its directory, and must find its way back to the same daemon.
  if (explicit !== undefined) return [{ path: resolve(explicit), ownDirectory: undefined }];
  const service = { path: SERVICE_SOCKET, ownDirectory: undefined };
  // A daemon that root starts is the service's stand-in and binds there too. And while an installed service is down, a
  // daemon of the user's own would be a second authority for the same keys.
  return around.uid === 0 || isServiceInstalled(around.exists) ? [service] : [service, ...ownPlaces(around)];
}

function explicitOf(asked: string | undefined, around: Surroundings): string | undefined {
  return asked || around.environment['NONCED_SOCKET'] || undefined;
}

function ownPlaces(around: Surroundings): SocketPlace[] {
  const temporary = ownPlace(join(around.temporaryDirectory, `nonced-${around.uid}`));
  // cron sets no XDG_RUNTIME_DIR, and its bots must find the daemon that was started in a shell.
  const runtime = around.environment['XDG_RUNTIME_DIR'] || `/run/user/${around.uid}`;
  if (!around.exists(runtime)) return [temporary];
  const xdg = ownPlace(join(runtime, 'nonced'));
  return around.environment['XDG_RUNTIME_DIR'] ? [xdg, temporary] : [temporary, xdg];
}

function ownPlace(directory: string): SocketPlace {
  return { path: join(directory, 'nonced.sock'), ownDirectory: directory };
}

/** Throws UNAVAILABLE for what cannot be a socket's path but is easily written for one, with the path that was meant. */
function checkForm(given: string, around: Surroundings): void {
  if (around.isDirectory(given)) {
    throw notASocket(`${given} is a directory; the socket in it is ${join(given, 'nonced.sock')}`);
  }
  if (around.exists(given)) return;
  const meant = given
    .trim()
    .replace(/^(["'])(.*)\1$/, '$2')
    .replace(/^unix:(\/\/)?/, '')
    .trim();
  if (meant === given) return;
  // Quoted, so that a blank or a carriage return at its end shows.
  throw notASocket(`${JSON.stringify(given)} is not the path of a socket; write it as ${meant}`);
}

function notASocket(message: string): NoncedError {
  return new NoncedError(refusal('UNAVAILABLE', `${message} (NONCED_SOCKET, --socket or the option socket)`));
}

function checkedLength(place: SocketPlace): SocketPlace {
  const bytes = Buffer.byteLength(place.path);
  if (bytes <= MAX_PATH_BYTES) return place;
  throw new NoncedError(
    refusal(
      'UNAVAILABLE',
      `socket path ${place.path} is ${bytes} bytes long and the system takes ${MAX_PATH_BYTES}; set NONCED_SOCKET to a shorter one`,
    ),
  );
}

/**
 * Throws UNAVAILABLE if the directory of a user's own socket belongs to another user, who could then hand out nonces
 * in our name. A directory that is not there yet passes: connecting will fail by itself.
 */
export function checkOwner(place: SocketPlace, around: Surroundings): void {
  if (place.ownDirectory === undefined) return;
  const owner = around.owner(place.ownDirectory);
  if (owner === undefined) return;
  if (owner.isDirectory && owner.uid === around.uid && (owner.mode & 0o022) === 0) return;
  throw new NoncedError(
    refusal(
      'UNAVAILABLE',
      `${place.ownDirectory} is not a directory that only user ${around.uid} can write to; remove it, or set NONCED_SOCKET to the daemon's socket`,
    ),
  );
}
