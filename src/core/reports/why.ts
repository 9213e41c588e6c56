import { firstOf } from '../record/listed.ts';
import type { EndedCall, RecentCalls } from '../record/recent-calls.ts';
import { type AccountRecord, latestRejected } from './evidence.ts';
import { verdictOn } from './verdict.ts';

/**
 * What the daemon answers to `why`: how the account's sequence stands, its last calls, at most 100, and what a rejected
 * nonce was due to.
 */
export function whyOf(record: AccountRecord, ended: RecentCalls, nowMs: number) {
  const { account, calls, live, policy, unit, leadMs, refusedUnits } = record;
  const rejected = latestRejected(calls);
  const before = rejected === undefined ? undefined : ended.before(rejected);
  return {
    account,
    exclusive: policy,
    unit,
    leadMs: leadMs ?? null,
    held: live.length,
    refusedUnits: refusedUnits ?? null,
    calls: firstOf(calls, (call) => described(call, nowMs)),
    rejected:
      rejected === undefined
        ? null
        : { call: described(rejected, nowMs), before: before === undefined ? null : described(before, nowMs) },
    verdict: verdictOn(record),
  };
}

/** A call as an operator sees it: never with its token. */
export function described(call: EndedCall, nowMs: number) {
  return {
    account: call.account,
    holder: call.holder ?? null,
    pid: call.pid ?? null,
    label: call.label ?? null,
    priority: call.priority,
    nonce: call.nonce ?? null,
    lastNonce: call.lastNonce ?? null,
    waitedMs: Math.round(call.waitedMs),
    heldMs: Math.round(call.endedAtMs - call.grantedAtMs),
    agoMs: Math.round(nowMs - call.endedAtMs),
    ended: call.ended,
    outcome: call.outcome,
    late: call.late,
  };
}
