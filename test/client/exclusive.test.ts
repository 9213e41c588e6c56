import { describe, expect, test } from 'vitest';
import type { Client } from '../../src/client/client.ts';
import { settle } from '../fixtures/virtual-clock.ts';
import { deferred } from './deferred.ts';
import { FakeDaemon, outcomeOf, watch } from './fake-daemon.ts';

async function connected() {
  const daemon = new FakeDaemon();
  const client = await daemon.connect();
  return { daemon, client, clock: daemon.clock };
}

/** An exclusive call whose function runs until the test settles it. */
async function running(daemon: FakeDaemon, client: Client, options = {}, grant = {}) {
  const work = deferred<string>();
  let signal: AbortSignal | undefined;
  const call = watch(
    client.exclusive(options, (granted) => {
      signal = granted.signal;
      return work.promise;
    }),
  );
  (await daemon.hear('acquire')).grant({ token: 9n, ttlMs: 10_000, ...grant });
  await settle();
  if (signal === undefined) throw new Error('not called');
  return { work, call, signal };
}

test('exclusive runs the function with a grant, returns its result, and releases as ok', async () => {
  const { daemon, client } = await connected();
  const call = client.exclusive({ account: 'A' }, async (grant) => `signed ${grant.nonce}`);
  const asked = await daemon.hear('acquire');
  expect(asked.params).toMatchObject({ account: 'A' });
  asked.grant({ token: 9n, nonce: 42n });
  expect(await call).toBe('signed 42');
  const release = await daemon.hear('release');
  expect(release.params).toEqual({ token: 9n, outcome: 'ok' });
  expect(release.id).toBe(0);
  expect(daemon.clock.timers).toBe(0);
  expect(daemon.line.referenced).toBe(false);
});

test('options may be left out, and the function may return or throw synchronously', async () => {
  const { daemon, client } = await connected();
  const call = client.exclusive(({ nonce }) => nonce);
  (await daemon.hear('acquire')).grant({ token: 1n, nonce: 3n });
  expect(await call).toBe(3n);

  const error = new Error('at once');
  const thrown = watch(
    client.exclusive(() => {
      throw error;
    }),
  );
  (await daemon.hear('acquire')).grant({ token: 2n });
  expect(await thrown()).toBe(error);
  await daemon.hear('release');
  expect((await daemon.hear('release')).params).toEqual({ token: 2n, outcome: 'unknown' });
});

test('a throw releases as unknown, and outcome may say better how the call ended', async () => {
  const { daemon, client } = await connected();
  const error = new Error('EAPI:Invalid nonce');
  const ends: unknown[] = [];
  const outcome = (end: unknown) => {
    ends.push(end);
    return 'invalid-nonce' as const;
  };
  const failed = watch(client.exclusive({ outcome }, () => Promise.reject(error)));
  (await daemon.hear('acquire')).grant({ token: 1n });
  expect(await failed()).toBe(error);
  expect(ends).toEqual([{ ok: false, error }]);
  expect((await daemon.hear('release')).params['outcome']).toBe('invalid-nonce');

  const unsaid = client.exclusive({ outcome: () => undefined }, () => 1);
  (await daemon.hear('acquire')).grant({ token: 2n });
  await unsaid;
  expect((await daemon.hear('release')).params['outcome']).toBe('ok');
});

test('an outcome hook that throws costs neither the result nor the release', async () => {
  const { daemon, client } = await connected();
  const outcome = () => {
    throw new Error('a bug in the hook');
  };
  const call = client.exclusive({ outcome }, () => 'placed');
  (await daemon.hear('acquire')).grant({ token: 1n });
  expect(await call).toBe('placed');
  expect((await daemon.hear('release')).params['outcome']).toBe('unknown');
});

test('exclusive rejects a margin before the lease ends though the function hangs, and its late end is ignored', async () => {
  const { daemon, client, clock } = await connected();
  const { work, call, signal } = await running(daemon, client);
  await clock.advanceSettled(8_999);
  expect(await call()).toBe('pending');
  await clock.advanceSettled(1);
  // The call had begun, so it may or may not have arrived.
  expect(await call()).toMatchObject({ code: 'LEASE_LOST', sent: 'unknown' });
  expect(signal.reason).toMatchObject({ code: 'LEASE_LOST' });
  await clock.advanceSettled(1_000);
  work.reject(new Error('late'));
  await settle();
  expect(daemon.heard).toEqual([]);
  expect(clock.timers).toBe(0);
});

test('the lane is kept while an aborted function winds down, and released as soon as it has', async () => {
  const { daemon, client, clock } = await connected();
  const { work, call } = await running(daemon, client, {
    outcome: ({ ok }: { ok: boolean }) => (ok ? 'ok' : 'unsettled'),
  });
  await clock.advanceSettled(9_000);
  expect(await call()).toMatchObject({ code: 'LEASE_LOST' });
  expect(daemon.heard).toEqual([]);
  work.reject(new Error('aborted'));
  expect((await daemon.hear('release')).params).toEqual({ token: 9n, outcome: 'unsettled' });
});

