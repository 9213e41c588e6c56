// A process full of clients: opens its share of the connections, and puts the load on them when told to. It ends when
// the one that started it has had enough, or is gone.
import { generate, introduce, type Share } from './load.ts';
import type { Connection } from './peer.ts';
import { peerNamed } from './peers/index.ts';

/** From the process that started this one, in this order. */
export type Order = { readonly open: Share } | { readonly beginsAtNs: number };

/** Connections opened at once: more would not fit in what a listening socket keeps waiting. */
const AT_ONCE = 32;

const send = (message: unknown) => process.send?.(message);

const connections: Connection[] = [];

// Not at its end only: what it has started ends with it.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => process.exit());
process.on('disconnect', async () => {
  await Promise.all(connections.map((connection) => connection.close?.()));
  process.exit();
});
process.once('message', async ({ open: share }: Order & { open: Share }) => {
  const peer = peerNamed(share.peer);
  while (connections.length < share.connections) {
    const length = Math.min(AT_ONCE, share.connections - connections.length);
    connections.push(
      ...(await Promise.all(Array.from({ length }, () => peer.open(share.endpoint, share.load.outstanding)))),
    );
  }
  process.once('message', async ({ beginsAtNs }: Order & { beginsAtNs: number }) => {
    send(await generate(connections, share, beginsAtNs));
  });
  await introduce(connections, share);
  send('ready');
});
