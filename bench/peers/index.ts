import type { Peer } from '../peer.ts';
import { counter } from './counter.ts';
import { echo, echoC } from './echo.ts';
import { etcd } from './etcd.ts';
import { nonced, noncedProtocol } from './nonced.ts';
import { postgres } from './postgres.ts';
import { redis, redisAlways, redisEverysec } from './redis.ts';
import { redlock } from './redlock.ts';
import { file, sqlite } from './workers.ts';

/** In the order in which they are run and shown. */
export const PEERS: readonly Peer[] = [
  nonced,
  noncedProtocol,
  echo,
  echoC,
  redis,
  redisEverysec,
  redisAlways,
  redlock,
  postgres,
  etcd,
  file,
  sqlite,
  counter,
];

export function peerNamed(name: string): Peer {
  const peer = PEERS.find((candidate) => candidate.name === name);
  if (peer === undefined) throw new Error(`no peer is called ${name}`);
  return peer;
}
