import { dirname, resolve } from 'node:path';
import type { DurableAccount, DurableSequence, DurableState } from '../../core/ports.ts';
import { readBootId } from '../../daemon/host/machine.ts';
import { SERVICE_RUNTIME_DIR, SERVICE_STATE_DIR } from '../../service-places.ts';
import { readStateNote } from '../../store/notes/state-note.ts';
import type { ReadableFields, StateFileContents } from '../../store/state/state-format.ts';

/** What a repair can read of the state that is there. */
export type Readable = Pick<ReadableFields, 'instance' | 'epoch' | 'socket'>;

/**
 * Returns what a daemon of this boot had made durable in the state in `stateDir`, by its notes: it may be more than what
 * is there now. Looks where such a daemon may have had its runtime directory. Throws ExitError for notes that may not be
 * trusted.
 */
export function notedStateOf(
  known: Readable | undefined,
  stateDir: string,
  runtimeDir: string,
): StateFileContents | undefined {
  const dirs = new Set([resolve(runtimeDir)]);
  if (known?.socket) dirs.add(dirname(known.socket));
  if (stateDir === SERVICE_STATE_DIR) dirs.add(SERVICE_RUNTIME_DIR);
  const bootId = readBootId();
  let newest: StateFileContents | undefined;
  for (const dir of dirs) {
    const note = readStateNote(dir, bootId);
    if (note === undefined) continue;
    const isOfState =
      known?.instance === undefined ? note.stateDir === stateDir : note.contents.instance === known.instance;
    if (isOfState && note.contents.epoch > (newest?.epoch ?? 0)) newest = note.contents;
  }
  return newest;
}

type Repaired = Pick<DurableState, 'sequences' | 'accounts'>;

/** I2: returns the higher ceiling of each sequence, and every account that either knows. */
export function raisedToNoted(found: Repaired, noted: Repaired): Repaired {
  const sequences: Record<string, DurableSequence> = { ...found.sequences };
  for (const [name, was] of Object.entries(noted.sequences)) {
    const now = Object.hasOwn(sequences, name) ? sequences[name] : undefined;
    // Another unit is damage: the note has a checksum that holds.
    if (now === undefined || now.unit !== was.unit || now.ceiling < was.ceiling) sequences[name] = was;
  }
  const accounts = new Map<string, DurableAccount>(found.accounts);
  for (const [name, was] of noted.accounts) {
    const now = accounts.get(name);
    accounts.set(name, now?.sequence === undefined ? { ...was, ...now, sequence: was.sequence } : now);
  }
  return { sequences, accounts };
}
