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
import { type StateFileSteps, stepsOnDisk } from './state-steps.ts';

export const STATE_FILE = 'state.json';
/** What proper-lockfile makes beside it. */
export const LOCK_DIRECTORY = 'state.json.lock';
// Some kilobytes are usual; whatever is larger by far is not ours, and is not read into memory.
const LARGEST_STATE_BYTES = 1024 * 1024;

export type StateFileReading =
  | { readonly kind: 'absent' }
  | { readonly kind: 'state'; readonly state: StateFileContents; readonly bytes: Buffer };

/** `bytes` is undefined where there is no file at all. */
export interface SalvagedState extends ReadableFields {
  readonly kind: 'salvaged';
  readonly bytes: Buffer | undefined;
}

export interface Leftovers {
  readonly lock: boolean;
  /** Names of temporary files that a killed write left behind. */
  readonly temporaryFiles: readonly string[];
}

/**
 * I9: reads the state whole, or throws an ExitError that says what is wrong and how it is repaired. `owner` is for
 * looking at another user's state without running on it.
 */
export function readStateFile(dir: string, owner: 'ours' | 'anyone' = 'ours'): StateFileReading {
  return stateReadingOf(dir, readTrustedFile(join(dir, STATE_FILE), owner));
}

/** I9: what the bytes of the state in `dir` say, which are undefined where there is none. Throws as `readStateFile`. */
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
          ? `${path} was written by a newer nonced, in format ${parsed.format} (this one reads 1): start the version that wrote it, or a later one`
          : `${path} claims format ${parsed.format} (this nonced reads 1) but does not match its checksum. If a newer nonced wrote it, start that version; if not, it is damaged: ${repairCommand(dir)}`,
      );
    case 'damaged':
      throw new ExitError(
        EXIT.config,
        `${path} ${parsed.problem}; to repair it (with a higher floor, if nonces were ever ahead of the clock): ${repairCommand(dir)}`,
      );
  }
}

/** Reads what is readable of a damaged state, for a repair that must not lower it. Throws only where nothing may be read. */
export function salvageStateFile(dir: string, owner: 'ours' | 'anyone' = 'ours'): SalvagedState {
  const bytes = readTrustedFile(join(dir, STATE_FILE), owner);
  return { kind: 'salvaged', bytes, ...salvageFields(bytes ?? Buffer.alloc(0)) };
}

function repairCommand(dir: string): string {
  return stateCommand('init --floor now', dir);
}

/** Undefined where nothing is there. */
function readTrustedFile(path: string, owner: 'ours' | 'anyone'): Buffer | undefined {
  let descriptor: number;
  try {
    // Never through a planted link, and without waiting for somebody to write into a planted pipe.
    descriptor = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch (error) {
    const code = systemErrorCode(error);
    if (code === 'ENOENT') return undefined;
    if (code === 'ELOOP') {
      throw new ExitError(EXIT.config, `${path} is a symbolic link; move the state itself there, as a regular file`);
    }
    if (code === 'ENXIO') throw new ExitError(EXIT.config, `${path} is not a regular file; move it away`);
    throw startFailure(error, `${path} cannot be read`);
  }
  try {
    const distrust = distrustFile(descriptor, path, 0o022, owner);
    if (distrust !== undefined) throw new ExitError(EXIT.config, `${path} ${distrust}`);
    const { size } = fstatSync(descriptor);
    if (size > LARGEST_STATE_BYTES) {
      throw new ExitError(EXIT.config, `${path} is no state of nonced (${size} bytes); move it away`);
    }
    return readFileSync(descriptor);
  } catch (error) {
    throw startFailure(error, `${path} cannot be read`);
  } finally {
    closeSync(descriptor);
  }
}

/** Evidence that a daemon has run here: with it, a state file that is missing is a loss and not a first start (I9). */
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
 * Removes what killed writes left behind and answers the names. To be called by who holds the instance lock. Where the
 * state itself is missing, nothing is removed: then these files are the evidence of its loss.
 */
export function sweepOrphans(dir: string): readonly string[] {
  if (!exists(join(dir, STATE_FILE))) return [];
  const swept: string[] = [];
  for (const name of leftovers(dir).temporaryFiles) {
    const path = join(dir, name);
    try {
      if (!lstatSync(path).isFile()) continue;
      unlinkSync(path);
      swept.push(name);
    } catch (error) {
      if (systemErrorCode(error) !== 'ENOENT') throw startFailure(error, `${path} cannot be removed`);
    }
  }
  return swept;
}

export function exists(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false }) !== undefined;
}

export interface StateFileOptions {
  readonly dir: string;
  /** Of `dir`, as it was locked. It stays the caller's to close. */
  readonly dirFd: number;
  readonly identity: StateIdentity;
  /** What was read at the start, or salvaged for a repair: exactly this must still be there at the first write. */
  readonly found: StateFileReading | SalvagedState;
  /** Further top-level keys to write, over those that were found. */
  readonly extra?: ExtraKeys;
  readonly steps?: StateFileSteps;
}

export function openStateFile(options: StateFileOptions): StateFile {
  return new StateFile(options);
}

/**
 * The state of one daemon on disk. A write is: ownership, room, temporary file, sync, rename, size, directory sync; and
 * only then is it durable (I1).
 */
export class StateFile implements StateStore {
  readonly #dir: string;
  readonly #path: string;
  readonly #dirFd: number;
  readonly #identity: StateIdentity;
  readonly #extra: ExtraKeys;
  readonly #sequenceExtra: Readonly<Record<string, ExtraKeys>>;
  readonly #steps: StateFileSteps;
  /** Ceilings as they were found. A daemon begins at them, so no state of its own may ever lie below (I2). */
  readonly #floors: Readonly<Record<string, DurableSequence>>;
  /** What must lie there before the next write; undefined for nothing. */
  #onDisk: Buffer | undefined;
  #dead: StoreFailure | undefined;