test('a call that outlives its lease still tells the daemon how it ended, if that says anything', async () => {
  const { daemon, client } = await connected();
  const outcome = (): 'invalid-nonce' => 'invalid-nonce';
  const { work, call } = await running(daemon, client, { outcome });
  daemon.line.revoke(9n);
  expect(await call()).toMatchObject({ code: 'LEASE_LOST' });
  work.reject(new Error('EAPI:Invalid nonce'));
  expect((await daemon.hear('release')).params).toEqual({ token: 9n, outcome: 'invalid-nonce' });

  const silent = await running(daemon, client, {}, { token: 10n });
  daemon.line.revoke(10n);
  await silent.call();
  silent.work.reject(new Error('ECONNRESET'));
  await settle();
  expect(daemon.heard).toEqual([]);
});

test('revoked ends a running call at once', async () => {
  const { daemon, client } = await connected();
  const { work, call, signal } = await running(daemon, client);
  daemon.line.revoke(9n);
  expect(await call()).toMatchObject({ code: 'LEASE_LOST' });
  expect(signal.aborted).toBe(true);
  work.resolve('late');
  expect((await daemon.hear('release')).params).toEqual({ token: 9n, outcome: 'ok' });
});

test('a function that has its result when the process wakes from a stall keeps it', async () => {
  const { daemon, client, clock } = await connected();
  const { work, call } = await running(daemon, client);
  clock.stall(20_000);
  work.resolve('placed');
  expect(await call()).toBe('placed');
});

test.each([
  ['returns', (): string => 'too late', 'ok'],
  [
    'throws',
    (): string => {
      throw new Error('too late');
    },
    'unknown',
  ],
] as const)(
  'a function that sees the end of its lease and then %s at once does not count as a success',
  async (_, end, outcome) => {
    const { daemon, client, clock } = await connected();
    const call = client.exclusive((grant) => {
      clock.stall(9_500);
      expect(grant.signal.aborted).toBe(true);
      return end();
    });
    const rejected = expect(call).rejects.toMatchObject({ code: 'LEASE_LOST', sent: 'unknown' });
    (await daemon.hear('acquire')).grant({ token: 9n, ttlMs: 10_000 });
    await rejected;
    // In the margin before its end, so the lane is free at once.
    expect((await daemon.hear('release')).params).toEqual({ token: 9n, outcome });
  },
);

test('a lease is renewed half-way, up to maxHoldMs and no further', async () => {
  const { daemon, client, clock } = await connected();
  const { call } = await running(daemon, client, { maxHoldMs: 18_000 });
  await clock.advanceSettled(5_000);
  const first = await daemon.hear('renew');
  expect(first.params).toEqual({ token: 9n, ttlMs: 10_000 });
  first.answer({ ttlMs: 10_000 });
  await clock.advanceSettled(5_000);
  const second = await daemon.hear('renew');
  // Ten seconds are gone: eight are left of what was asked for.
  expect(second.params).toEqual({ token: 9n, ttlMs: 8_000 });
  second.answer({ ttlMs: 8_000 });
  await clock.advanceSettled(7_199);
  expect(await call()).toBe('pending');
  await clock.advanceSettled(1);
  expect(await call()).toMatchObject({ code: 'LEASE_LOST' });
  await clock.advanceSettled(10_000);
  expect(daemon.heard).toEqual([]);
});

describe('a lease that ends while a renewal is under way', () => {
  test('is given back after it, so that its lane is not closed for nobody when a stalled daemon reads it', async () => {
    const daemon = new FakeDaemon();
    const client = await daemon.connect();
    const { call } = await running(daemon, client, { maxHoldMs: 60_000 }, { ttlMs: 20_000 });
    await daemon.clock.advanceSettled(10_000);
    const renew = await daemon.hear('renew');
    await daemon.clock.advanceSettled(9_999);
    expect(await call()).toMatchObject({ code: 'LEASE_LOST' });
    // Until the end an aborted call winds down under it.
    expect(daemon.methods()).toEqual([]);
    await daemon.clock.advanceSettled(1);
    expect((await daemon.hear('release')).params).toEqual({ token: 9n });
    renew.answer({ ttlMs: 20_000 });
    await daemon.clock.advanceSettled(60_000);
    expect(daemon.methods()).toEqual([]);
  });

  test('is given back also if the answer is read while it ends', async () => {
    const daemon = new FakeDaemon();
    const client = await daemon.connect();
    await running(daemon, client, { maxHoldMs: 60_000 }, { ttlMs: 20_000 });
    await daemon.clock.advanceSettled(10_000);
    const renew = await daemon.hear('renew');
    await daemon.clock.advanceSettled(9_500);
    renew.answer({ ttlMs: 20_000 });
    await daemon.clock.advanceSettled(500);
    expect(daemon.methods()).toEqual(['release']);
  });

  test('is not given back if its renewals were answered in time: the daemon ends it as expired', async () => {
    const daemon = new FakeDaemon();
    const client = await daemon.connect();
    await running(daemon, client, { maxHoldMs: 25_000 }, { ttlMs: 20_000 });
    await daemon.clock.advanceSettled(10_000);
    (await daemon.hear('renew')).answer({ ttlMs: 15_000 });
    await daemon.clock.advanceSettled(60_000);
    expect(daemon.methods()).toEqual([]);
  });
});

