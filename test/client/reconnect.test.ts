import { expect, test } from 'vitest';
import type { Client } from '../../src/client/client.ts';
import { settle } from '../fixtures/virtual-clock.ts';
import { deferred } from './deferred.ts';
import { FakeDaemon, outcomeOf, watch } from './fake-daemon.ts';

async function connected() {
  const daemon = new FakeDaemon();
  const client = await daemon.connect();
  return { daemon, client, clock: daemon.clock };
}

async function holding(daemon: FakeDaemon, client: Client, token = 9n, ttlMs = 20_000) {
  const acquired = client.acquire({ account: 'A' });
  const asked = await daemon.hear('acquire');
  asked.grant({ token, ttlMs });
  return { grant: await acquired, id: asked.id };
}

test('what waited is asked again in its order, with the same ids and what is left of its wait', async () => {
  const { daemon, client, clock } = await connected();
  const first = watch(client.acquire({ account: 'A', waitMs: 10_000 }));
  const drawn = watch(client.nonce());
  const second = watch(client.acquire({ account: 'B', waitMs: 20_000 }));
  await settle();
  const before = daemon.heard.splice(0);
  await clock.advanceSettled(1_000);
  await daemon.restart();
  const after = daemon.heard.splice(0);
  expect(after.map(({ method, id }) => [method, id])).toEqual(before.map(({ method, id }) => [method, id]));
  expect(after.map(({ params }) => params['waitMs'])).toEqual([8_990, undefined, 18_990]);
  after[0]?.grant({ token: 1n, nonce: 10n });
  after[1]?.answer({ nonce: 11n, count: 1 });
  after[2]?.grant({ token: 2n, nonce: 12n });
  expect(await first()).toMatchObject({ nonce: 10n, waitedMs: 1_010 });
  expect(await drawn()).toBe(11n);
  expect(await second()).toMatchObject({ nonce: 12n });
});

test('a wait that is nearly over is tried once more after a reconnection', async () => {
  const { daemon, client, clock } = await connected();
  watch(client.acquire({ waitMs: 1_000 }));
  await daemon.hear('acquire');
  await clock.advanceSettled(1_500);
  await daemon.restart();
  expect((await daemon.hear('acquire')).params['waitMs']).toBe(0);
});

test('status and release are asked again too', async () => {
  const { daemon, client } = await connected();
  const { grant } = await holding(daemon, client);
  const status = watch(client.status());
  const released = watch(grant.release('ok'));
  await settle();
  daemon.heard.length = 0;
  await daemon.restart([{ token: 9n, account: 'A', id: 2, ttlMs: 5_000 }]);
  (await daemon.hear('status')).answer({ exclusive: 'global', sequences: [] });
  const release = await daemon.hear('release');
  expect(release.params).toEqual({ token: 9n, outcome: 'ok' });
  // Once: the one that wants an answer, and none besides it.
  expect(daemon.heard).toEqual([]);
  release.answer({ released: true });
  expect(await released()).toBe(true);
  expect(await status()).toMatchObject({ exclusive: 'global' });
});

test('SHUTTING_DOWN means to ask again at the next daemon, and is not told to the caller', async () => {
  const { daemon, client } = await connected();
  const { grant } = await holding(daemon, client);
  const acquired = watch(client.acquire({ account: 'B' }));
  const renewed = watch(grant.renew());
  const asked = await daemon.hear('acquire');
  asked.refuse('SHUTTING_DOWN');
  (await daemon.hear('renew')).refuse('SHUTTING_DOWN');
  expect(await acquired()).toBe('pending');
  // Not by our own doing: to the daemon a closed connection is the end of its leases.
  expect(daemon.line.open).toBe(true);
  await daemon.restart([{ token: 9n, account: 'A', id: 2, ttlMs: 5_000 }]);
  const again = await daemon.hear('acquire');
  expect(again.id).toBe(asked.id);
  again.grant({ token: 10n });
  (await daemon.hear('renew')).answer({ ttlMs: 20_000 });
  expect(await acquired()).toMatchObject({ token: 10n });
  expect(await renewed()).toBe(20_000);
});

test('an acquire that was cancelled is not asked again', async () => {
  const { daemon, client } = await connected();
  const controller = new AbortController();
  const kept = watch(client.acquire({ account: 'A' }));
  watch(client.acquire({ account: 'B', signal: controller.signal }));
  await settle();
  controller.abort();
  await settle();
  daemon.heard.length = 0;
  await daemon.restart();
  expect(daemon.heard.map(({ params }) => params['account'])).toEqual(['A']);
  expect(await kept()).toBe('pending');
});

