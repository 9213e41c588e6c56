import { type Case, forAllThatCan, type Work } from './work.ts';

const nonceCase = (connections: number, outstanding: number, title: string): Case => ({
  name: outstanding === 1 ? `nonce-${connections}` : `nonce-${connections}x${outstanding}`,
  title: `Bare nonce, ${title}`,
  times: 'call',
  load: forAllThatCan({ what: 'nonce', connections, outstanding, lanes: 1, pauseMs: 0 }),
});

export const ONE_CONNECTION = nonceCase(1, 1, '1 connection');
export const FIFTY_CONNECTIONS = nonceCase(50, 1, '50 connections');
export const PIPELINED = nonceCase(1, 64, '1 connection with 64 outstanding');

/** A nonce without exclusivity. */
export const nonceWork: Work = {
  name: 'nonce',
  cases: [ONE_CONNECTION, FIFTY_CONNECTIONS, PIPELINED],
  short: [nonceCase(4, 1, '4 connections')],
};
