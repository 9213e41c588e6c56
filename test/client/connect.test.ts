import { expect, test } from 'vitest';
import { Client } from '../../src/client/client.ts';
import { NoncedError, refusal } from '../../src/errors.ts';
import { settle } from '../fixtures/virtual-clock.ts';
import { FakeDaemon, outcomeOf, SOCKET, watch } from './fake-daemon.ts';

async function connected() {
  const daemon = new FakeDaemon();
  const client = await daemon.connect();
  return { daemon, client };
}

test('hello tells name, pid and session, and what the daemon says of itself can be read', async () => {
  const daemon = new FakeDaemon();
  const client = new Client(daemon.ports());
  const opened = client.open(undefined);
  const hello = await daemon.hear('hello');
  expect(hello.params).toEqual({ name: 'test', pid: 7, session: 'f'.repeat(32) });
  hello.answer({ ...daemon.greeting, held: [], motto: 'a field of a newer daemon' });
  await opened;
  expect(client.daemon).toEqual({ version: '0.2.0', instance: 'one', epoch: 1, exclusive: 'global' });
  expect(client.socket).toBe(SOCKET);
});

test.each(['ENOENT', 'ECONNREFUSED'] as const)('%s is tried again until a daemon is there', async (code) => {
  const daemon = new FakeDaemon();
  daemon.state = code;
  const client = new Client(daemon.ports());
  const opened = client.open(undefined);
  await daemon.clock.advanceSettled(1_000);
  expect(daemon.dialled.length).toBeGreaterThan(5);
  daemon.state = 'up';
  await daemon.clock.advanceSettled(250);
  daemon.greet();
  expect(await outcomeOf(opened)).toBeUndefined();
});

test('UNAVAILABLE comes after connectTimeoutMs without a daemon, says what to start, and nothing goes on', async () => {
  const daemon = new FakeDaemon();
  daemon.state = 'ENOENT';
  const opened = watch(new Client(daemon.ports()).open(undefined));
  await daemon.clock.advanceSettled(4_999);
  expect(await opened()).toBe('pending');
  await daemon.clock.advanceSettled(1);
  expect(await opened()).toMatchObject({
    code: 'UNAVAILABLE',
    message: expect.stringMatching(/systemctl start nonced/),
  });
  expect(daemon.clock.timers).toBe(0);
});

test('a daemon that takes the connection and never answers counts as none', async () => {
  const daemon = new FakeDaemon();
  const opened = watch(new Client(daemon.ports()).open(undefined));
  await daemon.clock.advanceSettled(5_000);
  expect(await opened()).toMatchObject({ code: 'UNAVAILABLE' });
  expect(daemon.line.open).toBe(false);
});

test('EACCES is reported at once, with the group to join', async () => {
  const daemon = new FakeDaemon();
  daemon.state = 'EACCES';
  const opened = watch(new Client(daemon.ports()).open(undefined));
  await settle();
  expect(await opened()).toMatchObject({
    code: 'UNAVAILABLE',
    message: expect.stringMatching(/join the group nonced, then restart the bot/),
  });
});

test('a place that is not to be trusted is not connected to', async () => {
  const daemon = new FakeDaemon();
  const error = new NoncedError(refusal('UNAVAILABLE', 'not yours'));
  const trust = () => {
    throw error;
  };
  const opened = new Client(daemon.ports({ trust })).open(undefined);
  expect(await outcomeOf(opened)).toBe(error);
  expect(daemon.dialled).toEqual([]);
});

test('the place is looked for again until a daemon has answered there, and then never', async () => {
  const daemon = new FakeDaemon();
  const places = ['/first.sock', '/second.sock', '/third.sock'];
  const find = () => ({ path: places.shift() ?? '/none.sock', ownDirectory: undefined });
  daemon.state = 'ENOENT';
  const client = new Client(daemon.ports({ find }));
  const opened = client.open(undefined);
  await settle();
  daemon.state = 'up';
  await daemon.clock.advanceSettled(5);
  daemon.greet();
  await opened;
  client.acquire().catch(() => {});
  await daemon.restart();
  expect(daemon.dialled).toEqual(['/first.sock', '/second.sock', '/second.sock']);
});

test('a signal ends the wait for a daemon with CANCELLED and its reason', async () => {
  const daemon = new FakeDaemon();
  daemon.state = 'ENOENT';
  const controller = new AbortController();
  const opened = watch(new Client(daemon.ports()).open(controller.signal));
  controller.abort('enough');
  expect(await opened()).toMatchObject({ code: 'CANCELLED', cause: 'enough' });
  expect(daemon.clock.timers).toBe(0);
});

test('a hello that stays wrong is reported at once; one that the daemon is too busy for is tried again', async () => {
  const daemon = new FakeDaemon();
  const wrong = watch(new Client(daemon.ports()).open(undefined));
  (await daemon.hear('hello')).refuse('BAD_REQUEST');
  expect(await wrong()).toMatchObject({ code: 'BAD_REQUEST' });

  const busy = new Client(daemon.ports()).open(undefined);
  (await daemon.hear('hello')).refuse('LIMIT');
  await daemon.clock.advanceSettled(5);
  daemon.greet();
  expect(await outcomeOf(busy)).toBeUndefined();
});

test('an idle client does not keep the process alive, one that waits or holds does', async () => {
  const daemon = new FakeDaemon();
  const client = await daemon.connect();
  expect(daemon.line.referenced).toBe(false);
  const acquired = client.acquire();
  expect(daemon.line.referenced).toBe(true);
  (await daemon.hear('acquire')).grant({ token: 1n });
  const grant = await acquired;
  expect(daemon.line.referenced).toBe(true);
  const released = grant.release('ok');
  (await daemon.hear('release')).answer({ released: true });
  await released;
  expect(daemon.line.referenced).toBe(false);
  expect(daemon.clock.timers).toBe(0);
});