test('one that is cancelled while there is no connection is never sent', async () => {
  const { daemon, client } = await connected();
  const controller = new AbortController();
  daemon.line.break();
  const acquired = watch(client.acquire({ signal: controller.signal }));
  await settle();
  controller.abort();
  expect(await acquired()).toMatchObject({ code: 'CANCELLED' });
  expect(daemon.clock.timers).toBe(0);
});

test('a lease that hello lists goes on under its token, for as long as it says from when hello was sent', async () => {
  const { daemon, client, clock } = await connected();
  const { grant, id } = await holding(daemon, client);
  await clock.advanceSettled(3_000);
  await daemon.restart([{ token: 9n, account: 'A', id, ttlMs: 4_000 }]);
  expect(grant.signal.aborted).toBe(false);
  expect(grant.expiresInMs()).toBe(3_995);
  const next = grant.next();
  const asked = await daemon.hear('next');
  expect(asked.params).toEqual({ token: 9n });
  asked.answer({ nonce: 5n, count: 1 });
  expect(await next).toBe(5n);
  expect(daemon.heard).toEqual([]);
});

test('a lease that hello does not list is lost, with what was under way in it, and others go on', async () => {
  const { daemon, client } = await connected();
  const { grant: kept, id } = await holding(daemon, client, 8n);
  const { grant: lost } = await holding(daemon, client, 9n);
  const { signal } = lost;
  const next = watch(lost.next());
  const other = watch(kept.next());
  const call = watch(client.acquire({ account: 'C' }));
  await settle();
  daemon.heard.length = 0;
  await daemon.restart([{ token: 8n, account: 'A', id, ttlMs: 4_000 }]);
  expect(await next()).toMatchObject({ code: 'LEASE_LOST' });
  expect(signal.reason).toMatchObject({ code: 'LEASE_LOST' });
  expect(kept.signal.aborted).toBe(false);
  expect(daemon.methods()).toEqual(['next', 'acquire']);
  expect([await other(), await call()]).toEqual(['pending', 'pending']);
});

test('a running exclusive crosses a restart without noticing', async () => {
  const { daemon, client } = await connected();
  const work = deferred<string>();
  const call = watch(client.exclusive({ account: 'A' }, () => work.promise));
  const asked = await daemon.hear('acquire');
  asked.grant({ token: 9n });
  await settle();
  await daemon.restart([{ token: 9n, account: 'A', id: asked.id, ttlMs: 15_000 }]);
  work.resolve('placed');
  expect(await call()).toBe('placed');
  expect((await daemon.hear('release')).params).toEqual({ token: 9n, outcome: 'ok' });
});

test('a function that ends while the daemon is away is released when it is back', async () => {
  const { daemon, client, clock } = await connected();
  const work = deferred<string>();
  const call = watch(client.exclusive({ account: 'A' }, () => work.promise));
  const asked = await daemon.hear('acquire');
  asked.grant({ token: 9n });
  await settle();
  daemon.line.break();
  work.resolve('placed');
  expect(await call()).toBe('placed');
  daemon.held = [{ token: 9n, account: 'A', id: asked.id, ttlMs: 15_000 }];
  await clock.advanceSettled(10);
  daemon.greet();
  expect((await daemon.hear('release')).params).toEqual({ token: 9n, outcome: 'ok' });
  expect(daemon.line.referenced).toBe(false);
});

test('a release that may have got lost with its connection is sent again if the lease is still listed', async () => {
  const { daemon, client } = await connected();
  const call = client.exclusive({ account: 'A' }, () => Promise.reject(new Error('no')));
  const asked = await daemon.hear('acquire');
  asked.grant({ token: 9n });
  await outcomeOf(call);
  await daemon.hear('release');
  await daemon.restart([{ token: 9n, account: 'A', id: asked.id, ttlMs: 15_000 }]);
  expect((await daemon.hear('release')).params).toEqual({ token: 9n, outcome: 'unknown' });
  // And once more, until the daemon has answered something that was sent after it.
  await daemon.restart([{ token: 9n, account: 'A', id: asked.id, ttlMs: 15_000 }]);
  expect((await daemon.hear('release')).params).toEqual({ token: 9n, outcome: 'unknown' });
});

