import type { ExclusionPolicy, Unit } from '../../terms.ts';
import { DIGITS } from '../../terms.ts';
import type { Nonce } from '../ports.ts';
import type { EndedCall, GrantedCall } from '../record/recent-calls.ts';

/** One program is to blame if this many of its calls were rejected while those of others were accepted. */
const ONES_OWN = 2;

/** What the daemon knows of an account when it is asked why. */
export interface AccountRecord {
  readonly account: string;
  /** The ended calls that are remembered, the latest to end first. */
  readonly calls: readonly EndedCall[];
  /** The calls under way. */
  readonly live: readonly GrantedCall[];
  /** Whether one of its calls has been accepted since the daemon started. */
  readonly everAccepted: boolean;
  /** The bare nonces, without a lease, that were drawn for it since the daemon started. */
  readonly bare: { readonly count: number; readonly last: Nonce } | undefined;
  /** The requests that were refused because they asked for another unit. */
  readonly refusedUnits: { readonly count: number; readonly unit: Unit } | undefined;
  readonly policy: ExclusionPolicy;
  /** The unit of its sequence. */
  readonly unit: Unit;
  /** How far its sequence is ahead of the clock; undefined for a counter. */
  readonly leadMs: number | undefined;
  /** How far the wall clock is ahead of the time that its sequence follows; undefined if it is followed. */
  readonly notFollowedMs: number | undefined;
  /** When an operator last raised its sequence. */
  readonly advancedAtMs: number | undefined;
}

/** A crash puts a sequence up to 5 s ahead. Exchanges that compare a nonce with their clock allow 5 s to 30 s. */
const CLOCK_WINDOW_MS = 6_000;

/** Whether the sequence is so far ahead of the clock that an exchange which compares the two rejects its nonces. */
export function isAheadOfClock({ leadMs }: AccountRecord): boolean {
  return leadMs !== undefined && leadMs > CLOCK_WINDOW_MS;
}

/** Returns how many calls in a row were refused for their rate, up to now. */
export function limitedInARow(calls: readonly EndedCall[]): number {
  let inARow = 0;
  for (const { outcome } of inOrder(calls)) {
    if (outcome === 'rate-limited') inARow += 1;
    else if (outcome !== 'unknown' && outcome !== 'unused') break;
  }
  return inARow;
}

/** What the calls say about the latest rejected one. */
export interface Evidence {
  readonly rejected: EndedCall;
  /** The first call of the account that was granted a higher nonce before the rejection was told. */
  readonly overtaker: GrantedCall | undefined;
  /** How many calls were rejected since the last accepted one, without those that were overtaken. */
  readonly inARow: number;
  /** How many calls since the last accepted one did not say how they ended. */
  readonly silentInARow: number;
  /** Whether a bare nonce above the rejected one has been drawn at any time. */
  readonly bareIsHigher: boolean;
  readonly acceptedBefore: boolean;
  readonly acceptedAfter: boolean;
}

export interface OneProgram {
  readonly rejections: number;
  /** How many calls of other programs were accepted since the first rejection. */
  readonly accepted: number;
}

/** Returns the rejected call that was granted last; undefined if there is none. */
export function latestRejected(calls: readonly EndedCall[]): EndedCall | undefined {
  return inOrder(calls).find(isRejected);
}

/** Whether a request was refused that asked for nonces of more digits than the sequence has. */
export function asksForLonger({ refusedUnits, unit }: AccountRecord): boolean {
  if (refusedUnits === undefined || refusedUnits.unit === 'counter' || unit === 'counter') return false;
  return DIGITS[refusedUnits.unit] > DIGITS[unit];
}

/** Returns what the calls of the account say about the one that was rejected. */
export function evidenceOn(rejected: EndedCall, record: AccountRecord): Evidence {
  const { bare } = record;
  let inARow = 0;
  let silentInARow = 0;
  for (const call of inOrder(record.calls)) {
    if (call.outcome === 'ok') break;
    if (isRejected(call) && overtakerOf(call, record) === undefined) inARow += 1;
    else if (isSilent(call)) silentInARow += 1;
  }
  const accepted = record.calls.filter(({ outcome }) => outcome === 'ok');
  const acceptedAfter = accepted.some(({ token }) => token > rejected.token);
  return {
    rejected,
    overtaker: overtakerOf(rejected, record),
    inARow,
    silentInARow,
    bareIsHigher: bare !== undefined && (rejected.nonce === undefined || bare.last > rejected.nonce),
    // An accepted call that is no longer remembered came before all that are.
    acceptedBefore: accepted.some(({ token }) => token < rejected.token) || (record.everAccepted && !acceptedAfter),
    acceptedAfter,
  };
}

/** Returns the first call of the account that was granted a higher nonce than `call` before its outcome was told. */
function overtakerOf(call: EndedCall, { calls, live }: AccountRecord): GrantedCall | undefined {
  let first: GrantedCall | undefined;
  const consider = (other: GrantedCall) => {
    if (other.token <= call.token || other.grantedAtMs > call.toldAtMs) return;
    if (first === undefined || other.token < first.token) first = other;
  };
  // A lease that was released unused sent nothing.
  for (const other of calls) if (other.outcome !== 'unused') consider(other);
  for (const other of live) consider(other);
  return first;
}

/** Returns the program whose calls alone were rejected, all of them, while calls of others were accepted meanwhile. */
export function oneProgram(record: AccountRecord): OneProgram | undefined {
  const rejections = inOrder(record.calls).filter(
    (call) => isRejected(call) && overtakerOf(call, record) === undefined,
  );
  const program = identityOf(rejections[0]);
  const first = rejections.at(-1);
  if (program === undefined || first === undefined || rejections.length < ONES_OWN) return undefined;
  if (rejections.some((call) => identityOf(call) !== program)) return undefined;
  const accepted = record.calls.filter(({ outcome }) => outcome === 'ok');
  if (accepted.some((call) => identityOf(call) === program)) return undefined;
  const meanwhile = accepted.filter(({ token }) => token > first.token).length;
  return meanwhile === 0 ? undefined : { rejections: rejections.length, accepted: meanwhile };
}

/** Returns what tells one program from another: its name, because a bot that was restarted has another pid. */
function identityOf(call: EndedCall | undefined): string | number | undefined {
  return call?.holder ?? call?.pid;
}

const isRejected = ({ outcome }: EndedCall): boolean => outcome === 'invalid-nonce';

/** Whether the lease was released without an outcome. */
export const isSilent = ({ ended, outcome }: EndedCall): boolean => ended === 'released' && outcome === 'unknown';

/** Returns the calls with the latest grant first, which is also the highest nonce of the account. */
function inOrder(calls: readonly EndedCall[]): EndedCall[] {
  return [...calls].sort((a, b) => b.token - a.token);
}
