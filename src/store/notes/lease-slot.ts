import type { Nonce, NotedLease, RequestId, Token } from '../../core/ports.ts';
import { PRIORITIES } from '../../terms.ts';
import { CHECKSUM_AT, isAccount, LONGEST_ACCOUNT } from './slot-format.ts';

// The fields of a slot: token, deadline, TTL, priority, kinds of what follows, two lengths, session, account, id, first
// and last nonce, length of the label, label, checksum. 0.1 reads none of what comes after the id.
const AT = { token: 0, expiresAt: 8, ttl: 16, priority: 20, kinds: 21, accountLength: 22, idLength: 23 } as const;
const SESSION_AT = 24;
const ACCOUNT_AT = 40;
const SESSION_BYTES = 16;

const HAS_SESSION = 1;
const ID_NUMBER = 2;
const ID_STRING = 4;
const HAS_NONCES = 8;
const HAS_LABEL = 16;

const NONCES_BYTES = 16;
const LARGEST_NONCE = 2n ** 64n - 1n;

/**
 * Fills an all-zero `slot` with a lease, except for the checksum. Throws RangeError for a lease that cannot be noted,
 * which is a defect of the caller.
 */
export function writeLease(slot: Buffer, lease: NotedLease): void {
  const { account, token, sessionHash, requestId } = lease;
  const priority = PRIORITIES.indexOf(lease.priority);
  if (!isAccount(account) || !Number.isSafeInteger(token) || token <= 0 || priority < 0) {
    throw new RangeError('a lease that cannot be noted: account, token or priority out of range');
  }
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
  const idAt = ACCOUNT_AT + account.length;
  const idKind = writeRequestId(slot, idAt, requestId);
  kinds |= idKind | writeCall(slot, idAt + idBytes(slot, idKind), lease);
  slot.writeUInt8(kinds, AT.kinds);
}

function idBytes(slot: Buffer, kinds: number): number {
  return (kinds & ID_NUMBER) !== 0 ? 8 : slot.readUInt8(AT.idLength);
}

/** Returns the kinds that were written: a note has room for most calls. */
function writeCall(slot: Buffer, at: number, { nonces, label }: NotedLease): number {
  if (nonces === undefined || nonces.last > LARGEST_NONCE || at + NONCES_BYTES > CHECKSUM_AT) return 0;
  slot.writeBigUInt64LE(nonces.first, at);
  slot.writeBigUInt64LE(nonces.last, at + 8);
  const labelAt = at + NONCES_BYTES + 1;
  const bytes = label === undefined || /\p{Surrogate}/u.test(label) ? undefined : Buffer.from(label);
  if (bytes === undefined || labelAt + bytes.length > CHECKSUM_AT) return HAS_NONCES;
  slot.writeUInt8(bytes.length, labelAt - 1);
  slot.set(bytes, labelAt);
  return HAS_NONCES | HAS_LABEL;
}

/** Returns undefined if what is said to be there would not fit. */
function readCall(slot: Buffer, at: number, kinds: number): Pick<NotedLease, 'nonces' | 'label'> | undefined {
  if ((kinds & HAS_NONCES) === 0) return { nonces: undefined, label: undefined };
  if (at + NONCES_BYTES > CHECKSUM_AT) return undefined;
  const first = slot.readBigUInt64LE(at) as Nonce;
  const nonces = { first, last: slot.readBigUInt64LE(at + 8) as Nonce };
  if ((kinds & HAS_LABEL) === 0) return { nonces, label: undefined };
  const labelAt = at + NONCES_BYTES + 1;
  const end = labelAt + slot.readUInt8(labelAt - 1);
  return end > CHECKSUM_AT ? undefined : { nonces, label: slot.toString('utf8', labelAt, end) };
}

/** Returns the kind that was written, or none for an id that does not fit or would be read back as another. */
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

/** Reads a slot whose checksum holds. Returns undefined if it is not a lease. */
export function readLease(slot: Buffer): NotedLease | undefined {
  const token = slot.readBigUInt64LE(AT.token);
  const priority = PRIORITIES[slot.readUInt8(AT.priority)];
  const kinds = slot.readUInt8(AT.kinds);
  const accountLength = slot.readUInt8(AT.accountLength);
  const idAt = ACCOUNT_AT + accountLength;
  const idLength = slot.readUInt8(AT.idLength);
  if (token < 1n || token > BigInt(Number.MAX_SAFE_INTEGER) || priority === undefined) return undefined;
  if (accountLength < 1 || accountLength > LONGEST_ACCOUNT || idAt + idLength > CHECKSUM_AT) return undefined;
  const account = slot.toString('latin1', ACCOUNT_AT, idAt);
  // It must be possible to write it again as it is.
  if (!isAccount(account)) return undefined;
  const call = readCall(slot, idAt + idBytes(slot, kinds), kinds);
  if (call === undefined) return undefined;
  return {
    ...call,
    account,
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
