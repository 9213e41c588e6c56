import { expect, test } from 'vitest';
import {
  callTerms,
  EXCHANGES,
  type ExchangeTraits,
  harmsTwice,
  traitsOf,
  unitFor,
} from '../../../src/client/adapters/ccxt-exchanges.ts';
import type { Unit } from '../../../src/terms.ts';
import { bench, type CcxtClass, CREDENTIALS, json, PRO, REST } from '../../fixtures/ccxt-stub.ts';

interface Endpoint {
  readonly api: string | readonly string[];
  readonly method: string;
  readonly path: string;
}

const VERBS = ['get', 'post', 'put', 'patch', 'delete'];

/** All that ccxt declares under an `api` of an exchange. */
function endpoints(declared: object, api: readonly string[] = []): Endpoint[] {
  return Object.entries(declared).flatMap(([name, inner]: [string, object]) => {
    if (!VERBS.includes(name)) return endpoints(inner, [...api, name]);
    const paths = Array.isArray(inner) ? inner.map(String) : Object.keys(inner);
    return paths.map((path) => ({ api: api.length === 1 ? (api[0] ?? '') : api, method: name.toUpperCase(), path }));
  });
}

function allOf(id: string): Endpoint[] {
  const { api } = new (REST[id] as CcxtClass)().describe() as { api?: object };
  return endpoints(api ?? {});
}

/** Those that ccxt signs with a nonce; a value for each placeholder, for some are part of what is signed. */
function privateOf(id: string): Endpoint[] {
  const plain = new (REST[id] as CcxtClass)(CREDENTIALS);
  const own = plain.nonce;
  return allOf(id).filter(({ api, method, path }) => {
    let asked = false;
    plain.nonce = () => {
      asked = true;
      return own.call(plain);
    };
    try {
      plain.sign(path, api, method, valuesFor(path));
    } catch (error) {
      // One that ccxt cannot sign by itself at all.
      if (!(error instanceof TypeError) || asked) throw error;
    }
    return asked;
  });
}

function valuesFor(path: string): Record<string, string> {
  return Object.fromEntries([...path.matchAll(/\{(\w+)\}/g)].map(([, name = '']) => [name, '7']));
}

const IDS = [...EXCHANGES.keys()];
const traits = (id: string) => EXCHANGES.get(id) as ExchangeTraits;
const NONCES: Readonly<Record<Unit, bigint>> = {
  ns: 1_795_364_912_801_000_001n,
  us: 1_795_364_912_801_001n,
  ms: 1_795_364_912_801n,
  s: 1_795_364_912n,
  counter: 7n,
};

test.each(IDS)("%s is one of ccxt's, and its usual unit is the one that ccxt makes by itself", (id) => {
  const plain = new (REST[id] as CcxtClass)();
  const digits = String(plain.nonce()).length;
  // ccxt gives Kraken milliseconds; the daemon's default is nanoseconds, and Kraken takes any.
  if (id === 'kraken') expect([digits, traits(id).units[0]]).toEqual([13, 'ns']);
  else expect(digits).toBe(String(NONCES[traits(id).units[0]]).length);
  expect(traits(id).units).toContain(digits === 13 ? 'ms' : 's');
});

test.each(IDS)('%s: ccxt asks for a nonce if the call is private, and only then', (id) => {
  const asking = new Set(privateOf(id).map(({ api }) => String(api)));
  for (const api of asking) expect(api).toMatch(/private/i);
  expect(asking.size).toBeGreaterThan(0);
});

test.each(IDS.flatMap((id) => traits(id).units.map((unit) => [id, unit] as const)))(
  '%s signs with what was granted in %s, exactly as ccxt would',
  async (id, unit) => {
    const Class = REST[id] as CcxtClass;
    const granted = NONCES[unit];
    const { exchange, grant, transport } = await bench(Class, { unit });
    transport.answer = () => json({});
    const sections = new Map(privateOf(id).map((endpoint) => [`${endpoint.api} ${endpoint.method}`, endpoint]));
    for (const { api, method, path } of sections.values()) {
      const params = valuesFor(path);
      const known = transport.sent.length;
      const answered = exchange.fetch2(path, api, method, params).catch(() => {});
      expect((await grant(granted)).params['unit']).toBe(unit);
      await answered;
      expect(params).toEqual(valuesFor(path));
      const plain = new Class(CREDENTIALS);
      plain.nonce = () => (unit === 'ns' ? String(granted) : Number(granted));
      const { url, body, headers = {} } = plain.sign(path, api, method, params);
      expect(transport.sent[known]).toMatchObject({ url, method, headers });
      expect(transport.sent[known]?.body).toBe(body);
      expect(written(transport.sent[known])).toContain(String(granted));
    }
  },
);

