import { spawnSync } from 'node:child_process';
import {
  closeSync,
  constants,
  fstatSync,
  mkdirSync,
  openSync,
  realpathSync,
  rmdirSync,
  statSync,
  utimesSync,
} from 'node:fs';
import { join } from 'node:path';
import { lockSync } from 'proper-lockfile';
import { EXIT, ExitError, systemErrorCode } from '../../errors.ts';
import { startFailure } from '../directories.ts';
import { exists, LOCK_DIRECTORY, STATE_FILE, salvageStateFile } from '../state/state-file.ts';

/** A lock directory younger than this is in use to a tool that looks at it. Half of it is how often it is refreshed. */
const STALE_MS = 24 * 60 * 60 * 1000;
const FLOCK_BUSY = 75;
// macOS: take the lock of flock(2) while opening. Node has no name for it.
const O_EXLOCK = 0x20;
const RETRY_MS = 50;

export interface InstanceLockOptions {
  readonly stateDir: string;
  /** Descriptors of both directories. The locks live on them: they end when these are closed or the process ends. */
  readonly stateDirFd: number;
  readonly runtimeDir: string;
  readonly runtimeDirFd: number;
  /** How long a holder that is just ending is waited for. */
  readonly waitSeconds: number;
  /** The lock directory could not be kept fresh, or somebody removed it. A warning only: the kernel's lock still holds. */
  readonly onCompromised: (error: Error) => void;
  readonly platform?: NodeJS.Platform;
  readonly flockProgram?: string;
}

export interface InstanceLock {
  /** A lock directory of a daemon that did not stop cleanly was there: with no state beside it, the state was lost. */
  readonly foundLeftover: boolean;
  /** There is a state now: should it be gone when the lock is released, it was lost, and the lock stays to tell (I9). */
  stateIsThere(): void;
  /**
   * Removes the lock directory. To be called before the two descriptors are closed, which is what ends the kernel's
   * lock. Harmless when called again.
   */
  release(): void;
}

interface Place {
  readonly role: 'state' | 'runtime';
  readonly dir: string;
  readonly descriptor: number;
}

/**
 * Makes this process the only one that uses these two directories: first by the kernel's lock, which cannot outlive
 * its holder, then by proper-lockfile's directory, for tools that look for one. Throws ExitError.
 */
export function acquireInstanceLock(options: InstanceLockOptions): InstanceLock {
  const { stateDir, stateDirFd, runtimeDir, runtimeDirFd, platform = process.platform } = options;
  const places: Place[] = [{ role: 'state', dir: stateDir, descriptor: stateDirFd }];
  if (identity(stateDirFd) !== identity(runtimeDirFd)) {
    places.push({ role: 'runtime', dir: runtimeDir, descriptor: runtimeDirFd });
  }
  const opened: number[] = [];
  try {
    for (const place of places) {
      if (platform === 'darwin') opened.push(openLocked(place, stateDir, options.waitSeconds));
      else lockDescriptor(place, stateDir, options.waitSeconds, options.flockProgram ?? 'flock');
    }
    const { foundLeftover, stateIsThere, unlock } = makeLockDirectory(options);
    return {
      foundLeftover,
      stateIsThere,
      release() {
        unlock();
        for (const descriptor of opened.splice(0)) closeSync(descriptor);
      },
    };
  } catch (error) {
    for (const descriptor of opened) closeSync(descriptor);
    throw error;
  }
}

/** The program inherits the descriptor, and so locks the open file that is ours: the lock stays when it has exited. */
function lockDescriptor(place: Place, stateDir: string, waitSeconds: number, program: string): void {
  const wait = waitSeconds > 0 ? ['-w', String(waitSeconds)] : ['-n'];
  const { status, signal, error, stderr } = spawnSync(program, ['-x', ...wait, '-E', String(FLOCK_BUSY), '3'], {
    stdio: ['ignore', 'ignore', 'pipe', place.descriptor],
    encoding: 'utf8',
  });
  if (status === 0) return;
  if (status === FLOCK_BUSY) throw busy(place, stateDir);
  if (systemErrorCode(error) === 'ENOENT') {
    throw new ExitError(EXIT.config, `no program ${program} on the PATH; install util-linux, which contains it`);
  }
  if (error !== undefined) throw startFailure(error, `${program} cannot be run`);
  const reason = stderr.trim() || `exit ${status ?? signal}`;
  throw new ExitError(
    EXIT.config,
    `${place.role} directory ${place.dir} cannot be locked: ${reason}; it must be on a local file system (no NFS), and flock that of util-linux`,
  );
}

