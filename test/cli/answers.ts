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
import { accountOf, endedOf, laneOf, sequenceOf, statusOf } from './status/statuses.ts';

/** What a daemon may answer to `status`, `metrics` and `calls`: all is well, and little happens. */
export function statusAnswer(over: Partial<StatusResult> = {}): StatusResult {
  return statusOf({
    pid: 4711,
    epoch: 7,
    uptimeMs: 90_000,
    totals: { connections: 3, accounts: 1, leases: 1, waiting: 2, grants: 120, nonces: 130, noncesPerSecond: 1.4 },
    sequences: [sequenceOf({ leadMs: -129, issued: 130 })],
    register: { named: 12, max: 4_096, state: 'roomy' },
    durability: { state: 'durable', problem: null, writes: 4 },
    ...over,
  });
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

export const laneAnswer = (lane: string, over: Partial<LaneStatus> = {}): LaneStatus => laneOf({ lane, ...over });

export function callAnswer(serial: number, over: Partial<EndedCallRecord> = {}): EndedCallRecord {
  const nonce = 1_795_365_006_294_000_000n;
  return endedOf({ serial, holder: 'grid-bot', nonce, lastNonce: nonce, heldMs: 150, ...over });
}

export function accountStatusAnswer(account: string, over: Partial<AccountStatus> = {}): AccountStatus {
  return accountOf(account, { grants: 0, nonces: 0, idleMs: 0, okAgoMs: null, ...over });
}
