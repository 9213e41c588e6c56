import { crc32 } from 'node:zlib';
import type { NotedLease, Priority, RequestId, Token } from '../core/ports.ts';

/** One lease, and the header too. A divisor of the page size, so that no slot lies across two pages. */
export const SLOT_BYTES = 128;
const VERSION = 1;
const MAGIC = 'nonced L';

// Of a slot: token, deadline, TTL, priority, kind of session and id, two lengths, session, account and id, checksum.
const AT = { token: 0, expiresAt: 8, ttl: 16, priority: 20, kinds: 21, accountLength: 22, idLength: 23 } as const;
const SESSION_AT = 24;
const ACCOUNT_AT = 40;
const CHECKSUM_AT = SLOT_BYTES - 4;
const LONGEST_ACCOUNT = 64;
const SESSION_BYTES = 16;

const HAS_SESSION = 1;
const ID_NUMBER = 2;
const ID_STRING = 4;

const PRIORITIES: readonly Priority[] = ['urgent', 'normal', 'background'];

export interface NotesHeader {
  readonly bootId: string;
  readonly capacity: number;
  /** On CLOCK_MONOTONIC. Until then whoever opens the notes must take them for damaged: damage was found before. */
  readonly doubtUntilMs: number;
}

/** Fills `slot` with a lease. Throws RangeError for one that cannot be noted, which is a defect of the caller. */
export function writeSlot(slot: Buffer, lease: NotedLease): void {
  const { account, token, sessionHash, requestId } = lease;
  const priority = PRIORITIES.indexOf(lease.priority);
  if (!/^[!-~]{1,64}$/.test(account) || !Number.isSafeInteger(token) || token <= 0 || priority < 0) {
    throw new RangeError('a lease that cannot be noted: account, token or priority out of range');
  }
  slot.fill(0);
  slot.writeBigUInt64LE(BigInt(token), AT.token);
  slot.writeDoubleLE(lease.expiresAtMs, AT.expiresAt);
  slot.writeUInt32LE(lease.ttlMs, AT.ttl);
  slot.writeUInt8(priority, AT.priority);
  slot.writeUInt8(slot.write(account, ACCOUNT_AT, 'latin1'), AT.accountLength);
  let kinds = 0;
  if (sessionHash !== undefined) {
    if (!/^[0-9a-f]{32}$/.test(sessionHash)) throw new RangeError('a session hash that is not 32 hex digits');
    slot.write(sessionHash, SESSION_AT, 'hex');
    kinds |= HAS_SESSION;
  }
  kinds |= writeRequestId(slot, ACCOUNT_AT + account.length, requestId);
  slot.writeUInt8(kinds, AT.kinds);
  seal(slot);
}

/** Answers the kind that was written: none for an id that does not fit, or that would be read back as another. */
function writeRequestId(slot: Buffer, at: number, id: RequestId | undefined): number {
  if (typeof id === 'number' && Number.isSafeInteger(id)) {
    slot.writeDoubleLE(id, at);
    return ID_NUMBER;
  }
  if (typeof id !== 'string' || id.length > CHECKSUM_AT - at || /\p{Surrogate}/u.test(id)) return 0;
  const bytes = Buffer.from(id);
  if (bytes.length > CHECKSUM_AT - at) return 0;
  slot.set(bytes, at);
  slot.writeUInt8(bytes.length, AT.idLength);
  return ID_STRING;
}

/** Undefined for a slot that is not whole. An all-zero one is free and is not to be handed here. */
export function readSlot(slot: Buffer): NotedLease | undefined {
  if (!isSealed(slot)) return undefined;
  const token = slot.readBigUInt64LE(AT.token);
  const priority = PRIORITIES[slot.readUInt8(AT.priority)];
  const kinds = slot.readUInt8(AT.kinds);
  const accountLength = slot.readUInt8(AT.accountLength);
  const idAt = ACCOUNT_AT + accountLength;
  const idLength = slot.readUInt8(AT.idLength);
  if (token > BigInt(Number.MAX_SAFE_INTEGER) || priority === undefined) return undefined;
  if (accountLength < 1 || accountLength > LONGEST_ACCOUNT || idAt + idLength > CHECKSUM_AT) return undefined;
  return {
    account: slot.toString('latin1', ACCOUNT_AT, idAt),
    token: Number(token) as Token,
    priority,
    ttlMs: slot.readUInt32LE(AT.ttl),
    expiresAtMs: slot.readDoubleLE(AT.expiresAt),
    sessionHash: (kinds & HAS_SESSION) !== 0 ? slot.toString('hex', SESSION_AT, SESSION_AT + SESSION_BYTES) : undefined,
    requestId:
      (kinds & ID_NUMBER) !== 0
        ? slot.readDoubleLE(idAt)
        : (kinds & ID_STRING) !== 0
          ? slot.toString('utf8', idAt, idAt + idLength)
          : undefined,
  };
}

export function writeHeader(slot: Buffer, { bootId, capacity, doubtUntilMs }: NotesHeader): void {
  slot.fill(0);
  slot.write(MAGIC, 0, 'latin1');
  slot.writeUInt32LE(VERSION, 8);
  slot.writeUInt32LE(capacity, 12);
  slot.writeDoubleLE(doubtUntilMs, 16);
  if (!/^[!-~]{1,64}$/.test(bootId)) throw new RangeError(`no boot id: ${JSON.stringify(bootId)}`);
  slot.writeUInt8(slot.write(bootId, 32, 'latin1'), 24);
  seal(slot);
}

/** Undefined for a header that is not whole, or not of this version. */
export function readHeader(slot: Buffer): NotesHeader | undefined {
  if (slot.length < SLOT_BYTES || !isSealed(slot) || slot.toString('latin1', 0, 8) !== MAGIC) return undefined;
  if (slot.readUInt32LE(8) !== VERSION) return undefined;
  return {
    capacity: slot.readUInt32LE(12),
    doubtUntilMs: slot.readDoubleLE(16),
    bootId: slot.toString('latin1', 32, 32 + slot.readUInt8(24)),
  };
}

function seal(slot: Buffer): void {
  slot.writeUInt32LE(crc32(slot.subarray(0, CHECKSUM_AT)), CHECKSUM_AT);
}

function isSealed(slot: Buffer): boolean {
  return slot.readUInt32LE(CHECKSUM_AT) === crc32(slot.subarray(0, CHECKSUM_AT));
}
