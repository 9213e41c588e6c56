import { anyThatCan, type Case, type Work } from './work.ts';

/** Long enough for everything to have come to rest before the lane is given back. */
const HOLD_MS = 2;

const handOffCase = (waiting: number): Case => ({
  name: `hand-off-${waiting}`,
  title: `${waiting} waiting`,
  load: { what: 'exclusive', connections: waiting + 1, outstanding: 1, lanes: 1, pauseMs: HOLD_MS },
  measures: 'hand-off',
  takes: anyThatCan('exclusive'),
});

export const HAND_OFF = handOffCase(64);

/** The way there and back that a hand-off cannot do without, after a pause as long. */
export const RESTED_ROUND_TRIP: Case = {
  name: 'round-trip',
  title: 'round trip after a pause',
  load: { what: 'nonce', connections: 1, outstanding: 1, lanes: 1, pauseMs: HOLD_MS },
  measures: 'latency',
  takes: ({ name }) => name === 'echo',
};

export const handOffWork: Work = {
  name: 'hand-off',
  title: 'Hand-off',
  cases: [HAND_OFF, RESTED_ROUND_TRIP],
  short: [handOffCase(4)],
};
