import { closeSync, constants, fstatSync, openSync, readSync, renameSync, unlinkSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import type { LeaseNotes, NotedLease, NotesFound, Token } from '../core/ports.ts';
import { EXIT, ExitError, systemErrorCode } from '../errors.ts';
import { distrustFile, startFailure } from './directories.ts';
import { readHeader, readSlot, SLOT_BYTES, writeHeader, writeSlot } from './note-format.ts';

const NOTES_FILE = 'leases';
const NEW_NOTES_FILE = 'leases.new';
/** More than one daemon ever grants at a time, and half a megabyte of memory. */
const DEFAULT_CAPACITY = 4096;
// Far above any capacity; nothing larger is read into memory.
const LARGEST_NOTES_BYTES = 16 * 1024 * 1024;
/** The longest TTL: until then a lease whose note was damaged may be alive, so a further crash must remember that. */
const DOUBT_MS = 10 * 60 * 1000;
const FREE = Buffer.alloc(SLOT_BYTES);
const FREE_PAGE = Buffer.alloc(32 * SLOT_BYTES);

export interface LeaseNotesOptions {
  readonly dir: string;
  readonly bootId: string;
  /** CLOCK_MONOTONIC now. */
  readonly monotonicMs: number;
  readonly capacity?: number;
  /** Writes one whole slot and answers how many bytes it wrote; for tests to count and to fail. */
  readonly writeAt?: (descriptor: number, slot: Buffer, position: number) => number;
}

export interface OpenedNotes {
  readonly notes: LeaseNotes;
  readonly found: NotesFound;
  /** Closes the file and leaves the notes in it to the next daemon. */
  close(): void;
}

interface NotesOnDisk {
  readonly descriptor: number;
  readonly slots: readonly (NotedLease | undefined)[];
  readonly damaged: boolean;
  /** Until when, on CLOCK_MONOTONIC, it counts as damaged although it is whole: damage was found before. */
  readonly doubtUntilMs: number;
  /** It can go on being written to as it is. */
  readonly usable: boolean;
}

/**
 * Opens the notes of this boot and reads what the daemon before left in them. Its leases stay noted until they are
 * struck, so that a second crash finds them too. To be called under the instance lock, and once the state is written:
 * notes without a state are taken for the sign of a lost one. Throws ExitError.
 */
export function openLeaseNotes(options: LeaseNotesOptions): OpenedNotes {
  const { dir, bootId, monotonicMs, capacity = DEFAULT_CAPACITY, writeAt = writeSlotAt } = options;
  const before = readNotes(dir, bootId, monotonicMs, capacity);
  const noted = (before?.slots ?? []).filter((slot) => slot !== undefined);
  const leases = [...new Map(noted.map((lease) => [lease.token, lease])).values()];
  const damaged = before?.damaged ?? false;
  let descriptor: number;
  let slots: readonly (NotedLease | undefined)[];
  if (before?.usable === true) {
    ({ descriptor, slots } = before);
  } else {
    if (before !== undefined) closeSync(before.descriptor);
    slots = [...leases, ...new Array<undefined>(Math.max(0, capacity - leases.length))];
    descriptor = makeAnew(dir, { bootId, capacity: slots.length, doubtUntilMs: before?.doubtUntilMs ?? 0 }, leases);
  }
  return {
    notes: new SlottedNotes(descriptor, slots, writeAt),
    found: { leases, damaged },
    close: () => closeSync(descriptor),
  };
}

/** Whether a daemon has run in this boot: with notes and no state, the state was lost (I9). Unreadable notes count. */
export function notesExist(dir: string, bootId: string): boolean {
  const file = readFile(join(dir, NOTES_FILE));
  if (file === undefined) return false;
  closeSync(file.descriptor);
  const header = readHeader(file.bytes.subarray(0, SLOT_BYTES));
  return header === undefined || header.bootId === bootId;
}

/** Undefined where there are no notes of this boot. The descriptor is the caller's to close. */
function readNotes(dir: string, bootId: string, monotonicMs: number, capacity: number): NotesOnDisk | undefined {
  const file = readFile(join(dir, NOTES_FILE));
  if (file === undefined) return undefined;
  const { descriptor, bytes } = file;
  const header = readHeader(bytes.subarray(0, SLOT_BYTES));
  if (header !== undefined && header.bootId !== bootId) {
    closeSync(descriptor);
    return undefined;
  }
  // Without its header nobody knows of which boot the notes are: the leases in it may be alive.
  const whole = header !== undefined && bytes.length === (1 + header.capacity) * SLOT_BYTES;
  let damaged = !whole;
  const slots = new Array<NotedLease | undefined>(Math.max(0, Math.floor(bytes.length / SLOT_BYTES) - 1)).fill(
    undefined,
  );
  const tokens = new Set<Token>();
  for (let index = 0; index < slots.length; index++) {
    const at = (1 + index) * SLOT_BYTES;
    // Most pages are free, and thousands of slots one by one would hold up a restart by milliseconds.
    if (bytes.subarray(at, at + FREE_PAGE.length).equals(FREE_PAGE)) {
      index += FREE_PAGE.length / SLOT_BYTES - 1;
      continue;
    }
    const slot = bytes.subarray(at, at + SLOT_BYTES);
    if (slot.equals(FREE)) continue;
    const lease = readSlot(slot);
    slots[index] = lease;
    if (lease === undefined || tokens.has(lease.token)) damaged = true;
    else tokens.add(lease.token);
  }
  const doubtUntilMs = damaged ? monotonicMs + DOUBT_MS : (header?.doubtUntilMs ?? 0);
  const doubted = monotonicMs < doubtUntilMs;
  return { descriptor, slots, damaged: doubted, doubtUntilMs, usable: !doubted && header?.capacity === capacity };
}

function readFile(path: string): { descriptor: number; bytes: Buffer } | undefined {
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
    if (size > LARGEST_NOTES_BYTES) {
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

/**
 * Makes the whole file under another name and renames it, so that a crash in the middle leaves the old notes, damaged
 * as they are, to be found again. Every byte is written, so that no later note can want for room.
 */
function makeAnew(dir: string, header: Parameters<typeof writeHeader>[1], leases: readonly NotedLease[]): number {
  const path = join(dir, NEW_NOTES_FILE);
  const bytes = Buffer.alloc((1 + header.capacity) * SLOT_BYTES);
  writeHeader(bytes.subarray(0, SLOT_BYTES), header);
  leases.forEach((lease, index) => {
    writeSlot(bytes.subarray((1 + index) * SLOT_BYTES, (2 + index) * SLOT_BYTES), lease);
  });
  let descriptor: number | undefined;
  try {
    removeIfThere(path);
    descriptor = openSync(path, constants.O_RDWR | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW, 0o600);
    if (writeSync(descriptor, bytes, 0, bytes.length, 0) < bytes.length) {
      throw Object.assign(new Error('ENOSPC: no space left on device'), { code: 'ENOSPC' });
    }
    renameSync(path, join(dir, NOTES_FILE));
    return descriptor;
  } catch (error) {
    if (descriptor !== undefined) closeSync(descriptor);
    try {
      removeIfThere(path);
    } catch {
      // What failed first says more; the next start removes it.
    }
    throw startFailure(error, `${path} cannot be made`);
  }
}

function removeIfThere(path: string): void {
  try {
    unlinkSync(path);
  } catch (error) {
    if (systemErrorCode(error) !== 'ENOENT') throw error;
  }
}

function writeSlotAt(descriptor: number, slot: Buffer, position: number): number {
  return writeSync(descriptor, slot, 0, SLOT_BYTES, position);
}

class SlottedNotes implements LeaseNotes {
  readonly capacity: number;
  readonly #descriptor: number;
  readonly #writeAt: (descriptor: number, slot: Buffer, position: number) => number;
  readonly #slotOf = new Map<Token, number>();
  /** A stack, so that the same few slots are used again and again. */
  readonly #free: number[] = [];
  readonly #buffer = Buffer.alloc(SLOT_BYTES);

  constructor(
    descriptor: number,
    slots: readonly (NotedLease | undefined)[],
    writeAt: (descriptor: number, slot: Buffer, position: number) => number,
  ) {
    this.capacity = slots.length;
    this.#descriptor = descriptor;
    this.#writeAt = writeAt;
    for (let index = slots.length - 1; index >= 0; index--) {
      const lease = slots[index];
      if (lease === undefined) this.#free.push(index);
      else this.#slotOf.set(lease.token, index);
    }
  }

  note(lease: NotedLease): void {
    const known = this.#slotOf.get(lease.token);
    const index = known ?? this.#free.at(-1);
    if (index === undefined) throw new Error(`all ${this.capacity} slots for leases are in use`);
    writeSlot(this.#buffer, lease);
    this.#write(index, this.#buffer);
    if (known !== undefined) return;
    this.#free.pop();
    this.#slotOf.set(lease.token, index);
  }

  strike(token: Token): void {
    const index = this.#slotOf.get(token);
    if (index === undefined) return;
    this.#write(index, FREE);
    this.#slotOf.delete(token);
    this.#free.push(index);
  }

  #write(index: number, slot: Buffer): void {
    const written = this.#writeAt(this.#descriptor, slot, (1 + index) * SLOT_BYTES);
    if (written !== SLOT_BYTES) throw new Error(`a note was cut short: ${written} of ${SLOT_BYTES} bytes`);
  }
}
