import type { BrokerParts } from '../leases/broker-parts.ts';
import { callOf } from '../leases/calls.ts';
import { LISTED } from '../record/listed.ts';
import type { AccountRecord } from './evidence.ts';

/** Returns what the daemon knows of an account's calls, whether the account is in use or not. */
export function recordOf(parts: BrokerParts, name: string): AccountRecord {
  const { accounts, lanes, leases, ledger, recentCalls } = parts;
  const account = accounts.get(name);
  const sequence = account?.sequence ?? ledger.sequenceOf(name, accounts.policies.of(name));
  // The verdict compares calls with each other. With more than are listed, it would keep other requests waiting.
  const calls = recentCalls.of(name).slice(0, LISTED);
  return {
    account: name,
    calls,
    live: [...leases.values()].filter((lease) => lease.account === account).map(callOf),
    everAccepted: account?.okAtMs !== undefined || calls.some(({ outcome }) => outcome === 'ok'),
    bare: account?.bare,
    refusedUnits: account?.refusedUnits,
    policy: lanes.policy,
    unit: sequence.unit,
    leadMs: ledger.leadMs(sequence),
    notFollowedMs: ledger.notFollowedMs(),
    advancedAtMs: account?.advancedAtMs,
  };
}
