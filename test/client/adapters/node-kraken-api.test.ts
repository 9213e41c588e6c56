import { Kraken } from 'node-kraken-api';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { withNonced } from '../../../src/client/adapters/node-kraken-api.ts';
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

function bot(settings: object = {}): Kraken {
  const NoncedKraken = withNonced(Kraken, { client: daemon.client, account: 'MASTER' });
  return new NoncedKraken({ ...key, ...settings });
}

test('a private call takes one lease and arrives with exactly the granted 19 digits', async () => {
  expect(await bot().balance()).toMatchObject({ ZUSD: '100000.0000' });
  expect(exchange.ledger().map(({ nonce, verdict }) => [nonce, verdict])).toEqual([
    [String(daemon.turns[0]?.nonce), 'accepted'],
  ]);
  expect(String(daemon.turns[0]?.nonce)).toHaveLength(19);
  expect(daemon.turns[0]?.options).toMatchObject({ account: 'MASTER', unit: 'ns', label: 'Balance', cost: 1 });
  expect(daemon.outcomes).toEqual(['ok']);
});

test('public calls take no lease, with and without parameters', async () => {
  const kraken = bot();
  expect(await kraken.time()).toHaveProperty('unixtime');
  expect(await kraken.systemStatus()).toMatchObject({ status: 'online' });
  expect(await kraken.request('Time', { any: 'thing' })).toHaveProperty('unixtime');
  expect(daemon.turns).toEqual([]);
  expect(exchange.report().calls).toBe(0);
});

test('a nonce is offered to the SDK for the one request that it was granted for, and to no public one', async () => {
  let ask: (() => unknown) | undefined;
  class Spied extends Kraken {
    constructor(settings: ConstructorParameters<typeof Kraken>[0] = {}) {
      super(settings);
      ask = settings.gennonce;
    }
  }
  const kraken = new (withNonced(Spied, { client: daemon.client }))({ ...key });
  expect(ask?.()).toBe('0');
  await kraken.balance();
  expect(ask?.()).toBe('0');
});

test('concurrent calls of one instance, private and public, each send the nonce of their own lease', async () => {
  const kraken = bot();
  const calls = Array.from({ length: 20 }, (_, index) =>
    index % 4 === 3 ? kraken.request('Time', { n: index }) : kraken.openOrders({ userref: index }),
  );
  await Promise.all(calls);
  expect(exchange.ledger().map(({ nonce }) => nonce)).toEqual(daemon.turns.map(({ nonce }) => String(nonce)));
  expect(exchange.report()).toMatchObject({ calls: 15, accepted: 15, repeatedNonces: 0, maxInFlightOverall: 1 });
});

test('parameters of the caller stay as they are, and what is changed while the call waits is not sent', async () => {
  const order = { pair: 'XBTUSD', type: 'buy', ordertype: 'limit', price: '1', volume: '2', nonce: 'mine' };
  const before = { ...order };
  const frozen = Object.freeze({ ...order });
  const kraken = bot();
  const placed = kraken.request('AddOrder', order, 'private');
  expect(order).toEqual(before);
  order.volume = '200';
  await placed;
  await kraken.addOrder(frozen);
  expect(exchange.orders().map(({ volume }) => volume)).toEqual(['2', '2']);
});

test('the old way to call, with and without a callback', async () => {
  const kraken = bot();
  expect(await kraken.call('Balance')).toHaveProperty('ZUSD');
  const answer = await new Promise((resolve) => kraken.call('Balance', null, (...told: unknown[]) => resolve(told)));
  expect(answer).toEqual([null, expect.objectContaining({ ZUSD: 100000 })]);
  const refused = await new Promise((resolve) =>
    kraken.call('CancelOrder', { txid: 'none' }, (...told: unknown[]) => resolve(told)),
  );
  expect(refused).toEqual([expect.any(Kraken.RESTAPIError), null]);
  expect(daemon.turns).toHaveLength(3);
});

test('a one-time password goes with the call', async () => {
  await bot({ genotp: () => '123456' }).balance();
  expect(exchange.report().accepted).toBe(1);
});

test('without a key a private call is refused by the SDK, and takes no lease', async () => {
  const kraken = new (withNonced(Kraken, { client: daemon.client }))();
  await expect(kraken.balance()).rejects.toBeInstanceOf(Kraken.SettingsError);
  expect(await kraken.time()).toHaveProperty('unixtime');
  expect(daemon.turns).toEqual([]);
});

test('a class of the caller keeps its own methods, and the class its errors', async () => {
  class Mine extends Kraken {
    funds() {
      return this.balance();
    }
  }
  const NoncedMine = withNonced(Mine, { client: daemon.client });
  expect(await new NoncedMine({ ...key }).funds()).toHaveProperty('ZUSD');
  expect(new NoncedMine()).toBeInstanceOf(Mine);
  expect(NoncedMine.RESTAPIError).toBe(Kraken.RESTAPIError);
  expect(daemon.turns).toHaveLength(1);
});

test('a nonce generator of the caller, and anything that is not a class, is refused', () => {
  expect(() => bot({ gennonce: () => 1 })).toThrow(expect.objectContaining({ code: 'BAD_REQUEST' }));
  const module = { Kraken } as unknown as typeof Kraken;
  expect(() => withNonced(module, { client: daemon.client })).toThrow(/no class/);
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
  ] as const)('is reported as %s after %o, and the call is not made again', async (outcome, fault) => {
    exchange.injectFault(fault);
    // Only a call without an answer gets a short timeout: on a busy machine an answer may take longer.
    const timeout = fault.kind === 'hang' ? 1_000 : 60_000;
    await expect(bot({ timeout }).balance()).rejects.toThrow();
    expect(daemon.outcomes).toEqual([outcome]);
    expect(exchange.report().calls).toBe(1);
  });

  test('is reported as ok if Kraken refuses the order and not the nonce', async () => {
    await expect(bot().cancelOrder({ txid: 'none' })).rejects.toThrow('EOrder:Unknown order');
    expect(daemon.outcomes).toEqual(['ok']);
  });

  test('is reported as unavailable if nothing listens', async () => {
    await exchange.close();
    await expect(bot().balance()).rejects.toMatchObject({ code: 'ECONNREFUSED' });
    expect(daemon.outcomes).toEqual(['unavailable']);
  });

  test('is reported as unknown if nothing could be sent', async () => {
    await expect(bot().request('Balance', null, 'private', 'hex' as 'utf8')).rejects.toThrow('encoding');
    expect(daemon.outcomes).toEqual(['unknown']);
  });

  test('is read from what the SDK took for the file that was asked for', async () => {
    const files = ['{"error":["EAPI:Invalid nonce"]}', '{"error":["EQuery:Unknown report"]}', '{no JSON', 'PK\x03\x04'];
    vi.spyOn(Kraken.prototype, 'request').mockImplementation(async () => Buffer.from(files.shift() ?? ''));
    const kraken = bot();
    for (let index = 0; index < 5; index++) await kraken.retrieveExport({ id: 'A' });
    vi.restoreAllMocks();
    expect(daemon.outcomes).toEqual(['invalid-nonce', 'ok', 'ok', 'ok', 'ok']);
  });
});

test('the deadline follows the timeout of the SDK, also when it is changed later', async () => {
  const kraken = bot({ timeout: 3_000 });
  await kraken.balance();
  kraken.timeout = 9_000;
  await kraken.balance();
  expect(daemon.turns.map(({ options }) => options.ttlMs)).toEqual([10_000, 16_000]);
});
