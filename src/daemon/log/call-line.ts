import type { ObservedEnd } from '../../core/ports.ts';
import { LONG_MS } from '../../core/record/refusal-sums.ts';
import { isUnremarkable } from '../../terms.ts';
import type { LogFields } from './log.ts';

/** Whether a call is worth a line in the log: it was slow, went wrong, or was not given back. */
export function isNoteworthy({ outcome, ended, waitedMs, grantedAtMs, endedAtMs }: ObservedEnd): boolean {
  if (!isUnremarkable(outcome) || ended !== 'released') return true;
  return waitedMs > LONG_MS || endedAtMs - grantedAtMs > LONG_MS;
}

/** Returns what the line of an ended call says: never a token, key or body. */
export function callFields(call: ObservedEnd): LogFields {
  return {
    account: call.account,
    outcome: call.late ? `${call.outcome}-late` : call.outcome,
    ended: call.ended,
    waited_ms: Math.round(call.waitedMs),
    held_ms: Math.round(call.endedAtMs - call.grantedAtMs),
    priority: call.priority,
    lane: call.lane,
    holder: call.holder,
    pid: call.pid,
    label: call.label,
    // A JSON number does not keep 19 digits.
    nonce: call.nonce?.toString(),
  };
}
