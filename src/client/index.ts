import { randomBytes } from 'node:crypto';
import { countingSleep, systemClock } from '../clock.ts';
import { msgpackRpc } from '../protocol/msgpack-rpc.ts';
import type { ConnectOptions, Nonced } from './api.ts';

export { krakenOutcome } from './exchanges/kraken-outcome.ts';

import { checkOptions } from './calls/options.ts';
import { Client } from './client.ts';
import { programName, surroundings } from './connection/host.ts';
import { checkOwner, findSocket } from './connection/socket-path.ts';
import { dialUnixSocket } from './connection/unix-socket.ts';

export { ERROR_CODES, type ErrorCode, NoncedError } from '../errors.ts';
export type { ExclusionPolicy, Outcome, Priority, Unit } from '../terms.ts';
export type {
  AcquireOptions,
  CallEnd,
  ConnectOptions,
  DaemonInfo,
  ExclusiveOptions,
  Grant,
  NextOptions,
  Nonced,
  NonceOptions,
  ReleaseOptions,
  Status,
} from './api.ts';

const CONNECT_TIMEOUT_MS = 5_000;

/**
 * Connects to the daemon of this host, waiting for one up to `connectTimeoutMs`. Rejects with UNAVAILABLE when none
 * answers, at once when permission is what is missing, with CANCELLED when its signal aborts, and with BAD_REQUEST for
 * an option that is unknown or of the wrong type.
 */
export async function connect(options: ConnectOptions = {}): Promise<Nonced> {
  checkOptions('connect', options);
  const around = surroundings();
  const client = new Client({
    dial: dialUnixSocket,
    find: () => findSocket(options.socket, around),
    trust: (place) => checkOwner(place, around),
    codec: msgpackRpc,
    clock: countingSleep(systemClock()),
    random: Math.random,
    introduction: { name: options.name ?? programName(), pid: process.pid, session: randomBytes(16).toString('hex') },
    connectTimeoutMs: options.connectTimeoutMs ?? CONNECT_TIMEOUT_MS,
  });
  await client.open(options.signal);
  return client;
}
