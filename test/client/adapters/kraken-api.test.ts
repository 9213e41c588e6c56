import KrakenClient from 'kraken-api';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { withNonced } from '../../../src/client/adapters/kraken-api.ts';
import type { ApiKey } from '../../../src/rehearsal/exchange-keys.ts';
import { type Exchange, startExchange } from '../../fixtures/exchange.ts';
import { Daemonless } from '../../fixtures/kraken-sdk-daemonless.ts';
import { reachExchange } from '../../fixtures/kraken-sdk-loopback.ts';

let exchange: Exchange;
let key: ApiKey;
let daemon: Daemonless;
let restore: () => void;

beforeEach(async () => {
  exchange = await startExchange({ delayMs: [0, 0] });
  key = exchange.addKey({ account: 'MASTER' });
  restore = reachExchange(exchange.port);
  daemon = new Daemonless();
});

afterEach(async () => {
  restore();
  await exchange.close();
});

function bot(settings: object = {}, { key: publicKey, secret }: { key: string; secret: string } = key) {
  const NoncedClient = withNonced(KrakenClient, { client: daemon.client, account: 'MASTER' });
  return new NoncedClient(publicKey, secret, { url: exchange.url, ...settings });
}

test('a private call takes one lease and arrives with exactly the granted 19 digits', async () => {
  expect(await bot().api('Balance')).toMatchObject({ result: { ZUSD: '100000.0000' } });
  expect(exchange.ledger().map(({ nonce, verdict }) => [nonce, verdict])).toEqual([
    [String(daemon.turns[0]?.nonce), 'accepted'],
  ]);
  expect(String(daemon.turns[0]?.nonce)).toHaveLength(19);
  expect(daemon.turns[0]?.options).toMatchObject({ account: 'MASTER', unit: 'ns', label: 'Balance', cost: 1 });
  expect(daemon.outcomes).toEqual(['ok']);
});

test('public calls take no lease', async () => {
  const kraken = bot();
  expect(await kraken.api('Time')).toHaveProperty('result.unixtime');
  expect(await kraken.publicMethod('SystemStatus', {})).toHaveProperty('result.status', 'online');
  await new Promise((resolve) => kraken.api('Time', () => resolve(undefined)));
  expect(daemon.turns).toEqual([]);
  expect(exchange.report().calls).toBe(0);
});

test('concurrent calls of one instance each send the nonce of their own lease', async () => {
  const kraken = bot();
  await Promise.all(Array.from({ length: 20 }, (_, index) => kraken.api('OpenOrders', { userref: index })));
  expect(exchange.ledger().map(({ nonce }) => nonce)).toEqual(daemon.turns.map(({ nonce }) => String(nonce)));
  expect(exchange.report()).toMatchObject({ calls: 20, accepted: 20, repeatedNonces: 0, maxInFlightOverall: 1 });
});

test('parameters of the caller stay as they are; a nonce in them, and what is changed while the call waits, are ignored', async () => {
  const order = { pair: 'XBTUSD', type: 'buy', ordertype: 'limit', price: '1', volume: '2', nonce: '5' };
  const before = { ...order };
  const frozen = Object.freeze({ ...order });
  const kraken = bot({ otp: '123456' });
  const placed = kraken.api('AddOrder', order);
  expect(order).toEqual(before);
  order.volume = '200';
  await placed;
  expect(Object.keys(order)).toEqual(Object.keys(before));
  await kraken.privateMethod('AddOrder', frozen);
  expect(exchange.orders().map(({ volume }) => volume)).toEqual(['2', '2']);
});

describe('a callback', () => {
  test('is called once with the answer, at whichever position it is passed', async () => {
    const kraken = bot();
    const callback = vi.fn();
    await kraken.api('Balance', callback);
    await kraken.api('Balance', {}, callback);
    await kraken.privateMethod('Balance', callback);
    await kraken.privateMethod('Balance', null, callback);
    expect(callback.mock.calls).toEqual(Array(4).fill([null, expect.objectContaining({ error: [] })]));
    expect(daemon.turns).toHaveLength(4);
  });

  test('is called once with the error, and the promise rejects with the same', async () => {
    const callback = vi.fn();
    const error = await bot()
      .api('CancelOrder', { txid: 'none' }, callback)
      .catch((caught) => caught);
    expect(error.message).toBe('Order:Unknown order');
    expect(callback.mock.calls).toEqual([[error, null]]);
  });

  test('gets the error even if nothing awaits the promise', async () => {
    const unhandled = vi.fn();
    process.on('unhandledRejection', unhandled);
    const error = await new Promise<Error | null>((resolve) => void bot().api('CancelOrder', {}, resolve));
    await new Promise((resolve) => setImmediate(resolve));
    process.off('unhandledRejection', unhandled);
    expect(error?.message).toBe('General:Invalid arguments');
    expect(unhandled).not.toHaveBeenCalled();
  });
});

