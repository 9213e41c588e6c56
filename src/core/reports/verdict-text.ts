import { formatDuration } from '../../durations.ts';
import type { LeaseEnd } from '../../terms.ts';
import { DIGITS, REJECTED_IN_A_ROW } from '../../terms.ts';
import { describeUnit } from '../nonces/sequence-clock.ts';
import type { EndedCall, GrantedCall } from '../record/recent-calls.ts';
import {
  type AccountRecord,
  asksForLonger,
  type Evidence,
  isAheadOfClock,
  isSilent,
  limitedInARow,
  type OneProgram,
} from './evidence.ts';
import { counted, ending, lower, type Parts, present, programOf, times, upper, was } from './phrases.ts';

/** What an operator is told, who may have been woken by it: no more than is known. */
export interface Words {
  /** The fact. */
  readonly text: string;
  /** What to do about it, in this order. A fix that begins with `Or` is for another possible cause. */
  readonly fixes: readonly string[];
}

/** A sequence that is further ahead of the clock is ahead of every program that makes its nonces from the clock. */
const LONG_LEAD_MS = 60_000;

const words = (facts: Parts, fixes: Parts): Words => ({ text: present(facts).join(' '), fixes: present(fixes) });

export function noneWords({ account, calls, refusedUnits, unit }: AccountRecord): Words {
  const refused =
    refusedUnits === undefined
      ? undefined
      : `${times(refusedUnits.count)} a program asked for ${describeUnit(refusedUnits.unit)} and was refused, because ` +
        `the sequence is in ${describeUnit(unit)}; nothing was sent.`;
  if (calls.length === 0) {
    return words(
      [`No call of ${account} is remembered.`, refused],
      ['To see which accounts are in use: `nonced status`.'],
    );
  }
  const silent = calls.filter(isSilent).length;
  const limited = limitedInARow(calls);
  const outlived = calls.filter(({ ended, outcome }) => ended === 'expired' && outcome === 'unknown').length;
  return words(
    [
      `${counted(calls.length, 'call')} of ${account} ${calls.length === 1 ? 'is' : 'are'} remembered, and none is known to ` +
        'have been rejected.',
      limited < REJECTED_IN_A_ROW
        ? undefined
        : `The last ${limited} calls in a row were refused because of their rate.`,
      silent === 0 ? undefined : `${silent} did not say how ${silent === 1 ? 'it' : 'they'} ended.`,
      outlived === 0 ? undefined : `${outlived} outlived ${outlived === 1 ? 'its lease' : 'their leases'}.`,
      refused,
    ],
    [
      limited < REJECTED_IN_A_ROW
        ? undefined
        : 'Make fewer calls, or let the daemon pace them. If there are few already, the nonces may be too low: P2B and WhiteBIT ' +
          'say "too many requests" of such a nonce, too.',
      'If the exchange rejects calls all the same, make their programs report it: the daemon learns of it only from the ' +
        '`outcome` of a call. A program that returns the error of the exchange as a result, without an `outcome`, ' +
        'reports `ok`.',
      outlived === 0 ? undefined : `A call that outlives its lease is easily rejected. ${LATE_FIX.expired}`,
    ],
  );
}

export function lateWords(record: AccountRecord, { rejected, acceptedAfter }: Evidence, overtaker: GrantedCall): Words {
  return words(
    [
      `The call of ${programOf(rejected)} came too late: ${ending(rejected)}, and then ${programOf(overtaker)} was ` +
        'granted the next nonce. The exchange takes no nonce that is lower than one it has seen.',
    ],
    [LATE_FIX[rejected.ended], alsoFor(rejected), acceptedAfter ? undefined : askAgain(record)],
  );
}

const LATE_FIX: Readonly<Record<LeaseEnd, string>> = {
  released: 'Release a lease only when its call is over.',
  expired:
    'Give the call a `ttlMs` that is longer than its HTTP timeout, or an HTTP timeout that is shorter than its `ttlMs`.',
  preempted: 'Repeat the call with a new nonce. A call that must not be interrupted should ask with priority `normal`.',
  disconnected: 'Keep the connection open until the call is over.',
  lost: 'Make the program reconnect at once after a restart of the daemon, with the same session.',
};

export function overtakenWords(
  record: AccountRecord,
  { rejected, acceptedAfter }: Evidence,
  other: GrantedCall,
): Words {
  const { account, policy } = record;
  const isOff = policy === 'off';
  const why = rejected.exclusive
    ? 'The exclusion policy was switched meanwhile.'
    : `Exclusion ${isOff ? 'is' : 'was'} off, so the daemon did not keep the two in order.`;
  return words(
    [
      `Two calls were under way at once: that of ${programOf(rejected)} was overtaken by that of ${programOf(other)}, ` +
        'which had a higher nonce.',
      why,
    ],
    [
      isOff
        ? `Run \`nonced set-exclusive account\`, or let only one process use ${account}, one call at a time.`
        : `There is nothing to do: with the policy ${policy}, calls are in order again.`,
      alsoFor(rejected),
      acceptedAfter ? undefined : askAgain(record),
    ],
  );
}

