import type {
  AccountStatus,
  EndedCallRecord,
  LaneStatus,
  RefusalsStatus,
  SequenceStatus,
  StatusResult,
} from '../../../src/protocol/messages.ts';

/** What a daemon tells that does nothing and has nothing to complain of. */
export function statusOf(over: Partial<StatusResult> = {}): StatusResult {
  return {
    version: '0.1.0',
    instance: 'a'.repeat(32),
    pid: 100,
    epoch: 1,
    uptimeMs: 60_000,
    exclusive: 'global',
    totals: {
      connections: 1,
      accounts: over.accounts?.length ?? 0,
      leases: 0,
      waiting: 0,
      grants: 0,
      nonces: 0,
      noncesPerSecond: 0,
    },
    sequences: [],
    paused: [],
    drainingForMs: null,
    configurationProblem: null,
    exchanges: [{ exchange: 'default', downForMs: null }],
    accounts: [],
    lanes: [],
    durability: { state: 'durable', problem: null, writes: 3 },
    clock: { state: 'followed', offMs: 0 },
    ...over,
  };
}

export function refusalsOf(over: Partial<RefusalsStatus> = {}): RefusalsStatus {
  return {
    account: 'MASTER',
    code: 'KEY_MISMATCH',
    count: 1,
    forMs: 0,
    agoMs: 2_000,
    longestWaitMs: 0,
    lastAccount: 'MASTER',
    holder: 'grid-bot',
    pid: 4711,
    label: null,
    ...over,
  };
}

export function accountOf(account: string, over: Partial<AccountStatus> = {}): AccountStatus {
  return {
    account,
    exchange: 'default',
    sequence: 'default',
    grants: 7,
    nonces: 9,
    waiting: 0,
    idleMs: 1_000,
    okAgoMs: 2_000,
    rejected: 0,
    rejectedInARow: 0,
    rejectedLastHour: 0,
    expired: 0,
    paused: false,
    breaker: null,
    pace: null,
    ...over,
  };
}

export function laneOf(over: Partial<LaneStatus> = {}): LaneStatus {
  return { lane: 'default', holders: [], waiting: over.waiters?.length ?? 0, oldestWaitMs: 0, waiters: [], ...over };
}

export function holderOf(over: Partial<LaneStatus['holders'][number]> = {}): LaneStatus['holders'][number] {
  return {
    account: 'MASTER',
    name: 'copy-trader',
    pid: 4711,
    label: 'close all',
    priority: 'normal',
    nonce: 1_795_365_006_294_000_000n,
    waitedMs: 0,
    heldMs: 1_200,
    leftMs: 18_800,
    ...over,
  };
}

export function waiterOf(over: Partial<LaneStatus['waiters'][number]> = {}): LaneStatus['waiters'][number] {
  return {
    account: 'USER:alice',
    name: 'grid-bot',
    pid: 4712,
    label: null,
    priority: 'normal',
    waitedMs: 900,
    paced: false,
    ...over,
  };
}

export function sequenceOf(over: Partial<SequenceStatus> = {}): SequenceStatus {
  return {
    name: 'default',
    unit: 'ns',
    last: 1_795_365_006_294_000_000n,
    ceiling: 1_795_365_011_294_000_000n,
    leadMs: -618,
    issued: 25,
    ...over,
  };
}

let serial = 0;

export function endedOf(over: Partial<EndedCallRecord> = {}): EndedCallRecord {
  serial += 1;
  return {
    serial,
    account: 'MASTER',
    lane: 'default',
    exclusive: true,
    holder: 'copy-trader',
    pid: 4711,
    label: null,
    priority: 'normal',
    nonce: 1n,
    lastNonce: 1n,
    waitedMs: 0,
    heldMs: 100,
    agoMs: 1_000,
    ended: 'released',
    outcome: 'ok',
    late: false,
    ...over,
  };
}
