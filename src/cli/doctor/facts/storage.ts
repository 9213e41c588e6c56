import { constants } from 'node:fs';
import { access, lstat, statfs } from 'node:fs/promises';
import { readMachine } from '../../../daemon/host/machine.ts';
import { EXIT, ExitError, systemErrorCode } from '../../../errors.ts';
import { isLocked } from '../../../store/lock/lock-probe.ts';
import { leftovers, readStateFile } from '../../../store/state/state-file.ts';

/** The directory of a state, and its file system. */
export interface DiskFacts {
  readonly entry:
    | { readonly kind: 'absent' | 'hidden' }
    /** `mode` is only the permissions. */
    | { readonly kind: 'directory' | 'other'; readonly mode: number };
  /** What statfs(2) returns for the directory, or undefined if it fails. */
  readonly fileSystem:
    | {
        readonly type: number;
        readonly freeBytes: number;
        readonly freeInodes: number;
        /** Zero if there is no limit. */
        readonly inodes: number;
      }
    | undefined;
  /** The file system is mounted read-only. */
  readonly isReadOnly: boolean;
}

export async function diskFacts({ dir }: { readonly dir: string }): Promise<DiskFacts> {
  const entry = await entryAt(dir);
  const fileSystem = await statfs(dir).then(
    ({ type, bsize, bavail, files, ffree }) => ({
      type,
      freeBytes: bsize * bavail,
      freeInodes: ffree,
      inodes: files,
    }),
    () => undefined,
  );
  const isReadOnly = await access(dir, constants.W_OK).then(
    () => false,
    (error) => systemErrorCode(error) === 'EROFS',
  );
  return { entry, fileSystem, isReadOnly };
}

async function entryAt(path: string): Promise<DiskFacts['entry']> {
  try {
    const stats = await lstat(path);
    return { kind: stats.isDirectory() ? 'directory' : 'other', mode: stats.mode & 0o7777 };
  } catch (error) {
    return { kind: systemErrorCode(error) === 'ENOENT' ? 'absent' : 'hidden' };
  }
}

export type StateFacts =
  | { readonly kind: 'hidden' }
  /** There is no state; if `lost`, there are traces of one. */
  | { readonly kind: 'absent'; readonly lost: boolean }
  /** The message of the daemon: the fact, then the fix. */
  | { readonly kind: 'unusable'; readonly problem: string }
  | {
      readonly kind: 'whole';
      readonly instance: string;
      readonly pid: number;
      readonly socket: string;
      readonly retiredAtMs: number | undefined;
      /** The state says that it belongs to another machine. */
      readonly foreign: boolean;
      /** Whether a process holds the kernel's lock on it; undefined if that was not tested, or is not known. */
      readonly locked: boolean | undefined;
    };

/** Reads the state in `dir`. With `probe` it also tests whether it is locked, which takes the lock for a moment. */
export async function stateFacts({
  dir,
  probe,
}: {
  readonly dir: string;
  readonly probe: boolean;
}): Promise<StateFacts> {
  try {
    const reading = readStateFile(dir, 'anyone');
    if (reading.kind === 'absent') {
      const { lock, temporaryFiles } = leftovers(dir);
      return { kind: 'absent', lost: lock || temporaryFiles.length > 0 };
    }
    const { instance, pid, socket, machine, retiredAtMs } = reading.state;
    const own = readMachine();
    return {
      kind: 'whole',
      instance,
      pid,
      socket,
      retiredAtMs,
      foreign: own !== undefined && machine !== undefined && machine !== own,
      locked: probe ? lockedOrUnknown(dir) : undefined,
    };
  } catch (error) {
    if (!(error instanceof ExitError)) throw error;
    return error.exitCode === EXIT.noPermission ? { kind: 'hidden' } : { kind: 'unusable', problem: error.message };
  }
}

function lockedOrUnknown(dir: string): boolean | undefined {
  try {
    return isLocked(dir);
  } catch {
    return undefined;
  }
}
