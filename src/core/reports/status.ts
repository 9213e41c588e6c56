import { MAX_ACCOUNTS } from '../../terms.ts';
import type { Account } from '../accounts/account.ts';
import type { BrokerParts } from '../leases/broker-parts.ts';
import { leftMs } from '../leases/lease.ts';
import { firstOf, LISTED } from '../record/listed.ts';
import { describedRefusals } from './refusals.ts';

/** What the parts do not know of themselves. */
export interface StatusExtras {
  readonly waiting: number;
  readonly grants: number;
  /** Why the configuration that was read last is not in effect. */
  readonly configurationProblem: string | undefined;
}

/** Returns what an operator wants to see: at most 100 of a kind, and never a token. */
export function statusOf(parts: BrokerParts, { waiting, grants, configurationProblem }: StatusExtras) {
  const { startedAtMs, accounts, lanes, leases, ledger, drain, recentRefusals, refusingClients } = parts;
  const nowMs = parts.clock.monotonicMs();
  const { sequences, durability, clock } = ledger.status();
  const nonces = sequences.reduce((sum, { issued }) => sum + issued, 0);
  const uptimeMs = Math.round(nowMs - startedAtMs);
  return {
    uptimeMs,
    exclusive: lanes.policy,
    totals: {
      accounts: accounts.size,
      leases: leases.size,
      waiting,
      grants,
      nonces,
      noncesPerSecond: uptimeMs > 0 ? (1000 * nonces) / uptimeMs : 0,
    },
    sequences: sequences.slice(0, LISTED),
    register: { ...ledger.assignments.register, max: MAX_ACCOUNTS },
    paused: firstOf(ledger.paused(), (name) => name),
    drainingForMs: drain.sinceMs === undefined ? null : Math.round(nowMs - drain.sinceMs),
    configurationProblem: configurationProblem ?? null,
    exchanges: firstOf(accounts.exchanges(), (exchange) => ({
      exchange: exchange.name,
      downForMs: exchange.downSinceMs === undefined ? null : Math.round(nowMs - exchange.downSinceMs),
      heldBack: firstOf(exchange.heldBack(nowMs), ({ caller, sinceMs }) => ({
        name: caller.name ?? null,
        pid: caller.pid ?? null,
        forMs: Math.round(nowMs - sinceMs),
      })),
    })),
    accounts: firstOf(accounts.values(), (account) => statusOfAccount(account, nowMs)),
    lanes: firstOf(lanes.busy(), (lane) => ({
      lane: lane.name,
      holders: firstOf(lane.leases, (lease) => ({
        account: lease.account.name,
        name: lease.client?.name ?? null,
        pid: lease.client?.pid ?? null,
        label: lease.label ?? null,
        priority: lease.priority,
        nonce: lease.nonce ?? null,
        waitedMs: Math.round(lease.waitedMs),
        heldMs: Math.round(nowMs - lease.grantedAtMs),
        leftMs: leftMs(lease, nowMs),
      })),
      waiting: lane.waiting,
      oldestWaitMs: Math.round(nowMs - (lane.oldest?.sinceMs ?? nowMs)),
      // The first one of each account and priority.
      waiters: firstOf(lane.heads(), ({ account, client, label, priority, sinceMs, queue }) => ({
        account: account.name,
        name: client.name ?? null,
        pid: client.pid ?? null,
        label: label ?? null,
        priority,
        waitedMs: Math.round(nowMs - sinceMs),
        paced: queue?.parked ?? false,
      })),
    })),
    refusals: firstOf(recentRefusals.lately(nowMs), (sum) => describedRefusals(sum, nowMs)),
    refusingClients: firstOf(refusingClients.lately(nowMs), ({ name, pid, expected, sinceMs }) => ({
      name: name ?? null,
      pid: pid ?? null,
      expected,
      forMs: Math.round(nowMs - sinceMs),
    })),
    durability,
    clock,
  };
}

export function statusOfAccount(account: Account, nowMs: number) {
  const { bucket, breaker } = account;
  const refused = breaker.refuses('normal', nowMs);
  return {
    account: account.name,
    exchange: account.exchange.name,
    sequence: account.sequence.name,
    grants: account.grants,
    nonces: account.nonces,
    waiting: account.waiting,
    idleMs: Math.round(nowMs - account.usedAtMs),
    okAgoMs: account.okAtMs === undefined ? null : Math.round(nowMs - account.okAtMs),
    rejected: account.tally.outcomes['invalid-nonce'],
    rejectedLastHour: account.tally.rejectedLastHour(nowMs),
    expired: account.tally.endings.expired,
    rejectedInARow: breaker.inARow,
    silentInARow: account.tally.silentInARow,
    paused: account.paused,
    breaker:
      breaker.trouble === undefined
        ? null
        : { openFor: breaker.trouble, probeInMs: Math.ceil(refused?.retryAfterMs ?? 0) },
    pace:
      bucket === undefined
        ? null
        : {
            level: Number(bucket.level(nowMs).toFixed(2)),
            max: bucket.pacing.max,
            perSecond: bucket.pacing.perSecond,
            nextFreeMs: Math.max(0, Math.ceil(bucket.freeAtMs(Math.min(1, bucket.pacing.max)) - nowMs)),
          },
  };
}