test('a release that the daemon has read is forgotten, and nothing is chased over an idle break', async () => {
  const { daemon, client } = await connected();
  const call = client.exclusive(() => 1);
  (await daemon.hear('acquire')).grant({ token: 9n });
  await call;
  const drawn = client.nonce();
  (await daemon.hear('nonce')).answer({ nonce: 1n, count: 1 });
  await drawn;
  daemon.line.break();
  await settle();
  expect(daemon.dialled).toHaveLength(1);
  expect(daemon.clock.timers).toBe(0);
});

test('an answer to what was sent before the release confirms nothing', async () => {
  const { daemon, client } = await connected();
  const drawn = client.nonce();
  const call = client.exclusive(() => 1);
  (await daemon.hear('acquire')).grant({ token: 9n });
  await call;
  (await daemon.hear('nonce')).answer({ nonce: 1n, count: 1 });
  await drawn;
  await daemon.hear('release');
  await daemon.restart([{ token: 9n, account: 'default', id: 3, ttlMs: 15_000 }]);
  expect((await daemon.hear('release')).params).toEqual({ token: 9n, outcome: 'ok' });
});

test('a release is chased no longer than its lease, nor than connectTimeoutMs', async () => {
  for (const [ttlMs, chasedMs] of [
    [60_000, 5_000],
    [1_000, 1_500],
  ] as const) {
    const { daemon, client, clock } = await connected();
    const call = client.exclusive(() => 1);
    (await daemon.hear('acquire')).grant({ token: 9n, ttlMs });
    await call;
    daemon.state = 'ENOENT';
    daemon.line.break();
    await clock.advanceSettled(chasedMs + 1_000);
    const { length } = daemon.dialled;
    await clock.advanceSettled(10_000);
    expect(daemon.dialled).toHaveLength(length);
    expect(clock.timers).toBe(0);
  }
});

test('a grant whose answer got lost is taken up with a fresh nonce that costs nothing', async () => {
  const { daemon, client, clock } = await connected();
  const acquired = watch(client.acquire({ account: 'A', count: 2 }));
  const asked = await daemon.hear('acquire');
  await clock.advanceSettled(490);
  await daemon.restart([{ token: 9n, account: 'A', id: asked.id, ttlMs: 15_000 }]);
  const next = await daemon.hear('next');
  expect(next.params).toEqual({ token: 9n, cost: 0, count: 2 });
  expect(daemon.heard).toEqual([]);
  next.answer({ nonce: 50n, count: 2 });
  expect(await acquired()).toMatchObject({
    nonce: 50n,
    count: 2,
    token: 9n,
    account: 'A',
    waitedMs: 500,
    ttlMs: 15_000,
  });
});

test('taking up a lost grant survives a second restart', async () => {
  const { daemon, client } = await connected();
  const acquired = watch(client.acquire({ account: 'A' }));
  const { id } = await daemon.hear('acquire');
  await daemon.restart([{ token: 9n, account: 'A', id, ttlMs: 15_000 }]);
  await daemon.hear('next');
  await daemon.restart([{ token: 9n, account: 'A', id, ttlMs: 14_000 }]);
  (await daemon.hear('next')).answer({ nonce: 50n, count: 1 });
  expect(await acquired()).toMatchObject({ nonce: 50n, token: 9n });
});

test('if the lost grant is gone before it could be taken up, it is asked for again', async () => {
  const { daemon, client } = await connected();
  const acquired = watch(client.acquire({ account: 'A' }));
  const { id } = await daemon.hear('acquire');
  await daemon.restart([{ token: 9n, account: 'A', id, ttlMs: 15_000 }]);
  (await daemon.hear('next')).refuse('LEASE_LOST');
  (await daemon.hear('acquire')).grant({ token: 10n });
  expect(await acquired()).toMatchObject({ token: 10n });
  expect(daemon.heard).toEqual([]);
});

test('a caller that leaves while its lost grant is taken up gives it back', async () => {
  const { daemon, client } = await connected();
  const controller = new AbortController();
  const acquired = watch(client.acquire({ account: 'A', signal: controller.signal }));
  const { id } = await daemon.hear('acquire');
  await daemon.restart([{ token: 9n, account: 'A', id, ttlMs: 15_000 }]);
  const next = await daemon.hear('next');
  controller.abort();
  expect(await acquired()).toMatchObject({ code: 'CANCELLED' });
  expect((await daemon.hear('release')).params).toEqual({ token: 9n, outcome: 'unused' });
  next.answer({ nonce: 50n, count: 1 });
  await settle();
  expect(daemon.heard).toEqual([]);
});