test('a call that waits keeps the process alive, even if others were cancelled before', async () => {
  const { daemon, client } = await connected();
  const controller = new AbortController();
  watch(client.acquire({ signal: controller.signal }));
  const asked = await daemon.hear('acquire');
  controller.abort();
  expect(daemon.line.referenced).toBe(false);
  asked.refuse('CANCELLED');
  watch(client.nonce());
  watch(client.nonce());
  (await daemon.hear('nonce')).answer({ nonce: 5n, count: 1 });
  expect(daemon.line.referenced).toBe(true);
});

test('an idle client whose daemon goes away does nothing until it is asked for something', async () => {
  const daemon = new FakeDaemon();
  const client = await daemon.connect();
  daemon.line.break();
  await settle();
  expect(daemon.clock.timers).toBe(0);
  expect(daemon.dialled).toHaveLength(1);

  const drawn = client.nonce();
  await settle();
  daemon.greet();
  (await daemon.hear('nonce')).answer({ nonce: 5n, count: 1 });
  expect(await drawn).toBe(5n);
});

test('close releases what is held, rejects what waits, and may be called again', async () => {
  const daemon = new FakeDaemon();
  const client = await daemon.connect();
  const acquired = client.acquire({ account: 'A' });
  (await daemon.hear('acquire')).grant({ token: 1n });
  const grant = await acquired;
  const { signal } = grant;
  const waiting = watch(client.acquire({ account: 'B' }));
  await client.close();
  expect(await waiting()).toMatchObject({ code: 'CANCELLED' });
  expect((await daemon.hear('release')).params).toEqual({ token: 1n });
  expect(signal.reason).toMatchObject({ code: 'LEASE_LOST' });
  expect(daemon.line.open).toBe(false);
  expect(daemon.clock.timers).toBe(0);
  await client.close();
  expect(await outcomeOf(client.nonce())).toMatchObject({ code: 'CANCELLED' });
  expect(await grant.release()).toBe(false);
});

test('nonces are bigint however they came, and status brings them so too', async () => {
  const daemon = new FakeDaemon();
  const client = await daemon.connect();
  const drawn = client.nonce({ account: 'A', count: 3 });
  const asked = await daemon.hear('nonce');
  expect(asked.params).toEqual({ account: 'A', count: 3 });
  asked.answer({ nonce: 5, count: 3 });
  expect(await drawn).toBe(5n);

  const status = client.status();
  const sequence = { name: 'default', unit: 'ns', last: 7, ceiling: 1_700_000_000_000_000_000n };
  (await daemon.hear('status')).answer({ version: '2', exclusive: 'off', sequences: [sequence] });
  expect((await status).sequences[0]).toMatchObject({ last: 7n, ceiling: 1_700_000_000_000_000_000n });
  const printed = JSON.parse(JSON.stringify({ status: await status }));
  expect(printed.status.sequences[0]).toMatchObject({ last: '7', ceiling: '1700000000000000000' });
  expect(client.daemon.exclusive).toBe('off');
});

test('a nonce that is not answered in time is WAIT_TIMEOUT, and its late answer is dropped', async () => {
  const daemon = new FakeDaemon();
  const client = await daemon.connect();
  const drawn = watch(client.nonce({ waitMs: 100 }));
  const asked = await daemon.hear('nonce');
  await daemon.clock.advanceSettled(100);
  expect(await drawn()).toMatchObject({ code: 'WAIT_TIMEOUT' });
  asked.answer({ nonce: 5n, count: 1 });
  await settle();
  expect(daemon.line.open).toBe(true);
  expect(daemon.line.referenced).toBe(false);
});

test('one timer serves all deadlines, whichever is the soonest', async () => {
  const daemon = new FakeDaemon();
  const client = await daemon.connect();
  const ends: unknown[] = [];
  for (const waitMs of [3_000, 1_000, 2_000]) client.nonce({ waitMs }).catch(() => ends.push(waitMs));
  watch(client.acquire({ waitMs: 60_000 }));
  (await daemon.hear('acquire')).grant({ token: 1n, ttlMs: 2_500 });
  expect(daemon.clock.timers).toBe(1);
  await daemon.clock.advanceSettled(2_000);
  expect(ends).toEqual([1_000, 2_000]);
  expect(daemon.clock.nextInMs).toBe(250);
  await daemon.clock.advanceSettled(1_000);
  expect(ends).toEqual([1_000, 2_000, 3_000]);
  expect(daemon.clock.timers).toBe(0);
});

test('what is sent in one turn of the event loop goes out in one write', async () => {
  const daemon = new FakeDaemon();
  const client = await daemon.connect();
  const before = daemon.line.writes;
  const all = Promise.all([client.nonce(), client.nonce(), client.nonce()]);
  for (let i = 0; i < 3; i += 1) (await daemon.hear('nonce')).answer({ nonce: BigInt(i), count: 1 });
  await all;
  expect(daemon.line.writes - before).toBe(1);
});

test('a request too long for the daemon is refused here, because it would break each connection', async () => {
  const daemon = new FakeDaemon();
  const client = await daemon.connect();
  expect(await outcomeOf(client.acquire({ label: 'x'.repeat(5_000) }))).toMatchObject({ code: 'TOO_LARGE' });
  expect(await outcomeOf(client.acquire({ label: Symbol('s') as unknown as string }))).toBeInstanceOf(NoncedError);
  expect(daemon.heard).toEqual([]);
  expect(daemon.line.referenced).toBe(false);
});
