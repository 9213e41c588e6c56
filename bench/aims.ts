import { cellsOf, ratio, type Spread, spread } from './comparison.ts';
import type { Results } from './results.ts';
import { ONE_CLIENT, SIXTY_FOUR_CLIENTS } from './works/call.ts';
import { accounts, waiters } from './works/growth.ts';
import { HAND_OFF } from './works/hand-off.ts';
import { FIFTY_CONNECTIONS, ONE_CONNECTION, PIPELINED } from './works/nonce.ts';
import type { Case } from './works/work.ts';

/** What the daemon is meant to reach. */
export interface Aim {
  readonly title: string;
  readonly sense: 'at least' | 'at most';
  readonly limit: number;
  readonly unit: '×' | '%' | 'MiB' | 'B';
  measured(results: Results): Spread | undefined;
}

export interface Verdict {
  readonly aim: Aim;
  readonly measured: Spread;
  readonly isMet: boolean;
}

/** Every aim that was measured. */
export function judge(results: Results): readonly Verdict[] {
  return AIMS.flatMap((aim) => {
    const measured = aim.measured(results);
    if (measured === undefined) return [];
    const isMet = aim.sense === 'at least' ? measured.median >= aim.limit : measured.median <= aim.limit;
    return [{ aim, measured, isMet }];
  });
}

const BOTH = ['nonced', 'nonced-protocol'] as const;

type Ours = (typeof BOTH)[number];

/** Where the library counts too, as for a user. */
const OURS: Readonly<Record<Ours, string>> = { nonced: '', 'nonced-protocol': ', bare protocol' };

function slower(what: Case, title: string, limit: number, peer: string, our: Ours = 'nonced'): Aim {
  return {
    title: `${title}, over ${peer}${OURS[our]}`,
    sense: 'at most',
    limit,
    unit: '×',
    measured: (results) => ratio(results, 'medianUs', { case: what.name, peer: our }, { case: what.name, peer }),
  };
}

function quicker(what: Case, title: string, limit: number, peer: string, our: Ours = 'nonced'): Aim {
  return {
    title: `${title}, over ${peer}${OURS[our]}`,
    sense: 'at least',
    limit,
    unit: '×',
    measured: (results) => ratio(results, 'perSecond', { case: what.name, peer: our }, { case: what.name, peer }),
  };
}

/** The time that a call takes of the daemon's: callers are always more than it can serve at once. */
function growth(of: (count: number) => Case, title: string, our: Ours): Aim {
  return {
    title: `${title}: cost of a call with 10,000, over that with 10${OURS[our]}`,
    sense: 'at most',
    limit: 1.2,
    unit: '×',
    measured: (results) =>
      ratio(results, 'perSecond', { case: of(10).name, peer: our }, { case: of(10_000).name, peer: our }),
  };
}

function idle(
  title: string,
  limit: number,
  unit: Aim['unit'],
  figure: 'writtenBytes' | 'cpuPercent' | 'residentMiB',
): Aim {
  return {
    title: `Idle, 100 connections: ${title}`,
    sense: 'at most',
    limit,
    unit,
    measured: (results) => spread(results.idle.map((each) => each[figure])),
  };
}

const LATENCY_1 = 'Bare nonce, 1 connection: median latency';
const THROUGHPUT_50 = 'Bare nonce, 50 connections: throughput';
const CALL_1 = 'Exclusive call, 1 client: throughput';
const CALL_64 = 'Exclusive call, 64 clients on one lane: throughput';

const AIMS: readonly Aim[] = [
  ...BOTH.map((our) => slower(ONE_CONNECTION, LATENCY_1, 1.15, 'echo', our)),
  slower(ONE_CONNECTION, LATENCY_1, 1, 'redis'),
  ...BOTH.map((our) => quicker(FIFTY_CONNECTIONS, THROUGHPUT_50, 0.9, 'echo', our)),
  quicker(FIFTY_CONNECTIONS, THROUGHPUT_50, 1, 'redis'),
  quicker(PIPELINED, 'Bare nonce, 64 outstanding on one connection: throughput', 0.5, 'redis'),
  quicker(ONE_CLIENT, CALL_1, 10, 'redis-always'),
  quicker(ONE_CLIENT, CALL_1, 10, 'etcd'),
  quicker(ONE_CLIENT, CALL_1, 5, 'postgres'),
  quicker(ONE_CLIENT, CALL_1, 5, 'file'),
  quicker(ONE_CLIENT, CALL_1, 4, 'redis'),
  ...['redis-always', 'postgres', 'etcd', 'file', 'sqlite'].map((peer) =>
    quicker(SIXTY_FOUR_CLIENTS, CALL_64, 10, peer),
  ),
  {
    title: 'Exclusive call, 64 clients on one lane: p99 over the mean',
    sense: 'at most',
    limit: 3,
    unit: '×',
    measured: (results) =>
      spread(
        cellsOf(results, { case: SIXTY_FOUR_CLIENTS.name, peer: 'nonced' }).map(({ p99Us, meanUs }) => p99Us / meanUs),
      ),
  },
  ...BOTH.map((our) => slower(HAND_OFF, 'Hand-off, 64 waiting: median', 1.5, 'echo', our)),
  ...BOTH.map((our) => growth(waiters, 'Callers on one lane', our)),
  ...BOTH.map((our) => growth(accounts, 'Accounts', our)),
  idle('written to disk in 5 s', 0, 'B', 'writtenBytes'),
  idle('of a core', 0.1, '%', 'cpuPercent'),
  idle('resident', 60, 'MiB', 'residentMiB'),
  {
    title: 'Start to the first nonce, over `node -e 0`',
    sense: 'at most',
    limit: 1.5,
    unit: '×',
    measured: ({ start }) => spread(start.map(({ noncedMs, bareMs }) => noncedMs / bareMs)),
  },
];
