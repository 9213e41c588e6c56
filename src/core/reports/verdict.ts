import { REJECTED_IN_A_ROW } from '../../terms.ts';
import type { GrantedCall } from '../record/recent-calls.ts';
import {
  type AccountRecord,
  asksForLonger,
  type Evidence,
  evidenceOn,
  isSilent,
  latestRejected,
  oneProgram,
} from './evidence.ts';
import {
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
  /** The turn had ended before the exchange answered, and somebody else had been granted the next nonce. */
  | 'late'
  /** Within this daemon, somebody had a higher nonce while the call was under way. */
  | 'out-of-order'
  /** Only one program's calls are rejected: it does not use the nonces it is granted, or not this key. */
  | 'one-program'
  /** Nobody here had a higher nonce: it was used by something outside, once. */
  | 'foreign-use'
  /** Every call is rejected: the key has seen higher nonces than the sequence hands out. */
  | 'ahead'
  /** Every call is rejected, and the nonces may have too few digits. */
  | 'unit';

export interface Verdict extends Words {
  readonly kind: VerdictKind;
  /** The daemon sees no call and no answer: what it says of a rejection is never more than `likely`. */
  readonly sure: 'certain' | 'likely' | 'possible';
}

/** What the latest rejected nonce was probably due to. */
export function verdictOn(record: AccountRecord): Verdict {
  const rejected = latestRejected(record.calls);
  if (rejected === undefined) return { kind: 'none', sure: 'certain', ...noneWords(record) };
  const evidence = evidenceOn(rejected, record);
  // One program's calls in a row look like a key that is ahead, but for those of others that are accepted.
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
  // What was accepted since the start had as many digits, so the unit was right then.
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
