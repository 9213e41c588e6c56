import { closeSync, constants, fstatSync, openSync, readSync, renameSync, unlinkSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { EXIT, ExitError, systemErrorCode } from '../../errors.ts';
import { distrustFile, startFailure } from '../directories.ts';
import { isSealed, readHeader, SLOT_BYTES, type SlotHeader, seal, writeHeader } from './slot-format.ts';

// Far above any capacity. A larger file is not read into memory.
const LARGEST_FILE_BYTES = 16 * 1024 * 1024;
const FREE = Buffer.alloc(SLOT_BYTES);
const FREE_PAGE = Buffer.alloc(32 * SLOT_BYTES);

/** One kind of notes: its file, and what it puts into a slot. */
export interface SlotKind<Note, Key> {
  /** The name of the file, which is written as `NAME.new` first, and of what is in it. */
  readonly name: string;
  /** The first eight characters of the file. */
  readonly magic: string;
  /** How long notes count as doubtful after they were found missing or damaged, even if they are whole again. */
  readonly doubtMs: number;
  /**
   * `forbids`: a note keeps something from being done. Without notes nothing was forbidden, unless they are expected, and a note of an unknown
   * boot is believed. `allows`: a note lets something be done that is held back without it. Without notes all of it is
   * held back, and a note of an unknown boot is not believed.
   */
  readonly meaning: 'forbids' | 'allows';
  /** Returns the key of a note. There is at most one note of each key. */
  keyOf(note: Note): Key;
  /** Fills an all-zero slot, except for its checksum. Throws RangeError for what cannot be noted. */
  write(slot: Buffer, note: Note): void;
  /** Reads a slot whose checksum holds. Returns undefined if it is not a note of this kind. */
  read(slot: Buffer): Note | undefined;
}

export interface SlotFileOptions {
  readonly dir: string;
  readonly bootId: string;
  /** CLOCK_MONOTONIC now. */
  readonly monotonicMs: number;
  readonly capacity: number;
  /** Whether there must be notes of this boot: then it is doubtful what was noted if they are missing. */
  readonly expected?: boolean;
  /** Replaced by tests, which count its calls and make it fail. */
  readonly writeAt?: SlotFileSteps['writeAt'];
  /** Those on disk if left out. */
  readonly steps?: SlotFileSteps;
}

/**
 * What a file of notes does to its file system, so that a simulation can do without one. `open` and `make` throw
 * ExitError.
 */
export interface SlotFileSteps {
  /** Opens the file and reads it whole. Returns undefined if there is none. */
  open(path: string): OpenedFile | undefined;
  /** Writes the whole file under another name, then renames it to `path`. Returns its open descriptor. */
  make(path: string, bytes: Buffer): number;
  /** Writes one whole slot. Returns how many bytes it wrote. */
  writeAt(descriptor: number, slot: Buffer, position: number): number;
  close(descriptor: number): void;
}

/** A file of notes and what it held when it was opened. The caller closes the descriptor. */
export interface OpenedFile {
  readonly descriptor: number;
  readonly bytes: Buffer;
}

export interface OpenedSlotFile<Note, Key> {
  readonly slots: Slots<Note, Key>;
  /** The notes of this boot, each key once. */
  readonly found: readonly Note[];
  /** More may have been noted than was found. */
  readonly doubtful: boolean;
  /** There were no notes of this boot. */
  readonly isNew: boolean;
  /** Closes the file and leaves its notes for the next daemon. */
  close(): void;
}

interface SlotsOnDisk<Note> {
  readonly descriptor: number;
  readonly slots: readonly (Note | undefined)[];
  readonly damaged: boolean;
  readonly header: SlotHeader | undefined;
}

/**
 * Opens a preallocated file of notes that outlive the process but not the machine: a header with the boot id, then
 * slots with checksums. Each note is one unsynced write. What was noted in this boot stays noted until it is struck.
 * Must be called under the instance lock. Throws ExitError.
 */
export function openSlotFile<Note, Key>(
  kind: SlotKind<Note, Key>,
  options: SlotFileOptions,
): OpenedSlotFile<Note, Key> {
  const { dir, bootId, monotonicMs, capacity, expected = false } = options;
  const { steps = slotStepsOnDisk, writeAt = steps.writeAt } = options;
  const before = readSlots(kind, dir, bootId, steps);
  const found = eachOnce(kind, before?.slots ?? []);
  // Remembered in the header: from now on the notes are whole, and after another crash they must not pass for complete.
  const wanting = before === undefined ? kind.meaning === 'allows' || expected : before.damaged;
  const doubtUntilMs = wanting ? monotonicMs + kind.doubtMs : (before?.header?.doubtUntilMs ?? 0);
  const doubtful = monotonicMs < doubtUntilMs;
  let descriptor: number;
  let slots: readonly (Note | undefined)[];
  if (before !== undefined && !before.damaged && !doubtful && before.header?.capacity === capacity) {
    ({ descriptor, slots } = before);
  } else {
    if (before !== undefined) steps.close(before.descriptor);
    slots = [...found, ...new Array<undefined>(Math.max(0, capacity - found.length))];
    const header = { bootId, capacity: slots.length, doubtUntilMs };
    descriptor = steps.make(join(dir, kind.name), bytesOf(kind, header, found));
  }
  return {
    slots: new Slots(kind, descriptor, slots, writeAt),
    found,
    doubtful,
    isNew: before === undefined,
    close: () => steps.close(descriptor),
  };
}

/** Whether there are notes of this boot; unreadable ones count. Throws ExitError. */
export function isOfBoot(
  { name, magic }: Pick<SlotKind<unknown, unknown>, 'name' | 'magic'>,
  dir: string,
  bootId: string,
  steps: SlotFileSteps = slotStepsOnDisk,
): boolean {
  const file = steps.open(join(dir, name));
  if (file === undefined) return false;
  steps.close(file.descriptor);
  const header = readHeader(file.bytes.subarray(0, SLOT_BYTES), magic);
  return header === undefined || header.bootId === bootId;
}

/** Reads the notes of this boot and changes nothing. Returns undefined if there are none. Throws ExitError. */
export function peekSlots<Note, Key>(
  kind: SlotKind<Note, Key>,
  { dir, bootId, steps = slotStepsOnDisk }: Pick<SlotFileOptions, 'dir' | 'bootId' | 'steps'>,
): { readonly found: readonly Note[]; readonly doubtful: boolean } | undefined {
  const there = readSlots(kind, dir, bootId, steps);
  if (there === undefined) return undefined;
  steps.close(there.descriptor);
  return { found: eachOnce(kind, there.slots), doubtful: there.damaged };
}

/** Returns undefined if there are no notes of this boot. The caller closes the descriptor. */
function readSlots<Note, Key>(
  kind: SlotKind<Note, Key>,
  dir: string,
  bootId: string,
  steps: SlotFileSteps,
): SlotsOnDisk<Note> | undefined {
  const file = steps.open(join(dir, kind.name));
  if (file === undefined) return undefined;
  const { descriptor, bytes } = file;
  const header = readHeader(bytes.subarray(0, SLOT_BYTES), kind.magic);
  if (header !== undefined && header.bootId !== bootId) {
    steps.close(descriptor);
    return undefined;
  }
  if (header === undefined && kind.meaning === 'allows') return { descriptor, slots: [], damaged: true, header };
  // Without the header the boot of the notes is unknown: they may be of this one.
  let damaged = header === undefined || bytes.length !== (1 + header.capacity) * SLOT_BYTES;
  const slots = new Array<Note | undefined>(Math.max(0, Math.floor(bytes.length / SLOT_BYTES) - 1)).fill(undefined);
  const keys = new Set<Key>();
  for (let index = 0; index < slots.length; index++) {
    const at = (1 + index) * SLOT_BYTES;
    // Most pages are free, and to read thousands of slots one by one would delay a restart by milliseconds.
    if (bytes.subarray(at, at + FREE_PAGE.length).equals(FREE_PAGE)) {
      index += FREE_PAGE.length / SLOT_BYTES - 1;
      continue;
    }
    const slot = bytes.subarray(at, at + SLOT_BYTES);
    if (slot.equals(FREE)) continue;
    const note = isSealed(slot) ? kind.read(slot) : undefined;
    slots[index] = note;
    if (note === undefined || keys.has(kind.keyOf(note))) damaged = true;
    else keys.add(kind.keyOf(note));
  }
  return { descriptor, slots, damaged, header };
}

function eachOnce<Note, Key>(kind: SlotKind<Note, Key>, slots: readonly (Note | undefined)[]): readonly Note[] {
  const notes = slots.filter((slot) => slot !== undefined);
  return [...new Map(notes.map((note) => [kind.keyOf(note), note])).values()];
}

function readFile(path: string): OpenedFile | undefined {
  let descriptor: number;
  try {
    // Never through a planted link, and without waiting for the other end of a planted pipe.
    descriptor = openSync(path, constants.O_RDWR | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch (error) {
    const code = systemErrorCode(error);
    if (code === 'ENOENT') return undefined;
    if (code === 'ELOOP')
      throw new ExitError(EXIT.config, `${path} is a symbolic link, which nonced did not make; remove it`);
    if (code === 'EISDIR' || code === 'ENXIO') {
      throw new ExitError(EXIT.config, `${path} is not a regular file, so nonced did not make it; move it away`);
    }
    throw startFailure(error, `${path} cannot be opened`);
  }
  try {
    const distrust = distrustFile(descriptor, path, 0o022);
    if (distrust !== undefined) throw new ExitError(EXIT.config, `${path} ${distrust}`);
    const { size } = fstatSync(descriptor);
    if (size > LARGEST_FILE_BYTES) {
      throw new ExitError(EXIT.config, `${path} has ${size} bytes, so nonced did not write it; move it away`);
    }
    const bytes = Buffer.alloc(size);
    let length = 0;
    for (let read = -1; length < size && read !== 0; length += read) {
      read = readSync(descriptor, bytes, length, size - length, length);
    }
    return { descriptor, bytes: bytes.subarray(0, length) };
  } catch (error) {
    closeSync(descriptor);
    throw startFailure(error, `${path} cannot be read`);
  }
}

/** Returns the bytes of a whole file: its header, then the notes, then free slots. */
function bytesOf<Note>(kind: SlotKind<Note, unknown>, header: SlotHeader, notes: readonly Note[]): Buffer {
  const bytes = Buffer.alloc((1 + header.capacity) * SLOT_BYTES);
  writeHeader(bytes.subarray(0, SLOT_BYTES), kind.magic, header);
  notes.forEach((note, index) => {
    const slot = bytes.subarray((1 + index) * SLOT_BYTES, (2 + index) * SLOT_BYTES);
    kind.write(slot, note);
    seal(slot);
  });
  return bytes;
}

/**
 * Writes the file under another name first, so that a crash in between leaves the old notes, damaged as they are. Every
 * byte is written, so that no later note can lack room.
 */
function makeFile(path: string, bytes: Buffer): number {
  const temporary = `${path}.new`;
  let descriptor: number | undefined;
  try {
    removeIfThere(temporary);
    const flags = constants.O_RDWR | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
    descriptor = openSync(temporary, flags, 0o600);
    if (writeSync(descriptor, bytes, 0, bytes.length, 0) < bytes.length) {
      throw Object.assign(new Error('ENOSPC: no space left on device'), { code: 'ENOSPC' });
    }
    renameSync(temporary, path);
    return descriptor;
  } catch (error) {
    if (descriptor !== undefined) closeSync(descriptor);
    try {
      removeIfThere(temporary);
    } catch {
      // The first failure says more. The next start removes the file.
    }
    throw startFailure(error, `${temporary} cannot be written`);
  }
}

function removeIfThere(path: string): void {
  try {
    unlinkSync(path);
  } catch (error) {
    if (systemErrorCode(error) !== 'ENOENT') throw error;
  }
}

export const slotStepsOnDisk: SlotFileSteps = {
  open: readFile,
  make: makeFile,
  writeAt: (descriptor, slot, position) => writeSync(descriptor, slot, 0, SLOT_BYTES, position),
  close: closeSync,
};

/** The notes in an open file: the slot of each, and the free slots. */
export class Slots<Note, Key> {
  readonly capacity: number;
  readonly #kind: SlotKind<Note, Key>;
  readonly #descriptor: number;
  readonly #writeAt: (descriptor: number, slot: Buffer, position: number) => number;
  readonly #slotOf = new Map<Key, number>();
  /** A stack, so that the same few slots are used over and over. */
  readonly #free: number[] = [];
  readonly #buffer = Buffer.alloc(SLOT_BYTES);

  constructor(
    kind: SlotKind<Note, Key>,
    descriptor: number,
    slots: readonly (Note | undefined)[],
    writeAt: (descriptor: number, slot: Buffer, position: number) => number,
  ) {
    this.capacity = slots.length;
    this.#kind = kind;
    this.#descriptor = descriptor;
    this.#writeAt = writeAt;
    for (let index = slots.length - 1; index >= 0; index--) {
      const note = slots[index];
      if (note === undefined) this.#free.push(index);
      else this.#slotOf.set(kind.keyOf(note), index);
    }
  }

  /** Writes a note over that of the same key, if there is one. Throws if it cannot be kept; then the old note stays. */
  note(note: Note): void {
    const key = this.#kind.keyOf(note);
    const known = this.#slotOf.get(key);
    const index = known ?? this.#free.at(-1);
    if (index === undefined) throw new Error(`all ${this.capacity} slots for ${this.#kind.name} are in use`);
    this.#buffer.fill(0);
    this.#kind.write(this.#buffer, note);
    seal(this.#buffer);
    this.#write(index, this.#buffer);
    if (known !== undefined) return;
    this.#free.pop();
    this.#slotOf.set(key, index);
  }

  /** Removes the note of a key. Unknown keys are ignored. */
  strike(key: Key): void {
    const index = this.#slotOf.get(key);
    if (index === undefined) return;
    this.#write(index, FREE);
    this.#slotOf.delete(key);
    this.#free.push(index);
  }

  #write(index: number, slot: Buffer): void {
    const written = this.#writeAt(this.#descriptor, slot, (1 + index) * SLOT_BYTES);
    if (written !== SLOT_BYTES) throw new Error(`a note was cut short: ${written} of ${SLOT_BYTES} bytes`);
  }
}
