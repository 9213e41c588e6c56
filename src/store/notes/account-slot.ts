import type { NotedAccount, NotedBreaker } from '../../core/ports.ts';
import { CHECKSUM_AT, isAccount, LONGEST_ACCOUNT } from './slot-format.ts';

// The fields of a slot: six times and amounts, two counts, why the breaker is open, a length, the account, the
// checksum.
const AT = {
  level: 0,
  atMs: 8,
  openedAt: 16,
  probeAt: 24,
  urgentAt: 32,
  probeEvery: 40,
  inARow: 48,
  recent: 52,
  openFor: 56,
  accountLength: 57,
} as const;
const ACCOUNT_AT = 58;
if (ACCOUNT_AT + LONGEST_ACCOUNT > CHECKSUM_AT) throw new Error('an account does not fit into its slot');

const REASONS: readonly NotedBreaker['openFor'][] = [undefined, 'invalid-nonce', 'locked-out'];

/**
 * Fills an all-zero `slot` with an account, except for the checksum. Throws RangeError for an account that cannot be
 * noted, which is a defect of the caller.
 */
export function writeAccount(slot: Buffer, { account, level, atMs, breaker }: NotedAccount): void {
  const openFor = REASONS.indexOf(breaker.openFor);
  const { openedAtMs, probeAtMs, urgentAtMs, probeEveryMs, inARow, recent } = breaker;
  const times = [atMs, openedAtMs, probeAtMs, urgentAtMs, probeEveryMs];
  if (!isAccount(account) || openFor < 0 || !isAmount(level) || !times.every(Number.isFinite)) {
    throw new RangeError('an account that cannot be noted: name, level, breaker or time out of range');
  }
  slot.writeDoubleLE(level, AT.level);
  slot.writeDoubleLE(atMs, AT.atMs);
  slot.writeDoubleLE(openedAtMs, AT.openedAt);
  slot.writeDoubleLE(probeAtMs, AT.probeAt);
  slot.writeDoubleLE(urgentAtMs, AT.urgentAt);
  slot.writeDoubleLE(probeEveryMs, AT.probeEvery);
  // These two throw by themselves if a number is out of range.
  slot.writeUInt32LE(inARow, AT.inARow);
  slot.writeUInt32LE(recent, AT.recent);
  slot.writeUInt8(openFor, AT.openFor);
  slot.writeUInt8(slot.write(account, ACCOUNT_AT, 'latin1'), AT.accountLength);
}

/** Reads a slot whose checksum holds. Returns undefined if it is not an account, or was noted after `nowMs`. */
export function readAccount(slot: Buffer, nowMs: number): NotedAccount | undefined {
  const accountLength = slot.readUInt8(AT.accountLength);
  const account = slot.toString('latin1', ACCOUNT_AT, ACCOUNT_AT + Math.min(accountLength, LONGEST_ACCOUNT));
  const reason = slot.readUInt8(AT.openFor);
  const noted: NotedAccount = {
    account,
    level: slot.readDoubleLE(AT.level),
    atMs: slot.readDoubleLE(AT.atMs),
    breaker: {
      openFor: REASONS[reason],
      openedAtMs: slot.readDoubleLE(AT.openedAt),
      probeAtMs: slot.readDoubleLE(AT.probeAt),
      urgentAtMs: slot.readDoubleLE(AT.urgentAt),
      probeEveryMs: slot.readDoubleLE(AT.probeEvery),
      inARow: slot.readUInt32LE(AT.inARow),
      recent: slot.readUInt32LE(AT.recent),
    },
  };
  if (account.length !== accountLength || !isAccount(account) || reason >= REASONS.length) return undefined;
  // A time in the future would make a bucket drain backwards. Times of a closed breaker mean nothing.
  const { level, atMs, breaker } = noted;
  if (!isAmount(level) || !(atMs <= nowMs)) return undefined;
  // It must be possible to write it again as it is.
  if (![atMs, breaker.openedAtMs, breaker.probeAtMs, breaker.urgentAtMs, breaker.probeEveryMs].every(Number.isFinite))
    return undefined;
  return breaker.openFor === undefined || breaker.openedAtMs <= nowMs ? noted : undefined;
}

const isAmount = (value: number): boolean => Number.isFinite(value) && value >= 0;
