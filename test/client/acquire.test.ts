import { getEventListeners, once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, test } from 'vitest';
import { settle, type VirtualClock } from '../fixtures/virtual-clock.ts';
import { FakeDaemon, outcomeOf, watch } from './fake-daemon.ts';

async function connected() {
  const daemon = new FakeDaemon();
  const client = await daemon.connect();
  return { daemon, client, clock: daemon.clock };
}

test('acquire sends what it was given and returns the grant', async () => {
  const { daemon, client } = await connected();
  const acquired = client.acquire({
    account: 'USER:alice',
    key: '0123456789abcdef',
    unit: 'ns',
    priority: 'urgent',
    cost: 2,
    ttlMs: 5_000,
    waitMs: 700,
    label: 'AddOrder',
    count: 3,
    maxAgeMs: 900,
  });
  const asked = await daemon.hear('acquire');
  expect(asked.params).toEqual({
    account: 'USER:alice',
    key: '0123456789abcdef',
    unit: 'ns',
    priority: 'urgent',
    cost: 2,
    ttlMs: 5_000,
    waitMs: 700,
    label: 'AddOrder',
    count: 3,
  });
  asked.answer({ nonce: 41n, count: 3, token: 9n, ttlMs: 5_000, waitedMs: 12, colour: 'of a newer daemon' });
  const grant = await acquired;
  expect(grant).toMatchObject({ nonce: 41n, count: 3, account: 'USER:alice', token: 9n, ttlMs: 5_000, waitedMs: 12 });
  expect(grant.expiresInMs()).toBe(5_000);
});

test('a wait is 15 s for urgent calls and 30 s for others, and maxAgeMs shortens it', async () => {
  const { daemon, client } = await connected();
  const waits = [{}, { priority: 'urgent' }, { priority: 'background' }, { maxAgeMs: 2_000 }] as const;
  for (const options of waits) watch(client.acquire(options));
  await settle();
  expect(daemon.heard.map(({ params }) => params['waitMs'])).toEqual([30_000, 15_000, 30_000, 2_000]);
});

test('a refusal reaches the caller with its code and when to ask again', async () => {
  const { daemon, client } = await connected();
  const acquired = watch(client.acquire());
  (await daemon.hear('acquire')).refuse('QUARANTINED', 60_000);
  expect(await acquired()).toMatchObject({ code: 'QUARANTINED', retryAfterMs: 60_000, sent: false });
});

test('aborting a wait cancels it at the daemon and rejects with the reason as its cause', async () => {
  const { daemon, client } = await connected();
  const controller = new AbortController();
  const acquired = watch(client.acquire({ signal: controller.signal }));
  const asked = await daemon.hear('acquire');
  controller.abort('no longer needed');
  expect(await acquired()).toMatchObject({ code: 'CANCELLED', cause: 'no longer needed' });
  expect((await daemon.hear('cancel')).params).toEqual({ id: asked.id });
  asked.refuse('CANCELLED');
  await settle();
  expect(daemon.heard).toEqual([]);
  expect(daemon.line.referenced).toBe(false);
});

test('a grant that crossed its cancel is given back as unused', async () => {
  const { daemon, client } = await connected();
  const controller = new AbortController();
  const acquired = watch(client.acquire({ signal: controller.signal }));
  const asked = await daemon.hear('acquire');
  controller.abort();
  asked.grant({ token: 9n });
  expect(await acquired()).toMatchObject({ code: 'CANCELLED' });
  expect((await daemon.hear('release')).params).toEqual({ token: 9n, outcome: 'unused' });
  expect(daemon.clock.timers).toBe(0);
});

test('a signal that has aborted already asks for nothing, and a settled wait leaves no listener on one', async () => {
  const { daemon, client } = await connected();
  expect(await outcomeOf(client.acquire({ signal: AbortSignal.abort('gone') }))).toMatchObject({ code: 'CANCELLED' });
  await settle();
  expect(daemon.heard).toEqual([]);

  const { signal } = new AbortController();
  const acquired = client.acquire({ signal });
  expect(getEventListeners(signal, 'abort')).toHaveLength(1);
  (await daemon.hear('acquire')).grant({ token: 1n });
  await acquired;
  expect(getEventListeners(signal, 'abort')).toHaveLength(0);
});

