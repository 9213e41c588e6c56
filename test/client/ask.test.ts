import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { askOnce } from '../../src/client/ask.ts';
import { MessageScanner } from '../../src/protocol/message-scanner.ts';
import { MINOR } from '../../src/protocol/minor.ts';
import { msgpackRpc } from '../../src/protocol/msgpack-rpc.ts';

let dir: string;
let path: string;
let heard: string[];
let close: () => void;

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'nonced-'));
  path = join(dir, 'a.sock');
  heard = [];
});

afterEach(() => {
  close();
  rmSync(dir, { recursive: true });
});

/** A daemon that answers every request. */
async function daemonOf(minor: number | undefined): Promise<void> {
  const hello = { protocol: 1, version: '0.1.0', instance: 'a', epoch: 1, exclusive: 'global', held: [] };
  const server = createServer((socket) => {
    const scanner = new MessageScanner({ maxBytes: 4096, encoding: 'msgpack' });
    socket.on('data', (chunk) => {
      scanner.push(chunk);
      for (let frame = scanner.next(); frame !== undefined; frame = scanner.next()) {
        const message = msgpackRpc.decode(frame);
        if (message.kind !== 'request') continue;
        heard.push(message.method);
        const result = message.method === 'hello' ? { ...hello, ...(minor !== undefined && { minor }) } : { nonce: 5n };
        socket.write(msgpackRpc.answer(message.id, result));
      }
    });
  }).listen(path);
  close = () => server.close();
  await once(server, 'listening');
}

test('a request that every daemon knows is sent at once', async () => {
  await daemonOf(undefined);
  expect(await askOnce(path, 'next', { token: 1n })).toEqual({ nonce: 5n });
  expect(heard).toEqual(['next']);
});

test('a request with a later field is sent to a daemon that has said that it knows it', async () => {
  await daemonOf(MINOR);
  expect(await askOnce(path, 'next', { token: 1n, unit: 'ms' })).toEqual({ nonce: 5n });
  expect(heard).toEqual(['hello', 'next']);
});

test('a request with a later field that protects is not sent to an older daemon', async () => {
  await daemonOf(undefined);
  await expect(askOnce(path, 'next', { token: 1n, unit: 'ms' })).rejects.toMatchObject({ code: 'UNSUPPORTED' });
  expect(heard).toEqual(['hello']);
});
