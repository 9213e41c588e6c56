import type { ExclusionPolicy, Unit } from '../../terms.ts';
import { DIGITS } from '../../terms.ts';
import type { Nonce } from '../ports.ts';
import type { EndedCall, GrantedCall } from '../record/recent-calls.ts';

/** One program is to blame once so many of its calls were rejected while those of others were accepted. */
const ONES_OWN = 2;

/** What the daemon knows of an account when it is asked why. */
export interface AccountRecord {
  readonly account: string;
  /** All its ended calls that are remembered, the latest to end first. */
  readonly calls: readonly EndedCall[];
  /** Its calls under way. */
  readonly live: readonly GrantedCall[];
  /** A call of it has been accepted since the daemon started. */
  readonly everAccepted: boolean;
  /** Bare nonces drawn for it since the daemon started, without a turn. */
  readonly bare: { readonly count: number; readonly last: Nonce } | undefined;
  /** Calls of it that were refused because they asked for another unit. */
  readonly refusedUnits: { readonly count: number; readonly unit: Unit } | undefined;
  readonly policy: ExclusionPolicy;
  /** Of its sequence. */
  readonly unit: Unit;
  /** How far its sequence is ahead of the clock; undefined for a counter. */
  readonly leadMs: number | undefined;
  /** How far the wall clock is ahead of the time that its sequence follows; undefined where it is followed. */
  readonly notFollowedMs: number | undefined;
  /** When an operator last raised its sequence. */
  readonly advancedAtMs: number | undefined;
}

/** What the calls say about the latest rejected one. */
export interface Evidence {
  readonly rejected: EndedCall;
  /** Who of the account was first to be granted a higher nonce before the rejection was told. */
  readonly overtaker: GrantedCall | undefined;
  /** Rejected calls since the last accepted one, but for those that were overtaken. */
  readonly inARow: number;
  /** Calls since the last accepted one that did not say how they ended. */
  readonly silentInARow: number;
  /** A bare nonce above the rejected one has been drawn, at some time. */
  readonly bareIsHigher: boolean;
  readonly acceptedBefore: boolean;
  readonly acceptedAfter: boolean;
}

export interface OneProgram {
  readonly rejections: number;
  /** Calls of others that were accepted since the first of them. */
  readonly accepted: number;
}

/** The rejected call that was granted last; undefined where there is none. */
export function latestRejected(calls: readonly EndedCall[]): EndedCall | undefined {
  return inOrder(calls).find(isRejected);
}

/** Whether somebody was refused who asked for nonces of more digits than the sequence has. */
export function asksForLonger({ refusedUnits, unit }: AccountRecord): boolean {
  if (refusedUnits === undefined || refusedUnits.unit === 'counter' || unit === 'counter') return false;
  return DIGITS[refusedUnits.unit] > DIGITS[unit];
}

/** Looks through the calls of the account for what concerns the one that was rejected. */
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
    // What was accepted and is not remembered any more came before all that is.
    acceptedBefore: accepted.some(({ token }) => token < rejected.token) || (record.everAccepted && !acceptedAfter),
    acceptedAfter,
  };
}

/** Who of the account was first to be granted a higher nonce than `call` before its outcome was told. */
function overtakerOf(call: EndedCall, { calls, live }: AccountRecord): GrantedCall | undefined {
  let first: GrantedCall | undefined;
  const consider = (other: GrantedCall) => {
    if (other.token <= call.token || other.grantedAtMs > call.toldAtMs) return;
    if (first === undefined || other.token < first.token) first = other;
  };
  // Who gave its turn back unused sent nothing.
  for (const other of calls) if (other.outcome !== 'unused') consider(other);
  for (const other of live) consider(other);
  return first;
}

/** The one program whose calls alone were rejected, all of them, while those of others were accepted meanwhile. */
export function oneProgram(record: AccountRecord): OneProgram | undefined {
  const rejections = inOrder(record.calls).filter(
    (call) => isRejected(call) && overtakerOf(call, record) === undefined,
  );
  const program = programOf(rejections[0]);
  const first = rejections.at(-1);
  if (program === undefined || first === undefined || rejections.length < ONES_OWN) return undefined;
  if (rejections.some((call) => programOf(call) !== program)) return undefined;
  const accepted = record.calls.filter(({ outcome }) => outcome === 'ok');
  if (accepted.some((call) => programOf(call) === program)) return undefined;
  const meanwhile = accepted.filter(({ token }) => token > first.token).length;
  return meanwhile === 0 ? undefined : { rejections: rejections.length, accepted: meanwhile };
}

/** What tells one program from another: its name, for a bot that was restarted has another pid. */
function programOf(call: EndedCall | undefined): string | number | undefined {
  return call?.holder ?? call?.pid;
}

const isRejected = ({ outcome }: EndedCall): boolean => outcome === 'invalid-nonce';

/** It was given back without a word about how it went. */
export const isSilent = ({ ended, outcome }: EndedCall): boolean => ended === 'released' && outcome === 'unknown';

/** The latest grant first, which is also the highest nonce of the account. */
function inOrder(calls: readonly EndedCall[]): EndedCall[] {
  return [...calls].sort((a, b) => b.token - a.token);
}