test('a lost grant with no time left is given back and asked for again', async () => {
  const { daemon, client, clock } = await connected();
  watch(client.acquire({ account: 'A' }));
  const { id } = await daemon.hear('acquire');
  daemon.line.break();
  await clock.advanceSettled(10);
  const hello = await daemon.hear('hello');
  clock.stall(950);
  hello.answer({ ...daemon.greeting, held: [{ token: 9n, account: 'A', id, ttlMs: 1_000 }] });
  expect((await daemon.hear('release')).params).toEqual({ token: 9n, outcome: 'unused' });
  expect((await daemon.hear('acquire')).id).toBe(id);
});

test('a held lease that no call here wants any more is given back, and not as unused: its release may have been given up on', async () => {
  const { daemon, client } = await connected();
  const controller = new AbortController();
  watch(client.acquire({ account: 'A', signal: controller.signal }));
  watch(client.acquire({ account: 'B' }));
  const { id } = await daemon.hear('acquire');
  controller.abort();
  await settle();
  daemon.heard.length = 0;
  await daemon.restart([
    { token: 9n, account: 'A', id, ttlMs: 15_000 },
    { token: 10n, account: 'C', id: null, ttlMs: 15_000 },
  ]);
  expect((await daemon.hear('release')).params).toEqual({ token: 9n, outcome: 'unknown' });
  expect((await daemon.hear('release')).params).toEqual({ token: 10n, outcome: 'unknown' });
});

test('another instance ends everything for good', async () => {
  const { daemon, client } = await connected();
  const { grant } = await holding(daemon, client);
  const { signal } = grant;
  const acquired = watch(client.acquire({ account: 'B' }));
  daemon.greeting = { ...daemon.greeting, instance: 'two' };
  await daemon.restart();
  expect(await acquired()).toMatchObject({
    code: 'UNAVAILABLE',
    message: expect.stringMatching(/instance two, it was one/),
  });
  expect(signal.reason).toMatchObject({ code: 'LEASE_LOST', cause: { code: 'UNAVAILABLE' } });
  expect(await outcomeOf(client.nonce())).toMatchObject({ code: 'UNAVAILABLE' });
  expect(daemon.line.open).toBe(false);
  expect(daemon.methods()).not.toContain('release');
  expect(daemon.clock.timers).toBe(0);
});

test('without a daemon for connectTimeoutMs what waits is rejected, and a later call tries again', async () => {
  const { daemon, client, clock } = await connected();
  const acquired = watch(client.acquire());
  await settle();
  daemon.state = 'ECONNREFUSED';
  daemon.line.break();
  await clock.advanceSettled(4_999);
  expect(await acquired()).toBe('pending');
  await clock.advanceSettled(1);
  expect(await acquired()).toMatchObject({
    code: 'UNAVAILABLE',
    message: expect.stringMatching(/ECONNREFUSED.*systemctl start nonced/),
  });
  expect(clock.timers).toBe(0);

  daemon.state = 'up';
  const drawn = client.nonce();
  await settle();
  daemon.greet();
  (await daemon.hear('nonce')).answer({ nonce: 5n, count: 1 });
  expect(await drawn).toBe(5n);
});

test('a holder goes on looking for the daemon until its lease ends, never resting over 250 ms', async () => {
  const { daemon, client, clock } = await connected();
  const { grant } = await holding(daemon, client, 9n, 10_000);
  const { signal } = grant;
  daemon.state = 'ENOENT';
  daemon.line.break();
  await clock.advanceSettled(2_000);
  const tried = daemon.dialled.length;
  await clock.advanceSettled(5_000);
  expect(daemon.dialled.length - tried).toBeGreaterThanOrEqual(20);
  expect(signal.aborted).toBe(false);
  await clock.advanceSettled(3_000);
  expect(signal.reason).toMatchObject({ code: 'LEASE_LOST' });
  expect(clock.timers).toBe(0);
});

test('a call that gives up while there is no daemon rejects with UNAVAILABLE and not WAIT_TIMEOUT', async () => {
  const { daemon, client, clock } = await connected();
  const drawn = watch(client.nonce({ waitMs: 1_000 }));
  daemon.state = 'ENOENT';
  daemon.line.break();
  await clock.advanceSettled(1_000);
  expect(await drawn()).toMatchObject({ code: 'UNAVAILABLE' });
});