export function bareWords(record: AccountRecord, evidence: Evidence): Words {
  const { account, bare } = record;
  const { rejected } = evidence;
  const count = bare?.count ?? 0;
  return words(
    [
      `The call of ${programOf(rejected)} was rejected, and ${counted(count, 'nonce')} of ${account} ${was(count)} drawn ` +
        'without a lease (`nonced nonce`, or the method `nonce`), the last one higher than the nonce of this call. A call ' +
        'that used one of them first has overtaken it.',
    ],
    [
      'Make every call of the key under a lease: with `exclusive`, `acquire` or `nonced exec`.',
      `Or ${lower(outside(record))}`,
      ...outsideFixes(record, rejected),
    ],
  );
}

export function oneProgramWords({ account }: AccountRecord, rejected: EndedCall, one: OneProgram): Words {
  const { rejections, accepted } = one;
  return words(
    [
      `Only the calls of ${programOf(rejected)} are rejected, ${rejections} of them, while ${counted(accepted, 'call')} of ` +
        `other programs on ${account} ${was(accepted)} accepted.`,
      'So it probably does not send the nonces that it is granted.',
    ],
    [
      'Print the nonce that it signs, and compare: its library may make its own.',
      `Or it signs with another key than the other programs that use the label ${account}: give it a label of its own.`,
      alsoFor(rejected),
    ],
  );
}

export function foreignWords(record: AccountRecord, evidence: Evidence): Words {
  const { rejected, acceptedBefore, acceptedAfter } = evidence;
  const until = rejected.late ? `${upper(ending(rejected))}, but by then` : 'By then';
  const around = acceptedBefore
    ? `, and calls before ${acceptedAfter ? 'and after it' : 'it'} were accepted`
    : acceptedAfter
      ? ', and calls after it were accepted'
      : '';
  return words(
    [
      `The call of ${programOf(rejected)} was rejected.`,
      `${until} this daemon had handed out no higher nonce of ${record.account}${around}.`,
      `So ${lower(outside(record))}`,
    ],
    [...outsideFixes(record, rejected), acceptedAfter ? undefined : askAgain(record)],
  );
}

function outside({ leadMs, unit, advancedAtMs }: AccountRecord): string {
  const isFarAhead = leadMs !== undefined && leadMs > LONG_LEAD_MS;
  const why =
    advancedAtMs === undefined
      ? `so the other nonce has a finer unit than ${describeUnit(unit)}, or was not made from the clock`
      : 'because an operator has raised it: if calls have been accepted since, this is over';
  const lead = isFarAhead ? ` The sequence is ${formatDuration(leadMs)} ahead of the clock, ${why}.` : '';
  return `Something that does not ask this daemon has probably used the key with a higher nonce.${lead}`;
}

function outsideFixes(record: AccountRecord, rejected: EndedCall): Parts {
  const { policy, calls } = record;
  const label = policy === 'global' ? '' : ', a bot that has the same key under another label';
  return [
    `Find it (on this host or another: a script, a cron job${label}), and connect it to this daemon or give it a key of its own.`,
    isAheadOfClock(record)
      ? 'Or the exchange compares nonces with its own clock, as Gemini does for keys with a time-based nonce: then call less ' +
        'often than the unit has nonces, or use a key without that.'
      : undefined,
    'Or the library sent the same nonce twice, as a retry: switch its retries off.',
    rejected.lastNonce === rejected.nonce
      ? undefined
      : 'Or the nonces of this lease were sent in another order than they were drawn: send one after another, lowest first.',
    ownClock(calls),
    alsoFor(rejected),
  ];
}

export function aheadWords(record: AccountRecord, evidence: Evidence): Words {
  const { bare, everAccepted, notFollowedMs, calls } = record;
  return words(
    [
      rowOf(record, evidence),
      'The key has seen a higher nonce than the sequence hands out.',
      everAccepted
        ? 'Something has used the key since, with a nonce far above the clock or with more digits.'
        : 'The key was used elsewhere before, or the state is older than the last use of the key (a backup, a snapshot).',
      evidence.overtaker === undefined ? undefined : 'The latest call was also overtaken, but the others were not.',
    ],
    [
      raisedSince(record, evidence),
      notFollowedMs === undefined
        ? undefined
        : `The wall clock is ${formatDuration(notFollowedMs)} ahead of the time that is followed here. If the clock is ` +
          'right, that is the cause, and the cure is `nonced advance --to now`.',
      ...advanceFixes(record),
      evidence.bareIsHigher
        ? `Or use no nonces without a lease: ${bare?.count} ${was(bare?.count ?? 0)} drawn, although they seldom cause every call to be rejected.`
        : undefined,
      ownClock(calls),
      alsoFor(evidence.rejected),
    ],
  );
}

