import { closeSync, constants, fstatSync, lstatSync, openSync, readdirSync, readFileSync, unlinkSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { DurableSequence, DurableState, StateStore, StoreFailure } from '../../core/ports.ts';
import { asError, EXIT, ExitError, systemErrorCode } from '../../errors.ts';
import { distrustFile, mayPass, startFailure, stateCommand } from '../directories.ts';
import {
  type ExtraKeys,
  parseState,
  type ReadableFields,
  type StateFileContents,
  type StateIdentity,
  salvageFields,
  serialiseState,
} from './state-format.ts';
import { CLAIMED, type StateFileSteps, stepsOnDisk } from './state-steps.ts';

export const STATE_FILE = 'state.json';
/** The directory that proper-lockfile makes beside it. */
export const LOCK_DIRECTORY = 'state.json.lock';
// Some kilobytes are usual. A far larger file is not ours, and is not read into memory.
const LARGEST_STATE_BYTES = 1024 * 1024;

export type StateFileReading =
  | { readonly kind: 'absent' }
  | { readonly kind: 'state'; readonly state: StateFileContents; readonly bytes: Buffer };

/** What is readable of a damaged state. `bytes` is undefined if there is no file. */
export interface SalvagedState extends ReadableFields {
  readonly kind: 'salvaged';
  readonly bytes: Buffer | undefined;
}

export interface Leftovers {
  readonly lock: boolean;
  /** The names of temporary files that killed writes left behind. */
  readonly temporaryFiles: readonly string[];
}

/**
 * I9: reads the state whole, or throws an ExitError that says what is wrong and how to repair it. With the owner
 * `anyone` it also reads another user's state, for commands that only look.
 */
export function readStateFile(dir: string, owner: 'ours' | 'anyone' = 'ours'): StateFileReading {
  return stateReadingOf(dir, readTrustedFile(join(dir, STATE_FILE), owner));
}

/**
 * I9: reads the state from its bytes, which are undefined if there is none. `dir` is where they are from. Throws as
 * `readStateFile` does.
 */
export function stateReadingOf(dir: string, bytes: Buffer | undefined): StateFileReading {
  if (bytes === undefined) return { kind: 'absent' };
  const path = join(dir, STATE_FILE);
  const parsed = parseState(bytes);
  switch (parsed.kind) {
    case 'state':
      return { ...parsed, bytes };
    case 'newer':
      throw new ExitError(
        EXIT.config,
        parsed.intact
          ? `${path} was written by a newer nonced, in format ${parsed.format} (this one reads 1); start the version that wrote it, or a later one`
          : `${path} claims format ${parsed.format} (this nonced reads 1) and does not match its checksum. If a newer nonced wrote it, start that version; if not, it is damaged, and this repairs it: ${repairCommand(dir)}`,
      );
    case 'damaged':
      throw new ExitError(
        EXIT.config,
        `${path} ${parsed.problem}; to repair it (with a higher floor, if nonces were ever ahead of the clock): ${repairCommand(dir)}`,
      );
  }
}

/**
 * Reads what is readable of a damaged state, for a repair that must not lower it. Throws only if the file cannot be
 * read.
 */
export function salvageStateFile(dir: string, owner: 'ours' | 'anyone' = 'ours'): SalvagedState {
  const bytes = readTrustedFile(join(dir, STATE_FILE), owner);
  return { kind: 'salvaged', bytes, ...salvageFields(bytes ?? Buffer.alloc(0)) };
}

function repairCommand(dir: string): string {
  return stateCommand('init --floor now', dir);
}

/** Returns undefined if there is no file. */
function readTrustedFile(path: string, owner: 'ours' | 'anyone'): Buffer | undefined {
  let descriptor: number;
  try {
    // Never through a planted link, and without waiting for the other end of a planted pipe.
    descriptor = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch (error) {
    const code = systemErrorCode(error);
    if (code === 'ENOENT') return undefined;
    if (code === 'ELOOP') {
      throw new ExitError(EXIT.config, `${path} is a symbolic link; put the state itself there, as a regular file`);
    }
    if (code === 'ENXIO') throw new ExitError(EXIT.config, `${path} is not a regular file; move it away`);
    throw startFailure(error, `${path} cannot be read`);
  }
  try {
    const distrust = distrustFile(descriptor, path, 0o022, owner);
    if (distrust !== undefined) throw new ExitError(EXIT.config, `${path} ${distrust}`);
    const { size } = fstatSync(descriptor);
    if (size > LARGEST_STATE_BYTES) {
      throw new ExitError(EXIT.config, `${path} has ${size} bytes, so it is not a state of nonced; move it away`);
    }
    return readFileSync(descriptor);
  } catch (error) {
    throw startFailure(error, `${path} cannot be read`);
  } finally {
    closeSync(descriptor);
  }
}

/** Finds evidence that a daemon has run here: with it, a missing state file is a loss and not a first start (I9). */
export function leftovers(dir: string): Leftovers {
  try {
    const names = readdirSync(dir);
    return {
      lock: names.includes(LOCK_DIRECTORY),
      temporaryFiles: names.filter((name) => /^state\.json\.\d+$/.test(name)),
    };
  } catch (error) {
    throw startFailure(error, `${dir} cannot be listed`);
  }
}

/**
 * Removes what killed writes left behind and returns the names. Must be called under the instance lock. If the state
 * itself is missing, nothing is removed: then these files are the evidence of its loss. A file that is whole is never
 * removed: it may be an operator's copy, with the date as its name.
 */
export function sweepOrphans(dir: string): readonly string[] {
  if (!exists(join(dir, STATE_FILE))) return [];
  const swept: string[] = [];
  for (const name of leftovers(dir).temporaryFiles) {
    const path = join(dir, name);
    try {
      if (!isTorn(path)) continue;
      unlinkSync(path);
      swept.push(name);
    } catch (error) {
      if (systemErrorCode(error) !== 'ENOENT') throw startFailure(error, `${path} cannot be removed`);
    }
  }
  return swept;
}

/**
 * Whether a file is what a killed write leaves: ours alone, and empty or with some of the room that was claimed for it.
 * A copy of a state, cut short or not, never ends in blanks.
 */
function isTorn(path: string): boolean {
  const { size } = lstatSync(path);
  if (size > LARGEST_STATE_BYTES) return false;
  try {
    const descriptor = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    try {
      if (distrustFile(descriptor, path, 0o077) !== undefined) return false;
      const last = readFileSync(descriptor).at(-1);
      return last === undefined || last === CLAIMED || last === 0;
    } finally {
      closeSync(descriptor);
    }
  } catch (error) {
    // A link, or a file that may not be read, is not from a write of ours.
    if (systemErrorCode(error) === 'ENOENT') throw error;
    return false;
  }
}

export function exists(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false }) !== undefined;
}

