import { readFileSync, writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { describe, expect } from 'vitest';
import { type Nonced, NoncedError } from '../../src/client/index.ts';
import type { ApiKey } from '../../src/rehearsal/exchange-keys.ts';
import { daemonPerTest } from '../fixtures/daemon-test.ts';
import { rowsOf } from '../fixtures/effort.ts';
import { eventually } from '../fixtures/eventually.ts';
import { type Sdk, type SdkBotOptions, type SdkBotReport, sdkClient } from '../fixtures/kraken-sdk-bot.ts';
import { reachExchange } from '../fixtures/kraken-sdk-loopback.ts';
import { run } from '../fixtures/shell.ts';

const BOT = resolve('build/test/fixtures/kraken-sdk-bot-process.js');
/** Runs a program with the SDKs' requests going to the exchange. */
const PAGE = resolve('build/test/fixtures/kraken-sdk-page-process.js');

const test = daemonPerTest({ exchange: { delayMs: [0, 5] } })
  .extend('keys', ({ exchange }) => ['MASTER', 'USER:alice'].map((account) => exchange.addKey({ account })))
  .extend(
    'runBot',
    ({ place, exchange, keys }) =>
      async (options: Partial<SdkBotOptions> & { sdk: Sdk }): Promise<SdkBotReport> => {
        const usual = { socket: place.socket, port: exchange.port, keys, calls: 25, publicCalls: 5, timeoutMs: 5_000 };
        const { code, stdout, stderr } = await run(process.execPath, [BOT, JSON.stringify({ ...usual, ...options })]);
        if (code !== 0) throw new Error(`the bot ended with ${code}: ${stderr}`);
        return JSON.parse(stdout) as SdkBotReport;
      },
  )
  // Two processes, each with one client for each of the two keys: four clients that know nothing of each other.
  .extend('runTwo', ({ runBot }) => async (options: Partial<SdkBotOptions> & { sdk: Sdk }) => {
    const reports = await Promise.all([runBot(options), runBot(options)]);
    return sumOf(reports);
  })
  .extend(
    'grants',
    ({ status }) =>
      async () =>
        (await status()).totals.grants,
  );

function sumOf(reports: readonly SdkBotReport[]): SdkBotReport {
  const sum = (of: (report: SdkBotReport) => number) => reports.reduce((total, report) => total + of(report), 0);
  const texts = new Set(reports.flatMap(({ errors }) => Object.keys(errors)));
  return {
    accepted: sum(({ accepted }) => accepted),
    publicAnswers: sum(({ publicAnswers }) => publicAnswers),
    errors: Object.fromEntries([...texts].map((text) => [text, sum(({ errors }) => errors[text] ?? 0)])),
    placed: reports.flatMap(({ placed }) => placed),
  };
}

describe.each(rowsOf(['node-kraken-api', 'kraken-api'] as const))('%s', (sdk) => {
  test('25 concurrent calls of each of 4 clients in 2 processes: none is rejected, one at a time, and public calls need no grant', async ({
    exchange,
    runTwo,
    grants,
  }) => {
    const report = await runTwo({ sdk });
    expect(report).toMatchObject({ accepted: 100, publicAnswers: 20, errors: {} });
    expect(exchange.report()).toMatchObject({ calls: 100, accepted: 100, repeatedNonces: 0, maxInFlightOverall: 1 });
    expect(await grants()).toBe(100);
  });

  test('with a lane for each account, one call at a time of each key', async ({ nonced, exchange, runTwo }) => {
    await nonced('set-exclusive', 'account');
    expect(await runTwo({ sdk })).toMatchObject({ accepted: 100, errors: {} });
    const bothKeys = Object.values(exchange.report().keys);
    expect(bothKeys.map(({ calls, accepted, maxInFlight }) => [calls, accepted, maxInFlight])).toEqual([
      [50, 50, 1],
      [50, 50, 1],
    ]);
  });

  test('without the adapter the same calls are rejected', async ({ exchange, runTwo }) => {
    const report = await runTwo({ sdk, socket: undefined });
    expect(exchange.report().invalidNonce).toBeGreaterThan(0);
    expect(report.accepted).toBeLessThan(100);
    expect(Object.keys(report.errors).join()).toContain('Invalid nonce');
  });

  test('stalled bodies, resets, hangs and proxies’ errors fail their own calls, and no nonce is sent twice or late', async ({
    exchange,
    runTwo,
  }) => {
    exchange.injectFault({ kind: 'stall-body', calls: 1 });
    exchange.injectFault({ kind: 'reset', calls: 3 });
    exchange.injectFault({ kind: 'reset', calls: 2, carriedOut: true });
    exchange.injectFault({ kind: 'hang', calls: 2 });
    exchange.injectFault({ kind: 'status', status: 502, calls: 3 });
    exchange.injectFault({ kind: 'unavailable', calls: 1 });
    const report = await runTwo({ sdk, calls: 10, timeoutMs: 2_000, orders: true });
    expect(report.accepted).toBe(40 - 12);
    expect(Object.values(report.errors).reduce((sum, count) => sum + count, 0)).toBe(12);
    const seen = exchange.report();
    // Each call was made once, even if its answer was lost.
    expect(seen).toMatchObject({ calls: 40, invalidNonce: 0, repeatedNonces: 0, duplicateOrders: 0 });
    expect(seen.orders).toBe(40 - 9);
    const known = new Set(exchange.orders().map(({ clOrdId }) => clOrdId));
    expect(report.placed.every((reference) => known.has(reference))).toBe(true);
  });

  test('the code on its page runs as it is, also if an order gets no answer', async ({ place, exchange, keys }) => {
    const page = readFileSync(`docs/adapters/${sdk}.md`, 'utf8');
    const blocks = [...page.matchAll(/```js\n([\s\S]*?)```/g)].map(([, code = '']) => code);
    const program = resolve(`build/page-of-${sdk}.mjs`);
    writeFileSync(program, blocks.join('\n'));
    exchange.injectFault({ kind: 'reset', method: 'AddOrder', calls: 1, carriedOut: true });
    const [key] = keys as [ApiKey];
    const env = { NONCED_SOCKET: place.socket, KRAKEN_KEY: key.key, KRAKEN_SECRET: key.secret };
    const { code, stdout, stderr } = await run(process.execPath, [PAGE, String(exchange.port), program], env);
    expect(stderr.replace(/.*(DeprecationWarning|node --trace-deprecation).*\n/g, '')).toBe('');
    expect(code).toBe(0);
    expect(stdout).toContain("ZUSD: '100000.0000'");
    expect(stdout).toMatch(/found \[ 'O\w+-\w+-\w+' \]/);
    expect(exchange.report()).toMatchObject({ orders: 1, duplicateOrders: 0, invalidNonce: 0 });
  });

  describe('in one process', () => {
    const within = test
      .extend('through', async ({ client, exchange }, { onCleanup }) => {
        const connected = await client('bot', 20_000);
        onCleanup(reachExchange(exchange.port));
        return connected;
      })
      .extend('bot', ({ exchange, keys, through }) => (key = keys[0], timeoutMs = 5_000, by = through) => {
        if (key === undefined) throw new Error('no key');
        return sdkClient({ sdk, port: exchange.port, timeoutMs }, key, by);
      });

    const end = (call: Promise<unknown>): Promise<unknown> => call.catch((error: unknown) => error);

    within(
      'calls inside an exclusive of the bot share its lease, one at a time, and public ones need none',
      async ({ exchange, bot, through }) => {
        const kraken = bot();
        await through.exclusive({ account: 'MASTER' }, async () => {
          await Promise.all([kraken.ask('OpenOrders'), kraken.ask('Balance'), kraken.time()]);
          await kraken.ask('CancelAll');
        });
        await kraken.ask('Balance');
        expect(exchange.report()).toMatchObject({ calls: 4, accepted: 4, maxInFlightOverall: 1 });
        expect((await through.status()).totals.grants).toBe(2);
      },
    );

    within(
      'two keys inside an exclusive under lanes by account: the other one is refused, and nothing is sent',
      async ({ nonced, exchange, keys, bot, through }) => {
        await nonced('set-exclusive', 'account');
        const error = await through.exclusive({ account: 'MASTER' }, () => end(bot(keys[1]).ask('Balance')));
        expect(error).toMatchObject({ code: 'NESTED_LANE', sent: false });
        expect(exchange.report().calls).toBe(0);
      },
    );

    within('a client that is closed refuses further calls, and nothing is sent', async ({ exchange, bot, through }) => {
      const kraken = bot();
      await through.close();
      expect(await end(kraken.ask('Balance'))).toMatchObject({ code: 'CANCELLED', sent: false });
      expect(await kraken.time()).toBeDefined();
      expect(exchange.report().calls).toBe(0);
    });

    within(
      'a client that is closed in mid-call ends the call as one that may have arrived',
      async ({ exchange, bot, through }) => {
        exchange.injectFault({ kind: 'delay', delayMs: 300 });
        const call = end(bot().ask('Balance'));
        await eventually('the call arrives', () => exchange.report().calls === 1);
        await through.close();
        expect(await call).toMatchObject({ code: 'LEASE_LOST', sent: 'unknown' });
      },
    );

    within('a daemon killed and started again in mid-call is not noticed', async ({ daemon, exchange, start, bot }) => {
      exchange.injectFault({ kind: 'delay', delayMs: 800, calls: 1 });
      const kraken = bot();
      const calls = [kraken.ask('Balance'), kraken.ask('OpenOrders')];
      await eventually('the call arrives', () => exchange.report().calls === 1);
      await daemon.end('SIGKILL');
      await start();
      await Promise.all(calls);
      expect(exchange.report()).toMatchObject({ calls: 2, accepted: 2, maxInFlightOverall: 1 });
    });

    within(
      'a daemon that stays away: what waits is not sent, and no nonce is made up',
      async ({ daemon, client, exchange, start, keys, bot }) => {
        const impatient = await client('impatient', 300);
        await daemon.end('SIGKILL');
        const error = await end(bot(keys[0], 5_000, impatient).ask('AddOrder', {}));
        expect(error).toBeInstanceOf(NoncedError);
        expect(error).toMatchObject({ code: 'UNAVAILABLE', sent: false });
        expect(exchange.report().calls).toBe(0);
        await start();
      },
    );

    within(
      'a hung call gives its lane back, and an order is not sent again',
      async ({ exchange, keys, bot, through }) => {
        exchange.injectFault({ kind: 'stall-body', calls: 1 });
        const order = { pair: 'XBTUSD', type: 'buy', ordertype: 'limit', price: '1', volume: '1', cl_ord_id: 'one' };
        const [hung, next] = await Promise.all([
          end(bot(keys[0], 200).ask('AddOrder', order)),
          end(bot(keys[0], 200).ask('OpenOrders')),
        ]);
        expect(hung).toBeInstanceOf(Error);
        expect(next).not.toBeInstanceOf(Error);
        expect(exchange.report()).toMatchObject({ calls: 2, accepted: 2, orders: 1, duplicateOrders: 0 });
        expect((await through.status()).totals.leases).toBe(0);
      },
    );

    within(
      'the daemon learns what the exchange said: after three invalid nonces in a row the key is quarantined',
      async ({ exchange, keys, bot }) => {
        const [key] = keys as [ApiKey];
        exchange.useKeyElsewhere(key.key, 2n ** 63n - 1n);
        const errors: string[] = [];
        for (let call = 0; call < 3; call++) errors.push(String(await end(bot().ask('Balance'))));
        expect(errors.every((text) => text.includes('Invalid nonce'))).toBe(true);
        expect(await end(bot().ask('Balance'))).toMatchObject({ code: 'QUARANTINED', sent: false });
        expect(exchange.report().calls).toBe(3);
      },
    );

    within(
      'the daemon learns that the exchange is down, and no more polls are sent to it',
      async ({ exchange, bot }) => {
        exchange.injectFault({ kind: 'status', status: 503, calls: 1 });
        exchange.injectFault({ kind: 'unavailable', calls: 1 });
        exchange.injectFault({ kind: 'reset', calls: 1 });
        for (let call = 0; call < 3; call++) expect(await end(bot().ask('Balance'))).not.toBeInstanceOf(NoncedError);
        expect(await end(bot().ask('Balance'))).toMatchObject({ code: 'EXCHANGE_DOWN', sent: false });
        await bot().ask('CancelAll');
        expect(await bot().ask('Balance')).toBeDefined();
      },
    );

    within('one key under two labels is noticed by its fingerprint', async ({ exchange, keys, bot }) => {
      const [key] = keys as [ApiKey];
      await bot(key).ask('Balance');
      expect(await end(bot({ ...key, account: 'OTHER' }).ask('Balance'))).toMatchObject({
        code: 'KEY_MISMATCH',
        sent: false,
      });
      expect(exchange.report().calls).toBe(1);
    });

    within(
      'a unit that is not the daemon’s is refused before anything is sent',
      async ({ exchange, keys, bot, through }) => {
        const wrong: Nonced = Object.create(through, {
          exclusive: {
            value: (options: object, fn: () => unknown) => through.exclusive({ ...options, unit: 'us' }, fn),
          },
        });
        expect(await end(bot(keys[0], 5_000, wrong).ask('Balance'))).toMatchObject({
          code: 'UNIT_MISMATCH',
          sent: false,
        });
        expect(exchange.report().calls).toBe(0);
      },
    );
  });
});
