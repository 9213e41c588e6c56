import type { BrokerParts } from '../leases/broker-parts.ts';
import { firstOf } from '../record/listed.ts';
import type { EndedCall, RecentCalls } from '../record/recent-calls.ts';
import { recordOf } from './account-record.ts';
import { type AccountRecord, latestRejected } from './evidence.ts';
import { describedRefusals } from './refusals.ts';
import { statusOfAccount } from './status.ts';
import { verdictOn } from './verdict.ts';

/** Returns the answer to `why`: an account's last calls, the cause of a rejected nonce, and how the account stands. */
export function whyOf(parts: BrokerParts, accountName: string) {
  const { accounts, clock, ledger, recentCalls, recentRefusals } = parts;
  const nowMs = clock.monotonicMs();
  const account = accounts.get(accountName);
  return {
    ...explained(recordOf(parts, accountName), recentCalls, nowMs),
    paused: ledger.isPaused(accountName),
    isKnown: ledger.isKnown(accountName),
    refusals: recentRefusals
      .lately(nowMs)
      // Accounts that are not told apart are found by the last one at least.
      .filter(({ account, last }) => (account ?? last.account) === accountName)
      .map((sum) => ({ ...describedRefusals(sum, nowMs), text: sum.last.text })),
    status: account === undefined ? null : statusOfAccount(account, nowMs),
  };
}

/** Returns what the record says: the account's last calls, at most 100, and the probable cause of a rejected nonce. */
export function explained(record: AccountRecord, recentCalls: RecentCalls, nowMs: number) {
  const { account, calls, live, policy, unit, leadMs, refusedUnits } = record;
  const rejected = latestRejected(calls);
  const before = rejected === undefined ? undefined : recentCalls.before(rejected);
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

/** Returns a call as an operator sees it: never with its token. */
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
