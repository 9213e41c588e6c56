import type { ExclusionPolicy } from '../../terms.ts';
import type { Account } from '../accounts/account.ts';
import type { Policies } from '../accounts/policies.ts';
import type { Lease } from '../leases/entities.ts';
import { callOf } from '../leases/lease-views.ts';
import type { Ledger } from '../nonces/ledger.ts';
import { LISTED } from '../record/listed.ts';
import type { RecentCalls } from '../record/recent-calls.ts';
import type { AccountRecord } from './evidence.ts';

export interface RecordParts {
  readonly name: string;
  /** Undefined where it is not in use. */
  readonly account: Account | undefined;
  readonly ended: RecentCalls;
  readonly leases: Iterable<Lease>;
  readonly ledger: Ledger;
  readonly exclusive: ExclusionPolicy;
  readonly policies: Policies;
}

/** What is known of an account's calls. */
export function recordOf({ name, account, ended, leases, ledger, exclusive, policies }: RecordParts): AccountRecord {
  const sequence = account?.sequence ?? ledger.sequenceOf(name, policies.of(name));
  // The verdict compares calls with each other: of more than are listed, it would keep others waiting.
  const calls = ended.of(name).slice(0, LISTED);
  return {
    account: name,
    calls,
    live: [...leases].filter((lease) => lease.account === account).map(callOf),
    everAccepted: account?.okAtMs !== undefined || calls.some(({ outcome }) => outcome === 'ok'),
    bare: account?.bare,
    refusedUnits: account?.refusedUnits,
    policy: exclusive,
    unit: sequence.unit,
    leadMs: ledger.leadMs(sequence),
    notFollowedMs: ledger.notFollowedMs(),
    advancedAtMs: account?.advancedAtMs,
  };
}
