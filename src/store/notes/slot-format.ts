import { crc32 } from 'node:zlib';

/** The size of a note, and of the header. It divides the page size, so that no slot crosses a page. */
export const SLOT_BYTES = 128;
/** The note ends here, and the checksum begins. */
export const CHECKSUM_AT = SLOT_BYTES - 4;
export const LONGEST_ACCOUNT = 64;
const VERSION = 1;

export interface SlotHeader {
  readonly bootId: string;
  readonly capacity: number;
  /** On CLOCK_MONOTONIC. Until then a daemon that opens the notes must take them for damaged, as they were found so. */
  readonly doubtUntilMs: number;
}

/** `magic` is eight characters that tell one kind of notes from another. */
export function writeHeader(slot: Buffer, magic: string, { bootId, capacity, doubtUntilMs }: SlotHeader): void {
  slot.fill(0);
  slot.write(magic, 0, 'latin1');
  slot.writeUInt32LE(VERSION, 8);
  slot.writeUInt32LE(capacity, 12);
  slot.writeDoubleLE(doubtUntilMs, 16);
  if (!/^[!-~]{1,64}$/.test(bootId)) throw new RangeError(`no boot id: ${JSON.stringify(bootId)}`);
  slot.writeUInt8(slot.write(bootId, 32, 'latin1'), 24);
  seal(slot);
}

/** Returns undefined for a header that is not whole, or not of this kind and version. */
export function readHeader(slot: Buffer, magic: string): SlotHeader | undefined {
  if (slot.length < SLOT_BYTES || !isSealed(slot) || slot.toString('latin1', 0, 8) !== magic) return undefined;
  if (slot.readUInt32LE(8) !== VERSION) return undefined;
  return {
    capacity: slot.readUInt32LE(12),
    doubtUntilMs: slot.readDoubleLE(16),
    bootId: slot.toString('latin1', 32, 32 + slot.readUInt8(24)),
  };
}

/** Whether a text can be an account's label. It is ASCII: as many bytes as characters. */
export function isAccount(text: string): boolean {
  return /^[!-~]{1,64}$/.test(text);
}

export function seal(slot: Buffer): void {
  slot.writeUInt32LE(crc32(slot.subarray(0, CHECKSUM_AT)), CHECKSUM_AT);
}

export function isSealed(slot: Buffer): boolean {
  return slot.readUInt32LE(CHECKSUM_AT) === crc32(slot.subarray(0, CHECKSUM_AT));
}