/** Notes outside the state file what was made durable in it. Throws if it cannot. */
export type StateNoteWriter = (bytes: Buffer) => void;

export interface StateFileOptions {
  readonly dir: string;
  /** The descriptor of `dir` that is locked. The caller closes it. */
  readonly dirFd: number;
  readonly identity: StateIdentity;
  /** What was read at the start, or salvaged for a repair. Exactly this must still be there at the first write. */
  readonly found: StateFileReading | SalvagedState;
  /** More top-level keys to write, over those that were found. */
  readonly extra?: ExtraKeys;
  /** Where what is durable is noted for the rest of this boot; nowhere if left out. */
  readonly note?: StateNoteWriter;
  readonly steps?: StateFileSteps;
}

export function openStateFile(options: StateFileOptions): StateFile {
  return new StateFile(options);
}

/**
 * The state of one daemon on disk. A write checks ownership, reserves room, writes and syncs a temporary file, renames
 * it, checks the size, and syncs the directory. Only then is it durable (I1).
 */
export class StateFile implements StateStore {
  readonly #dir: string;
  readonly #path: string;
  readonly #dirFd: number;
  #identity: StateIdentity;
  readonly #extra: ExtraKeys;
  readonly #sequenceExtra: Readonly<Record<string, ExtraKeys>>;
  readonly #steps: StateFileSteps;
  /** The ceilings that were found. The daemon begins at them, so it must never write a lower one (I2). */
  readonly #floors: Readonly<Record<string, DurableSequence>>;
  /** What must be on disk before the next write; undefined for no file. */
  #onDisk: Buffer | undefined;
  /** The state of that file, if this daemon wrote it. */
  #written: DurableState | undefined;
  /** What a glance saw when the contents were known to be ours; undefined before that. */
  #glanced: string | undefined;
  #writes = 0;
  #isWriting = false;
  readonly #note: StateNoteWriter;
  #dead: StoreFailure | undefined;

