import { EventEmitter } from 'node:events';
import { describe, expect, test } from 'vitest';
import type { ExclusiveOptions, Grant } from '../../src/client/api.ts';
import { settle } from '../fixtures/virtual-clock.ts';
import { deferred } from './deferred.ts';
import { FakeDaemon, watch } from './fake-daemon.ts';

async function connected(exclusive = 'global') {
  const daemon = new FakeDaemon();
  daemon.greeting = { ...daemon.greeting, exclusive };
  const client = await daemon.connect();
  /** An exclusive call of account A under token 9. */
  const outer = async <T>(fn: (grant: Grant) => Promise<T> | T) => {
    const call = watch(client.exclusive({ account: 'A' }, fn));
    (await daemon.hear('acquire')).grant({ token: 9n, nonce: 1n, ttlMs: 10_000 });
    return call;
  };
  return { daemon, client, clock: daemon.clock, outer };
}

function policyIs(exclusive: string): object {
  return { exclusive };
}

test('a nested call shares the lease with a fresh nonce, and the outer one releases it', async () => {
  const { daemon, client, outer } = await connected();
  const call = await outer(async ({ nonce }) => {
    const inner = await client.exclusive({ account: 'B', cost: 2, count: 3 }, (grant) => ({
      nonce: grant.nonce,
      count: grant.count,
      account: grant.account,
      token: grant.token,
    }));
    return { nonce, inner };
  });
  const next = await daemon.hear('next');
  expect(next.params).toEqual({ token: 9n, account: 'B', cost: 2, count: 3 });
  next.answer({ nonce: 2n, count: 3 });
  expect(await call()).toEqual({ nonce: 1n, inner: { nonce: 2n, count: 3, account: 'B', token: 9n } });
  expect(daemon.heard.map(({ method, params }) => [method, params])).toEqual([
    ['report', { token: 9n, nonce: 2n, outcome: 'ok' }],
    ['release', { token: 9n, outcome: 'ok' }],
  ]);
});

test('the same account is not named, and none means the default one as everywhere', async () => {
  const { daemon, client, outer } = await connected();
  await outer(async () => {
    await client.exclusive({ account: 'A' }, () => {});
    await client.exclusive({}, () => {});
  });
  const same = await daemon.hear('next');
  expect(same.params).toEqual({ token: 9n });
  same.answer({ nonce: 2n, count: 1 });
  expect((await daemon.hear('next')).params).toEqual({ token: 9n, account: 'default' });
});

test('nested calls run one at a time, in the order of their calls', async () => {
  const { daemon, client, outer } = await connected();
  const works = [deferred<string>(), deferred<string>(), deferred<string>()];
  const begun: bigint[] = [];
  const call = await outer(() =>
    Promise.all(
      works.map(({ promise }) =>
        client.exclusive({ account: 'A' }, ({ nonce }) => {
          begun.push(nonce);
          return promise;
        }),
      ),
    ),
  );
  for (const [at, work] of works.entries()) {
    (await daemon.hear('next')).answer({ nonce: BigInt(2 + at), count: 1 });
    await settle();
    expect(daemon.methods()).toEqual(Array.from({ length: at }, () => 'report'));
    expect(begun).toHaveLength(at + 1);
    work.resolve(`call ${at}`);
  }
  expect(await call()).toEqual(['call 0', 'call 1', 'call 2']);
  expect(begun).toEqual([2n, 3n, 4n]);
});

test('a nested call within a nested call does not wait for itself', async () => {
  const { daemon, client, outer } = await connected();
  const call = await outer(() =>
    client.exclusive({ account: 'A' }, () => client.exclusive({ account: 'A' }, ({ nonce }) => nonce)),
  );
  (await daemon.hear('next')).answer({ nonce: 2n, count: 1 });
  (await daemon.hear('next')).answer({ nonce: 3n, count: 1 });
  expect(await call()).toBe(3n);
});

test('a nested call that throws lets the next one in', async () => {
  const { daemon, client, outer } = await connected();
  const call = await outer(() =>
    Promise.allSettled([
      client.exclusive({ account: 'A' }, () => Promise.reject(new Error('one'))),
      client.exclusive({ account: 'A' }, () => 'two'),
    ]),
  );
  (await daemon.hear('next')).answer({ nonce: 2n, count: 1 });
  (await daemon.hear('next')).answer({ nonce: 3n, count: 1 });
  expect(await call()).toMatchObject([{ status: 'rejected' }, { value: 'two' }]);
});

