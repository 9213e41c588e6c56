import { anyThatCan, type Case, type Work } from './work.ts';

const nonceCase = (name: string, title: string, connections: number, outstanding: number): Case => ({
  name,
  title,
  load: { what: 'nonce', connections, outstanding, lanes: 1, pauseMs: 0 },
  measures: 'latency',
  takes: anyThatCan('nonce'),
});

export const ONE_CONNECTION = nonceCase('nonce-1', '1 connection', 1, 1);
export const FIFTY_CONNECTIONS = nonceCase('nonce-50', '50 connections', 50, 1);
export const PIPELINED = nonceCase('nonce-1x64', '1 connection, 64 outstanding', 1, 64);

export const nonceWork: Work = {
  name: 'nonce',
  title: 'Bare nonce',
  cases: [ONE_CONNECTION, FIFTY_CONNECTIONS, PIPELINED],
  short: [nonceCase('nonce-4', '4 connections', 4, 1)],
};
