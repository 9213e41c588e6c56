// A process full of clients: opens its share of the connections, and puts the load on them when told to. It ends when
// the one that started it has had enough, or is gone.
import { Callers, introduce, type Share, type Span, type Stretch } from './load.ts';
import type { Connection } from './peer.ts';
import { peerNamed } from './peers/index.ts';

/** From the process that started this one: `open` first, each other one as often as it likes. Each has one answer. */
export type Order = { readonly open: Share } | { readonly count: Stretch } | { readonly sample: Span };

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
let callers: Callers | undefined;
process.on('message', async (order: Order) => {
  if ('open' in order) send(await open(order.open));
  else if ('count' in order) send(await callers?.count(order.count));
  else send(callers?.sample(order.sample));
});

async function open(share: Share): Promise<'ready'> {
  const peer = peerNamed(share.peer);
  while (connections.length < share.connections) {
    const length = Math.min(AT_ONCE, share.connections - connections.length);
    connections.push(
      ...(await Promise.all(Array.from({ length }, () => peer.open(share.endpoint, share.load.outstanding)))),
    );
  }
  await introduce(connections, share);
  callers = new Callers(connections, share);
  return 'ready';
}
