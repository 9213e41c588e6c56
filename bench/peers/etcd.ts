import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { join, resolve } from 'node:path';
import type { ServiceDefinition } from '@grpc/grpc-js';
import { type Connection, laneName, type Peer, type Server } from '../peer.ts';
import { find, ready, start, stop } from '../processes.ts';

const PROTOCOLS = resolve('bench/peers');
const LEASE_SECONDS = 600;

/**
 * etcd's own lock, which hands over without polling. The counter is the revision that comes with the lock: it is raised
 * and durable by then, and greater than that of every holder before.
 */
export const etcd: Peer = {
  name: 'etcd',
  title: 'etcd, lease and lock',
  can: ['exclusive'],
  isDurable: true,
  missing: () => (find('etcd') === undefined ? 'no etcd; install etcd-server' : undefined),
  start: startEtcd,
  open: openEtcd,
};

async function startEtcd(dir: string): Promise<Server> {
  const [forClients, forPeers] = [`127.0.0.1:${await freePort()}`, `http://127.0.0.1:${await freePort()}`];
  const options = {
    'data-dir': join(dir, 'data'),
    'listen-client-urls': `http://${forClients}`,
    'advertise-client-urls': `http://${forClients}`,
    'listen-peer-urls': forPeers,
    'initial-advertise-peer-urls': forPeers,
    'initial-cluster': `default=${forPeers}`,
  };
  const server = start(
    'etcd',
    Object.entries(options).map(([name, value]) => `--${name}=${value}`),
  );
  await ready(server, 'etcd', async () => {
    try {
      const health = await fetch(`http://${forClients}/health`);
      return (await health.text()).includes('true');
    } catch {
      return false;
    }
  });
  return { endpoint: forClients, stop: () => stop(server) };
}

async function openEtcd(endpoint: string): Promise<Connection> {
  const lease = await serviceAt(endpoint, 'etcd-lease.proto', 'etcdserverpb.Lease');
  const { ID } = await lease<{ ID: string }>('LeaseGrant', { TTL: LEASE_SECONDS });
  const lock = await serviceAt(endpoint, 'etcd-lock.proto', 'v3lockpb.Lock');
  return {
    async exclusive(lane, call) {
      const { header, key } = await lock<Locked>('Lock', { name: Buffer.from(laneName(lane)), lease: ID });
      await call(BigInt(header.revision));
      // Waited for: another request of this connection could be looked at before it.
      await lock('Unlock', { key });
    },
  };
}

interface Locked {
  readonly header: { readonly revision: string };
  readonly key: Uint8Array;
}

/** A service, called by the names of its methods over a connection of its own. */
async function serviceAt(endpoint: string, file: string, name: string) {
  const { credentials, makeClientConstructor } = await import('@grpc/grpc-js');
  const { loadSync } = await import('@grpc/proto-loader');
  const definition = loadSync(join(PROTOCOLS, file), { keepCase: true, longs: String })[name] as ServiceDefinition;
  const Service = makeClientConstructor(definition, name);
  const service = new Service(endpoint, credentials.createInsecure(), { 'grpc.use_local_subchannel_pool': 1 });
  return <Answer>(method: string, request: object): Promise<Answer> =>
    new Promise((resolve, reject) => {
      service[method]?.(request, (error: Error | null, answer: Answer) =>
        error === null ? resolve(answer) : reject(error),
      );
    });
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}