/** All that was sent, with what was in Base64 beside it. */
function written(sent: object | undefined): string {
  const text = JSON.stringify(sent);
  const encoded = [...text.matchAll(/[A-Za-z0-9+/=]{24,}/g)].map(([part]) => Buffer.from(part, 'base64').toString());
  return [text, ...encoded].join('\n');
}

test.each(IDS.filter((id) => PRO[id] !== undefined))('%s with streams signs as it does without', async (id) => {
  const [unit] = traits(id).units;
  const { exchange, grant, transport } = await bench(PRO[id] as CcxtClass);
  const [first] = privateOf(id);
  const answered = exchange
    .fetch2(first?.path, first?.api, first?.method, valuesFor(first?.path ?? ''))
    .catch(() => {});
  await grant(NONCES[unit]);
  await answered;
  expect(written(transport.sent[0])).toContain(String(NONCES[unit]));
});

test('every other exchange of ccxt is refused, with a reason and the list', () => {
  const others = Object.keys(REST).filter((id) => typeof REST[id] === 'function' && !EXCHANGES.has(id));
  expect(others).toEqual(expect.arrayContaining(['krakenfutures', 'coinbase', 'coinbaseexchange', 'binance']));
  for (const id of others) expect(() => traitsOf(id), id).toThrow(/is for kraken, bitfinex/);
  expect(() => traitsOf('krakenfutures')).toThrow('ccxt sends none');
  expect(() => traitsOf('coinbase')).toThrow('time of day');
  expect(() => traitsOf('binance')).toThrow('signs with the time');
  expect(() => traitsOf('constructor')).toThrow('not known');
});

test.each([
  ['exmo', /wants nonces that grow.*inside nonced.exclusive/],
  ['yobit', /2147483646.*inside nonced.exclusive/],
  ['zaif', /decimals.*inside nonced.exclusive/],
  ['btcalpha', /inside nonced.exclusive/],
  ['kuna', /inside nonced.exclusive/],
  ['bitbank', /timeWindow.*ccxt 4.4.*inside nonced.exclusive/],
])('%s is refused with what to use instead', (id, message) => {
  expect(() => traitsOf(id)).toThrow(message);
});

test.each(IDS)('%s: no call that needs no nonce is taken for one that has another', async (id) => {
  const { exchange } = await bench(REST[id] as CcxtClass);
  const asking = new Set(privateOf(id).map(({ api, method, path }) => `${api} ${method} ${path}`));
  for (const { api, method, path } of allOf(id)) {
    if (asking.has(`${api} ${method} ${path}`)) continue;
    try {
      exchange.sign(path, api, method, valuesFor(path));
    } catch (error) {
      // One that ccxt cannot sign by itself at all.
      expect(error, path).toBeInstanceOf(TypeError);
    }
  }
});

test('ccxt signs Kraken Futures without a nonce, and there is none in the class', () => {
  const futures = new (REST['krakenfutures'] as CcxtClass)(CREDENTIALS);
  futures.nonce = () => {
    throw new Error('asked');
  };
  expect(futures.sign('accounts', 'private', 'GET', {}).headers).not.toHaveProperty('Nonce');
});

test('a unit that the exchange must never be sent is refused', () => {
  expect(unitFor('kraken', traits('kraken'), 'us')).toBe('us');
  expect(unitFor('kraken', traits('kraken'), undefined)).toBe('ns');
  expect(() => unitFor('bitso', traits('bitso'), 'ns')).toThrow('bitso takes nonces in ms, not in ns');
  expect(() => unitFor('bitfinex', traits('bitfinex'), 'ns')).toThrow('bitfinex takes nonces in ms, us');
});

test('no nonce of a unit that Bitfinex takes is above 2^53 - 1, nor one that Coincheck takes above 2^63 - 1', () => {
  for (const unit of traits('bitfinex').units) expect(NONCES[unit]).toBeLessThan(2n ** 53n);
  for (const unit of traits('coincheck').units) expect(NONCES[unit]).toBeLessThan(2n ** 63n);
});

