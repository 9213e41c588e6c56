import {
  accessSync,
  closeSync,
  constants,
  fstatSync,
  fsyncSync,
  lstatSync,
  mkdirSync,
  openSync,
  rmdirSync,
} from 'node:fs';
import { dirname, resolve } from 'node:path';
import { EXIT, ExitError, systemErrorCode } from '../errors.ts';
import { SERVICE_STATE_DIR } from '../service-places.ts';

/**
 * Returns the command `nonced state COMMAND` for the state in `dir`, as the reader of a message must type it. What the
 * service says is read by an administrator, and only the service's user may change its state.
 */
export function stateCommand(command: string, dir: string, euid = ourUid(0)): string {
  const path = resolve(dir);
  const asOwner = path === SERVICE_STATE_DIR && euid !== 0 ? 'sudo -u nonced ' : '';
  return `${asOwner}nonced state ${command} --state-dir ${path}`;
}

/**
 * Errors of a disk or a table that is full, or of a disk that is read-only. They may pass, and the old file is intact.
 */
const PASSING = new Set(['ENOSPC', 'EDQUOT', 'EROFS', 'EMFILE', 'ENFILE', 'ENOMEM']);

/** Whether an error of the disk may pass without an operator's decision, with the old file intact. */
export function mayPass(error: unknown): boolean {
  return PASSING.has(systemErrorCode(error) ?? '');
}

/** Returns why a start cannot go on. `fact` names the path and what could not be done with it. */
export function startFailure(error: unknown, fact: string): ExitError {
  if (error instanceof ExitError) return error;
  const reason = error instanceof Error ? error.message : String(error);
  const code = systemErrorCode(error);
  if (mayPass(error)) {
    return new ExitError(EXIT.tempFail, `${fact}: ${reason}; free space or remount it, then start again`, {
      cause: error,
    });
  }
  if (code === 'EACCES' || code === 'EPERM') {
    return new ExitError(
      EXIT.noPermission,
      `${fact}: ${reason}; this runs as user ${ourUser()}: run it as the owner (ls -ld shows who that is; sudo -u OWNER …), or name another directory`,
      {
        cause: error,
      },
    );
  }
  return new ExitError(EXIT.ioError, `${fact}: ${reason}; check the disk (dmesg), then start again`, { cause: error });
}

/**
 * Creates the state directory (0700) durably if it is missing. Returns its open descriptor, on which the lock and every
 * directory sync are made. The directory must be ours, and writable for no other user. Adds the directories that it
 * creates to `made`, parents first. Throws ExitError.
 */
export function prepareStateDirectory(dir: string, made: string[] = []): number {
  const path = resolve(dir);
  const descriptor = openOwnDirectory(path, 'state directory', 0o022, made);
  try {
    // Its own entry must survive a power cut too. At every start: the one that made it may have been killed before
    // this.
    syncDirectoryEntry(path);
    return descriptor;
  } catch (error) {
    closeSync(descriptor);
    throw error;
  }
}

/**
 * Does the same for the runtime directory, which systemd may have made (0755) and a group may share: it must be ours,
 * and not writable for everyone. It is gone after a reboot, so nothing is synced.
 */
export function prepareRuntimeDirectory(dir: string, made: string[] = []): number {
  return openOwnDirectory(resolve(dir), 'runtime directory', 0o002, made);
}

/** Removes directories that were made for what is refused now, unless something is in them. */
export function removeMade(made: readonly string[]): void {
  for (const path of made.toReversed()) {
    try {
      rmdirSync(path);
    } catch {
      // Something is in it, or it is gone. It does no harm.
      return;
    }
  }
}

function openOwnDirectory(path: string, role: string, forbiddenMode: number, made: string[]): number {
  let descriptor: number;
  try {
    makeDirectory(path, made);
    if (lstatSync(path).isSymbolicLink()) {
      throw new ExitError(EXIT.config, `${role} ${path} is a symbolic link; name the directory that it leads to`);
    }
    descriptor = openSync(path, constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW);
  } catch (error) {
    const code = systemErrorCode(error);
    if (code === 'EEXIST' || code === 'ENOTDIR' || code === 'ELOOP') {
      throw new ExitError(EXIT.config, `${role} ${path} is not a directory; move the file away`, {
        cause: error,
      });
    }
    throw startFailure(error, `${role} ${path} cannot be created or opened`);
  }
  try {
    const { uid, mode } = fstatSync(descriptor);
    if (uid !== ourUid(uid)) {
      throw new ExitError(
        EXIT.config,
        `${role} ${path} belongs to user ${uid}, not to ${ourUser()}; run nonced as its owner, or: sudo chown ${ourUser()} ${path}`,
      );
    }
    if ((mode & forbiddenMode) !== 0) {
      const who = (mode & 0o002) !== 0 ? 'everyone' : 'its group';
      throw new ExitError(EXIT.config, `${role} ${path} can be written to by ${who}; run: chmod go-w ${path}`);
    }
    if ((mode & 0o700) !== 0o700) {
      throw new ExitError(EXIT.noPermission, `${role} ${path} is not writable for its owner; run: chmod u+rwx ${path}`);
    }
    // The mode does not show a disk that is read-only.
    accessSync(path, constants.W_OK | constants.X_OK);
    return descriptor;
  } catch (error) {
    closeSync(descriptor);
    throw startFailure(error, `${role} ${path} is not writable`);
  }
}

/** Creates a directory and its parents. Node's own recursive mkdir reports a read-only disk as ENOENT. */
function makeDirectory(path: string, made: string[]): void {
  try {
    mkdirSync(path, 0o700);
    made.push(path);
  } catch (error) {
    const code = systemErrorCode(error);
    if (code === 'EEXIST') return;
    if (code !== 'ENOENT' || dirname(path) === path) throw error;
    makeDirectory(dirname(path), made);
    mkdirSync(path, 0o700);
    made.push(path);
  }
  syncDirectoryEntry(path);
}

function syncDirectoryEntry(path: string): void {
  let parent: number;
  try {
    parent = openSync(dirname(path), constants.O_RDONLY | constants.O_DIRECTORY);
  } catch (error) {
    // A parent that we may pass through but not list was not made by us just now.
    if (systemErrorCode(error) === 'EACCES') return;
    throw error;
  }
  try {
    fsyncSync(parent);
  } catch (error) {
    throw startFailure(error, `directory ${dirname(path)} cannot be synced`);
  } finally {
    closeSync(parent);
  }
}

/** Returns the effective user, or `otherwise` on a platform without users. */
export function ourUid(otherwise: number): number {
  return process.geteuid?.() ?? otherwise;
}

function ourUser(): string {
  return String(process.geteuid?.() ?? '?');
}

/**
 * Returns why an open file must not be trusted, and the fix, as the end of a sentence that begins with its path; or
 * undefined.
 */
export function distrustFile(
  descriptor: number,
  path: string,
  forbiddenMode: number,
  owner: 'ours' | 'anyone' = 'ours',
): string | undefined {
  const stat = fstatSync(descriptor);
  if (!stat.isFile()) return 'is not a regular file; move it away';
  if (owner === 'ours' && stat.uid !== ourUid(stat.uid)) {
    return `belongs to user ${stat.uid}, not to ${ourUser()}; run nonced as that user, or: sudo chown ${ourUser()} ${path}`;
  }
  if ((stat.mode & forbiddenMode) !== 0)
    return `can be changed by other users; find out whether one did, then: chmod 600 ${path}`;
  return undefined;
}
