import { readFileSync, writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { connect, type Nonced, NoncedError } from '../../src/client/index.ts';
import type { ApiKey } from '../../src/rehearsal/exchange-keys.ts';
import { type DaemonProcess, daemonPlace, runNonced, startDaemonProcess } from '../fixtures/daemon-process.ts';
import { rowsOf } from '../fixtures/effort.ts';
import { eventually } from '../fixtures/eventually.ts';
import { type Exchange, startExchange } from '../fixtures/exchange.ts';
import { type Sdk, type SdkBotOptions, type SdkBotReport, sdkClient } from '../fixtures/kraken-sdk-bot.ts';
import { reachExchange } from '../fixtures/kraken-sdk-loopback.ts';
import { run } from '../fixtures/shell.ts';

const BOT = resolve('build/test/fixtures/kraken-sdk-bot-process.js');
/** Runs a program with the SDKs' requests going to the exchange. */
const PAGE = resolve('build/test/fixtures/kraken-sdk-page-process.js');

let place: ReturnType<typeof daemonPlace>;
let daemon: DaemonProcess;
let exchange: Exchange;
let keys: ApiKey[];

beforeEach(async () => {
  place = daemonPlace();
  daemon = await startDaemonProcess(place);
  exchange = await startExchange({ delayMs: [0, 5] });
  keys = ['MASTER', 'USER:alice'].map((account) => exchange.addKey({ account }));
});

afterEach(async () => {
  await daemon.end('SIGTERM');
  await exchange.close();
  place.remove();
});

async function runBot(options: Partial<SdkBotOptions> & { sdk: Sdk }): Promise<SdkBotReport> {
  const { port } = exchange;
  const whole: SdkBotOptions = {
    socket: place.socket,
    port,
    keys,
    calls: 25,
    publicCalls: 5,
    timeoutMs: 5_000,
    ...options,
  };
  const { code, stdout, stderr } = await run(process.execPath, [BOT, JSON.stringify(whole)]);
  if (code !== 0) throw new Error(`the bot ended with ${code}: ${stderr}`);
  return JSON.parse(stdout) as SdkBotReport;
}

/** Two processes, each with one client for each of the two keys: four clients that do not know of one another. */
async function runTwo(options: Partial<SdkBotOptions> & { sdk: Sdk }): Promise<SdkBotReport> {
  const reports = await Promise.all([runBot(options), runBot(options)]);
  const sum = (of: (report: SdkBotReport) => number) => reports.reduce((total, report) => total + of(report), 0);
  const texts = new Set(reports.flatMap(({ errors }) => Object.keys(errors)));
  return {
    accepted: sum(({ accepted }) => accepted),
    publicAnswers: sum(({ publicAnswers }) => publicAnswers),
    errors: Object.fromEntries([...texts].map((text) => [text, sum(({ errors }) => errors[text] ?? 0)])),
    placed: reports.flatMap(({ placed }) => placed),
  };
}

async function grants(): Promise<number> {
  await using client = await connect({ socket: place.socket });
  return (await client.status()).totals.grants;
}

describe.each(rowsOf(['node-kraken-api', 'kraken-api'] as const))('%s', (sdk) => {
  test('25 concurrent calls of each of 4 clients in 2 processes: none rejected, one at a time, public ones ungranted', async () => {
    const report = await runTwo({ sdk });
    expect(report).toMatchObject({ accepted: 100, publicAnswers: 20, errors: {} });
    expect(exchange.report()).toMatchObject({ calls: 100, accepted: 100, repeatedNonces: 0, maxInFlightOverall: 1 });
    expect(await grants()).toBe(100);
  });

  test('with a lane for each account, one call at a time of each key', async () => {
    await runNonced(['set-exclusive', 'account', '--socket', place.socket]);
    expect(await runTwo({ sdk })).toMatchObject({ accepted: 100, errors: {} });
    const bothKeys = Object.values(exchange.report().keys);
    expect(bothKeys.map(({ calls, accepted, maxInFlight }) => [calls, accepted, maxInFlight])).toEqual([
      [50, 50, 1],
      [50, 50, 1],
    ]);
  });

  test('without the adapter the same calls are rejected', async () => {
    const report = await runTwo({ sdk, socket: undefined });
    expect(exchange.report().invalidNonce).toBeGreaterThan(0);
    expect(report.accepted).toBeLessThan(100);
    expect(Object.keys(report.errors).join()).toContain('Invalid nonce');
  });

  test('stalled bodies, resets, hangs and proxies’ errors fail their own calls, and no nonce is sent twice or late', async () => {
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
    // Each call was made once, also those whose answer got lost.
    expect(seen).toMatchObject({ calls: 40, invalidNonce: 0, repeatedNonces: 0, duplicateOrders: 0 });
    expect(seen.orders).toBe(40 - 9);
    const known = new Set(exchange.orders().map(({ clOrdId }) => clOrdId));
    expect(report.placed.every((reference) => known.has(reference))).toBe(true);
  });

  test('what its page shows runs as it stands, also where an order got no answer', async () => {
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
    let client: Nonced;
    let restore: () => void;

    beforeEach(async () => {
      client = await connect({ name: 'bot', socket: place.socket, connectTimeoutMs: 20_000 });
      restore = reachExchange(exchange.port);
    });

    afterEach(async () => {
      restore();
      await client.close();
    });

    const bot = (key = keys[0], timeoutMs = 5_000, through = client) => {
      if (key === undefined) throw new Error('no key');
      return sdkClient({ sdk, port: exchange.port, timeoutMs }, key, through);
    };

    const end = (call: Promise<unknown>): Promise<unknown> => call.catch((error: unknown) => error);

    test('calls inside an exclusive of the bot share its turn, one at a time, and public ones are free', async () => {
      const kraken = bot();
      await client.exclusive({ account: 'MASTER' }, async () => {
        await Promise.all([kraken.ask('OpenOrders'), kraken.ask('Balance'), kraken.time()]);
        await kraken.ask('CancelAll');
      });
      await kraken.ask('Balance');
      expect(exchange.report()).toMatchObject({ calls: 4, accepted: 4, maxInFlightOverall: 1 });
      expect((await client.status()).totals.grants).toBe(2);
    });

    test('two keys inside an exclusive under lanes by account: the other one is refused, and nothing is sent', async () => {
      await runNonced(['set-exclusive', 'account', '--socket', place.socket]);
      const error = await client.exclusive({ account: 'MASTER' }, () => end(bot(keys[1]).ask('Balance')));
      expect(error).toMatchObject({ code: 'NESTED_LANE', sent: false });
      expect(exchange.report().calls).toBe(0);
    });

    test('a client that is closed refuses further calls, and nothing is sent', async () => {
      const kraken = bot();
      await client.close();
      expect(await end(kraken.ask('Balance'))).toMatchObject({ code: 'CANCELLED', sent: false });
      expect(await kraken.time()).toBeDefined();
      expect(exchange.report().calls).toBe(0);
    });

    test('a client that is closed in mid-call ends the call as one that may have arrived', async () => {
      exchange.injectFault({ kind: 'delay', delayMs: 300 });
      const call = end(bot().ask('Balance'));
      await eventually('the call arrives', () => exchange.report().calls === 1);
      await client.close();
      expect(await call).toMatchObject({ code: 'LEASE_LOST', sent: 'unknown' });
    });

    test('a daemon killed and started again in mid-call is not noticed', async () => {
      exchange.injectFault({ kind: 'delay', delayMs: 800, calls: 1 });
      const kraken = bot();
      const calls = [kraken.ask('Balance'), kraken.ask('OpenOrders')];
      await eventually('the call arrives', () => exchange.report().calls === 1);
      await daemon.end('SIGKILL');
      daemon = await startDaemonProcess(place);
      await Promise.all(calls);
      expect(exchange.report()).toMatchObject({ calls: 2, accepted: 2, maxInFlightOverall: 1 });
    });

    test('a daemon that stays away: what waits is not sent, and no nonce is made up', async () => {
      await using impatient = await connect({ socket: place.socket, connectTimeoutMs: 300 });
      await daemon.end('SIGKILL');
      const error = await end(bot(keys[0], 5_000, impatient).ask('AddOrder', {}));
      expect(error).toBeInstanceOf(NoncedError);
      expect(error).toMatchObject({ code: 'UNAVAILABLE', sent: false });
      expect(exchange.report().calls).toBe(0);
      daemon = await startDaemonProcess(place);
    });

    test('a hung call gives its lane back, and an order is not sent again', async () => {
      exchange.injectFault({ kind: 'stall-body', calls: 1 });
      const order = { pair: 'XBTUSD', type: 'buy', ordertype: 'limit', price: '1', volume: '1', cl_ord_id: 'one' };
      const [hung, next] = await Promise.all([
        end(bot(keys[0], 200).ask('AddOrder', order)),
        end(bot(keys[0], 200).ask('OpenOrders')),
      ]);
      expect(hung).toBeInstanceOf(Error);
      expect(next).not.toBeInstanceOf(Error);
      expect(exchange.report()).toMatchObject({ calls: 2, accepted: 2, orders: 1, duplicateOrders: 0 });
      expect((await client.status()).totals.leases).toBe(0);
    });

    test('the daemon hears what the exchange said: three invalid nonces in a row, and the key is left alone', async () => {
      const [key] = keys as [ApiKey];
      exchange.useKeyElsewhere(key.key, 2n ** 63n - 1n);
      const errors: string[] = [];
      for (let call = 0; call < 3; call++) errors.push(String(await end(bot().ask('Balance'))));
      expect(errors.every((text) => text.includes('Invalid nonce'))).toBe(true);
      expect(await end(bot().ask('Balance'))).toMatchObject({ code: 'QUARANTINED', sent: false });
      expect(exchange.report().calls).toBe(3);
    });

    test('the daemon hears that the exchange is away, and polls are no longer sent to it', async () => {
      exchange.injectFault({ kind: 'status', status: 503, calls: 1 });
      exchange.injectFault({ kind: 'unavailable', calls: 1 });
      exchange.injectFault({ kind: 'reset', calls: 1 });
      for (let call = 0; call < 3; call++) expect(await end(bot().ask('Balance'))).not.toBeInstanceOf(NoncedError);
      expect(await end(bot().ask('Balance'))).toMatchObject({ code: 'EXCHANGE_DOWN', sent: false });
      await bot().ask('CancelAll');
      expect(await bot().ask('Balance')).toBeDefined();
    });

    test('one key under two labels is noticed by its fingerprint', async () => {
      const [key] = keys as [ApiKey];
      await bot(key).ask('Balance');
      expect(await end(bot({ ...key, account: 'OTHER' }).ask('Balance'))).toMatchObject({
        code: 'KEY_MISMATCH',
        sent: false,
      });
      expect(exchange.report().calls).toBe(1);
    });

    test('a unit that is not the daemon’s is refused before anything is sent', async () => {
      const wrong: Nonced = Object.create(client, {
        exclusive: { value: (options: object, fn: () => unknown) => client.exclusive({ ...options, unit: 'us' }, fn) },
      });
      expect(await end(bot(keys[0], 5_000, wrong).ask('Balance'))).toMatchObject({
        code: 'UNIT_MISMATCH',
        sent: false,
      });
      expect(exchange.report().calls).toBe(0);
    });
  });
});
