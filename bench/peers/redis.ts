import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Redis } from 'ioredis';
import { type Connection, laneName, type Peer, type Server } from '../peer.ts';
import { find, ready, start, stop } from '../processes.ts';

const COUNTER = 'nonce';
/** A holder's lease. The waiters of a holder that died would need a way to learn of it, which this lock leaves out. */
const TTL_MS = 20_000;

/**
 * The quickest lock that can be had from one server: the release itself hands the lock to the longest waiter, with
 * its nonce, so that no client polls or wakes in vain. KEYS: lane, its queue, the counter. ARGV: the client, TTL.
 */
const ACQUIRE = `
if redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then return redis.call('INCR', KEYS[3]) end
redis.call('RPUSH', KEYS[2], ARGV[1])
return false`;
const RELEASE = `
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
local waiter = redis.call('LPOP', KEYS[2])
if not waiter then return redis.call('DEL', KEYS[1]) end
redis.call('SET', KEYS[1], waiter, 'PX', ARGV[2])
return redis.call('RPUSH', waiter, redis.call('INCR', KEYS[3]))`;

interface Scripted extends Redis {
  acquireLane(lane: string, queue: string, counter: string, who: string, ttlMs: number): Promise<number | null>;
  releaseLane(lane: string, queue: string, counter: string, who: string, ttlMs: number): Promise<number>;
}

export const redis = redisWith('redis', 'Redis, no persistence', false, ['--appendonly', 'no']);
export const redisEverysec = redisWith('redis-everysec', 'Redis, appendfsync everysec', false, [
  '--appendonly',
  'yes',
  '--appendfsync',
  'everysec',
]);
export const redisAlways = redisWith('redis-always', 'Redis, appendfsync always', true, [
  '--appendonly',
  'yes',
  '--appendfsync',
  'always',
]);

function redisWith(name: string, title: string, isDurable: boolean, persistence: readonly string[]): Peer {
  return {
    name,
    title,
    can: ['nonce', 'exclusive'],
    isDurable,
    missing: () => (find('redis-server') === undefined ? 'no redis-server; install redis-server' : undefined),
    start: (dir) => startRedis(dir, persistence),
    open: openRedis,
  };
}

export async function startRedis(dir: string, persistence: readonly string[]): Promise<Server> {
  const endpoint = join(dir, 'redis.sock');
  const server = start('redis-server', [
    '--port',
    '0',
    '--unixsocket',
    endpoint,
    '--dir',
    dir,
    '--save',
    '',
    ...persistence,
  ]);
  await ready(server, 'redis-server', () => existsSync(endpoint));
  return { endpoint, stop: () => stop(server) };
}

let clients = 0;

async function openRedis(endpoint: string, outstanding: number): Promise<Connection> {
  const { Redis } = await import('ioredis');
  // Sends the requests of one turn of the event loop as one write: twice as quick for many, and slower for one.
  const client = new Redis(endpoint, { enableAutoPipelining: outstanding > 1 }) as Scripted;
  await once(client, 'ready');
  client.defineCommand('acquireLane', { numberOfKeys: 3, lua: ACQUIRE });
  client.defineCommand('releaseLane', { numberOfKeys: 3, lua: RELEASE });
  clients += 1;
  const who = `client-${process.pid}-${clients}`;
  return {
    nonce: async () => BigInt(await client.incr(COUNTER)),
    async exclusive(lane, call) {
      const keys = [laneName(lane), `${laneName(lane)}:queue`, COUNTER] as const;
      const nonce = (await client.acquireLane(...keys, who, TTL_MS)) ?? (await client.blpop(who, 0))?.[1];
      await call(BigInt(nonce ?? -1));
      // As with the daemon, the answer is not awaited: what follows on this connection comes after it.
      client.releaseLane(...keys, who, TTL_MS).catch(() => client.disconnect());
    },
  };
}
