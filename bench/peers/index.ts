import type { Peer } from '../peer.ts';
import { echo, echoC } from './echo.ts';
import { nonced, noncedProtocol } from './nonced.ts';
import { redis, redisAlways, redisEverysec } from './redis.ts';

/** In the order in which they are run and shown. */
export const PEERS: readonly Peer[] = [nonced, noncedProtocol, echo, echoC, redis, redisEverysec, redisAlways];

export function peerNamed(name: string): Peer {
  const peer = PEERS.find((candidate) => candidate.name === name);
  if (peer === undefined) throw new Error(`no peer is called ${name}`);
  return peer;
}