  constructor(options: StateFileOptions) {
    const { dir, dirFd, identity, found, extra = {}, note = () => {}, steps = stepsOnDisk } = options;
    const fields = found.kind === 'absent' ? undefined : found.kind === 'state' ? found.state : found;
    this.#dir = resolve(dir);
    this.#path = join(this.#dir, STATE_FILE);
    this.#dirFd = dirFd;
    this.#identity = identity;
    this.#extra = { ...fields?.extra, ...extra };
    this.#sequenceExtra = fields?.sequenceExtra ?? {};
    this.#steps = steps;
    this.#note = note;
    this.#floors =
      found.kind === 'absent' ? {} : found.kind === 'state' ? found.state.state.sequences : found.sequences;
    this.#onDisk = found.kind === 'absent' ? undefined : found.bytes;
  }

  async write(state: DurableState): Promise<StoreFailure | undefined> {
    // After a failed sync it is unknown what the disk holds, and the next sync would report success.
    if (this.#dead !== undefined) return this.#dead;
    this.#isWriting = true;
    this.#writes += 1;
    const failure = await this.#replace(state);
    this.#isWriting = false;
    if (failure?.kind === 'fatal') this.#dead = failure;
    return failure;
  }

  /** Says in the next write that no lease is left for the daemons after this one. */
  leaveNoLeases(): void {
    this.#identity = { ...this.#identity, leasesInBoot: null };
  }

  /**
   * Returns why the state is not ours any more, or undefined. Between two writes it costs two system calls, so it can be
   * asked every few seconds. Never rejects.
   */
  async look(): Promise<StoreFailure | undefined> {
    if (this.#dead !== undefined) return this.#dead;
    // A write looks by itself, before and after.
    if (this.#isWriting) return undefined;
    const writes = this.#writes;
    try {
      const glanced = this.#glance();
      if (glanced !== undefined && glanced === this.#glanced) return undefined;
      await this.#checkDirectory();
      await this.#checkContents();
      // Looked at again: a write that began meanwhile has changed the file.
      if (writes === this.#writes) this.#glanced = glanced;
      return undefined;
    } catch (error) {
      // A disk that fails to be read is the next write's trouble.
      if (writes !== this.#writes || !isLoss(error)) return undefined;
      this.#dead = this.#fatal(error);
      return this.#dead;
    }
  }

  async #replace(state: DurableState): Promise<StoreFailure | undefined> {
    let bytes: Buffer;
    try {
      bytes = this.#serialise(state);
      await this.#checkDirectory();
      await this.#checkContents();
      // The note must never claim more than is durable: a state below its note was rolled back. So what goes down is
      // noted before it is written, and what goes up afterwards.
      const lowered = this.#written && loweredTo(state, this.#written);
      if (lowered !== undefined) this.#note(this.#bytesOf(lowered));
      await this.#steps.replace(this.#path, bytes, (temporary) => this.#steps.reserve(temporary, bytes.length));
    } catch (error) {
      if (mayPass(error)) return { kind: 'retriable', error: asError(error) };
      return this.#fatal(error);
    }
    // Renamed: the old state is gone, and only a directory sync makes the new one certain.
    try {
      if ((await this.#steps.size(this.#path)) !== bytes.length) return await this.#cutShort(bytes);
      this.#onDisk = bytes;
      // Looked at again: if it was moved away during the write, the new file is where no daemon will read it.
      await this.#checkDirectory();
      await this.#steps.syncDirectory(this.#dirFd);
    } catch (error) {
      return this.#fatal(error);
    }
    this.#written = state;
    this.#glanced = this.#glance();
    try {
      this.#note(bytes);
    } catch {
      // The note before it stays and claims less, which refuses no state that is right. What notes has said so.
    }
    return undefined;
  }

  /** Returns undefined if it cannot be seen. */
  #glance(): string | undefined {
    try {
      return this.#steps.glance(this.#dir, this.#path);
    } catch {
      return undefined;
    }
  }

  /** Returns the bytes of the new state. They are readable again and lead no sequence down. */
  #serialise(state: DurableState): Buffer {
    for (const [name, floor] of Object.entries(this.#floors)) {
      const sequence = state.sequences[name];
      if (sequence === undefined || sequence.unit !== floor.unit || sequence.ceiling < floor.ceiling) {
        throw this.#defect(`sequence ${name} would go back or be lost`);
      }
    }
    const bytes = this.#bytesOf(state);
    const parsed = parseState(bytes);
    if (parsed.kind === 'state') return bytes;
    throw this.#defect(parsed.kind === 'damaged' ? `the new state ${parsed.problem}` : 'the new state has two formats');
  }

  #bytesOf(state: DurableState): Buffer {
    return serialiseState({
      ...this.#identity,
      state,
      extra: this.#extra,
      sequenceExtra: this.#sequenceExtra,
    });
  }

  /** Throws unless the path still leads to the locked directory: another daemon may own what is there now. */
  async #checkDirectory(): Promise<void> {
    const [there, ours] = await Promise.all([
      this.#steps.identify(this.#dir),
      this.#steps.identifyDescriptor(this.#dirFd),
    ]);
    if (there !== ours) throw this.#lost(`${this.#dir} was moved away or replaced`);
  }

  async #checkContents(): Promise<void> {
    const there = await this.#steps.read(this.#path);
    if (there === undefined) {
      if (this.#onDisk !== undefined) throw this.#lost(`${this.#path} is gone`);
    } else if (this.#onDisk === undefined || !there.equals(this.#onDisk)) {
      throw this.#lost(`${this.#path} is no longer what this daemon read or wrote`);
    }
  }

  /**
   * A part of the new state replaced the old one. The room reserved before should make this impossible. A daemon that
   * starts now refuses it as damaged (I9); this one knows it as its own, and its next write repairs it.
   */
  async #cutShort(bytes: Buffer): Promise<StoreFailure> {
    const there = await this.#steps.read(this.#path);
    if (there === undefined || !there.equals(bytes.subarray(0, there.length))) {
      throw this.#lost(`${this.#path} was replaced by another program`);
    }
    this.#onDisk = there;
    const error = new Error(`${this.#path} was cut short to ${there.length} of ${bytes.length} bytes`);
    return { kind: 'retriable', error: Object.assign(error, { code: 'ENOSPC' }) };
  }

  #lost(fact: string): ExitError {
    return new ExitError(
      EXIT.config,
      `${fact}: the state is no longer ours. Find out what did it before you start nonced again, and bring back the state with the highest ceilings`,
    );
  }

  #defect(fact: string): ExitError {
    return new ExitError(
      EXIT.ioError,
      `${this.#path} was not written: ${fact}. This is a defect of nonced; please report it`,
    );
  }

  #fatal(error: unknown): StoreFailure {
    if (error instanceof ExitError) return { kind: 'fatal', error };
    const code = systemErrorCode(error);
    if (isGone(code)) return { kind: 'fatal', error: this.#lost(`${this.#dir} is gone`) };
    if (code === 'ELOOP') return { kind: 'fatal', error: this.#lost(`${this.#path} became a symbolic link`) };
    const message = `${this.#path} could not be written: ${asError(error).message}; check the disk (dmesg), then start again`;
    return { kind: 'fatal', error: new ExitError(EXIT.ioError, message, { cause: error }) };
  }
}

const isGone = (code: string | undefined): boolean => code === 'ENOENT' || code === 'ENOTDIR';

function isLoss(error: unknown): boolean {
  const code = systemErrorCode(error);
  return error instanceof ExitError || isGone(code) || code === 'ELOOP';
}

/** Returns `before` with the ceilings that `state` leads down, as only the last write of a daemon may; undefined if none. */
function loweredTo(state: DurableState, before: DurableState): DurableState | undefined {
  let isLowered = false;
  const sequences = Object.entries(before.sequences).map(([name, sequence]) => {
    const ceiling = state.sequences[name]?.ceiling ?? sequence.ceiling;
    if (ceiling >= sequence.ceiling) return [name, sequence] as const;
    isLowered = true;
    return [name, { ...sequence, ceiling }] as const;
  });
  return isLowered ? { ...before, sequences: Object.fromEntries(sequences) } : undefined;
}
