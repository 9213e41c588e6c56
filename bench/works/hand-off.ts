import { type Case, onlyFor, type Work } from './work.ts';

/** Long enough for everything to have come to rest before the lane is given back. */
const HOLD_MS = 2;

const handOffCase = (waiting: number): Case => ({
  name: `hand-off-${waiting}`,
  title: `Hand-off, ${waiting} waiting`,
  times: 'hand-off',
  load({ name, can }) {
    const shape = { outstanding: 1, lanes: 1, pauseMs: HOLD_MS };
    if (can.includes('exclusive')) return { what: 'exclusive', connections: waiting + 1, ...shape };
    // The way there and back that no hand-off can do without, after a pause as long.
    return name === 'echo' ? { what: 'nonce', connections: 1, ...shape } : undefined;
  },
});

export const HAND_OFF = handOffCase(64);

/** From the holder's release to the next one's having its grant. */
export const handOffWork: Work = {
  name: 'hand-off',
  cases: [HAND_OFF],
  short: [onlyFor(['nonced', 'echo', 'redis'], handOffCase(4))],
};
