import { expect, test } from 'vitest';
import type { Nonced } from '../../../src/client/api.ts';
import { connect } from '../../../src/client/index.ts';
import { NoncedError } from '../../../src/errors.ts';
import { FakeDaemon, outcomeOf } from '../fake-daemon.ts';

async function connected() {
  const daemon = new FakeDaemon();
  const client = await daemon.connect();
  return { daemon, client };
}

async function granted() {
  const { daemon, client } = await connected();
  const acquired = client.acquire();
  (await daemon.hear('acquire')).grant({ token: 9n });
  return { daemon, client, grant: await acquired };
}

/** As plain JavaScript would call it: no types, and no exception but a rejection. */
async function refused(target: object, method: string, ...given: unknown[]): Promise<string> {
  const error = await outcomeOf(
    (target as Record<string, (...all: unknown[]) => Promise<unknown>>)[method]?.(...given) ?? Promise.resolve(),
  );
  expect(error).toBeInstanceOf(NoncedError);
  expect(error).toMatchObject({ code: 'BAD_REQUEST', sent: false });
  return (error as NoncedError).message;
}

const never = () => expect.unreachable();

test('an unknown option is refused by name, with those there are, and nothing is sent', async () => {
  const { daemon, client } = await connected();
  const all = 'account, key, unit, priority, cost, ttlMs, waitMs, label, count, signal, maxAgeMs';
  expect(await refused(client, 'exclusive', { acount: 'MASTER' }, never)).toBe(
    `unknown option 'acount'; exclusive takes ${all}, maxHoldMs, outcome`,
  );
  expect(await refused(client, 'acquire', { ttlMS: 5 })).toBe(`unknown option 'ttlMS'; acquire takes ${all}`);
  expect(await refused(client, 'acquire', { maxHoldMs: 5 })).toMatch(/^unknown option 'maxHoldMs'/);
  expect(await refused(client, 'nonce', { priority: 'urgent' })).toBe(
    `unknown option 'priority'; nonce takes account, count, signal, waitMs`,
  );
  expect(await refused({ connect }, 'connect', { foo: 1 })).toBe(
    `unknown option 'foo'; connect takes name, socket, connectTimeoutMs, signal`,
  );
  for (const name of ['constructor', 'toString', '']) {
    expect(await refused(client, 'acquire', { [name]: 1 })).toContain(`unknown option '${name}'`);
  }
  expect(await refused(client, 'acquire', JSON.parse('{"__proto__":1}'))).toContain(`unknown option '__proto__'`);
  expect(daemon.methods()).toEqual([]);
});

test.each([
  [{ account: 1 }, 'account is 1; give a string'],
  [{ account: null }, 'account is null; give a string'],
  [{ key: ['a'] }, 'key is a list; give a string'],
  [{ unit: 9n }, 'unit is 9; give a string'],
  [{ label: {} }, 'label is a map; give a string'],
  [{ priority: 'urgnet' }, "priority is 'urgnet'; give one of urgent, normal, background"],
  [{ priority: 'constructor' }, "priority is 'constructor'; give one of urgent, normal, background"],
  [{ cost: '1' }, "cost is '1'; give a number"],
  [{ ttlMs: Number.NaN }, 'ttlMs is NaN; give a number'],
  [{ count: 2n }, 'count is 2; give a number'],
  [{ waitMs: '5' }, "waitMs is '5'; give milliseconds from 0"],
  [{ waitMs: -5 }, 'waitMs is -5; give milliseconds from 0'],
  [{ maxAgeMs: -1 }, 'maxAgeMs is -1; give milliseconds from 0'],
  [{ maxAgeMs: Number.POSITIVE_INFINITY }, 'maxAgeMs is Infinity; give milliseconds from 0'],
  [{ maxHoldMs: Number.NaN }, 'maxHoldMs is NaN; give milliseconds from 0'],
  [{ maxHoldMs: null }, 'maxHoldMs is null; give milliseconds from 0'],
  [{ outcome: 'ok' }, "outcome is 'ok'; give a function"],
  [{ signal: 1 }, 'signal is 1; give an AbortSignal'],
  [{ signal: null }, 'signal is null; give an AbortSignal'],
  [{ signal: new AbortController() }, 'signal is a map; give an AbortSignal'],
  ['MASTER', "exclusive was given 'MASTER'; give its options as an object"],
  [null, 'exclusive was given null; give its options as an object'],
])('exclusive refuses %o', async (options, message) => {
  const { daemon, client } = await connected();
  expect(await refused(client, 'exclusive', options, never)).toBe(message);
  expect(daemon.methods()).toEqual([]);
});

