import type { Policies } from '../accounts/policies.ts';
import type { Account, Lease } from '../leases/entities.ts';
import type { Ledger } from '../nonces/ledger.ts';
import type { ExclusionPolicy, LeaseEnd, Outcome } from '../ports.ts';
import type { EndedCall, EndedCalls, GrantedCall } from '../record/recent-calls.ts';
import type { AccountRecord } from './evidence.ts';
import { LISTED } from './status.ts';

/** A lease as the call that it is for. */
export function callOf(lease: Lease): GrantedCall {
  const { account, lane, client, label, priority, token, nonce, lastNonce, alsoFor, waitedMs, grantedAtMs } = lease;
  return {
    account: account.name,
    lane: lane.name,
    exclusive: lane.exclusive,
    holder: client?.name,
    pid: client?.pid,
    label,
    priority,
    token,
    nonce,
    lastNonce,
    alsoFor,
    waitedMs,
    grantedAtMs,
  };
}

/** The lease, which ends now, as the call that has ended. Every release comes through here: no object is made on the way. */
export function endOf(lease: Lease, ended: LeaseEnd, outcome: Outcome, ownClock: boolean, nowMs: number): EndedCall {
  const { account, lane, client, label, priority, token, nonce, lastNonce, alsoFor, waitedMs, grantedAtMs } = lease;
  return {
    account: account.name,
    lane: lane.name,
    exclusive: lane.exclusive,
    holder: client?.name,
    pid: client?.pid,
    label,
    priority,
    token,
    nonce,
    lastNonce,
    alsoFor,
    waitedMs,
    grantedAtMs,
    endedAtMs: nowMs,
    ended,
    ownClock,
    outcome,
    toldAtMs: nowMs,
    late: false,
  };
}

export interface RecordParts {
  readonly name: string;
  /** Undefined where it is not in use. */
  readonly account: Account | undefined;
  readonly ended: EndedCalls;
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