test('a nested call that is refused, cancelled or too late lets the others in', async () => {
  const { daemon, client, clock, outer } = await connected();
  const controller = new AbortController();
  const first = deferred();
  const nested = (options: object, fn: () => unknown) => client.exclusive({ account: 'A', ...options }, fn);
  const call = await outer(() =>
    Promise.allSettled([
      nested({}, () => first.promise),
      nested({ signal: controller.signal }, () => 'cancelled'),
      nested({ waitMs: 1_000 }, () => 'too late'),
      nested({}, () => 'refused'),
      nested({}, () => 'runs'),
    ]),
  );
  (await daemon.hear('next')).answer({ nonce: 2n, count: 1 });
  await settle();
  controller.abort('no');
  await clock.advanceSettled(1_000);
  first.resolve();
  (await daemon.hear('next')).refuse('QUARANTINED');
  (await daemon.hear('next')).answer({ nonce: 3n, count: 1 });
  expect(await call()).toMatchObject([
    { status: 'fulfilled' },
    { reason: { code: 'CANCELLED', cause: 'no' } },
    { reason: { code: 'WAIT_TIMEOUT' } },
    { reason: { code: 'QUARANTINED' } },
    { value: 'runs' },
  ]);
});

test('maxAgeMs counts what the machine has slept', async () => {
  const { daemon, client, clock, outer } = await connected();
  const call = await outer(() =>
    client.exclusive({ account: 'A', ttlMs: 600_000, maxAgeMs: 3_000 }, () => expect.unreachable()),
  );
  const next = await daemon.hear('next');
  clock.suspend(3_001);
  next.answer({ nonce: 2n, count: 1 });
  expect(await call()).toMatchObject({ code: 'WAIT_TIMEOUT' });
});

test('maxAgeMs counts the wait for the call before it too', async () => {
  const { daemon, client, clock, outer } = await connected();
  const call = await outer(() => client.exclusive({ account: 'A', maxAgeMs: 500 }, () => expect.unreachable()));
  const next = await daemon.hear('next');
  clock.stall(501);
  next.answer({ nonce: 2n, count: 1 });
  expect(await call()).toMatchObject({ code: 'WAIT_TIMEOUT' });
});

test('an account of another lane is refused, once the daemon has confirmed that it is one', async () => {
  const { daemon, client, outer } = await connected('account');
  const call = await outer(() => client.exclusive({ account: 'B' }, () => expect.unreachable()));
  (await daemon.hear('policy')).answer(policyIs('account'));
  expect(await call()).toMatchObject({ code: 'NESTED_LANE' });
  expect(daemon.methods()).toEqual(['release']);
});

test('the same account shares under any policy without asking', async () => {
  const { daemon, client, outer } = await connected('account');
  const call = await outer(() => client.exclusive({ account: 'A' }, ({ nonce }) => nonce));
  (await daemon.hear('next')).answer({ nonce: 2n, count: 1 });
  expect(await call()).toBe(2n);
});

test('a policy that became global since it was heard of lets the accounts share', async () => {
  const { daemon, client, outer } = await connected('account');
  const call = await outer(() => client.exclusive({ account: 'B' }, ({ nonce }) => nonce));
  (await daemon.hear('policy')).answer(policyIs('global'));
  (await daemon.hear('next')).answer({ nonce: 2n, count: 1 });
  expect(await call()).toBe(2n);
});

test('if the policy has become account, the daemon says so, and its answer decides', async () => {
  const { daemon, client, outer } = await connected('global');
  const call = await outer(() => client.exclusive({ account: 'B' }, () => expect.unreachable()));
  (await daemon.hear('next')).refuse('NESTED_LANE');
  expect(await call()).toMatchObject({ code: 'NESTED_LANE' });
});

test('without exclusion another account has a lease of its own', async () => {
  const { daemon, client, outer } = await connected('off');
  const call = await outer(() => client.exclusive({ account: 'B' }, ({ token }) => token));
  (await daemon.hear('policy')).answer(policyIs('off'));
  const asked = await daemon.hear('acquire');
  expect(asked.params).toMatchObject({ account: 'B' });
  asked.grant({ token: 10n });
  expect(await call()).toBe(10n);
  expect(daemon.heard.map(({ params }) => params['token'])).toEqual([10n, 9n]);
});

