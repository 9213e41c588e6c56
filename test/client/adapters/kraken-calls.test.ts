import { expect, test, vi } from 'vitest';
import { type PrivateCall, PrivateCalls } from '../../../src/client/adapters/private-calls.ts';
import type { Nonced } from '../../../src/client/api.ts';
import { NoncedError, refusal } from '../../../src/errors.ts';
import { Daemonless } from '../../fixtures/kraken-sdk-daemonless.ts';
import { settle, VirtualClock } from '../../fixtures/virtual-clock.ts';

function setUp(options: object = {}) {
  const daemon = new Daemonless();
  const clock = new VirtualClock();
  return { daemon, clock, calls: new PrivateCalls({ client: daemon.client, ...options }, clock) };
}

function call<T>(send: (nonce: string) => Promise<T>, changed: Partial<PrivateCall<T>> = {}): PrivateCall<T> {
  return {
    method: 'Balance',
    publicKey: 'abc',
    timeoutMs: 1_000,
    send,
    outcomeOfError: () => 'unavailable',
    ...changed,
  };
}

const never = () => new Promise<never>(() => {});

test('the daemon is told what the call is and the fingerprint of the key, never the key', async () => {
  const { daemon, calls } = setUp({ account: 'MASTER', waitMs: 500 });
  await calls.make(call(async () => 'done', { method: 'AddOrder' }));
  expect(daemon.turns[0]?.options).toMatchObject({
    account: 'MASTER',
    key: 'ba7816bf8f01cfea',
    unit: 'ns',
    label: 'AddOrder',
    priority: 'urgent',
    cost: 0,
    waitMs: 500,
  });
  expect(JSON.stringify(daemon.turns[0]?.options)).not.toContain('abc');
});

test('the granted digits arrive exactly, and a call that is answered ends its lease and its timer', async () => {
  const { daemon, clock, calls } = setUp({ unit: 'us' });
  const nonce = await calls.make(call(async (given) => given));
  expect(nonce).toBe(String(daemon.turns[0]?.nonce));
  expect(daemon.turns[0]?.options.unit).toBe('us');
  expect(daemon.outcomes).toEqual(['ok']);
  expect(clock.timers).toBe(0);
});

test('a call that never settles gives its lease back 5 s after the timeout of the SDK, as unsettled', async () => {
  const { daemon, clock, calls } = setUp();
  const ended = vi.fn();
  const made = calls.make(call(never)).catch(ended);
  await clock.advanceSettled(5_999);
  expect(ended).not.toHaveBeenCalled();
  await clock.advanceSettled(1);
  await made;
  expect(ended.mock.calls[0]?.[0]).toMatchObject({ name: 'NoncedError', code: 'LEASE_LOST', sent: 'unknown' });
  expect(daemon.outcomes).toEqual(['unsettled']);
  expect(daemon.turns[0]?.options.ttlMs).toBeGreaterThan(6_000 + 1_000);
});

test('a lost lease ends the call at once, as unsettled, and leaves no timer behind', async () => {
  const { daemon, clock, calls } = setUp();
  const made = calls.make(call(never));
  await settle();
  const reason = new NoncedError(refusal('LEASE_LOST', 'for a test'), { sent: 'unknown' });
  daemon.lost.abort(reason);
  await expect(made).rejects.toBe(reason);
  expect(daemon.outcomes).toEqual(['unsettled']);
  expect(clock.timers).toBe(0);
});

test('an answer that comes after the deadline changes nothing', async () => {
  const { daemon, clock, calls } = setUp();
  let answer = (_: string) => {};
  const made = calls
    .make(call(() => new Promise<string>((resolve) => (answer = resolve))))
    .catch((error) => error.code);
  await clock.advanceSettled(6_000);
  answer('too late');
  expect(await made).toBe('LEASE_LOST');
  expect(daemon.outcomes).toEqual(['unsettled']);
});

test('an error of the SDK is passed on as it is, thrown or rejected, with what it says about the nonce', async () => {
  const { daemon, clock, calls } = setUp();
  const error = new Error('of the SDK');
  await expect(calls.make(call(() => Promise.reject(error)))).rejects.toBe(error);
  const thrown = () => {
    throw error;
  };
  await expect(calls.make(call(thrown))).rejects.toBe(error);
  expect(daemon.outcomes).toEqual(['unavailable', 'unavailable']);
  expect(clock.timers).toBe(0);
});

test('a timeout of hours does not become a lease that the daemon would refuse', async () => {
  const { daemon, calls } = setUp();
  await calls.make(call(async () => 0, { timeoutMs: 36_000_000 }));
  expect(daemon.turns[0]?.options.ttlMs).toBeLessThanOrEqual(600_000);
});

test.each([
  ['no options', undefined, /call withNonced\(SDK, \{ client \}\)/],
  ['no client', {}, /no client/],
  ['a promise of a client', { client: Promise.resolve() }, /after an await/],
  [
    'an option that does not exist',
    { client: { exclusive() {} }, acount: 'A' },
    /"?acount"?.*client, account, unit, waitMs/,
  ],
])('%s is refused at once', (_, options, message) => {
  const make = () => new PrivateCalls(options as never as { client: Nonced }, new VirtualClock());
  expect(make).toThrow(expect.objectContaining({ code: 'BAD_REQUEST', message: expect.stringMatching(message) }));
});