  constructor({ dir, dirFd, identity, found, extra = {}, steps = stepsOnDisk }: StateFileOptions) {
    const fields = found.kind === 'absent' ? undefined : found.kind === 'state' ? found.state : found;
    this.#dir = resolve(dir);
    this.#path = join(this.#dir, STATE_FILE);
    this.#dirFd = dirFd;
    this.#identity = identity;
    this.#extra = { ...fields?.extra, ...extra };
    this.#sequenceExtra = fields?.sequenceExtra ?? {};
    this.#steps = steps;
    this.#floors =
      found.kind === 'absent' ? {} : found.kind === 'state' ? found.state.state.sequences : found.sequences;
    this.#onDisk = found.kind === 'absent' ? undefined : found.bytes;
  }

  async write(state: DurableState): Promise<StoreFailure | undefined> {
    // After a failed sync nobody knows what the disk holds, and asking again would be answered "all is well".
    if (this.#dead !== undefined) return this.#dead;
    const failure = await this.#replace(state);
    if (failure?.kind === 'fatal') this.#dead = failure;
    return failure;
  }

  async #replace(state: DurableState): Promise<StoreFailure | undefined> {
    let bytes: Buffer;
    try {
      bytes = this.#serialise(state);
      await this.#checkDirectory();
      await this.#checkContents();
      await this.#steps.replace(this.#path, bytes, (temporary) => this.#steps.reserve(temporary, bytes.length));
    } catch (error) {
      if (mayPass(error)) return { kind: 'retriable', error: asError(error) };
      return this.#fatal(error);
    }
    // Renamed: from here on the old state is gone, and only a directory sync makes the new one certain.
    try {
      if ((await this.#steps.size(this.#path)) !== bytes.length) return await this.#cutShort(bytes);
      this.#onDisk = bytes;
      // Looked at again: moved away during the write, it would have got a file that nobody will read.
      await this.#checkDirectory();
      await this.#steps.syncDirectory(this.#dirFd);
      return undefined;
    } catch (error) {
      return this.#fatal(error);
    }
  }

  /** The bytes of the new state, sure to be readable again and never to lead a sequence down. */
  #serialise(state: DurableState): Buffer {
    for (const [name, floor] of Object.entries(this.#floors)) {
      const sequence = state.sequences[name];
      if (sequence === undefined || sequence.unit !== floor.unit || sequence.ceiling < floor.ceiling) {
        throw this.#defect(`sequence ${name} would be led back or lost`);
      }
    }
    const bytes = serialiseState({
      ...this.#identity,
      state,
      extra: this.#extra,
      sequenceExtra: this.#sequenceExtra,
    });
    const parsed = parseState(bytes);
    if (parsed.kind === 'state') return bytes;
    throw this.#defect(parsed.kind === 'damaged' ? `the new state ${parsed.problem}` : 'the new state has two formats');
  }

  /** The path must still lead to the directory that is locked, or another daemon may own what is there now. */
  async #checkDirectory(): Promise<void> {
    const [there, ours] = await Promise.all([
      this.#steps.identify(this.#dir),
      this.#steps.identifyDescriptor(this.#dirFd),
    ]);
    if (there !== ours) throw this.#lost(`${this.#dir} was moved away or made anew`);
  }

  async #checkContents(): Promise<void> {
    const there = await this.#steps.read(this.#path);
    if (there === undefined) {
      if (this.#onDisk !== undefined) throw this.#lost(`${this.#path} is gone`);
    } else if (this.#onDisk === undefined || !there.equals(this.#onDisk)) {
      throw this.#lost(`${this.#path} is no longer what this daemon read or wrote there`);
    }
  }

  /**
   * A part of the new state replaced the old one, which the room reserved before should make impossible. A daemon that
   * starts now refuses it as damaged (I9); this one knows it as its own and repairs it by its next write.
   */
  async #cutShort(bytes: Buffer): Promise<StoreFailure> {
    const there = await this.#steps.read(this.#path);
    if (there === undefined || !there.equals(bytes.subarray(0, there.length))) {
      throw this.#lost(`${this.#path} was replaced by somebody else`);
    }
    this.#onDisk = there;
    const error = new Error(`${this.#path} was cut short to ${there.length} of ${bytes.length} bytes`);
    return { kind: 'retriable', error: Object.assign(error, { code: 'ENOSPC' }) };
  }

  #lost(fact: string): ExitError {
    return new ExitError(
      EXIT.lostOwnership,
      `${fact}: the state is no longer ours. Find out who did it before nonced is started again, and bring back the state with the highest ceilings`,
    );
  }

  #defect(fact: string): ExitError {
    return new ExitError(EXIT.ioError, `${this.#path} was not written: ${fact}. This is a defect of nonced; report it`);
  }

  #fatal(error: unknown): StoreFailure {
    if (error instanceof ExitError) return { kind: 'fatal', error };
    const code = systemErrorCode(error);
    if (code === 'ENOENT' || code === 'ENOTDIR') {
      return { kind: 'fatal', error: this.#lost(`${this.#dir} is gone`) };
    }
    if (code === 'ELOOP') return { kind: 'fatal', error: this.#lost(`${this.#path} became a symbolic link`) };
    const message = `${this.#path} could not be written: ${asError(error).message}; check the disk (dmesg), then start again`;
    return { kind: 'fatal', error: new ExitError(EXIT.ioError, message, { cause: error }) };
  }
}