test('without maxHoldMs nothing is renewed, and renewals end with the function', async () => {
  const { daemon, client, clock } = await connected();
  const plain = await running(daemon, client);
  await clock.advanceSettled(8_000);
  expect(daemon.heard).toEqual([]);
  plain.work.resolve('done');
  await daemon.hear('release');
  const renewed = await running(daemon, client, { maxHoldMs: 60_000 });
  renewed.work.resolve('done');
  await daemon.hear('release');
  await clock.advanceSettled(60_000);
  expect(daemon.heard).toEqual([]);
});

test('a renewal that is not answered does not make the lease longer', async () => {
  const { daemon, client, clock } = await connected();
  const { call } = await running(daemon, client, { maxHoldMs: 60_000 });
  await clock.advanceSettled(9_000);
  expect(await call()).toMatchObject({ code: 'LEASE_LOST' });
});

test('who wants to hold for less than the usual TTL asks for no longer one', async () => {
  const { daemon, client } = await connected();
  watch(client.exclusive({ maxHoldMs: 3_000 }, () => 1));
  watch(client.exclusive({ maxHoldMs: 3_000, ttlMs: 2_000 }, () => 1));
  watch(client.exclusive({ maxHoldMs: 30_000 }, () => 1));
  await settle();
  expect(daemon.heard.map(({ params }) => params['ttlMs'])).toEqual([3_000, 2_000, undefined]);
});

test('a signal that aborts between the grant and the function leaves the function uncalled', async () => {
  const { daemon, client } = await connected();
  const controller = new AbortController();
  const call = watch(client.exclusive({ signal: controller.signal }, () => expect.unreachable()));
  const asked = await daemon.hear('acquire');
  asked.grant({ token: 9n });
  controller.abort('just now');
  expect(await call()).toMatchObject({ code: 'CANCELLED', cause: 'just now' });
  expect((await daemon.hear('release')).params).toEqual({ token: 9n, outcome: 'unused' });
});

test('a lease that is lost between the grant and the function leaves the function uncalled', async () => {
  const { daemon, client } = await connected();
  const call = watch(client.exclusive(() => expect.unreachable()));
  const asked = await daemon.hear('acquire');
  asked.grant({ token: 9n });
  daemon.line.revoke(9n);
  expect(await call()).toMatchObject({ code: 'LEASE_LOST', sent: false });
  expect(daemon.heard).toEqual([]);
});

test('a grant that the function releases by itself is over, and the function goes on', async () => {
  const { daemon, client, clock } = await connected();
  const work = deferred<string>();
  const call = watch(
    client.exclusive(async (grant) => {
      await grant.release('ok');
      return work.promise;
    }),
  );
  (await daemon.hear('acquire')).grant({ token: 9n });
  (await daemon.hear('release')).answer({ released: true });
  await clock.advanceSettled(60_000);
  work.resolve('parsed');
  expect(await call()).toBe('parsed');
  expect(daemon.heard).toEqual([]);
});

test('listeners of a lost grant run when the client is done with its own affairs', async () => {
  const { daemon, client } = await connected();
  const { call, signal } = await running(daemon, client);
  const waiting = watch(client.nonce());
  const asked = await daemon.hear('nonce');
  signal.addEventListener('abort', () => client.close());
  daemon.line.revoke(9n);
  asked.answer({ nonce: 5n, count: 1 });
  expect(await waiting()).toBe(5n);
  expect(await call()).toMatchObject({ code: 'LEASE_LOST' });
  expect(await outcomeOf(client.nonce())).toMatchObject({ code: 'CANCELLED' });
});

test.each(['NOT_DURABLE', 'LIMIT'] as const)(
  '%s of a further nonce says unknown, for what came before it may have been sent',
  async (code) => {
    const { daemon, client } = await connected();
    const call = watch(client.exclusive((grant) => grant.next()));
    (await daemon.hear('acquire')).grant({ token: 9n });
    (await daemon.hear('next')).refuse(code);
    expect(await call()).toMatchObject({ code, sent: 'unknown', cause: { code, sent: false } });
  },
);
