import { readFileSync, writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import ccxt from 'ccxt';
import { connect } from 'nonced-client';
import { describe, expect } from 'vitest';
import type { FaultAction } from '../../src/rehearsal/exchange-faults.ts';
import type { ApiKey } from '../../src/rehearsal/exchange-keys.ts';
import { type CcxtBotOptions, type CcxtBotReport, krakenObject, runCcxtBot } from '../fixtures/ccxt-bot.ts';
import { daemonPerTest } from '../fixtures/daemon-test.ts';
import { rowsOf } from '../fixtures/effort.ts';
import { eventually } from '../fixtures/eventually.ts';
import { run } from '../fixtures/shell.ts';

const BOT = resolve('build/test/fixtures/ccxt-bot-process.js');

const MARKETS = [
  {
    ...{ id: 'XXBTZUSD', symbol: 'BTC/USD', base: 'BTC', quote: 'USD', baseId: 'XXBT', quoteId: 'ZUSD' },
    ...{ type: 'spot', spot: true, precision: { amount: 1e-8, price: 0.1 }, limits: {}, info: {} },
  },
];

const test = daemonPerTest({ exchange: { delayMs: [0, 5] } })
  .extend('keys', ({ exchange }) => ['MASTER', 'USER:alice'].map((account) => exchange.addKey({ account })))
  .extend('usual', ({ place, exchange, keys }) => {
    return { socket: place.socket, url: exchange.url, keys, calls: 25, publicCalls: 5, timeoutMs: 5_000 };
  })
  .extend('runBot', ({ usual }) => async (options: Partial<CcxtBotOptions>): Promise<CcxtBotReport> => {
    const { code, stdout, stderr } = await run(process.execPath, [BOT, JSON.stringify({ ...usual, ...options })]);
    if (code !== 0) throw new Error(`the bot ended with ${code}: ${stderr}`);
    return JSON.parse(stdout) as CcxtBotReport;
  })
  // Two processes, each with one object for each of the two keys: four clients that know nothing of each other.
  .extend('runTwo', ({ runBot }) => async (options: Partial<CcxtBotOptions>) => {
    const reports = await Promise.all([runBot(options), runBot(options)]);
    return sumOf(reports);
  })
  .extend(
    'grants',
    ({ status }) =>
      async () =>
        (await status()).totals.grants,
  );

function sumOf(reports: readonly CcxtBotReport[]): CcxtBotReport {
  const sum = (of: (report: CcxtBotReport) => number) => reports.reduce((total, report) => total + of(report), 0);
  const texts = new Set(reports.flatMap(({ errors }) => Object.keys(errors)));
  return {
    accepted: sum(({ accepted }) => accepted),
    publicAnswers: sum(({ publicAnswers }) => publicAnswers),
    errors: Object.fromEntries([...texts].map((text) => [text, sum(({ errors }) => errors[text] ?? 0)])),
    placed: reports.flatMap(({ placed }) => placed),
  };
}

describe.each(rowsOf([false, true]))('with streams: %s', (streams) => {
  test('25 concurrent calls of each of 4 clients in 2 processes: none is rejected, one at a time, and public calls need no grant', async ({
    exchange,
    runTwo,
    grants,
  }) => {
    expect(await runTwo({ streams })).toEqual({ accepted: 100, publicAnswers: 20, errors: {}, placed: [] });
    expect(exchange.report()).toMatchObject({ calls: 100, accepted: 100, repeatedNonces: 0, maxInFlightOverall: 1 });
    expect(await grants()).toBe(100);
  });

  test('without the adapter the same calls are rejected', async ({ runTwo }) => {
    const { accepted, errors } = await runTwo({ streams, socket: undefined });
    expect(accepted).toBeLessThan(90);
    expect(errors['InvalidNonce']).toBe(100 - accepted);
  });
});

test('with a lane for each account, one call at a time of each key', async ({ nonced, exchange, runTwo }) => {
  await nonced('set-exclusive', 'account');
  expect(await runTwo({})).toMatchObject({ accepted: 100, errors: {} });
  expect(exchange.report()).toMatchObject({ accepted: 100, maxInFlightPerKey: 1 });
});

test('with maxRetriesOnFailure, resets, stalls and 5xx are tried again, each time with a nonce of its own', async ({
  exchange,
  usual,
  grants,
}) => {
  const faults: readonly FaultAction[] = [
    { kind: 'reset' },
    { kind: 'reset', carriedOut: true },
    { kind: 'status', status: 502 },
    { kind: 'invalid-nonce' },
    { kind: 'stall-body' },
  ];
  for (const fault of faults) {
    // After three in a row the daemon would hold the exchange to be down.
    exchange.injectFault({ ...fault, calls: 2 });
    const report = await runCcxtBot({ ...usual, maxRetries: 2, calls: 5, timeoutMs: 2_000 });
    expect(report).toMatchObject({ accepted: 10, errors: {} });
  }
  const calls = faults.length * (10 + 2);
  expect(exchange.report()).toMatchObject({ calls, repeatedNonces: 0 });
  expect(await grants()).toBe(calls);
});

test('orders are never sent twice, and no order that was placed is reported as certainly failed', async ({
  exchange,
  runTwo,
}) => {
  exchange.injectFault({ kind: 'reset', carriedOut: true, calls: 2 });
  exchange.injectFault({ kind: 'status', status: 503, carriedOut: true, calls: 2 });
  exchange.injectFault({ kind: 'stall-body', calls: 2 });
  exchange.injectFault({ kind: 'hang', calls: 2 });
  const report = await runTwo({ orders: true, maxRetries: 3, calls: 5, timeoutMs: 1_000 });
  const { orders, duplicateOrders } = exchange.report();
  expect(duplicateOrders).toBe(0);
  expect(exchange.report().calls).toBe(20);
  expect(report.accepted).toBe(12);
  expect(orders).toBe(18);
  expect(Object.values(report.errors).reduce((sum, count) => sum + count, 0)).toBe(8);
  expect(Object.keys(report.errors).filter((error) => error.includes('sent false'))).toEqual([]);
});

test('a body that stalls holds the lane no longer than the timeout and 3 s, and the next call goes on', async ({
  place,
  exchange,
  keys,
}) => {
  await using client = await connect({ name: 'stall', socket: place.socket });
  const [key] = keys as [ApiKey];
  const kraken = krakenObject({ url: exchange.url, timeoutMs: 1_000 }, key, client);
  exchange.injectFault({ kind: 'stall-body', calls: 1 });
  const stalled = kraken.request('AddOrder', 'private', 'POST', {
    pair: 'XBTUSD',
    type: 'buy',
    ordertype: 'market',
    volume: '1',
  });
  const failed = expect(stalled).rejects.toThrow(ccxt.RequestTimeout);
  await eventually('the order is placed', () => exchange.report().orders === 1);
  expect(await kraken.request('Balance', 'private', 'POST')).toMatchObject({ error: [] });
  await failed;
});

test('an order that timed out is found by its reference', async ({ place, exchange, keys }) => {
  await using client = await connect({ name: 'look', socket: place.socket });
  const [key] = keys as [ApiKey];
  const kraken = krakenObject({ url: exchange.url, timeoutMs: 1_000 }, key, client);
  kraken.setMarkets(MARKETS);
  exchange.injectFault({ kind: 'hang', carriedOut: true, calls: 1 });
  const placed = kraken.createOrder('BTC/USD', 'limit', 'buy', 1.25, 37_500, { clientOrderId: 'mine' });
  await expect(placed).rejects.toThrow(ccxt.RequestTimeout);
  const { result } = await kraken.request('OpenOrders', 'private', 'POST');
  expect(Object.values(result.open)).toEqual([expect.objectContaining({ cl_ord_id: 'mine' })]);
  const [found] = await kraken.fetchOpenOrders('BTC/USD');
  expect(found?.clientOrderId).toBe('mine');
  expect(exchange.report()).toMatchObject({ orders: 1, duplicateOrders: 0 });
});

test('the code on its page runs as it is, also if an order gets no answer', async ({ place, exchange, keys }) => {
  const page = readFileSync('docs/adapters/ccxt.md', 'utf8');
  const blocks = [...page.matchAll(/```js\n([\s\S]*?)```/g)].map(([, code = '']) => code);
  // ccxt takes its addresses from the object, and the exchange here lists no markets.
  const here = `kraken.urls.api = { public: '${exchange.url}', private: '${exchange.url}' };
    kraken.setMarkets(${JSON.stringify(MARKETS)});\n`;
  const program = resolve('build/page-of-ccxt.mjs');
  writeFileSync(
    program,
    blocks.join('\n').replace(/^const kraken = .*\n/m, (line) => line + here),
  );
  exchange.injectFault({ kind: 'reset', method: 'AddOrder', calls: 1, carriedOut: true });
  const [key] = keys as [ApiKey];
  const env = { NONCED_SOCKET: place.socket, KRAKEN_KEY: key.key, KRAKEN_SECRET: key.secret };
  const { code, stdout, stderr } = await run(process.execPath, [program], env);
  expect(stderr).toBe('');
  expect(code).toBe(0);
  expect(stdout).toMatch(/^\[\]\nfound \[ 'O\w+-\w+-\w+' \]\n$/);
  expect(exchange.report()).toMatchObject({ orders: 1, duplicateOrders: 0, invalidNonce: 0 });
});

describe('if the daemon refuses or is not there, nothing is sent', () => {
  const refused = test
    .extend('bot', async ({ place }, { onCleanup }) => {
      const bot = await connect({ name: 'refused', socket: place.socket, connectTimeoutMs: 200 });
      onCleanup(() => bot.close());
      return bot;
    })
    .extend('kraken', ({ exchange, keys, bot }) =>
      krakenObject({ url: exchange.url, timeoutMs: 1_000, maxRetries: 1 }, keys[0] as ApiKey, bot),
    );

  refused('no daemon: an ExchangeNotAvailable that says so', async ({ daemon, exchange, kraken }) => {
    await daemon.end('SIGKILL');
    const failed = kraken.request('Balance', 'private', 'POST');
    await expect(failed).rejects.toThrow(ccxt.ExchangeNotAvailable);
    await expect(failed).rejects.toMatchObject({ cause: { code: 'UNAVAILABLE', sent: false } });
    expect(exchange.report().calls).toBe(0);
    await kraken.fetchTime();
  });

  refused('another unit: an ExchangeError that says so', async ({ bot }) => {
    const { withNonced } = await import('nonced-client/ccxt');
    const bitso = new (withNonced(ccxt.bitso, { client: bot }))({ apiKey: 'k', secret: 's' });
    const failed = bitso.request('balance', 'private', 'GET');
    await expect(failed).rejects.toThrow(ccxt.ExchangeError);
    await expect(failed).rejects.toMatchObject({ cause: { code: 'UNIT_MISMATCH', sent: false } });
  });

  refused(
    'two objects on one account in one process, one of them inside an exclusive of the bot',
    async ({ exchange, keys, grants, bot, kraken }) => {
      const second = krakenObject({ url: exchange.url, timeoutMs: 1_000 }, keys[0] as ApiKey, bot);
      await Promise.all([
        bot.exclusive({ account: 'MASTER' }, async () => {
          await kraken.request('Balance', 'private', 'POST');
          await kraken.request('OpenOrders', 'private', 'POST');
        }),
        ...Array.from({ length: 5 }, () => second.request('Balance', 'private', 'POST')),
      ]);
      expect(exchange.report()).toMatchObject({ accepted: 7, invalidNonce: 0, maxInFlightOverall: 1 });
      expect(await grants()).toBe(6);
    },
  );
});
