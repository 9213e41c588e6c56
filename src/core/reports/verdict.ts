import { REJECTED_IN_A_ROW } from '../../terms.ts';
import type { GrantedCall } from '../record/recent-calls.ts';
import {
  type AccountRecord,
  asksForLonger,
  type Evidence,
  evidenceOn,
  isAheadOfClock,
  isSilent,
  latestRejected,
  oneProgram,
} from './evidence.ts';
import {
  aheadOfClockWords,
  aheadWords,
  bareWords,
  foreignWords,
  lateWords,
  noneWords,
  oneProgramWords,
  overtakenWords,
  unitWords,
  type Words,
} from './verdict-text.ts';

export type VerdictKind =
  /** No rejected nonce is remembered. */
  | 'none'
  /** The lease had ended before the exchange answered, and another call had been granted the next nonce. */
  | 'late'
  /** Another call of this daemon had a higher nonce while the call was under way. */
  | 'out-of-order'
  /** Only one program's calls are rejected: it does not use the nonces that it is granted, or uses another key. */
  | 'one-program'
  /** No call of this daemon had a higher nonce: something outside used one, once. */
  | 'foreign-use'
  /** Every call is rejected, and the sequence is ahead of the clock: the exchange may compare the two. */
  | 'ahead-of-clock'
  /** Every call is rejected: the key has seen higher nonces than the sequence hands out. */
  | 'ahead'
  /** Every call is rejected, and the nonces may have too few digits. */
  | 'unit';

export interface Verdict extends Words {
  readonly kind: VerdictKind;
  /** The daemon sees neither calls nor answers, so what it says about a rejection is never more than `likely`. */
  readonly sure: 'certain' | 'likely' | 'possible';
}

/** Returns the probable cause of the latest rejected nonce. */
export function verdictOn(record: AccountRecord): Verdict {
  const rejected = latestRejected(record.calls);
  if (rejected === undefined) return { kind: 'none', sure: 'certain', ...noneWords(record) };
  const evidence = evidenceOn(rejected, record);
  // One program's rejected calls in a row look like a key that is ahead, unless calls of others are accepted.
  const one = oneProgram(record);
  if (one !== undefined) {
    const sure = one.rejections >= REJECTED_IN_A_ROW ? 'likely' : 'possible';
    return { kind: 'one-program', sure, ...oneProgramWords(record, rejected, one) };
  }
  if (evidence.inARow >= REJECTED_IN_A_ROW) return everythingRejected(record, evidence);
  if (evidence.overtaker !== undefined) return overtaken(record, evidence, evidence.overtaker);
  if (evidence.bareIsHigher) return { kind: 'out-of-order', sure: 'possible', ...bareWords(record, evidence) };
  if (evidence.inARow > 0 && !record.everAccepted && !record.calls.some(isSilent)) {
    return everythingRejected(record, evidence);
  }
  const sure = evidence.acceptedBefore && evidence.acceptedAfter ? 'likely' : 'possible';
  return { kind: 'foreign-use', sure, ...foreignWords(record, evidence) };
}

function everythingRejected(record: AccountRecord, evidence: Evidence): Verdict {
  const { everAccepted, refusedUnits, unit } = record;
  const isRow = evidence.inARow >= REJECTED_IN_A_ROW && evidence.silentInARow === 0;
  if (isAheadOfClock(record) && refusedUnits === undefined) {
    return { kind: 'ahead-of-clock', sure: isRow ? 'likely' : 'possible', ...aheadOfClockWords(record, evidence) };
  }
  // A call that was accepted since the start had the same number of digits, so the unit was right then.
  if (!everAccepted && (refusedUnits !== undefined || (unit !== 'counter' && unit !== 'ns'))) {
    const sure = isRow && asksForLonger(record) ? 'likely' : 'possible';
    return { kind: 'unit', sure, ...unitWords(record, evidence) };
  }
  return { kind: 'ahead', sure: isRow ? 'likely' : 'possible', ...aheadWords(record, evidence) };
}

function overtaken(record: AccountRecord, evidence: Evidence, overtaker: GrantedCall): Verdict {
  const { rejected } = evidence;
  if (rejected.exclusive && overtaker.grantedAtMs >= rejected.endedAtMs) {
    return { kind: 'late', sure: 'likely', ...lateWords(record, evidence, overtaker) };
  }
  return { kind: 'out-of-order', sure: 'likely', ...overtakenWords(record, evidence, overtaker) };
}