const URGENT: Readonly<Record<string, readonly string[]>> = {
  kraken: [
    'AddOrder',
    'AmendOrder',
    'CancelOrder',
    'CancelAll',
    'CancelAllOrdersAfter',
    'AddOrderBatch',
    'CancelOrderBatch',
    'EditOrder',
  ],
  bitfinex: [
    ...['submit', 'update', 'cancel', 'multi', 'cancel/multi'].map((name) => `auth/w/order/${name}`),
    ...['submit', 'cancel', 'cancel/all'].map((name) => `auth/w/funding/offer/${name}`),
  ],
  bitso: ['orders', 'orders', 'orders/{oid}', 'orders/all', 'orders', 'orders/{oid}'],
  coincheck: ['exchange/orders', 'exchange/orders/{id}'],
  bit2c: ['AddOrder', 'AddOrderMarketPriceBuy', 'AddOrderMarketPriceSell', 'CancelOrder', 'AddStopOrder'].map(
    (name) => `Order/${name}`,
  ),
  btcbox: ['trade_add', 'trade_cancel'],
  coinmate: [
    ...['buyInstant', 'buyLimit', 'cancelOrder', 'cancelOrderWithInfo', 'replaceByBuyLimit', 'replaceByBuyInstant'],
    ...['replaceBySellLimit', 'replaceBySellInstant', 'sellInstant', 'sellLimit', 'cancelAllOpenOrders'],
  ],
  independentreserve: ['PlaceLimitOrder', 'PlaceMarketOrder', 'CancelOrder', 'CancelOrders'],
  mercado: ['cancel_order', 'place_buy_order', 'place_sell_order', 'place_market_buy_order', 'place_market_sell_order'],
  p2b: ['order/new', 'order/cancel'],
  paymium: ['user/orders', 'user/orders/{uuid}', 'user/orders/{uuid}/cancel'],
};

test.each(Object.entries(URGENT))('of %s, orders and cancels are urgent, and nothing else', (id, paths) => {
  const urgent = privateOf(id).filter(
    ({ method, path }) => callTerms(id, traits(id), method, path).priority === 'urgent',
  );
  expect(urgent.map(({ path }) => path).sort()).toEqual([...paths].sort());
});

test.each(IDS)('%s: each cancel is urgent and may be made twice, each order is urgent and may not', (id) => {
  const all = privateOf(id).filter(({ method }) => method !== 'GET');
  const cancels = all
    .filter(({ method, path }) => /cancel/i.test(path) || (method === 'DELETE' && path.includes('orders')))
    .filter(({ path }) => !/clearing|Withdraw/.test(path));
  expect(cancels.length).toBeGreaterThan(0);
  for (const { method, path } of cancels) {
    expect(callTerms(id, traits(id), method, path).priority, path).toBe('urgent');
    expect(harmsTwice(traits(id), method, path), path).toBe(false);
  }
  const orders = all.filter(({ method, path }) => harmsTwice(traits(id), method, path));
  expect(orders.some(({ method, path }) => callTerms(id, traits(id), method, path).priority === 'urgent')).toBe(true);
});

test.each(IDS)('%s: what reads balances and history can wait', (id) => {
  const background = privateOf(id).filter(
    ({ method, path }) => callTerms(id, traits(id), method, path).priority === 'background',
  );
  expect(background.map(({ path }) => path).join(' ')).toMatch(/balance|wallet|accounts|account_info|^user$/i);
  for (const { method, path } of background) expect(harmsTwice(traits(id), method, path), path).toBe(false);
});

test('money that is sent is not sent again, and what only looks is', () => {
  const twice = (id: string, path: string, method = 'POST') => harmsTwice(traits(id), method, path);
  for (const path of ['Withdraw', 'WalletTransfer', 'AccountTransfer', 'Earn/Allocate'])
    expect(twice('kraken', path), path).toBe(true);
  for (const path of [
    'WithdrawStatus',
    'WithdrawInfo',
    'Balance',
    'OpenOrders',
    'QueryOrders',
    'Earn/AllocateStatus',
  ]) {
    expect(twice('kraken', path), path).toBe(false);
  }
  expect(twice('bitfinex', 'auth/w/withdraw')).toBe(true);
  expect(twice('coincheck', 'send_money')).toBe(true);
  expect(twice('coincheck', 'send_money', 'GET')).toBe(false);
  expect(twice('gemini', 'v1/orders')).toBe(false);
});