/** macOS has no flock(1), but locks while opening. Written from its open(2); not run by our tests, which are on Linux. */
function openLocked(place: Place, stateDir: string, waitSeconds: number): number {
  const flags = constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOFOLLOW | O_EXLOCK;
  for (let waitedMs = 0; ; waitedMs += RETRY_MS) {
    try {
      return openSync(place.dir, flags);
    } catch (error) {
      const code = systemErrorCode(error);
      if (code !== 'EAGAIN' && code !== 'EWOULDBLOCK') {
        throw new ExitError(
          EXIT.config,
          `${place.role} directory ${place.dir} cannot be locked: ${code}; it must be on a local file system (no NFS)`,
          { cause: error },
        );
      }
      if (waitedMs >= waitSeconds * 1000) throw busy(place, stateDir);
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, RETRY_MS);
    }
  }
}

function busy({ role, dir }: Place, stateDir: string): ExitError {
  const fact = `${role} directory ${dir} is held by another nonced`;
  // The runtime directory alone is busy: its holder has another state directory, and ours does not know it.
  if (role === 'runtime') {
    return new ExitError(
      EXIT.tempFail,
      `${fact}, which has another state directory; stop it, or give this one a --runtime-dir of its own`,
    );
  }
  return new ExitError(EXIT.tempFail, `${fact} (${describeHolder(stateDir)}); use that one, or stop it first`);
}

function describeHolder(stateDir: string): string {
  try {
    const { pid, socket } = salvageStateFile(stateDir, 'anyone');
    if (pid !== undefined && socket !== undefined) return `pid ${pid}, socket ${socket}, as its state file says`;
  } catch {
    // Who it is only adorns the message.
  }
  return 'its state file does not say which; try: fuser -v on the directory';
}

/** Only under the kernel's lock, so whatever lies there is a dead holder's and need not go stale first. */
function makeLockDirectory({ stateDir, stateDirFd, onCompromised }: InstanceLockOptions): {
  foundLeftover: boolean;
  stateIsThere: () => void;
  unlock: () => void;
} {
  const statePath = join(stateDir, STATE_FILE);
  const lockPath = join(stateDir, LOCK_DIRECTORY);
  let foundLeftover = false;
  let hasHadState = false;
  // proper-lockfile removes its directory by path, at release and in an exit handler, and asks neither whether the path
  // still leads here nor whether it destroys the only evidence that a state was lost.
  const rmdirIfOurs = (path: string): void => {
    if (identity(stateDirFd) !== identityOfPath(stateDir)) throw new Error(`${stateDir} was moved away or made anew`);
    if ((foundLeftover || hasHadState) && !exists(statePath)) return;
    rmdirSync(path);
  };
  try {
    try {
      rmdirSync(lockPath);
      foundLeftover = true;
    } catch (error) {
      if (systemErrorCode(error) !== 'ENOENT') throw error;
    }
    const release = lockSync(statePath, {
      realpath: false,
      stale: STALE_MS,
      onCompromised,
      fs: { mkdirSync, realpathSync, statSync, utimesSync, rmdirSync: rmdirIfOurs },
    });
    return {
      foundLeftover,
      stateIsThere() {
        hasHadState = true;
      },
      unlock() {
        try {
          release();
        } catch {
          // Released before, compromised, or no longer ours to remove: the kernel's lock is what counts.
        }
      },
    };
  } catch (error) {
    const code = systemErrorCode(error);
    if (code === 'ELOCKED') {
      throw new ExitError(EXIT.tempFail, `${lockPath} was made by another program just now; stop that first`);
    }
    if (code === 'ENOTEMPTY' || code === 'ENOTDIR') {
      throw new ExitError(EXIT.config, `${lockPath} is not an empty directory, so not nonced's; move it away`);
    }
    throw startFailure(error, `${lockPath} cannot be made`);
  }
}

function identity(descriptor: number): string {
  const { dev, ino } = fstatSync(descriptor, { bigint: true });
  return `${dev}:${ino}`;
}

function identityOfPath(path: string): string {
  const { dev, ino } = statSync(path, { bigint: true });
  return `${dev}:${ino}`;
}
