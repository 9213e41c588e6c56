import type {
  AccountMetrics,
  AccountStatus,
  EndedCallRecord,
  HistogramResult,
  LaneStatus,
  MetricsResult,
  StatusResult,
} from '../../src/protocol/messages.ts';
import { OUTCOMES } from '../../src/terms.ts';

/** What a daemon may answer to `status`, `metrics` and `calls`: all is well, and little happens. */
export function statusAnswer(over: Partial<StatusResult> = {}): StatusResult {
  return {
    version: '0.1.0',
    instance: '0123456789abcdef0123456789abcdef',
    pid: 4711,
    epoch: 7,
    uptimeMs: 90_000,
    exclusive: 'global',
    totals: { connections: 3, accounts: 1, leases: 1, waiting: 2, grants: 120, nonces: 130, noncesPerSecond: 1.4 },
    sequences: [
      {
        name: 'default',
        unit: 'ns',
        last: 1_795_365_006_294_000_000n,
        ceiling: 1_795_365_011_294_000_000n,
        leadMs: -129,
        issued: 130,
      },
    ],
    paused: [],
    drainingForMs: null,
    configurationProblem: null,
    exchanges: [{ exchange: 'default', downForMs: null }],
    accounts: [],
    lanes: [],
    durability: { state: 'durable', problem: null, writes: 4 },
    clock: { state: 'followed', offMs: 0 },
    ...over,
  };
}

export function accountAnswer(account: string, over: Partial<AccountMetrics> = {}): AccountMetrics {
  return {
    account,
    exchange: 'default',
    grants: 0,
    nonces: 0,
    waiting: 0,
    held: 0,
    outcomes: {},
    endings: {},
    paused: false,
    quarantined: false,
    pace: null,
    ...over,
  };
}

const NO_TIMES: HistogramResult = { counts: [0, 0, 0, 0], sumMs: 0 };

export function metricsAnswer(over: Partial<MetricsResult> = {}): MetricsResult {
  return {
    boundsMs: [1, 2.5, 1_000],
    waits: NO_TIMES,
    holds: NO_TIMES,
    writes: { ...NO_TIMES, failures: 0 },
    oldestWaitMs: 0,
    refusals: [],
    accounts: [accountAnswer('MASTER', { outcomes: Object.fromEntries(OUTCOMES.map((outcome) => [outcome, 1])) })],
    status: statusAnswer(),
    ...over,
  };
}

export function laneAnswer(lane: string, over: Partial<LaneStatus> = {}): LaneStatus {
  return { lane, holders: [], waiting: 0, oldestWaitMs: 0, waiters: [], ...over };
}

export function callAnswer(serial: number, over: Partial<EndedCallRecord> = {}): EndedCallRecord {
  return {
    serial,
    lane: 'default',
    exclusive: true,
    account: 'MASTER',
    holder: 'grid-bot',
    pid: 4711,
    label: null,
    priority: 'normal',
    nonce: 1_795_365_006_294_000_000n,
    lastNonce: 1_795_365_006_294_000_000n,
    waitedMs: 0,
    heldMs: 150,
    agoMs: 1_000,
    ended: 'released',
    outcome: 'ok',
    late: false,
    ...over,
  };
}

export function accountStatusAnswer(account: string, over: Partial<AccountStatus> = {}): AccountStatus {
  return {
    account,
    exchange: 'default',
    sequence: 'default',
    grants: 0,
    nonces: 0,
    waiting: 0,
    idleMs: 0,
    okAgoMs: null,
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