test('a nested call that outlives its outer one keeps the lease, which is released after it', async () => {
  const { daemon, client, outer } = await connected();
  let signal: AbortSignal | undefined;
  let nested: (() => Promise<unknown>) | undefined;
  const began = deferred();
  const work = deferred<string>();
  const call = await outer(async () => {
    nested = watch(
      client.exclusive({ account: 'A' }, (grant) => {
        signal = grant.signal;
        began.resolve();
        return work.promise;
      }),
    );
    await began.promise;
    return 'done';
  });
  (await daemon.hear('next')).answer({ nonce: 2n, count: 1 });
  expect(await call()).toBe('done');
  expect(await nested?.()).toBe('pending');
  expect(daemon.methods()).toEqual([]);
  expect(signal?.aborted).toBe(false);
  work.resolve('done too');
  expect(await nested?.()).toBe('done too');
  expect(daemon.methods()).toEqual(['report', 'release']);
});

test('a nested call whose nonce is on its way keeps the lease as well', async () => {
  const { daemon, client, outer } = await connected();
  let nested: (() => Promise<unknown>) | undefined;
  const call = await outer(() => {
    nested = watch(client.exclusive({ account: 'A' }, ({ nonce }) => nonce));
  });
  expect(await call()).toBeUndefined();
  expect(daemon.methods()).toEqual(['next']);
  (await daemon.hear('next')).answer({ nonce: 2n, count: 1 });
  expect(await nested?.()).toBe(2n);
  expect(daemon.methods()).toEqual(['report', 'release']);
});

test('a nested call within one that has outlived its outer one keeps the lease too', async () => {
  const { daemon, client, outer } = await connected();
  const works = [deferred(), deferred()] as const;
  await outer(() => {
    client.exclusive({ account: 'A' }, () => {
      client.exclusive({ account: 'A' }, () => works[1].promise);
      return works[0].promise;
    });
  });
  (await daemon.hear('next')).answer({ nonce: 2n, count: 1 });
  (await daemon.hear('next')).answer({ nonce: 3n, count: 1 });
  works[0].resolve();
  await settle();
  // It ended later than its function.
  expect(daemon.methods()).toEqual([]);
  works[1].resolve();
  await settle();
  expect(daemon.heard.map(({ method, params }) => [method, params['nonce']])).toEqual([
    ['report', 3n],
    ['report', 2n],
    ['release', undefined],
  ]);
});

test('a nested call that outlives its outer one is rejected when the lease is over, and holds it no longer', async () => {
  const { daemon, client, clock, outer } = await connected();
  let nested: (() => Promise<unknown>) | undefined;
  await outer(() => {
    nested = watch(client.exclusive({ account: 'A' }, () => new Promise(() => {})));
  });
  (await daemon.hear('next')).answer({ nonce: 2n, count: 1 });
  await clock.advanceSettled(10_000);
  expect(await nested?.()).toMatchObject({ code: 'LEASE_LOST' });
});

test('a nested call that waits for another one when its outer one ends asks for a lease of its own', async () => {
  const { daemon, client, clock, outer } = await connected();
  const work = deferred();
  let waiting: (() => Promise<unknown>) | undefined;
  await outer(() => {
    watch(client.exclusive({ account: 'A' }, () => work.promise));
    waiting = watch(client.exclusive({ account: 'B', waitMs: 8_000, unit: 'ns' }, ({ token }) => token));
    return clock.advanceSettled(3_000);
  });
  (await daemon.hear('next')).answer({ nonce: 2n, count: 1 });
  const acquire = await daemon.hear('acquire');
  expect(acquire.params).toEqual({ account: 'B', waitMs: 5_000, unit: 'ns' });
  work.resolve();
  await daemon.hear('release');
  acquire.grant({ token: 10n });
  expect(await waiting?.()).toBe(10n);
});

