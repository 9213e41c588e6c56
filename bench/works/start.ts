import { once } from 'node:events';
import { mkdirSync } from 'node:fs';
import { createConnection } from 'node:net';
import { join } from 'node:path';
import { NONCED } from '../../test/fixtures/daemon-process.ts';
import { median } from '../figures.ts';
import { placeIn } from '../peers/nonced.ts';
import { remove, start, stop } from '../processes.ts';

const LOOK_AGAIN_MS = 1;
const WITHIN_MS = 20_000;
const REQUEST = '{"jsonrpc":"2.0","id":1,"method":"nonce"}\n';

/** The medians of several starts of each, by turns. */
export interface Start {
  /** A bare `node -e 0`, from its start to its end. */
  readonly bareMs: number;
  /** The daemon, from its start to its first nonce. Its state is that of a daemon that was stopped. */
  readonly noncedMs: number;
}

export async function measureStarts(count: number, dir: string): Promise<Start> {
  const place = placeIn(join(dir, 'start'));
  mkdirSync(place.dir);
  const startNonced = async () => {
    const startedAtMs = performance.now();
    const directories = ['--state-dir', place.stateDir, '--runtime-dir', place.runtimeDir];
    const daemon = start(process.execPath, [NONCED, 'serve', '--separate', ...directories]);
    await firstNonce(place.socket);
    const tookMs = performance.now() - startedAtMs;
    await stop(daemon);
    return tookMs;
  };
  try {
    // The first one makes the state, and is not counted.
    await startNonced();
    const bareMs: number[] = [];
    const noncedMs: number[] = [];
    while (noncedMs.length < count) {
      bareMs.push(await startBare());
      noncedMs.push(await startNonced());
    }
    return { bareMs: median(bareMs), noncedMs: median(noncedMs) };
  } finally {
    remove(place.dir);
  }
}

async function startBare(): Promise<number> {
  const startedAtMs = performance.now();
  await once(start(process.execPath, ['-e', '0']), 'exit');
  return performance.now() - startedAtMs;
}

/** Knocks until it is answered. */
async function firstNonce(path: string): Promise<void> {
  const deadline = performance.now() + WITHIN_MS;
  while (!(await nonceFrom(path))) {
    if (performance.now() > deadline) throw new Error(`no nonce within ${WITHIN_MS} ms of the daemon's start`);
    await new Promise((resolve) => setTimeout(resolve, LOOK_AGAIN_MS));
  }
}

function nonceFrom(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createConnection(path, () => socket.write(REQUEST));
    socket.once('error', () => resolve(false));
    socket.once('data', (answer) => {
      socket.destroy();
      if (!answer.includes('"nonce"')) throw new Error(`the daemon answered ${answer.toString()}`);
      resolve(true);
    });
  });
}
