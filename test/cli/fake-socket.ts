import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Terminal } from '../../src/cli/terminal/terminal.ts';
import { MessageScanner } from '../../src/protocol/message-scanner.ts';
import { msgpackRpc } from '../../src/protocol/msgpack-rpc.ts';
import { pipe } from '../fixtures/command-line.ts';
import type { RunResult } from '../fixtures/shell.ts';

/** A socket that gives the same answer to every request, or one for each method. */
export interface FakeSocket {
  readonly path: string;
  readonly asked: { readonly method: string; readonly params: unknown }[];
  close(): Promise<void>;
}

export async function fakeSocket(name: string, answer: object | ((method: string) => object)): Promise<FakeSocket> {
  const dir = mkdtempSync(join(tmpdir(), 'nonced-cli-'));
  const asked: FakeSocket['asked'][number][] = [];
  const open = new Set<Socket>();
  const server = createServer((socket) => {
    const scanner = new MessageScanner({ maxBytes: 4096, encoding: 'msgpack' });
    open.add(socket);
    socket.on('error', () => {});
    socket.on('data', (chunk) => {
      scanner.push(chunk);
      for (let frame = scanner.next(); frame !== undefined; frame = scanner.next()) {
        const message = msgpackRpc.decode(frame);
        if (message.kind !== 'request') throw new Error(`unexpected ${message.kind}`);
        asked.push({ method: message.method, params: message.params });
        const result = typeof answer === 'function' ? answer(message.method) : answer;
        socket.write(msgpackRpc.answer(message.id, result));
      }
    });
  });
  server.listen(join(dir, name));
  await once(server, 'listening');
  return {
    path: join(dir, name),
    asked,
    async close() {
      for (const socket of open) socket.destroy();
      server.close();
      await once(server, 'close');
      rmSync(dir, { recursive: true });
    },
  };
}

/** What `act` said. */
export async function told(act: (terminal: Terminal) => Promise<void>): Promise<RunResult> {
  const { terminal, result } = pipe();
  await act(terminal);
  return result();
}