test.each([
  ['no key', { key: undefined, secret: 'c2VjcmV0' }],
  ['no secret', { key: 'key', secret: undefined }],
  ['an empty key', { key: '', secret: 'c2VjcmV0' }],
])('with %s a private call is refused, takes no lease, and nothing is sent', async (_, identity) => {
  const callback = vi.fn();
  const call = bot({}, identity as never as ApiKey).api('Balance', {}, callback);
  await expect(call).rejects.toMatchObject({ code: 'BAD_REQUEST', sent: false });
  expect(callback).toHaveBeenCalledTimes(1);
  expect(daemon.turns).toEqual([]);
  expect(exchange.report().calls).toBe(0);
});

test('a method that the SDK does not know is refused as before', () => {
  expect(() => bot().api('NoMethod')).toThrow('NoMethod is not a valid API method.');
  expect(daemon.turns).toEqual([]);
});

test('a class of the caller keeps its own methods, and anything that is not a class is refused', async () => {
  class Mine extends KrakenClient {
    funds() {
      return this.api('Balance');
    }
  }
  const NoncedMine = withNonced(Mine, { client: daemon.client });
  const mine = new NoncedMine(key.key, key.secret, { url: exchange.url });
  expect(await mine.funds()).toHaveProperty('result.ZUSD');
  expect(mine).toBeInstanceOf(Mine);
  expect(daemon.turns).toHaveLength(1);
  expect(() => withNonced({} as typeof KrakenClient, { client: daemon.client })).toThrow(/no class/);
});

describe('how a call ended', () => {
  test.each([
    ['invalid-nonce', { kind: 'invalid-nonce' }],
    ['unavailable', { kind: 'unavailable' }],
    ['unavailable', { kind: 'busy' }],
    ['unavailable', { kind: 'status', status: 502 }],
    ['unavailable', { kind: 'status', status: 200 }],
    ['rate-limited', { kind: 'status', status: 429 }],
    ['unknown', { kind: 'status', status: 403 }],
    ['unsettled', { kind: 'reset' }],
    ['unsettled', { kind: 'hang' }],
    ['unsettled', { kind: 'stall-body' }],
  ] as const)('is reported as %s after %o, and the call is not made again', async (outcome, fault) => {
    exchange.injectFault(fault);
    // Only a call without an answer gets a short timeout: on a busy machine an answer may take longer.
    const timeout = fault.kind === 'hang' || fault.kind === 'stall-body' ? 1_000 : 60_000;
    await expect(bot({ timeout }).api('Balance')).rejects.toThrow();
    expect(daemon.outcomes).toEqual([outcome]);
    expect(exchange.report().calls).toBe(1);
  });

  test('is reported as ok if Kraken refuses the order and not the nonce', async () => {
    await expect(bot().api('CancelOrder', { txid: 'none' })).rejects.toThrow('Order:Unknown order');
    expect(daemon.outcomes).toEqual(['ok']);
  });

  test('is reported as unavailable if nothing listens', async () => {
    await exchange.close();
    await expect(bot().api('Balance')).rejects.toMatchObject({ code: 'ECONNREFUSED' });
    expect(daemon.outcomes).toEqual(['unavailable']);
  });

  test('is read from each of several errors', async () => {
    const refuse = async () => {
      throw new Error('Order:Insufficient funds, General:Temporary lockout');
    };
    vi.spyOn(KrakenClient.prototype, 'privateMethod').mockImplementation(refuse);
    await expect(bot().api('Balance')).rejects.toThrow();
    vi.restoreAllMocks();
    expect(daemon.outcomes).toEqual(['locked-out']);
  });
});

test('the deadline follows the timeout of the SDK', async () => {
  await bot().api('Balance');
  await bot({ timeout: 1_000 }).api('Balance');
  await bot({ timeout: { request: 1_000 } }).api('Balance');
  expect(daemon.turns.map(({ options }) => options.ttlMs)).toEqual([12_000, 8_000, 12_000]);
});
