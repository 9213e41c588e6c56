import type { ObservedEnd } from '../../core/ports.ts';
import { isUnremarkable } from '../../terms.ts';
import type { LogFields } from './log.ts';

/** A call that waited or was held for longer is worth a line in the log. */
const LONG_MS = 5_000;

/** Whether somebody who reads the log wants to know of the call: it was slow, went wrong, or was not given back. */
export function isNoteworthy({ outcome, ended, waitedMs, grantedAtMs, endedAtMs }: ObservedEnd): boolean {
  if (!isUnremarkable(outcome) || ended !== 'released') return true;
  return waitedMs > LONG_MS || endedAtMs - grantedAtMs > LONG_MS;
}

/** What the line of a call that has ended says: never a token, key or body. */
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
    // 19 digits are more than a JSON number keeps.
    nonce: call.nonce?.toString(),
  };
}
