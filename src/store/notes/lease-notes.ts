import type { LeaseNotes, NotedLease, NotesFound, Token } from '../../core/ports.ts';
import { readLease, writeLease } from './lease-slot.ts';
import {
  isOfBoot,
  openSlotFile,
  peekSlots,
  type SlotFileOptions,
  type SlotFileSteps,
  type SlotKind,
} from './slot-file.ts';

/** More leases than a daemon ever grants at a time; half a megabyte of memory. */
const DEFAULT_CAPACITY = 4096;

const LEASES: SlotKind<NotedLease, Token> = {
  name: 'leases',
  magic: 'nonced L',
  // The longest TTL: for so long a lease whose note was damaged may be live.
  doubtMs: 10 * 60 * 1000,
  // Without notes there was no daemon that could have granted.
  meaning: 'forbids',
  keyOf: ({ token }) => token,
  write: writeLease,
  read: readLease,
};

export interface LeaseNotesOptions extends Omit<SlotFileOptions, 'capacity'> {
  readonly capacity?: number;
}

export interface OpenedNotes {
  readonly notes: LeaseNotes;
  readonly found: NotesFound;
  /** There were no notes of this boot. */
  readonly isNew: boolean;
  /** Closes the file and leaves its notes for the next daemon. */
  close(): void;
}

/**
 * Opens the notes of this boot and reads what the daemon before left in them. Its leases stay noted until they are
 * struck, so that a second crash finds them too. Must be called under the instance lock and after the state is written:
 * notes without a state count as evidence of a lost one. Throws ExitError.
 */
export function openLeaseNotes(options: LeaseNotesOptions): OpenedNotes {
  const opened = openSlotFile(LEASES, { capacity: DEFAULT_CAPACITY, ...options });
  const { slots, found, doubtful, isNew, close } = opened;
  return { notes: slots, found: { leases: found, damaged: doubtful }, isNew, close };
}

/**
 * Reads the notes that the daemon before left in another directory. Returns undefined if there are none of this boot.
 * Throws ExitError.
 */
export function peekLeaseNotes(options: Pick<LeaseNotesOptions, 'dir' | 'bootId' | 'steps'>): NotesFound | undefined {
  const there = peekSlots(LEASES, options);
  return there && { leases: there.found, damaged: there.doubtful };
}

/**
 * Whether a daemon has run in this boot. If there are notes and no state, the state was lost (I9). Unreadable notes
 * count.
 */
export function notesExist(dir: string, bootId: string, steps?: SlotFileSteps): boolean {
  return isOfBoot(LEASES, dir, bootId, steps);
}