export function aheadOfClockWords(record: AccountRecord, evidence: Evidence): Words {
  const { account, leadMs, calls } = record;
  return words(
    [
      rowOf(record, evidence),
      `The sequence is ${formatDuration(leadMs ?? 0)} ahead of the clock, so to an exchange that compares nonces with its ` +
        'own clock they are from the future.',
    ],
    [
      raisedSince(record, evidence),
      `Raise nothing: if that is the cause, \`nonced advance\` makes it worse for good.`,
      'A Gemini key with a time-based nonce allows 30 s, WhiteBIT with `nonceWindow` 5 s. Use a key without such a window, or ' +
        `make no calls of ${account} until the clock has caught up, and then fewer a second than the unit has nonces.`,
      'Or the exchange compares nothing (Kraken does not), and something has used the key with a higher nonce still. Find it, ' +
        'stop it, and make a new API key.',
      ownClock(calls),
      alsoFor(evidence.rejected),
    ],
  );
}

export function unitWords(record: AccountRecord, evidence: Evidence): Words {
  const { account, refusedUnits, unit } = record;
  const ours = describeUnit(unit);
  const theirs = refusedUnits === undefined ? undefined : describeUnit(refusedUnits.unit);
  const isShorter = refusedUnits !== undefined && !asksForLonger(record);
  return words(
    [
      rowOf(record, evidence),
      refusedUnits === undefined
        ? `Its nonces are in ${ours}, and the key may have seen longer ones.`
        : `Its nonces are in ${ours}, but ${times(refusedUnits.count).toLowerCase()} a program asked for ${theirs} and was ` +
          'refused: the programs of this key do not agree on the unit.',
    ],
    [
      raisedSince(record, evidence),
      isShorter
        ? 'Print the nonce that the rejected program sends, and count its digits: a key that has seen longer nonces never ' +
          'takes shorter ones again.'
        : `Count the digits of the last nonce that was sent with the key before. If the key has seen ` +
          `${theirs ?? 'longer nonces'}, it never takes ${ours} again, and raising the sequence does not help: make a new ` +
          `API key, or give ${account} a sequence of the longer unit, for good.`,
      `Or the key has seen higher nonces with the same number of digits. ${advanceFixes(record).join(' ')}`,
      alsoFor(evidence.rejected),
    ],
  );
}

/** Returns how many calls were rejected in a row, and since when. */
function rowOf({ account, everAccepted }: AccountRecord, { inARow, silentInARow }: Evidence): string {
  const what =
    inARow === 1
      ? `The only call of ${account} that is known to have ended was rejected`
      : `${inARow} calls of ${account} in a row were rejected`;
  const silent = silentInARow === 0 ? '' : ` (${silentInARow} more did not say how they ended)`;
  const since = everAccepted
    ? 'although earlier ones were accepted'
    : 'and none has been accepted since the daemon started';
  return `${what}${silent}, ${since}.`;
}

/** The advice to raise comes last: raising a sequence to more digits would spoil the key for the digits that it takes now. */
function advanceFixes(record: AccountRecord): string[] {
  const { account, unit } = record;
  const find = 'Find what used the key, and stop it.';
  // To an exchange that compares nonces with its clock, a higher one is worse for good.
  if (isAheadOfClock(record)) return [find, 'Then make a new API key, which starts from nothing.'];
  return [
    find,
    unit === 'counter'
      ? 'If it sent nonces made from a clock, raise nothing: make a new API key.'
      : `If it sent more digits than ${DIGITS[unit]}, raise nothing: make a new API key.`,
    `Otherwise raise the sequence: \`nonced advance --account ${account} --to NONCE\`, one more than the highest nonce that ` +
      'was ever sent with the key. This cannot be undone. A new API key starts from nothing and is often the better cure.',
  ];
}

/** Until the next call has ended, a cause that passes looks like one that stays. */
function askAgain({ account }: AccountRecord): string {
  return `No call has been accepted since. If the next ones are rejected too, ask again: \`nonced why ${account}\`.`;
}

function raisedSince({ advancedAtMs }: AccountRecord, { rejected }: Evidence): string | undefined {
  if (advancedAtMs === undefined || advancedAtMs < rejected.toldAtMs) return undefined;
  return 'The sequence has been raised since the last rejection: before you do anything, wait until the next call has ended.';
}

function ownClock(calls: readonly EndedCall[]): string | undefined {
  if (!calls.some((call) => call.ownClock)) return undefined;
  return 'Some calls made nonces from their own clock (`exec --own-clock`): check that these have the same number of digits.';
}

function alsoFor({ alsoFor: other }: GrantedCall): string | undefined {
  if (other === undefined) return undefined;
  return `Or it was the nonce of ${other} that was rejected: one was drawn under the same lease.`;
}
