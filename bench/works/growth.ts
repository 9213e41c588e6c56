import { type Case, onlyFor, type Shape, type Work } from './work.ts';

/** The daemon's limits: 1,000 waiting on a connection, 10,000 in all. */
const CONNECTIONS = 10;
export const SIZES = [10, 100, 1_000, 10_000] as const;

const growthCase = (name: string, title: string, shape: Pick<Shape, 'outstanding' | 'lanes'>): Case => ({
  name,
  title,
  times: 'call',
  load: ({ name }) =>
    name.startsWith('nonced') ? { what: 'exclusive', connections: CONNECTIONS, pauseMs: 0, ...shape } : undefined,
});

/** So many callers on one lane, of whom all but one wait. */
export const waiters = (count: number): Case =>
  growthCase(`waiters-${count}`, `Exclusive call, ${count} callers on one lane`, {
    outstanding: count / CONNECTIONS,
    lanes: 1,
  });

/** Ten callers that go round this many accounts. */
export const accounts = (count: number): Case =>
  growthCase(`accounts-${count}`, `Exclusive call, ${count} accounts`, { outstanding: 1, lanes: count });

/** What an exclusive call costs with ever more to keep. */
export const growthWork: Work = {
  name: 'growth',
  cases: [...SIZES.map(waiters), ...SIZES.map(accounts)],
  short: [onlyFor(['nonced'], waiters(20)), onlyFor(['nonced'], accounts(20))],
};
