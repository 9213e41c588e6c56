import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { dialUnixSocket } from '../../../src/client/connection/unix-socket.ts';

const dir = mkdtempSync(join(tmpdir(), 'nonced-'));
const path = join(dir, 'a.sock');
afterAll(() => rmSync(dir, { recursive: true }));

/** Dials, and resolves with everything that came in until the transport was closed, and with why it was. */
function dialled(at: string, then: (transport: ReturnType<typeof dialUnixSocket>) => void = () => {}) {
  const chunks: Uint8Array[] = [];
  return new Promise<{ bytes: Buffer; reason: Error | undefined }>((resolve) => {
    const transport = dialUnixSocket(at, {
      received: (chunk) => chunks.push(chunk),
      closed: (reason) => resolve({ bytes: Buffer.concat(chunks), reason }),
    });
    then(transport);
  });
}

async function listening(serve: (socket: Socket) => void) {
  const server = createServer(serve).listen(path);
  await once(server, 'listening');
  return server;
}

test('what comes in arrives whole and in order, however long it is, and stays as it was when more comes', async () => {
  const sent = Buffer.from(Uint8Array.from({ length: 300_000 }, (_, index) => index % 251));
  const server = await listening((socket) => socket.end(sent));
  const { bytes, reason } = await dialled(path);
  expect(bytes.equals(sent)).toBe(true);
  expect(reason).toBeUndefined();
  server.close();
});

test('what is written before it is connected goes out, and a close waits for it', async () => {
  const heard: Buffer[] = [];
  const server = await listening((socket) => socket.on('data', (chunk) => heard.push(chunk)));
  const { reason } = await dialled(path, (transport) => {
    transport.write(Buffer.from('first '));
    transport.write(Buffer.from('second'));
    transport.close();
  });
  server.close();
  await once(server, 'close');
  expect(Buffer.concat(heard).toString()).toBe('first second');
  expect(reason).toBeUndefined();
});

test('a socket that is not there is reported with the error code of the system', async () => {
  const { bytes, reason } = await dialled(join(dir, 'none.sock'));
  expect(bytes).toHaveLength(0);
  expect(reason).toMatchObject({ code: 'ENOENT' });
});