test.each([
  ['bytes that are not a message', Uint8Array.of(0xc1)],
  ['a request', Uint8Array.of(0x94, 0, 1, 0xa1, 0x78, 0x90)],
  ['an array that is not a message', Uint8Array.of(0x93, 9, 9, 9)],
])('%s from the daemon break the connection, and the callers only wait longer', async (_what, bytes) => {
  const { daemon, client, clock } = await connected();
  const drawn = watch(client.nonce());
  await daemon.hear('nonce');
  const broken = daemon.line;
  broken.say(bytes);
  expect(broken.open).toBe(false);
  await clock.advanceSettled(10);
  daemon.greet();
  (await daemon.hear('nonce')).answer({ nonce: 5n, count: 1 });
  expect(await drawn()).toBe(5n);
});

test('an answer that makes no sense breaks the connection and keeps its call in its place', async () => {
  const { daemon, client, clock } = await connected();
  watch(client.acquire({ account: 'A' }));
  const drawn = watch(client.nonce());
  (await daemon.hear('acquire')).answer({ nonce: 'soon', count: 1 });
  expect(daemon.line.open).toBe(false);
  await clock.advanceSettled(10);
  daemon.heard.splice(0, 1);
  daemon.greet();
  await settle();
  expect(daemon.methods()).toEqual(['acquire', 'nonce']);
  expect(await drawn()).toBe('pending');
});

test('a hello that makes no sense is tried again after a rest', async () => {
  const { daemon, client, clock } = await connected();
  watch(client.nonce());
  daemon.line.break();
  const rests: (number | undefined)[] = [];
  for (let i = 0; i < 4; i += 1) {
    rests.push(clock.nextInMs);
    await clock.advanceSettled(clock.nextInMs ?? 0);
    (await daemon.hear('hello')).answer({ held: 'none' });
  }
  expect(rests).toEqual([5, 10, 10, 10]);
});

test('answers to unknown requests and notifications of a newer daemon are ignored', async () => {
  const { daemon, client } = await connected();
  const drawn = client.nonce();
  const asked = await daemon.hear('nonce');
  // An answer to 77, then a notification "x".
  daemon.line.say(Uint8Array.of(0x94, 1, 77, 0xc0, 0x80, 0x93, 2, 0xa1, 0x78, 0x91, 0x80));
  asked.answer({ nonce: 5n, count: 1 });
  expect(await drawn).toBe(5n);
});

test('a connection that was of use is tried for again at once when it breaks', async () => {
  const { daemon, client, clock } = await connected();
  for (let i = 0; i < 3; i += 1) {
    const drawn = client.nonce();
    await daemon.hear('nonce');
    daemon.line.break();
    expect(clock.nextInMs).toBe(5);
    await clock.advanceSettled(5);
    daemon.greet();
    (await daemon.hear('nonce')).answer({ nonce: 5n, count: 1 });
    await drawn;
  }
});

test('an attempt that no call waits for any more is given up, and does not keep the process alive', async () => {
  const { daemon, client, clock } = await connected();
  const controller = new AbortController();
  daemon.line.break();
  watch(client.acquire({ signal: controller.signal }));
  await settle();
  await daemon.hear('hello');
  controller.abort();
  expect(daemon.line.open).toBe(false);
  expect(clock.timers).toBe(0);
});

test('a call shortens a long rest that was taken while only a release was owed', async () => {
  const { daemon, client, clock } = await connected();
  const call = client.exclusive(() => 1);
  (await daemon.hear('acquire')).grant({ token: 9n, ttlMs: 60_000 });
  await call;
  daemon.state = 'ENOENT';
  daemon.line.break();
  await clock.advanceSettled(1_900);
  // Resting for a second, which began less than half a second ago.
  expect(clock.nextInMs).toBeGreaterThan(250);
  watch(client.nonce());
  expect(clock.nextInMs).toBeLessThanOrEqual(250);
});

test('after a cancel was answered, what else waits is still worth a connection', async () => {
  const { daemon, client, clock } = await connected();
  const controller = new AbortController();
  watch(client.acquire({ signal: controller.signal }));
  const asked = await daemon.hear('acquire');
  controller.abort();
  asked.refuse('CANCELLED');
  await settle();
  watch(client.nonce());
  await settle();
  daemon.line.break();
  await clock.advanceSettled(5);
  expect(daemon.dialled).toHaveLength(2);
});

test('a lease that is winding down is not revived by a reconnection', async () => {
  const { daemon, client, clock } = await connected();
  const { grant, id } = await holding(daemon, client, 9n, 10_000);
  await clock.advanceSettled(9_000);
  await daemon.restart([{ token: 9n, account: 'A', id, ttlMs: 8_000 }]);
  expect(grant.expiresInMs()).toBeLessThanOrEqual(990);
  await clock.advanceSettled(990);
  expect(daemon.line.referenced).toBe(false);
});

