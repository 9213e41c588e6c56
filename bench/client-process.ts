// A process full of clients: opens its share of the connections, and puts the load on them when told to. It ends when
// the one that started it has had enough, or is gone.
import { generate, type Share } from './load.ts';
import type { Connection } from './peer.ts';
import { peerNamed } from './peers/index.ts';

/** From the process that started this one, in this order. */
export type Order = { readonly open: Share } | { readonly beginsAtNs: number };

const send = (message: unknown) => process.send?.(message);

process.on('disconnect', () => process.exit());
process.once('message', async ({ open: share }: Order & { open: Share }) => {
  const peer = peerNamed(share.peer);
  const connections: Connection[] = [];
  for (let opened = 0; opened < share.connections; opened++) connections.push(await peer.open(share.endpoint));
  process.once('message', async ({ beginsAtNs }: Order & { beginsAtNs: number }) => {
    send(await generate(connections, share, beginsAtNs));
  });
  send('ready');
});
