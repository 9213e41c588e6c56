import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { createConnection } from 'node:net';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Connection, Peer, Server } from '../peer.ts';
import { find, ready, start, stop } from '../processes.ts';

/** As long as the daemon's answer to `nonce`. */
const MESSAGE = new Uint8Array(27);
const NODE_PROGRAM = fileURLToPath(new URL('../echo-process.js', import.meta.url));
const C_PROGRAM = resolve('bench/peers/echo.c');

/** What a round trip to a Node process costs that does nothing: the limit for a daemon written in Node. */
export const echo: Peer = {
  name: 'echo',
  title: 'echo in Node (the limit)',
  can: ['nonce'],
  isDurable: false,
  missing: () => undefined,
  start: (dir) => startEcho(dir, process.execPath, [NODE_PROGRAM]),
  open: openEcho,
};

/** The same in C: the limit for any daemon behind a Unix socket, with clients in Node. */
export const echoC: Peer = {
  ...echo,
  name: 'echo-c',
  title: 'echo in C (the limit)',
  missing: () => (find('cc') === undefined ? 'no C compiler; install gcc' : undefined),
  start(dir) {
    const program = join(dir, 'echo');
    execFileSync('cc', ['-O2', '-o', program, C_PROGRAM]);
    return startEcho(dir, program, []);
  },
};

async function startEcho(dir: string, file: string, args: readonly string[]): Promise<Server> {
  const endpoint = join(dir, 'echo.sock');
  const server = start(file, [...args, endpoint]);
  await ready(server, 'the echo server', () => existsSync(endpoint));
  return { endpoint, stop: () => stop(server) };
}

async function openEcho(endpoint: string): Promise<Connection> {
  const socket = createConnection(endpoint);
  await once(socket, 'connect');
  const waiting: (() => void)[] = [];
  let received = 0;
  socket.on('data', ({ length }) => {
    received += length;
    for (; received >= MESSAGE.length; received -= MESSAGE.length) waiting.shift()?.();
  });
  let count = 0n;
  return {
    nonce: () =>
      new Promise((resolve) => {
        waiting.push(() => {
          count += 1n;
          resolve(count);
        });
        socket.write(MESSAGE);
      }),
  };
}