test('the outcome of a nested call is told for its own nonce, and once', async () => {
  const { daemon, client, outer } = await connected();
  const call = await outer(async () => {
    const reject = () => Promise.reject(new Error('EAPI:Invalid nonce'));
    await client.exclusive({ account: 'B', outcome: () => 'invalid-nonce' }, reject).catch(() => {});
    await client.exclusive({ account: 'B' }, (grant) => grant.release('rate-limited'));
    await client.exclusive({ account: 'B' }, (grant) => grant.next({ outcome: 'invalid-nonce' }));
    await client.exclusive({ account: 'B' }, () => Promise.reject(new Error('what?'))).catch(() => {});
    return 'done';
  });
  for (const nonce of [2n, 3n, 4n, 5n, 6n]) (await daemon.hear('next')).answer({ nonce, count: 1 });
  expect(await call()).toBe('done');
  expect(daemon.heard.map(({ params }) => [params['nonce'], params['outcome']])).toEqual([
    [2n, 'invalid-nonce'],
    [3n, 'rate-limited'],
    [4n, 'invalid-nonce'],
    [5n, 'ok'],
    [6n, 'unknown'],
    [undefined, 'ok'],
  ]);
});

test('a retry tells how the call before it ended', async () => {
  const { daemon, client } = await connected();
  const call = watch(client.exclusive({ account: 'A' }, (grant) => grant.next({ outcome: 'invalid-nonce' })));
  (await daemon.hear('acquire')).grant({ token: 9n, nonce: 1n });
  expect((await daemon.hear('report')).params).toEqual({ token: 9n, nonce: 1n, outcome: 'invalid-nonce' });
  const next = await daemon.hear('next');
  expect(next.params).toEqual({ token: 9n });
  next.answer({ nonce: 2n, count: 1 });
  expect(await call()).toBe(2n);
});

test('a nested call whose nonce comes too late tells that it was not used', async () => {
  const { daemon, client, clock, outer } = await connected();
  const call = await outer(() => client.exclusive({ account: 'A', maxAgeMs: 500 }, () => expect.unreachable()));
  const next = await daemon.hear('next');
  clock.stall(501);
  next.answer({ nonce: 2n, count: 1 });
  expect(await call()).toMatchObject({ code: 'WAIT_TIMEOUT' });
  expect((await daemon.hear('report')).params).toMatchObject({ nonce: 2n, outcome: 'unused' });
});

describe('what the context of a call leaks into', () => {
  test('a queue whose worker was started inside a call: its jobs nest only while that call runs', async () => {
    const { daemon, client, outer } = await connected();
    const jobs: (() => void)[] = [];
    let wake = deferred();
    const worker = async () => {
      for (;;) {
        for (let job = jobs.shift(); job !== undefined; job = jobs.shift()) job();
        await wake.promise;
        wake = deferred();
      }
    };
    const work = deferred();
    await outer(() => {
      worker();
      return work.promise;
    });
    const push = (account: string) =>
      new Promise<() => Promise<unknown>>((resolve) => {
        jobs.push(() => resolve(watch(client.exclusive({ account, unit: 'ms' }, ({ token }) => token))));
        wake.resolve();
      });
    const during = await push('B');
    const next = await daemon.hear('next');
    expect(next.params).toEqual({ token: 9n, account: 'B', unit: 'ms' });
    next.answer({ nonce: 2n, count: 1 });
    expect(await during()).toBe(9n);
    work.resolve();
    await daemon.hear('release');
    const after = await push('B');
    const acquire = await daemon.hear('acquire');
    expect(acquire.params).toMatchObject({ account: 'B', unit: 'ms' });
    acquire.grant({ token: 10n });
    expect(await after()).toBe(10n);
  });

  test('a listener runs in the context of the one that emits, and not of the one that listens', async () => {
    const { daemon, client, outer } = await connected();
    const emitter = new EventEmitter();
    const calls: (() => Promise<unknown>)[] = [];
    await outer(() => {
      emitter.on('order', () => calls.push(watch(client.exclusive({ account: 'A' }, ({ token }) => token))));
      return new Promise(() => {});
    });
    emitter.emit('order');
    (await daemon.hear('acquire')).grant({ token: 10n });
    expect(await calls[0]?.()).toBe(10n);
  });

  test('an interval that was started inside a call does not nest once the call has ended', async () => {
    const { daemon, client, outer } = await connected();
    const ticks: (() => Promise<unknown>)[] = [];
    const interval = deferred<NodeJS.Timeout>();
    const ticked = deferred();
    await outer(() => {
      const tick = () => {
        ticks.push(watch(client.exclusive({ account: 'A' }, ({ token }) => token)));
        ticked.resolve();
      };
      interval.resolve(setInterval(tick, 1));
    });
    await ticked.promise;
    clearInterval(await interval.promise);
    (await daemon.hear('acquire')).grant({ token: 10n });
    expect(await ticks[0]?.()).toBe(10n);
  });

  test('an async generator runs in the context of the one that asks it for its next value', async () => {
    const { daemon, client, outer } = await connected();
    async function* tokens() {
      for (;;) yield await client.exclusive({ account: 'A' }, ({ token }) => token);
    }
    const generator = tokens();
    const call = await outer(() => generator.next());
    (await daemon.hear('next')).answer({ nonce: 2n, count: 1 });
    expect(await call()).toEqual({ done: false, value: 9n });
    const later = watch(generator.next());
    (await daemon.hear('acquire')).grant({ token: 10n });
    expect(await later()).toEqual({ done: false, value: 10n });
  });
});

