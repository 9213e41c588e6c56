import { noServer, type Peer } from '../peer.ts';

/** What a bot does by itself: of no use as soon as there are two of them. */
let last = 0n;
const tails = new Map<number, Promise<void>>();

function draw(): bigint {
  last += 1n;
  return last;
}

/** The floor: no socket, no disk, no other process. */
export const counter: Peer = {
  name: 'counter',
  title: 'counter in one process (the floor)',
  can: ['nonce', 'exclusive'],
  isDurable: false,
  inOneProcess: true,
  missing: () => undefined,
  start: async () => noServer('none'),
  open: async () => ({
    nonce: async () => draw(),
    async exclusive(lane, call) {
      const turn = (tails.get(lane) ?? Promise.resolve()).then(() => call(draw()));
      tails.set(lane, turn);
      await turn;
    },
  }),
};
