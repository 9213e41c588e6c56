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

/** Tools take a younger lock directory for one in use. It is refreshed twice in this time. */
const STALE_MS = 24 * 60 * 60 * 1000;
const FLOCK_BUSY = 75;
// macOS: takes the lock of flock(2) while opening. Node has no name for it.
const O_EXLOCK = 0x20;
const RETRY_MS = 50;

export interface InstanceLockOptions {
  readonly stateDir: string;
  /** The descriptors of both directories. The locks end when these are closed or the process ends. */
  readonly stateDirFd: number;
  readonly runtimeDir: string;
  readonly runtimeDirFd: number;
  /** How long to wait for a holder that is just ending. */
  readonly waitSeconds: number;
  /**
   * Called when the lock directory was removed or could not be refreshed. Only a warning: the kernel's lock still
   * holds.
   */
  readonly onCompromised: (error: Error) => void;
  readonly platform?: NodeJS.Platform;
  readonly flockProgram?: string;
}

export interface InstanceLock {
  /**
   * Whether the lock directory of a daemon that did not stop cleanly was there. Without a state beside it, the state
   * was lost.
   */
  readonly foundLeftover: boolean;
  /**
   * Says that there is a state now. If it is gone when the lock is released, it was lost, and the lock stays as
   * evidence (I9).
   */
  stateIsThere(): void;
  /**
   * Removes the lock directory. Must be called before the two descriptors are closed, which ends the kernel's lock.
   * Harmless when called again.
   */
  release(): void;
}

interface Place {
  readonly role: 'state' | 'runtime';
  readonly dir: string;
  readonly descriptor: number;
}

/**
 * Makes this process the only one that uses the two directories: first by the kernel's lock, which cannot outlive its
 * holder, then by proper-lockfile's directory, for tools that look for one. Throws ExitError.
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

/**
 * Locks a descriptor by flock(1). The program inherits it and so locks our open file: the lock stays after it exits.
 */
function lockDescriptor(place: Place, stateDir: string, waitSeconds: number, program: string): void {
  const wait = waitSeconds > 0 ? ['-w', String(waitSeconds)] : ['-n'];
  const { status, signal, error, stderr } = spawnSync(program, ['-x', ...wait, '-E', String(FLOCK_BUSY), '3'], {
    stdio: ['ignore', 'ignore', 'pipe', place.descriptor],
    encoding: 'utf8',
  });
  if (status === 0) return;
  if (status === FLOCK_BUSY) throw busy(place, stateDir);
  if (systemErrorCode(error) === 'ENOENT') {
    throw new ExitError(
      EXIT.config,
      `there is no program ${program} on the PATH; install util-linux, which contains it`,
    );
  }
  if (error !== undefined) throw startFailure(error, `${program} cannot be run`);
  const reason = stderr.trim() || `exit ${status ?? signal}`;
  throw new ExitError(
    EXIT.config,
    `${place.role} directory ${place.dir} cannot be locked: ${reason}; it must be on a local file system (not NFS), and flock must be that of util-linux`,
  );
}

/**
 * Locks a directory while opening it: macOS has no flock(1). Written from its open(2) and not tested: our tests run on
 * Linux.
 */
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
          `${place.role} directory ${place.dir} cannot be locked: ${code}; it must be on a local file system (not NFS)`,
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
  // Only the runtime directory is busy: its holder has another state directory, and our state does not name it.
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
    // The message does without the holder.
  }
  return `its state file does not say which: sudo fuser -v ${stateDir}`;
}

/**
 * Makes the lock directory, under the kernel's lock: one that is there was left by a dead holder and need not go stale
 * first.
 */
function makeLockDirectory({ stateDir, stateDirFd, onCompromised }: InstanceLockOptions): {
  foundLeftover: boolean;
  stateIsThere: () => void;
  unlock: () => void;
} {
  const statePath = join(stateDir, STATE_FILE);
  const lockPath = join(stateDir, LOCK_DIRECTORY);
  let foundLeftover = false;
  let hasHadState = false;
  // proper-lockfile removes its directory by path, at release and in an exit handler. It does not ask whether the path
  // still leads here, or whether the directory is the only evidence that a state was lost.
  const rmdirIfOurs = (path: string): void => {
    if (identity(stateDirFd) !== identityOfPath(stateDir)) throw new Error(`${stateDir} was moved away or replaced`);
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
          // Released before, compromised, or no longer ours to remove. Only the kernel's lock counts.
        }
      },
    };
  } catch (error) {
    const code = systemErrorCode(error);
    if (code === 'ELOCKED') {
      throw new ExitError(EXIT.tempFail, `${lockPath} was just made by another program; stop it first`);
    }
    if (code === 'ENOTEMPTY' || code === 'ENOTDIR') {
      throw new ExitError(
        EXIT.config,
        `${lockPath} is not an empty directory, so nonced did not make it; move it away`,
      );
    }
    throw startFailure(error, `${lockPath} cannot be created`);
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