test('when the lease is lost the outer and the nested call are rejected, and a late nested one too', async () => {
  const { daemon, client, outer } = await connected('account');
  const woken = deferred();
  let late: (() => Promise<unknown>) | undefined;
  let nested: (() => Promise<unknown>) | undefined;
  const call = await outer(async () => {
    nested = watch(client.exclusive({ account: 'A' }, () => new Promise(() => {})));
    await woken.promise;
    late = watch(client.exclusive({ account: 'B' }, () => expect.unreachable()));
  });
  (await daemon.hear('next')).answer({ nonce: 2n, count: 1 });
  await settle();
  daemon.line.revoke(9n);
  expect(await call()).toMatchObject({ code: 'LEASE_LOST' });
  expect(await nested?.()).toMatchObject({ code: 'LEASE_LOST' });
  woken.resolve();
  await settle();
  expect(await late?.()).toMatchObject({ code: 'LEASE_LOST' });
  // The outer function came to its end after all.
  expect(daemon.heard.map(({ method, params }) => [method, params['outcome']])).toEqual([['release', 'ok']]);
});

test('a call that begins after its outer one has ended acquires as any other', async () => {
  const { daemon, client, outer } = await connected();
  const later = deferred();
  let straggler: (() => Promise<unknown>) | undefined;
  await outer(() => {
    later.promise.then(() => {
      straggler = watch(client.exclusive({ account: 'A' }, ({ token }) => token));
    });
  });
  await daemon.hear('release');
  later.resolve();
  (await daemon.hear('acquire')).grant({ token: 10n });
  expect(await straggler?.()).toBe(10n);
});

test('after a stall of the process the signal of a nested call has aborted before any timer has fired', async () => {
  const { daemon, client, clock, outer } = await connected();
  const inner = deferred<Grant>();
  await outer(() =>
    client.exclusive({ account: 'A' }, (grant) => {
      inner.resolve(grant);
      return new Promise(() => {});
    }),
  );
  (await daemon.hear('next')).answer({ nonce: 2n, count: 1 });
  const grant = await inner.promise;
  clock.stall(8_999);
  expect(grant.signal.aborted).toBe(false);
  clock.stall(1);
  expect(grant.signal.reason).toMatchObject({ code: 'LEASE_LOST' });
});

test('a call of another client in between neither shares the lease nor hides it', async () => {
  const { daemon, client, outer } = await connected();
  const otherDaemon = new FakeDaemon();
  const other = await otherDaemon.connect();
  const call = await outer(() =>
    other.exclusive({ account: 'A' }, async (between) => {
      const inner = await client.exclusive({ account: 'A' }, (grant) => grant.token);
      return { between: between.token, inner };
    }),
  );
  (await otherDaemon.hear('acquire')).grant({ token: 77n });
  (await daemon.hear('next')).answer({ nonce: 2n, count: 1 });
  expect(await call()).toEqual({ between: 77n, inner: 9n });
});