test('connect and nonce refuse a value of the wrong type or range', async () => {
  const { client } = await connected();
  expect(await refused({ connect }, 'connect', { connectTimeoutMs: 'a' })).toMatch(/^connectTimeoutMs is 'a'/);
  expect(await refused({ connect }, 'connect', { connectTimeoutMs: -1 })).toMatch(/^connectTimeoutMs is -1/);
  expect(await refused({ connect }, 'connect', { signal: {} })).toMatch(/^signal is a map/);
  expect(await refused({ connect }, 'connect', '/run/nonced.sock')).toMatch(/^connect was given '.run.nonced.sock'/);
  expect(await refused(client, 'nonce', { waitMs: Number.NaN })).toMatch(/^waitMs is NaN/);
  expect(await refused(client, 'nonce', { signal: 1 })).toMatch(/^signal is 1/);
  expect(await refused(client, 'nonce', null)).toMatch(/^nonce was given null/);
});

test('exclusive without a function, or with it in the wrong place, is rejected', async () => {
  const { daemon, client } = await connected();
  const missing = 'exclusive was given no function; call exclusive(options, fn)';
  expect(await refused(client, 'exclusive')).toBe(missing);
  expect(await refused(client, 'exclusive', { account: 'A' })).toBe(missing);
  expect(await refused(client, 'exclusive', { account: 'A' }, 'fn')).toBe(missing);
  expect(await refused(client, 'exclusive', never, { account: 'A' })).toMatch(/its function first/);
  expect(await refused(client, 'acquire', never)).toMatch(/^acquire was given a function/);
  expect(daemon.methods()).toEqual([]);
});

test('a grant refuses mistyped options, and its lease is still there to be released', async () => {
  const { daemon, grant } = await granted();
  expect(await refused(grant, 'next', { acount: 'B' })).toBe(
    `unknown option 'acount'; next takes account, cost, count, outcome, signal`,
  );
  expect(await refused(grant, 'next', null)).toMatch(/^next was given null/);
  expect(await refused(grant, 'renew', '5')).toBe("ttlMs is '5'; give a number");
  expect(await refused(grant, 'renew', { ttlMs: 5 })).toBe('ttlMs is a map; give a number');
  expect(await refused(grant, 'release', 'okay')).toMatch(/^outcome is 'okay'; give one of unknown, ok, /);
  expect(await refused(grant, 'release', { usedOwnClock: true })).toMatch(/^outcome is a map/);
  expect(await refused(grant, 'release', 'ok', { ownClock: true })).toBe(
    `unknown option 'ownClock'; release takes usedOwnClock`,
  );
  expect(await refused(grant, 'release', 'ok', { usedOwnClock: 1 })).toBe('usedOwnClock is 1; give true or false');
  expect(daemon.methods()).toEqual([]);

  const released = grant.release('ok');
  (await daemon.hear('release')).answer({ released: true });
  expect(await released).toBe(true);
});

test('a nested call and its grant are as strict', async () => {
  const { daemon, client } = await connected();
  const messages: string[] = [];
  const call = client.exclusive(async () => {
    messages.push(await refused(client, 'exclusive', { acount: 'A' }, never));
    const nested = client.exclusive(async (grant) => {
      messages.push(await refused(grant, 'next', null));
      messages.push(await refused(grant, 'next', { cuont: 1 }));
      messages.push(await refused(grant, 'release', 'okay'));
    });
    (await daemon.hear('next')).answer({ nonce: 101n, count: 1 });
    await nested;
  });
  (await daemon.hear('acquire')).grant({ token: 9n });
  await call;
  expect(messages.map((message) => message.split(';')[0])).toEqual([
    "unknown option 'acount'",
    'next was given null',
    "unknown option 'cuont'",
    "outcome is 'okay'",
  ]);
});

test('undefined counts as left out, and a signal may be of another make', async () => {
  const { daemon, client } = await connected();
  const signal = { aborted: false, addEventListener() {}, removeEventListener() {} } as unknown as AbortSignal;
  const call = client.exclusive(
    { account: undefined, waitMs: undefined, maxAgeMs: 0.5, outcome: undefined, maxHoldMs: undefined, signal },
    ({ nonce }) => nonce,
  );
  (await daemon.hear('acquire')).grant({ token: 9n });
  expect(await call).toBe(100n);
  const bare = (client.exclusive as (...given: unknown[]) => Promise<unknown>).call(client, undefined, () => 1);
  (await daemon.hear('acquire')).grant({ token: 10n });
  expect(await bare).toBe(1);
});

test('a getter that throws rejects', async () => {
  const { client } = await connected();
  const error = new Error('of a getter');
  const options = {
    get account(): string {
      throw error;
    },
  };
  for (const method of ['acquire', 'exclusive', 'nonce'] satisfies (keyof Nonced)[]) {
    expect(
      await outcomeOf((client[method] as (...given: unknown[]) => Promise<unknown>).call(client, options, never)),
    ).toBe(error);
  }
});

test.each(['okay', 5, null, Promise.resolve('ok')])(
  'an outcome hook that returns %o says nothing, and least of all ok',
  async (told) => {
    const { daemon, client } = await connected();
    const call = client.exclusive({ outcome: () => told as 'ok' }, () => 'placed');
    (await daemon.hear('acquire')).grant({ token: 1n });
    expect(await call).toBe('placed');
    expect((await daemon.hear('release')).params).toEqual({ token: 1n, outcome: 'unknown' });
  },
);
