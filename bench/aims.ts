import { cellsOf, ratio, type Spread, spread } from './comparison.ts';
import type { Results } from './results.ts';
import { EIGHT_CLIENTS, ONE_CLIENT, SIXTY_FOUR_CLIENTS } from './works/call.ts';
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

/** What is compared with a peer's. */
interface Compared {
  readonly title: string;
  readonly of: Case;
  readonly figure: 'medianUs' | 'perSecond';
}

const LATENCY_1: Compared = {
  title: 'Bare nonce, 1 connection: median latency',
  of: ONE_CONNECTION,
  figure: 'medianUs',
};
const RATE_50: Compared = {
  title: 'Bare nonce, 50 connections: throughput',
  of: FIFTY_CONNECTIONS,
  figure: 'perSecond',
};
const RATE_PIPELINED: Compared = {
  title: 'Bare nonce, 64 outstanding on one connection: throughput',
  of: PIPELINED,
  figure: 'perSecond',
};
const CALLS_1: Compared = { title: 'Exclusive call, 1 client: throughput', of: ONE_CLIENT, figure: 'perSecond' };
const CALLS_8: Compared = {
  title: 'Exclusive call, 8 clients on one lane: throughput',
  of: EIGHT_CLIENTS,
  figure: 'perSecond',
};
const CALLS_64: Compared = {
  title: 'Exclusive call, 64 clients on one lane: throughput',
  of: SIXTY_FOUR_CLIENTS,
  figure: 'perSecond',
};
const HAND_OFF_64: Compared = { title: 'Hand-off, 64 waiting: median', of: HAND_OFF, figure: 'medianUs' };

/** What a user gets is the library; the echo has none, so that the bare protocol is shown beside. */
const OURS = [
  { peer: 'nonced', mark: '' },
  { peer: 'nonced-protocol', mark: ', bare protocol' },
] as const;

type Ours = (typeof OURS)[number];

function over(peer: string, { title, of, figure }: Compared, limit: number, ours: Ours = OURS[0]): Aim {
  return {
    title: `${title}, over ${peer}${ours.mark}`,
    // More a second is better, and more time is worse.
    sense: figure === 'perSecond' ? 'at least' : 'at most',
    limit,
    unit: '×',
    measured: (results) => ratio(results, figure, { case: of.name, peer: ours.peer }, { case: of.name, peer }),
  };
}

/** Callers always ask for more than can be served at once, so the cost of a call is the inverse of the throughput. */
function growth(of: (count: number) => Case, title: string, { peer, mark }: Ours): Aim {
  return {
    title: `${title}: cost of a call with 10,000, over that with 10${mark}`,
    sense: 'at most',
    limit: 1.2,
    unit: '×',
    measured: (results) => ratio(results, 'perSecond', { case: of(10).name, peer }, { case: of(10_000).name, peer }),
  };
}

function idle(title: string, limit: number, unit: Aim['unit'], figure: IdleFigure): Aim {
  return {
    title: `Idle, 100 connections: ${title}`,
    sense: 'at most',
    limit,
    unit,
    measured: (results) => spread(results.idle.map((each) => each[figure])),
  };
}

type IdleFigure = 'writtenBytes' | 'cpuPercent' | 'residentMiB';

const AIMS: readonly Aim[] = [
  ...OURS.map((ours) => over('echo', LATENCY_1, 1.15, ours)),
  over('redis', LATENCY_1, 1),
  ...OURS.map((ours) => over('echo', RATE_50, 0.9, ours)),
  over('redis', RATE_50, 1),
  over('redis', RATE_PIPELINED, 0.5),
  over('redis-always', CALLS_1, 10),
  over('etcd', CALLS_1, 10),
  over('postgres', CALLS_1, 5),
  over('file', CALLS_1, 5),
  over('redis', CALLS_1, 4),
  over('nonced-protocol', CALLS_8, 0.85),
  ...['redis-always', 'postgres', 'etcd', 'file', 'sqlite'].map((peer) => over(peer, CALLS_64, 10)),
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
  ...OURS.map((ours) => over('echo', HAND_OFF_64, 1.5, ours)),
  ...OURS.map((ours) => growth(waiters, 'Callers on one lane', ours)),
  ...OURS.map((ours) => growth(accounts, 'Accounts', ours)),
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