test('a straggler of a nested call shares the lease of the outermost call, and queues there', async () => {
  const { daemon, client, outer } = await connected();
  const later = deferred();
  const sibling = deferred();
  let straggler: (() => Promise<unknown>) | undefined;
  await outer(async () => {
    await client.exclusive({ account: 'A' }, () => {
      later.promise.then(() => {
        straggler = watch(client.exclusive({ account: 'A' }, ({ nonce }) => nonce));
      });
    });
    await client.exclusive({ account: 'A' }, () => {
      later.resolve();
      return sibling.promise;
    });
    await new Promise(() => {});
  });
  (await daemon.hear('next')).answer({ nonce: 2n, count: 1 });
  (await daemon.hear('next')).answer({ nonce: 3n, count: 1 });
  await settle();
  expect(daemon.methods()).toEqual(['report']);
  sibling.resolve();
  (await daemon.hear('next')).answer({ nonce: 4n, count: 1 });
  expect(await straggler?.()).toBe(4n);
});

test('a call that begins after its outer one has lost its lease and ended acquires as any other', async () => {
  const { daemon, client, outer } = await connected();
  const work = deferred();
  let straggler: (() => Promise<unknown>) | undefined;
  await outer(() => {
    work.promise.then(settle).then(() => {
      straggler = watch(client.exclusive({ account: 'A' }, ({ token }) => token));
    });
    return work.promise;
  });
  daemon.line.revoke(9n);
  work.resolve();
  await settle();
  (await daemon.hear('acquire')).grant({ token: 10n });
  expect(await straggler?.()).toBe(10n);
});

test('the signal of a nested call that has ended does not abort with the outer one', async () => {
  const { daemon, client, outer } = await connected();
  let signal: AbortSignal | undefined;
  const call = await outer(() =>
    client.exclusive({ account: 'A' }, (grant) => {
      signal = grant.signal;
    }),
  );
  (await daemon.hear('next')).answer({ nonce: 2n, count: 1 });
  expect(await call()).toBeUndefined();
  expect(signal?.aborted).toBe(false);
});

test('a nested call whose signal aborts as its nonce comes is not run', async () => {
  const { daemon, client, outer } = await connected();
  const controller = new AbortController();
  const call = await outer(() =>
    client.exclusive({ account: 'A', signal: controller.signal }, () => expect.unreachable()),
  );
  (await daemon.hear('next')).answer({ nonce: 2n, count: 1 });
  controller.abort();
  expect(await call()).toMatchObject({ code: 'CANCELLED' });
});

test('after the function has released its grant a call inside it acquires again', async () => {
  const { daemon, client, outer } = await connected();
  const call = await outer(async (grant) => {
    await grant.release('ok');
    return client.exclusive({ account: 'A' }, ({ token }) => token);
  });
  (await daemon.hear('release')).answer({ released: true });
  (await daemon.hear('acquire')).grant({ token: 10n });
  expect(await call()).toBe(10n);
});

test('a nested grant cannot release the lease, and draws for its own account', async () => {
  const { daemon, client, outer } = await connected();
  const call = await outer(() =>
    client.exclusive({ account: 'B' }, async (grant) => {
      const released = await grant.release();
      await grant[Symbol.asyncDispose]();
      return [released, await grant.next()];
    }),
  );
  (await daemon.hear('next')).answer({ nonce: 2n, count: 1 });
  const next = await daemon.hear('next');
  expect(next.params).toEqual({ token: 9n, account: 'B' });
  next.answer({ nonce: 3n, count: 1 });
  expect(await call()).toEqual([false, 3n]);
});

test('calls beside each other, not inside, are strangers and both acquire', async () => {
  const { daemon, client, outer } = await connected();
  await outer(() => new Promise(() => {}));
  watch(client.exclusive({ account: 'A' }, () => {}));
  expect((await daemon.hear('acquire')).params).toMatchObject({ account: 'A' });
});

test('a nested call tells its own unit and key, and a refusal of them is its own', async () => {
  const { daemon, client, outer } = await connected();
  const call = await outer(() =>
    client.exclusive({ account: 'B', unit: 'ms', key: 'fedcba9876543210' }, () => expect.unreachable()),
  );
  const next = await daemon.hear('next');
  expect(next.params).toEqual({ token: 9n, account: 'B', unit: 'ms', key: 'fedcba9876543210' });
  next.refuse('UNIT_MISMATCH');
  expect(await call()).toMatchObject({ code: 'UNIT_MISMATCH' });
});