test('a daemon that does not answer in waitMs and 2 s more is given up on, and a late grant given back', async () => {
  const { daemon, client, clock } = await connected();
  const acquired = watch(client.acquire({ waitMs: 1_000 }));
  const asked = await daemon.hear('acquire');
  await clock.advanceSettled(2_999);
  expect(await acquired()).toBe('pending');
  await clock.advanceSettled(1);
  expect(await acquired()).toMatchObject({ code: 'WAIT_TIMEOUT' });
  expect((await daemon.hear('cancel')).params).toEqual({ id: asked.id });
  asked.grant({ token: 9n });
  expect((await daemon.hear('release')).params).toEqual({ token: 9n, outcome: 'unused' });
});

test('a grant that a stalled process reads too late is given back and asked for again', async () => {
  const { daemon, client, clock } = await connected();
  const acquired = watch(client.acquire({ ttlMs: 10_000 }));
  const asked = await daemon.hear('acquire');
  // Granted at once, read when 9 of its 10 s are gone: less than the margin of a tenth is left.
  clock.stall(9_000);
  asked.grant({ token: 9n, ttlMs: 10_000 });
  expect((await daemon.hear('release')).params).toEqual({ token: 9n, outcome: 'unused' });
  const again = await daemon.hear('acquire');
  expect(again.id).not.toBe(asked.id);
  expect(again.params['waitMs']).toBe(21_000);
  again.grant({ token: 10n, ttlMs: 10_000 });
  expect(await acquired()).toMatchObject({ token: 10n });
});

test('the time that a caller waited is not part of its lease', async () => {
  const { daemon, client, clock } = await connected();
  const acquired = client.acquire({ ttlMs: 10_000 });
  const asked = await daemon.hear('acquire');
  await clock.advanceSettled(25_000);
  asked.grant({ token: 9n, ttlMs: 10_000, waitedMs: 24_000 });
  expect((await acquired).expiresInMs()).toBe(9_000);
});

test('a daemon that counts more time than there was cannot make a lease longer', async () => {
  const { daemon, client } = await connected();
  const acquired = client.acquire({ ttlMs: 10_000 });
  (await daemon.hear('acquire')).grant({ token: 9n, ttlMs: 10_000, waitedMs: 500 });
  expect((await acquired).expiresInMs()).toBe(10_000);
});

test('a late grant after the wait is over is LEASE_LOST', async () => {
  const { daemon, client, clock } = await connected();
  const acquired = watch(client.acquire({ ttlMs: 1_000, waitMs: 2_000 }));
  const asked = await daemon.hear('acquire');
  clock.stall(2_000);
  asked.grant({ token: 9n, ttlMs: 1_000 });
  expect(await acquired()).toMatchObject({ code: 'LEASE_LOST' });
  expect((await daemon.hear('release')).params).toEqual({ token: 9n, outcome: 'unused' });
});

test('a grant older than maxAgeMs is given back and rejected with WAIT_TIMEOUT', async () => {
  const { daemon, client, clock } = await connected();
  const acquired = watch(client.acquire({ maxAgeMs: 2_000 }));
  const asked = await daemon.hear('acquire');
  clock.stall(2_001);
  asked.grant({ token: 9n, waitedMs: 2_001 });
  expect(await acquired()).toMatchObject({ code: 'WAIT_TIMEOUT' });
  expect((await daemon.hear('release')).params).toEqual({ token: 9n, outcome: 'unused' });
});

test.each([
  ['slept', (clock: VirtualClock) => clock.suspend(2_001)],
  ['was paused by its hypervisor, and its wall clock was set then', (clock: VirtualClock) => clock.stepWall(2_001)],
])('a grant is older than maxAgeMs if the machine %s meanwhile', async (_what, pass) => {
  const { daemon, client, clock } = await connected();
  const acquired = watch(client.acquire({ maxAgeMs: 2_000 }));
  const asked = await daemon.hear('acquire');
  pass(clock);
  asked.grant({ token: 9n, waitedMs: 0 });
  expect(await acquired()).toMatchObject({ code: 'WAIT_TIMEOUT' });
  expect((await daemon.hear('release')).params).toEqual({ token: 9n, outcome: 'unused' });
});

