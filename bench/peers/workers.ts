import { mkdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { type Connection, laneName, noServer, type Peer } from '../peer.ts';
import { find, start, stop } from '../processes.ts';

const PROGRAM = resolve('bench/peers/worker.py');

/** A file under flock(2): read, raised, written again, synced, renamed, and the directory synced. */
export const file = workerPeer('file', 'file, flock(2), fsync');

/**
 * SQLite: one database is locked for the length of the call, and another one, in WAL mode with synchronous=FULL, has
 * the counter. One alone will not do: committing the nonce would give up the lock before the call has been made.
 */
export const sqlite = workerPeer('sqlite', 'SQLite, WAL, synchronous=FULL');

/** Node has no flock, and no SQLite: a Python process for each client, reached over its pipes. */
function workerPeer(name: 'file' | 'sqlite', title: string): Peer {
  return {
    name,
    title,
    can: ['exclusive'],
    isDurable: true,
    missing: () => (find('python3') === undefined ? 'no python3; install python3' : undefined),
    async start(dir) {
      const state = join(dir, 'state');
      mkdirSync(state);
      return noServer(state);
    },
    open: (state) => openWorker(name, state),
  };
}

async function openWorker(kind: string, state: string): Promise<Connection> {
  // Where /usr/bin has one, it starts sooner than what a version manager puts in its place.
  const worker = start(find('/usr/bin/python3') ?? 'python3', ['-IS', PROGRAM, kind, state], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const { stdin, stdout } = worker;
  if (stdin === null || stdout === null) throw new Error('a worker has no pipes');
  let isClosing = false;
  worker.once('exit', () => {
    if (!isClosing) throw new Error(`a worker of ${kind} ended; what it said is above`);
  });
  // It was ended while a caller was about to ask it something.
  stdin.on('error', () => {});
  const waiting: ((line: string) => void)[] = [];
  createInterface({ input: stdout }).on('line', (line) => waiting.shift()?.(line));
  const answer = () => new Promise<string>((resolve) => void waiting.push(resolve));
  await answer();
  return {
    async exclusive(lane, call) {
      stdin.write(`${laneName(lane)}\n`);
      await call(BigInt(await answer()));
      stdin.write('\n');
    },
    // At once: there may be no worker left that would give it the lane it waits for.
    close() {
      isClosing = true;
      return stop(worker, 'SIGKILL');
    },
  };
}
