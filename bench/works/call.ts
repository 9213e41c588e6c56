import { anyThatCan, type Case, type Work } from './work.ts';

const callCase = (name: string, title: string, connections: number, lanes: number): Case => ({
  name,
  title,
  load: { what: 'exclusive', connections, outstanding: 1, lanes, pauseMs: 0 },
  measures: 'latency',
  takes: anyThatCan('exclusive'),
});

export const ONE_CLIENT = callCase('call-1', '1 client', 1, 1);
export const EIGHT_CLIENTS = callCase('call-8', '8 clients, one lane', 8, 1);
export const SIXTY_FOUR_CLIENTS = callCase('call-64', '64 clients, one lane', 64, 1);
export const SIXTY_FOUR_LANES = callCase('call-64-lanes', '64 clients, 64 lanes', 64, 64);

export const callWork: Work = {
  name: 'call',
  title: 'Exclusive call',
  cases: [ONE_CLIENT, EIGHT_CLIENTS, SIXTY_FOUR_CLIENTS, SIXTY_FOUR_LANES],
  short: [callCase('call-4', '4 clients, one lane', 4, 1)],
};