test('a lease is over for its holder when the machine has slept past its end, before any timer fires', async () => {
  const { daemon, client, clock } = await connected();
  const acquired = client.acquire();
  (await daemon.hear('acquire')).grant({ token: 9n, ttlMs: 4_000 });
  const grant = await acquired;
  clock.suspend(3_000);
  expect(grant.signal.aborted).toBe(false);
  expect(grant.expiresInMs()).toBe(1_000);
  clock.suspend(3_600_000);
  expect(grant.signal.aborted).toBe(true);
  expect(grant.expiresInMs()).toBe(0);
});

test('after a sleep a deadline is kept in time, although an older timer was armed for long', async () => {
  const { daemon, client, clock } = await connected();
  watch(client.acquire({ waitMs: 30_000 }));
  await daemon.hear('acquire');
  clock.suspend(3_600_000);
  const acquired = watch(client.acquire({ maxAgeMs: 2_000 }));
  await clock.advanceSettled(2_000);
  expect(await acquired()).toMatchObject({ code: 'WAIT_TIMEOUT' });
});

test('a step of the wall clock ends neither a wait nor a lease', async () => {
  const { daemon, client, clock } = await connected();
  const acquired = client.acquire();
  const asked = await daemon.hear('acquire');
  clock.stepWall(7_200_000);
  asked.grant({ token: 9n, ttlMs: 4_000 });
  const grant = await acquired;
  clock.stepWall(-3_600_000);
  expect(grant.signal.aborted).toBe(false);
  expect(grant.expiresInMs()).toBe(4_000);
});

test('no call waits longer than maxAgeMs for a grant that would be refused', async () => {
  const { client, clock } = await connected();
  const acquired = watch(client.acquire({ maxAgeMs: 2_000 }));
  await clock.advanceSettled(2_000);
  expect(await acquired()).toMatchObject({ code: 'WAIT_TIMEOUT' });
});

test('the signal of a grant aborts a margin before the lease ends, and what is under way ends with LEASE_LOST', async () => {
  const { daemon, client, clock } = await connected();
  const acquired = client.acquire();
  (await daemon.hear('acquire')).grant({ token: 9n, ttlMs: 4_000 });
  const grant = await acquired;
  const next = watch(grant.next());
  await clock.advanceSettled(3_599);
  expect(grant.signal.aborted).toBe(false);
  await clock.advanceSettled(1);
  expect(grant.signal.reason).toMatchObject({ name: 'NoncedError', code: 'LEASE_LOST' });
  expect(await next()).toMatchObject({ code: 'LEASE_LOST' });
  expect(await outcomeOf(grant.renew())).toMatchObject({ code: 'LEASE_LOST' });
  expect(grant.expiresInMs()).toBe(400);
  await clock.advanceSettled(400);
  expect(grant.expiresInMs()).toBe(0);
  expect(daemon.line.referenced).toBe(false);
  expect(clock.timers).toBe(0);
});

test('a margin is a second at most', async () => {
  const { daemon, client, clock } = await connected();
  const acquired = client.acquire();
  (await daemon.hear('acquire')).grant({ token: 9n, ttlMs: 60_000 });
  const { signal } = await acquired;
  await clock.advanceSettled(58_999);
  expect(signal.aborted).toBe(false);
  await clock.advanceSettled(1);
  expect(signal.aborted).toBe(true);
});

test('after a stall of the process the signal has aborted before any timer has fired, also one that was made before', async () => {
  const { daemon, client, clock } = await connected();
  const acquired = client.acquire();
  (await daemon.hear('acquire')).grant({ token: 9n, ttlMs: 4_000 });
  const grant = await acquired;
  const { signal } = grant;
  clock.stall(3_599);
  expect(grant.signal.aborted).toBe(false);
  clock.stall(1);
  expect(grant.signal).toBe(signal);
  expect(signal.reason).toMatchObject({ code: 'LEASE_LOST' });
});

