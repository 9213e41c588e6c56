/** What the daemons before this one have left outside the state, in this boot. */
import { dirname } from 'node:path';
import type { NotesFound } from '../core/ports.ts';
import { ExitError } from '../errors.ts';
import { peekLeaseNotes } from '../store/notes/lease-notes.ts';
import { type SlotFileSteps, slotStepsOnDisk } from '../store/notes/slot-file.ts';
import { type NotedState, readStateNote } from '../store/notes/state-note.ts';
import type { StateFileContents } from '../store/state/state-format.ts';

export interface LeftBehind {
  /** The states that were noted as durable. */
  readonly noted: readonly NotedState[];
  /** A daemon of this boot may have granted leases, so their notes must be somewhere. */
  readonly hasLeases: boolean;
  /** The leases that it noted in another runtime directory; undefined if there is none, or no notes in it. */
  readonly elsewhere: NotesFound | undefined;
}

interface Place {
  readonly runtimeDir: string;
  readonly bootId: string;
  readonly steps?: SlotFileSteps | undefined;
}

/** Looks at the runtime directory, and at that of the daemon that wrote the state `before`, if it is another one. */
export function leftBehind(before: StateFileContents | undefined, place: Place): LeftBehind {
  const { runtimeDir, bootId, steps = slotStepsOnDisk } = place;
  const other = before === undefined || before.socket === '' ? runtimeDir : dirname(before.socket);
  const dirs = other === runtimeDir ? [runtimeDir] : [runtimeDir, other];
  const noted = dirs.map((dir) => unlessRefused(() => readStateNote(dir, bootId, steps)));
  const hasLeases = before !== undefined && leasesInBoot(before) === bootId;
  const isElsewhere = hasLeases && other !== runtimeDir;
  return {
    noted: noted.filter((note) => note !== undefined),
    hasLeases,
    elsewhere: isElsewhere ? unlessRefused(() => peekLeaseNotes({ dir: other, bootId, steps })) : undefined,
  };
}

/** 0.1 left only the anchor of its boot. */
function leasesInBoot({ leasesInBoot, state }: StateFileContents): string | null | undefined {
  return leasesInBoot === undefined ? state.anchor?.bootId : leasesInBoot;
}

/** Notes that may not be trusted, or cannot be read, count as none. */
function unlessRefused<T>(read: () => T | undefined): T | undefined {
  try {
    return read();
  } catch (error) {
    if (error instanceof ExitError) return undefined;
    throw error;
  }
}
