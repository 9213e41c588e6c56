import { closeSync } from 'node:fs';
import type { DurableState } from '../../core/ports.ts';
import { EXIT, ExitError } from '../../errors.ts';
import { prepareStateDirectory } from '../../store/directories.ts';
import { acquireInstanceLock } from '../../store/lock/instance-lock.ts';
import {
  exists,
  openStateFile,
  type readStateFile,
  type SalvagedState,
  STATE_FILE,
  sweepOrphans,
} from '../../store/state/state-file.ts';
import type { StateFileContents, StateIdentity } from '../../store/state/state-format.ts';

export type FoundState = ReturnType<typeof readStateFile> | SalvagedState;

export interface OfflineChange {
  readonly identity: StateIdentity;
  readonly state: DurableState;
  /** Called when the change is durable. */
  readonly done: () => void;
}

/** Returns the state that was found. Throws ExitError if there is none. */
export function stateOf(found: ReturnType<typeof readStateFile>, stateDir: string): StateFileContents {
  if (found.kind === 'state') return found.state;
  throw new ExitError(EXIT.config, `${stateDir} has no ${STATE_FILE}; name the directory with --state-dir`);
}

/**
 * Changes the state in `stateDir` while no daemon runs: under its lock, by one durable write. Writes nothing if
 * `decide` returns undefined. Rejects with ExitError.
 */
export async function changeOffline<Found extends FoundState>(
  stateDir: string,
  read: (stateDir: string) => Found,
  decide: (found: Found) => OfflineChange | undefined,
): Promise<void> {
  // A command that is refused leaves no directory behind.
  if (!exists(stateDir)) decide(read(stateDir));
  const stateDirFd = prepareStateDirectory(stateDir);
  try {
    const lock = acquireInstanceLock({
      stateDir,
      stateDirFd,
      // A daemon on this state also holds this lock, so the runtime directory does not matter.
      runtimeDir: stateDir,
      runtimeDirFd: stateDirFd,
      waitSeconds: 1,
      onCompromised: () => {},
    });
    try {
      const found = read(stateDir);
      const change = decide(found);
      if (change === undefined) return;
      const store = openStateFile({ dir: stateDir, dirFd: stateDirFd, identity: change.identity, found });
      const failure = await store.write(change.state);
      if (failure !== undefined) throw failure.error;
      sweepOrphans(stateDir);
      change.done();
    } finally {
      lock.release();
    }
  } finally {
    closeSync(stateDirFd);
  }
}
