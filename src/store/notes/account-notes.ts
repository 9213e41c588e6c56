import type { AccountNotes, AccountNotesFound, NotedAccount } from '../../core/ports.ts';
import { readAccount, writeAccount } from './account-slot.ts';
import { openSlotFile, type SlotFileOptions, type SlotKind } from './slot-file.ts';

/** A few more than the accounts that a daemon keeps in memory. */
const DEFAULT_CAPACITY = 1024;

/**
 * The longest that a full bucket may take to drain; no configuration may exceed it. After a daemon has found the notes
 * wanting, it and the daemons after it must treat them as incomplete for this long.
 */
export const LONGEST_DRAIN_MS = 60 * 60 * 1000;

const accounts = (nowMs: number): SlotKind<NotedAccount, string> => ({
  name: 'accounts',
  magic: 'nonced A',
  doubtMs: LONGEST_DRAIN_MS,
  // A reboot removes the notes and leaves the exchange's counters as full as they were.
  meaning: 'allows',
  keyOf: ({ account }) => account,
  write: writeAccount,
  read: (slot) => readAccount(slot, nowMs),
});

export interface AccountNotesOptions extends Omit<SlotFileOptions, 'capacity'> {
  readonly capacity?: number;
}

export interface OpenedAccountNotes {
  readonly notes: AccountNotes;
  readonly found: AccountNotesFound;
  /** Closes the file and leaves its notes for the next daemon. */
  close(): void;
}

/**
 * Opens the notes of this boot and reads what the daemon before left in them, which stays noted until it is struck. If
 * the notes are missing or damaged, every start within LONGEST_DRAIN_MS finds them incomplete: the daemon that found
 * them so notes only the accounts that it then meets, and after a crash the other buckets must not count as empty. Must
 * be called under the instance lock. Throws ExitError.
 */
export function openAccountNotes(options: AccountNotesOptions): OpenedAccountNotes {
  const kind = accounts(options.monotonicMs);
  const { slots, found, doubtful, close } = openSlotFile(kind, { capacity: DEFAULT_CAPACITY, ...options });
  return { notes: slots, found: { accounts: found, complete: !doubtful }, close };
}