test('a signal that was read before a stall has aborted for all that ask it, before any timer has fired', async () => {
  const { daemon, client, clock } = await connected();
  const acquired = client.acquire();
  (await daemon.hear('acquire')).grant({ token: 9n, ttlMs: 4_000 });
  const { signal } = await acquired;
  clock.stall(3_599);
  signal.throwIfAborted();
  expect(signal).toMatchObject({ aborted: false, reason: undefined });
  clock.stall(1);
  expect(() => signal.throwIfAborted()).toThrow(expect.objectContaining({ code: 'LEASE_LOST' }));
  expect(AbortSignal.any([signal]).aborted).toBe(true);
  expect(signal).toMatchObject({ aborted: true, reason: { code: 'LEASE_LOST' } });
});

test('fetch sends nothing with a signal that was read before a stall in which the lease ended', async () => {
  let requests = 0;
  const server = createServer((_request, response) => {
    requests += 1;
    response.end('{}');
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  try {
    const { daemon, client, clock } = await connected();
    const acquired = client.acquire();
    (await daemon.hear('acquire')).grant({ token: 9n, ttlMs: 4_000 });
    const { signal } = await acquired;
    // The second call finds a connection that was kept open, so that it is written at once.
    await (await fetch(url, { signal })).text();
    clock.stall(4_000);
    await expect(fetch(url, { signal })).rejects.toMatchObject({ code: 'LEASE_LOST' });
    await (await fetch(url)).text();
    expect(requests).toBe(2);
  } finally {
    server.close();
    server.closeAllConnections();
  }
});

test('a signal asked for after the loss has aborted already', async () => {
  const { daemon, client } = await connected();
  const acquired = client.acquire();
  (await daemon.hear('acquire')).grant({ token: 9n });
  const grant = await acquired;
  daemon.line.revoke(9n);
  expect(grant.signal.aborted).toBe(true);
  expect(await grant.release()).toBe(false);
  expect(daemon.heard).toEqual([]);
});

test('revoked for a token that is not ours changes nothing', async () => {
  const { daemon, client } = await connected();
  const acquired = client.acquire();
  (await daemon.hear('acquire')).grant({ token: 9n });
  const grant = await acquired;
  daemon.line.revoke(10n);
  expect(grant.signal.aborted).toBe(false);
});

test('renew moves the end from when it was sent, and next draws under the lease', async () => {
  const { daemon, client, clock } = await connected();
  const acquired = client.acquire({ account: 'A' });
  (await daemon.hear('acquire')).grant({ token: 9n, ttlMs: 10_000 });
  const grant = await acquired;
  await clock.advanceSettled(5_000);
  const renewed = grant.renew(30_000);
  const asked = await daemon.hear('renew');
  expect(asked.params).toEqual({ token: 9n, ttlMs: 30_000 });
  await clock.advanceSettled(100);
  asked.answer({ ttlMs: 30_000 });
  expect(await renewed).toBe(30_000);
  expect(grant.expiresInMs()).toBe(29_900);

  const next = grant.next({ account: 'B', cost: 2, count: 4 });
  const drawing = await daemon.hear('next');
  expect(drawing.params).toEqual({ token: 9n, account: 'B', cost: 2, count: 4 });
  drawing.answer({ nonce: 77n, count: 4 });
  expect(await next).toBe(77n);
});

test('a renewal that shortens the lease counts from when it is sent, because its answer may get lost', async () => {
  const { daemon, client } = await connected();
  const acquired = client.acquire();
  (await daemon.hear('acquire')).grant({ token: 9n, ttlMs: 10_000 });
  const grant = await acquired;
  watch(grant.renew(1_000));
  expect(grant.expiresInMs()).toBe(1_000);
});

test('LEASE_LOST in an answer is the end of the lease', async () => {
  const { daemon, client } = await connected();
  const acquired = client.acquire();
  (await daemon.hear('acquire')).grant({ token: 9n });
  const grant = await acquired;
  const renewed = watch(grant.renew());
  (await daemon.hear('renew')).refuse('LEASE_LOST');
  expect(await renewed()).toMatchObject({ code: 'LEASE_LOST' });
  expect(grant.signal.aborted).toBe(true);
});

test('a paced next waits and asks again while the lease lasts that long', async () => {
  const { daemon, client, clock } = await connected();
  const acquired = client.acquire();
  (await daemon.hear('acquire')).grant({ token: 9n, ttlMs: 10_000 });
  const grant = await acquired;
  const next = watch(grant.next());
  (await daemon.hear('next')).refuse('PACED', 3_000);
  await clock.advanceSettled(2_999);
  expect(daemon.methods()).toEqual([]);
  await clock.advanceSettled(1);
  (await daemon.hear('next')).refuse('PACED', 6_500);
  expect(await next()).toMatchObject({ code: 'PACED', retryAfterMs: 6_500 });
});

test('a paced next ends with its signal or its lease, and asks no more', async () => {
  const { daemon, client, clock } = await connected();
  const acquired = client.acquire();
  (await daemon.hear('acquire')).grant({ token: 9n, ttlMs: 10_000 });
  const grant = await acquired;
  expect(grant.signal.aborted).toBe(false);
  const controller = new AbortController();
  const cancelled = watch(grant.next({ signal: controller.signal }));
  const released = watch(grant.next());
  (await daemon.hear('next')).refuse('PACED', 3_000);
  (await daemon.hear('next')).refuse('PACED', 3_000);
  await settle();
  controller.abort();
  watch(grant.release());
  expect(await cancelled()).toMatchObject({ code: 'CANCELLED' });
  expect(await released()).toMatchObject({ code: 'LEASE_LOST' });
  expect(grant.signal.aborted).toBe(false);
  await clock.advanceSettled(4_000);
  expect(daemon.methods()).toEqual(['release']);
});

test('a nonce that is read when the lease has no time left is not handed out', async () => {
  const { daemon, client, clock } = await connected();
  const acquired = client.acquire();
  (await daemon.hear('acquire')).grant({ token: 9n, ttlMs: 10_000 });
  const next = watch((await acquired).next());
  const asked = await daemon.hear('next');
  clock.stall(9_500);
  asked.answer({ nonce: 5n, count: 1 });
  expect(await next()).toMatchObject({ code: 'LEASE_LOST' });
});

test('release is true once, then false without asking, and a disposed grant is released as unknown', async () => {
  const { daemon, client } = await connected();
  const acquired = Promise.all([client.acquire(), client.acquire()]);
  (await daemon.hear('acquire')).grant({ token: 1n });
  (await daemon.hear('acquire')).grant({ token: 2n });
  const [first, second] = await acquired;
  const released = first.release('ok');
  const asked = await daemon.hear('release');
  expect(asked.params).toEqual({ token: 1n, outcome: 'ok' });
  asked.answer({ released: true });
  expect(await released).toBe(true);
  expect(await first.release()).toBe(false);
  expect(first.signal.aborted).toBe(false);

  await second[Symbol.asyncDispose]();
  await second[Symbol.asyncDispose]();
  expect((await daemon.hear('release')).params).toEqual({ token: 2n, outcome: 'unknown' });
  expect(daemon.heard).toEqual([]);
});

test('a release can tell that the call used a nonce of its own clock', async () => {
  const { daemon, client } = await connected();
  const acquired = client.acquire();
  (await daemon.hear('acquire')).grant({ token: 1n });
  watch((await acquired).release('unknown', { usedOwnClock: true }));
  expect((await daemon.hear('release')).params).toEqual({ token: 1n, outcome: 'unknown', usedOwnClock: true });
});

test('a release that is never answered returns false in the end, and rejects only for a mistake of the caller', async () => {
  const { daemon, client, clock } = await connected();
  const acquired = Promise.all([client.acquire(), client.acquire()]);
  (await daemon.hear('acquire')).grant({ token: 1n });
  (await daemon.hear('acquire')).grant({ token: 2n });
  const [first, second] = await acquired;
  const unanswered = watch(first.release());
  await clock.advanceSettled(5_000);
  expect(await unanswered()).toBe(false);
  await daemon.hear('release');
  const mistaken = watch(second.release('unsettled'));
  (await daemon.hear('release')).refuse('BAD_REQUEST');
  expect(await mistaken()).toMatchObject({ code: 'BAD_REQUEST' });
});