test('a holder that cannot come back for a reason of its own has lost its lease before the lane is given away', async () => {
  const { daemon, client, clock } = await connected();
  const { grant } = await holding(daemon, client, 9n, 60_000);
  const { signal } = grant;
  daemon.state = 'EMFILE';
  daemon.line.break();
  await clock.advanceSettled(1_500);
  expect(signal.aborted).toBe(false);
  await clock.advanceSettled(500);
  expect(signal.reason).toMatchObject({ code: 'LEASE_LOST', sent: 'unknown', cause: { code: 'EMFILE' } });
  expect(signal.reason.message).toContain('EMFILE');
  expect(clock.timers).toBe(0);
});

test('a daemon that closes each connection without an answer is one that the holder cannot come back to', async () => {
  const { daemon, client, clock } = await connected();
  const { grant } = await holding(daemon, client, 9n, 60_000);
  for (let passedMs = 0; passedMs < 2_000; passedMs += 50) {
    if (daemon.line.open) daemon.line.break();
    await clock.advanceSettled(50);
  }
  expect(grant.signal.reason).toMatchObject({ code: 'LEASE_LOST' });
});

test('a daemon that is away for longer than its return time loses no client', async () => {
  const { daemon, client, clock } = await connected();
  const { grant, id } = await holding(daemon, client, 9n, 60_000);
  for (const state of ['ENOENT', 'ECONNREFUSED', 'ENOENT'] as const) {
    daemon.state = state;
    if (daemon.line.open) daemon.line.break();
    await clock.advanceSettled(3_000);
  }
  expect(grant.signal.aborted).toBe(false);
  // The return time counts from when no client was last seen to be away.
  daemon.state = 'EMFILE';
  await clock.advanceSettled(1_500);
  expect(grant.signal.aborted).toBe(false);
  daemon.state = 'up';
  daemon.held = [{ token: 9n, account: 'A', id, ttlMs: 45_000 }];
  await clock.advanceSettled(250);
  daemon.greet();
  await settle();
  expect(grant.signal.aborted).toBe(false);
  // And from the beginning, once there was a connection.
  daemon.state = 'EMFILE';
  daemon.line.break();
  await clock.advanceSettled(1_500);
  expect(grant.signal.aborted).toBe(false);
});

test('a lease is lost, and what waits goes on waiting', async () => {
  const { daemon, client, clock } = await connected();
  const { grant } = await holding(daemon, client, 9n, 60_000);
  const drawn = watch(client.nonce());
  await daemon.hear('nonce');
  daemon.state = 'EMFILE';
  daemon.line.break();
  await clock.advanceSettled(2_000);
  expect(grant.signal.aborted).toBe(true);
  daemon.state = 'up';
  await clock.advanceSettled(250);
  daemon.greet();
  (await daemon.hear('nonce')).answer({ nonce: 5n, count: 1 });
  expect(await drawn()).toBe(5n);
});

test('a grant whose answer got lost is made up for with the unit and the key of its caller', async () => {
  const { daemon, client } = await connected();
  const acquired = client.acquire({ account: 'A', unit: 'ns', key: 'k' });
  const asked = await daemon.hear('acquire');
  await daemon.restart([{ token: 9n, account: 'A', id: asked.id, ttlMs: 15_000 }]);
  const next = await daemon.hear('next');
  expect(next.params).toMatchObject({ token: 9n, unit: 'ns', key: 'k', cost: 0 });
  next.answer({ nonce: 7n, count: 1 });
  expect(await acquired).toMatchObject({ nonce: 7n, token: 9n });
});

test('by a daemon that would not compare them it is given back, and asked for again', async () => {
  const { daemon, client } = await connected();
  const acquired = client.acquire({ account: 'A', unit: 'ns' });
  const asked = await daemon.hear('acquire');
  daemon.greeting = { ...daemon.greeting, minor: 0 };
  await daemon.restart([{ token: 9n, account: 'A', id: asked.id, ttlMs: 15_000 }]);
  expect((await daemon.hear('release')).params).toEqual({ token: 9n, outcome: 'unused' });
  (await daemon.hear('acquire')).grant({ token: 10n, nonce: 8n });
  expect(await acquired).toMatchObject({ nonce: 8n, token: 10n });
});