describe('with a daemon that tells no minor version', () => {
  async function withFirstRelease() {
    const daemon = new FakeDaemon();
    const { minor: _, ...greeting } = daemon.greeting;
    daemon.greeting = { ...greeting, version: '0.1.0' } as typeof daemon.greeting;
    const client = await daemon.connect();
    const nested = async (options: ExclusiveOptions) => {
      const call = watch(
        client.exclusive({ account: 'A', unit: 'ns', key: 'fedcba9876543210' }, () =>
          client.exclusive(options, ({ nonce }) => nonce),
        ),
      );
      (await daemon.hear('acquire')).grant({ token: 9n });
      return call;
    };
    return { daemon, nested };
  }

  test.each([{ unit: 'ms' }, { key: 'fedcba9876543210' }] as const)(
    'a nested call with %j is refused by the client: the daemon would not check it',
    async (options) => {
      const { daemon, nested } = await withFirstRelease();
      const call = await nested(options);
      expect(await call()).toMatchObject({ code: 'UNSUPPORTED', message: expect.stringContaining('0.1.0') });
      expect(daemon.methods()).toEqual(['release']);
    },
  );

  test('a nested call without them goes on as before', async () => {
    const { daemon, nested } = await withFirstRelease();
    const call = await nested({ account: 'A' });
    (await daemon.hear('next')).answer({ nonce: 2n, count: 1 });
    expect(await call()).toBe(2n);
  });

  test('the policy is read from the status', async () => {
    const daemon = new FakeDaemon();
    daemon.greeting = { ...daemon.greeting, version: '0.1.0', minor: 0, exclusive: 'account' };
    const client = await daemon.connect();
    const call = watch(
      client.exclusive({ account: 'A' }, () => client.exclusive({ account: 'B' }, () => expect.unreachable())),
    );
    (await daemon.hear('acquire')).grant({ token: 9n });
    (await daemon.hear('status')).answer({ ...policyIs('account'), sequences: [] });
    expect(await call()).toMatchObject({ code: 'NESTED_LANE' });
    expect(daemon.methods()).toEqual(['release']);
  });

  test('a request that waited for a connection is judged by the daemon that answers then', async () => {
    const daemon = new FakeDaemon();
    const client = await daemon.connect();
    const nested = deferred<() => Promise<unknown>>();
    watch(
      client.exclusive({ account: 'A' }, async () => {
        await settle();
        nested.resolve(watch(client.exclusive({ account: 'A', unit: 'ms' }, () => expect.unreachable())));
        return new Promise(() => {});
      }),
    );
    (await daemon.hear('acquire')).grant({ token: 9n });
    const call = await nested.promise;
    await daemon.hear('next');
    daemon.greeting = { ...daemon.greeting, version: '0.1.0', minor: 0 };
    await daemon.restart([{ token: 9n, account: 'A', id: null, ttlMs: 19_000 }]);
    expect(await call()).toMatchObject({ code: 'UNSUPPORTED' });
    expect(daemon.methods()).toEqual([]);
  });
});

describe('a call of another client of the process', () => {
  test('tells the daemon which leases around it it cannot share, and its refusal comes at once', async () => {
    const { daemon, client, outer } = await connected();
    const other = await daemon.connect();
    const call = await outer(() => other.exclusive({ account: 'A' }, () => expect.unreachable()));
    const acquire = await daemon.hear('acquire');
    expect(acquire.params['within']).toEqual([9n]);
    acquire.refuse('NESTED_LANE');
    expect(await call()).toMatchObject({ code: 'NESTED_LANE' });
    const acquired = await outer(() =>
      Promise.all([other.acquire({ account: 'A' }), client.acquire({ account: 'A' })]),
    );
    expect((await daemon.hear('acquire')).params['within']).toEqual([9n]);
    // Of the same client: it may be asked for now and be awaited later, when the lease is free.
    expect((await daemon.hear('acquire')).params).not.toHaveProperty('within');
    expect(await acquired()).toBe('pending');
  });

  test('tells nothing once the call around it has ended', async () => {
    const { daemon, outer } = await connected();
    const other = await daemon.connect();
    const later = deferred();
    await outer(() => {
      later.promise.then(() => other.exclusive({ account: 'A' }, () => {}));
    });
    later.resolve();
    expect((await daemon.hear('acquire')).params).not.toHaveProperty('within');
  });
});
