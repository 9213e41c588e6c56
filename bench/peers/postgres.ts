import { chownSync, existsSync, mkdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Client } from 'pg';
import type { Connection, Peer, Server } from '../peer.ts';
import { find, ready, run, start, stop } from '../processes.ts';

const DEBIAN = ['15', '16', '17', '18'].map((version) => `/usr/lib/postgresql/${version}/bin`);
const SETTINGS = [
  'listen_addresses=',
  'max_connections=200',
  // As they are by default, and here said: a nonce is answered when its record of the log is on disk. A sequence logs
  // 32 values ahead, so that one call in 32 waits for the disk.
  'fsync=on',
  'synchronous_commit=on',
];

/** The lock before the value: what is selected from a materialized query is computed after it. */
const ACQUIRE = {
  name: 'acquire',
  text: `WITH lane AS MATERIALIZED (SELECT pg_advisory_lock($1)) SELECT nextval('nonce') AS nonce FROM lane`,
};
const RELEASE = { name: 'release', text: 'SELECT pg_advisory_unlock($1)' };
const NONCE = { name: 'nonce', text: `SELECT nextval('nonce') AS nonce` };

export const postgres: Peer = {
  name: 'postgres',
  title: 'PostgreSQL, advisory lock, sequence',
  can: ['nonce', 'exclusive'],
  isDurable: true,
  missing() {
    if (program('initdb') === undefined) return 'no initdb; install postgresql';
    return process.getuid?.() === 0 && ordinaryUser() === undefined
      ? 'no user to run it as; add a user nobody'
      : undefined;
  },
  start: startPostgres,
  open: openPostgres,
};

async function startPostgres(dir: string): Promise<Server> {
  const user = process.getuid?.() === 0 ? ordinaryUser() : {};
  const data = join(dirname(dir), 'postgres-data');
  if (!existsSync(data)) {
    own(data, user);
    run(
      program('initdb') ?? '',
      ['--pgdata', data, '--auth', 'trust', '--username', 'bench', '--no-locale', '--no-sync'],
      user,
    );
  }
  own(join(dir, 'run'), user);
  const settings = [...SETTINGS, `unix_socket_directories=${join(dir, 'run')}`].flatMap((setting) => ['-c', setting]);
  const server = start(program('postgres') ?? '', ['-D', data, ...settings], user, 'SIGQUIT');
  const endpoint = join(dir, 'run');
  await ready(server, 'postgres', async () => {
    const client = await clientOf(endpoint);
    try {
      await client.connect();
      await client.query('CREATE SEQUENCE IF NOT EXISTS nonce');
      await client.end();
      return true;
    } catch {
      return false;
    }
  });
  return { endpoint, stop: () => stop(server, 'SIGINT') };
}

async function openPostgres(endpoint: string): Promise<Connection> {
  const client = await clientOf(endpoint);
  await client.connect();
  return {
    nonce: async () => BigInt((await client.query(NONCE)).rows[0].nonce),
    async exclusive(lane, call) {
      const { rows } = await client.query({ ...ACQUIRE, values: [lane] });
      await call(BigInt(rows[0].nonce));
      // Pipelined: what follows on this connection comes after it, so the answer is not awaited.
      client.query({ ...RELEASE, values: [lane] }).catch(() => client.end());
    },
  };
}

async function clientOf(endpoint: string): Promise<Client> {
  const { default: pg } = await import('pg');
  const client = new pg.Client({ host: endpoint, user: 'bench', database: 'postgres', pipeline: true });
  // The server is stopped under it at the end.
  client.on('error', () => {});
  return client;
}

function program(name: string): string | undefined {
  return find(name, ...DEBIAN);
}

interface User {
  readonly uid?: number;
  readonly gid?: number;
}

/** PostgreSQL refuses to run as root. */
function ordinaryUser(): User | undefined {
  for (const name of ['postgres', 'nobody']) {
    try {
      return { uid: Number(run('id', ['-u', name])), gid: Number(run('id', ['-g', name])) };
    } catch {
      // There is no such user. The next one will do.
    }
  }
  return undefined;
}

function own(directory: string, { uid, gid }: User = {}): void {
  mkdirSync(directory, { mode: 0o700 });
  if (uid !== undefined && gid !== undefined) chownSync(directory, uid, gid);
}
