import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { Agent, type IncomingMessage, request } from 'node:http';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, expect, test } from 'vitest';
import { type Exporter, startExporter } from '../../../src/cli/metrics/exporter.ts';
import { CONTENT_TYPE } from '../../../src/cli/metrics/exposition.ts';
import { VirtualClock } from '../../fixtures/virtual-clock.ts';

const dir = mkdtempSync(join(tmpdir(), 'nonced-exporter-'));
const running: Exporter[] = [];

afterEach(async () => {
  await Promise.all(running.splice(0).map((exporter) => exporter.close()));
});
afterAll(() => rmSync(dir, { recursive: true }));

async function started(path: string | undefined, scrape: () => Promise<string>): Promise<Exporter> {
  const address =
    path === undefined ? ({ kind: 'tcp', host: '127.0.0.1', port: 0 } as const) : ({ kind: 'unix', path } as const);
  const exporter = await startExporter(address, scrape);
  running.push(exporter);
  return exporter;
}

interface Answer {
  readonly status: number | undefined;
  readonly headers: IncomingMessage['headers'];
  readonly body: string;
}

/** Asks over a connection of its own, unless it is given an agent that keeps one. */
async function ask(
  place: string,
  options: { method?: string; agent?: Agent; headers?: Record<string, string>; body?: string } = {},
): Promise<Answer> {
  const { body, ...rest } = options;
  const asked = request(place, rest);
  asked.end(body);
  const [response] = (await once(asked, 'response')) as [IncomingMessage];
  let text = '';
  for await (const chunk of response.setEncoding('utf8')) text += chunk;
  return { status: response.statusCode, headers: response.headers, body: text };
}

const UP = 'nonced_up 1\n';

test('GET /metrics returns a scrape in the text format; HEAD all of it but the text', async () => {
  const { place } = await started(undefined, async () => UP);
  const got = await ask(place);
  expect(got).toMatchObject({ status: 200, body: UP, headers: { 'content-type': CONTENT_TYPE } });
  const head = await ask(place, { method: 'HEAD' });
  expect(head).toMatchObject({ status: 200, body: '', headers: { 'content-length': String(UP.length) } });
  expect(await ask(`${place}?name[]=x`)).toMatchObject({ status: 200, body: UP });
});

test('elsewhere there is nothing but a hint where the metrics are, and nothing can be sent', async () => {
  let scrapes = 0;
  const { place } = await started(undefined, async () => {
    scrapes += 1;
    return UP;
  });
  for (const path of ['/', '/metrics/', '/metricsx', '//metrics', '/%6detrics']) {
    expect(await ask(new URL(place).origin + path), path).toMatchObject({
      status: 404,
      body: expect.stringContaining('the metrics are at /metrics'),
    });
  }
  for (const method of ['POST', 'PUT', 'DELETE', 'OPTIONS']) {
    expect(await ask(place, { method, body: 'x'.repeat(100_000) }), method).toMatchObject({
      status: 405,
      headers: { allow: 'GET, HEAD', connection: 'close' },
    });
  }
  expect(scrapes).toBe(0);
});

test('scrapes at the same time share one question; the next one asks again', async () => {
  const asked: ((text: string) => void)[] = [];
  const { place } = await started(undefined, () => new Promise((resolve) => asked.push(resolve)));
  const agent = new Agent({ keepAlive: true });
  const together = [ask(place, { agent }), ask(place, { agent }), ask(place, { agent })];
  await expect.poll(() => Object.values(agent.sockets).flat().length).toBe(3);
  await expect.poll(() => asked.length).toBe(1);
  // Each of them has sent its request before the answer comes: it asks the server about something else on a fourth.
  await ask(`${new URL(place).origin}/`);
  asked[0]?.('nonced_up 0\n');
  expect((await Promise.all(together)).map(({ body }) => body)).toEqual(Array(3).fill('nonced_up 0\n'));
  const next = ask(place, { agent });
  await expect.poll(() => asked.length).toBe(2);
  asked[1]?.(UP);
  expect((await next).body).toBe(UP);
  agent.destroy();
});

test('a header over 8 KiB and a line that is not HTTP are refused, and the next request is answered', async () => {
  const { place } = await started(undefined, async () => UP);
  expect(await ask(place, { headers: { 'x-long': 'x'.repeat(9_000) } })).toMatchObject({ status: 431 });
  const socket = connect(Number(new URL(place).port), '127.0.0.1');
  socket.end('{"jsonrpc":"2.0","id":1,"method":"status"}\n');
  let said = '';
  for await (const chunk of socket.setEncoding('utf8')) said += chunk;
  expect(said).toMatch(/^HTTP\/1\.1 400 /);
  expect((await ask(place)).body).toBe(UP);
});

test('on a Unix socket the user and the group may ask, under any umask, and it is gone with the exporter', async () => {
  const path = join(dir, 'metrics.sock');
  const umask = process.umask(0o077);
  let exporter: Exporter;
  try {
    exporter = await started(path, async () => UP);
  } finally {
    process.umask(umask);
  }
  expect(statSync(path).mode & 0o777).toBe(0o660);
  const asked = request({ socketPath: path, path: '/metrics' });
  asked.end();
  const [response] = (await once(asked, 'response')) as [IncomingMessage];
  response.resume();
  expect(response.statusCode).toBe(200);
  await exporter.close();
  expect(existsSync(path)).toBe(false);
});

test('a socket on which a program answers, and a file that is not a socket, are left alone', async () => {
  const path = join(dir, 'busy.sock');
  const other = createServer((socket) => socket.destroy()).listen(path);
  await once(other, 'listening');
  await expect(started(path, async () => UP)).rejects.toMatchObject({
    exitCode: 75,
    message: expect.stringContaining('choose another --listen'),
  });
  expect(existsSync(path)).toBe(true);
  other.close();
  await once(other, 'close');
  writeFileSync(path, 'mine');
  await expect(started(path, async () => UP)).rejects.toMatchObject({ exitCode: 78 });
  await expect(started(join(dir, 'x'.repeat(120)), async () => UP)).rejects.toMatchObject({
    exitCode: 78,
    message: expect.stringContaining('choose a shorter --listen'),
  });
});

test('a port that is taken is a temporary failure that names it', async () => {
  const { place } = await started(undefined, async () => UP);
  const port = Number(new URL(place).port);
  await expect(startExporter({ kind: 'tcp', host: '127.0.0.1', port }, async () => UP)).rejects.toMatchObject({
    exitCode: 75,
    message: expect.stringContaining(`127.0.0.1:${port}`),
  });
});

test('on closing, a scrape under way gets its answer, and a client that has asked nothing is cut off after a second', async () => {
  const clock = new VirtualClock();
  const scrapes: ((text: string) => void)[] = [];
  const scrape = () => new Promise<string>((resolve) => scrapes.push(resolve));
  const exporter = await startExporter({ kind: 'tcp', host: '127.0.0.1', port: 0 }, scrape, clock);
  const silent = connect(Number(new URL(exporter.place).port), '127.0.0.1');
  silent.on('error', () => {});
  await once(silent, 'connect');
  const agent = new Agent({ keepAlive: true });
  const asked = ask(exporter.place, { agent });
  await expect.poll(() => scrapes.length).toBe(1);
  const closed = exporter.close();
  scrapes[0]?.(UP);
  expect((await asked).body).toBe(UP);
  clock.advance(1_000);
  await closed;
  expect(clock.timers).toBe(0);
  silent.destroy();
  agent.destroy();
});
