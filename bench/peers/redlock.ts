import { laneName, type Peer } from '../peer.ts';
import { redis } from './redis.ts';

const TTL_MS = 20_000;

/** The lock library most users of Redis take, with its defaults, but for giving up after ten tries. */
export const redlock: Peer = {
  ...redis,
  name: 'redlock',
  title: 'Redis, no persistence, redlock',
  can: ['exclusive'],
  async open(endpoint) {
    const { Redis } = await import('ioredis');
    const { default: Redlock } = await import('redlock');
    const client = new Redis(endpoint);
    const locks = new Redlock([client], { retryCount: -1 });
    return {
      async exclusive(lane, call) {
        const lock = await locks.lock(laneName(lane), TTL_MS);
        await call(BigInt(await client.incr('nonce')));
        await lock.unlock();
      },
    };
  },
};
