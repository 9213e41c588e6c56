import { type Case, forAllThatCan, type Work } from './work.ts';

const callCase = (connections: number, lanes: number, title: string): Case => ({
  name: lanes === 1 ? `call-${connections}` : `call-${connections}-lanes`,
  title: `Exclusive call, ${title}`,
  times: 'call',
  load: forAllThatCan({ what: 'exclusive', connections, outstanding: 1, lanes, pauseMs: 0 }),
});

export const ONE_CLIENT = callCase(1, 1, '1 client');
export const EIGHT_CLIENTS = callCase(8, 1, '8 clients on one lane');
export const SIXTY_FOUR_CLIENTS = callCase(64, 1, '64 clients on one lane');
const SIXTY_FOUR_LANES = callCase(64, 64, '64 clients on 64 lanes');

/** The lane with a nonce, nothing in between, and the lane given back. */
export const callWork: Work = {
  name: 'call',
  cases: [ONE_CLIENT, EIGHT_CLIENTS, SIXTY_FOUR_CLIENTS, SIXTY_FOUR_LANES],
  short: [callCase(4, 1, '4 clients on one lane')],
};
