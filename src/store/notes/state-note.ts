import { join } from 'node:path';
import { parseState, type StateFileContents } from '../state/state-format.ts';
import { type SlotFileSteps, slotStepsOnDisk } from './slot-file.ts';

/** A copy of the last durable state of this boot. */
const NOTE_FILE = 'state';
const MAGIC = 'nonced S 1';

/** The state that was durable in this boot, as far as it was noted. Whatever is durable now is at least this. */
export interface NotedState {
  /** Where the state itself is. */
  readonly stateDir: string;
  /** Where the note is. */
  readonly runtimeDir: string;
  readonly contents: StateFileContents;
}

/** Returns the note of this boot, or undefined if there is none that is whole. Throws ExitError. */
export function readStateNote(
  runtimeDir: string,
  bootId: string,
  steps: SlotFileSteps = slotStepsOnDisk,
): NotedState | undefined {
  const file = steps.open(join(runtimeDir, NOTE_FILE));
  if (file === undefined) return undefined;
  steps.close(file.descriptor);
  const { bytes } = file;
  const headerEnds = bytes.indexOf('\n');
  const [magic, boot, stateDir] = headerOf(bytes.subarray(0, Math.max(0, headerEnds)));
  if (magic !== MAGIC || boot !== bootId || stateDir === undefined) return undefined;
  const parsed = parseState(bytes.subarray(headerEnds + 1));
  return parsed.kind === 'state' ? { stateDir, runtimeDir, contents: parsed.state } : undefined;
}

/**
 * Notes what is durable in the state in `stateDir`: `bytes` is its file. Written under another name first and never
 * synced, for it must outlive the daemon and not the machine. Throws ExitError.
 */
export function writeStateNote(
  { runtimeDir, stateDir, bootId }: { readonly runtimeDir: string; readonly stateDir: string; readonly bootId: string },
  bytes: Buffer,
  steps: SlotFileSteps = slotStepsOnDisk,
): void {
  const header = Buffer.from(`${JSON.stringify([MAGIC, bootId, stateDir])}\n`);
  steps.close(steps.make(join(runtimeDir, NOTE_FILE), Buffer.concat([header, bytes])));
}

function headerOf(bytes: Buffer): readonly (string | undefined)[] {
  try {
    const header: unknown = JSON.parse(bytes.toString());
    return Array.isArray(header) && header.every((part) => typeof part === 'string') ? header : [];
  } catch {
    return [];
  }
}

/** What of a state was rolled back, as the end of a sentence that begins with it; undefined if nothing was. */
export function rolledBack(state: StateFileContents, noted: StateFileContents): string | undefined {
  if (state.instance !== noted.instance) return undefined;
  for (const [name, { unit, ceiling }] of Object.entries(noted.state.sequences)) {
    const now = Object.hasOwn(state.state.sequences, name) ? state.state.sequences[name] : undefined;
    if (now === undefined) return `lacks sequence ${name}`;
    if (now.unit !== unit) return `has sequence ${name} in ${now.unit}, and it was in ${unit}`;
    if (now.ceiling < ceiling) return `has sequence ${name} at ${now.ceiling}, and it had reached ${ceiling}`;
  }
  // Only `nonced state forget` removes accounts, and it opens the state for that: it is of a later epoch than every note.
  const mayHaveForgotten = state.epoch > noted.epoch;
  for (const [name, { sequence }] of mayHaveForgotten ? [] : noted.state.accounts) {
    if (sequence !== undefined && state.state.accounts.get(name)?.sequence === undefined) {
      return `does not know account ${name}, which has drawn from sequence ${sequence}`;
    }
  }
  return state.epoch < noted.epoch ? `is of start ${state.epoch}, and there have been ${noted.epoch}` : undefined;
}
