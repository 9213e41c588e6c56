import { closeSync, constants, fstatSync, openSync, readSync, renameSync, unlinkSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { EXIT, ExitError, systemErrorCode } from '../../errors.ts';
import { distrustFile, startFailure } from '../directories.ts';
import { isSealed, readHeader, SLOT_BYTES, type SlotHeader, seal, writeHeader } from './slot-format.ts';

// Far above any capacity; nothing larger is read into memory.
const LARGEST_FILE_BYTES = 16 * 1024 * 1024;
const FREE = Buffer.alloc(SLOT_BYTES);
const FREE_PAGE = Buffer.alloc(32 * SLOT_BYTES);

/** One kind of notes: its file, and what it puts into a slot. */
export interface SlotKind<Note, Key> {
  /** Of the file, which is made under `NAME.new`, and of what is in it. */
  readonly name: string;
  /** Eight characters at the beginning of the file. */
  readonly magic: string;
  /** For how long after they were found wanting the notes count as doubtful, whole as they may be by then. */
  readonly doubtMs: number;
  /**
   * `forbids`: a note keeps something from being done. Without notes nothing was forbidden, and one whose boot cannot
   * be told is believed. `allows`: a note relieves what is held back without it. Without notes all of it is doubtful,
   * and one whose boot cannot be told is not believed.
   */
  readonly meaning: 'forbids' | 'allows';
  /** What there is at most one note of. */
  keyOf(note: Note): Key;
  /** Fills an all-zero slot, but for its checksum. Throws RangeError for what cannot be noted. */
  write(slot: Buffer, note: Note): void;
  /** Of a slot whose checksum holds; undefined where it is none of ours all the same. */
  read(slot: Buffer): Note | undefined;
}

export interface SlotFileOptions {
  readonly dir: string;
  readonly bootId: string;
  /** CLOCK_MONOTONIC now. */
  readonly monotonicMs: number;
  readonly capacity: number;
  /** Writes one whole slot and answers how many bytes it wrote; for tests to count and to fail. */
  readonly writeAt?: SlotFileSteps['writeAt'];
  /** Left out: those on disk. */
  readonly steps?: SlotFileSteps;
}

/** What a file of notes asks of its file system, so that a simulation can do without one. `open` and `make` throw ExitError. */
export interface SlotFileSteps {
  /** Opens the file and reads it whole; undefined where there is none. */
  open(path: string): OpenedFile | undefined;
  /** Makes the whole file under another name and renames it to `path`. Answers its open descriptor. */
  make(path: string, bytes: Buffer): number;
  /** Writes one whole slot and answers how many bytes it wrote. */
  writeAt(descriptor: number, slot: Buffer, position: number): number;
  close(descriptor: number): void;
}

/** A file of notes with what it held when it was opened. The descriptor is the caller's to close. */
export interface OpenedFile {
  readonly descriptor: number;
  readonly bytes: Buffer;
}

export interface OpenedSlotFile<Note, Key> {
  readonly slots: Slots<Note, Key>;
  /** What is noted of this boot, each key once. */
  readonly found: readonly Note[];
  /** More may have been noted than was found. */
  readonly doubtful: boolean;
  /** Closes the file and leaves the notes in it to the next daemon. */
  close(): void;
}

interface SlotsOnDisk<Note> {
  readonly descriptor: number;
  readonly slots: readonly (Note | undefined)[];
  readonly damaged: boolean;
  readonly header: SlotHeader | undefined;
}

/**
 * Opens a preallocated file of notes that outlive the process and not the machine, one unsynced write each: a header
 * with the boot id, then checksummed slots. What was noted in this boot stays so until it is struck. To be called under
 * the instance lock. Throws ExitError.
 */
export function openSlotFile<Note, Key>(
  kind: SlotKind<Note, Key>,
  options: SlotFileOptions,
): OpenedSlotFile<Note, Key> {
  const { dir, bootId, monotonicMs, capacity, steps = slotStepsOnDisk, writeAt = steps.writeAt } = options;
  const before = readSlots(kind, dir, bootId, steps);
  const found = eachOnce(kind, before?.slots ?? []);
  // Remembered in the header: from now on the notes are whole, and a further crash must not make certainty of that.
  const wanting = before === undefined ? kind.meaning === 'allows' : before.damaged;
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

/** Undefined where there are no notes of this boot. The descriptor is the caller's to close. */
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
  // Without its header nobody knows of which boot the notes are: they may well be of this one.
  let damaged = header === undefined || bytes.length !== (1 + header.capacity) * SLOT_BYTES;
  const slots = new Array<Note | undefined>(Math.max(0, Math.floor(bytes.length / SLOT_BYTES) - 1)).fill(undefined);
  const keys = new Set<Key>();
  for (let index = 0; index < slots.length; index++) {
    const at = (1 + index) * SLOT_BYTES;
    // Most pages are free, and thousands of slots one by one would hold up a restart by milliseconds.
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
    // Never through a planted link, and without waiting for somebody at the other end of a planted pipe.
    descriptor = openSync(path, constants.O_RDWR | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch (error) {
    const code = systemErrorCode(error);
    if (code === 'ENOENT') return undefined;
    if (code === 'ELOOP') throw new ExitError(EXIT.config, `${path} is a symbolic link, not nonced's; remove it`);
    if (code === 'EISDIR' || code === 'ENXIO') {
      throw new ExitError(EXIT.config, `${path} is not a regular file, so not nonced's; move it away`);
    }
    throw startFailure(error, `${path} cannot be opened`);
  }
  try {
    const distrust = distrustFile(descriptor, path, 0o022);
    if (distrust !== undefined) throw new ExitError(EXIT.config, `${path} ${distrust}`);
    const { size } = fstatSync(descriptor);
    if (size > LARGEST_FILE_BYTES) {
      throw new ExitError(EXIT.config, `${path} is no file of nonced (${size} bytes); move it away`);
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

/** A whole file: its header, then the notes, then free slots. */
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
 * Under another name first, so that a crash in the middle leaves the old notes, damaged as they are, to be found again.
 * Every byte is written, so that no later note can want for room.
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
      // What failed first says more; the next start removes it.
    }
    throw startFailure(error, `${temporary} cannot be made`);
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

/** The notes in an open file: which slot each is in, and which slots are free. */
export class Slots<Note, Key> {
  readonly capacity: number;
  readonly #kind: SlotKind<Note, Key>;
  readonly #descriptor: number;
  readonly #writeAt: (descriptor: number, slot: Buffer, position: number) => number;
  readonly #slotOf = new Map<Key, number>();
  /** A stack, so that the same few slots are used again and again. */
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

  /** Overwrites the note of the same key. Throws where it cannot be kept; what is noted stays as it was. */
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

  /** Unknown keys are ignored. */
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
