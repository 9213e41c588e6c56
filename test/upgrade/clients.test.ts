import { resolve } from 'node:path';
import { afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { connect, type ExclusiveOptions } from '../../src/client/index.ts';
import {
  type DaemonPlace,
  type DaemonProcess,
  daemonPlace,
  NONCED,
  startDaemonProcess,
} from '../fixtures/daemon-process.ts';
import { type Exchange, startExchange } from '../fixtures/exchange.ts';
import { run } from '../fixtures/shell.ts';
import { Bot, isIncreasing, LANGUAGES, withoutPython } from './bots.ts';
import { BUILD_MS, cannotBuild, type Installed, installLastRelease } from './releases.ts';

const skipped = cannotBuild && ` (skipped: ${cannotBuild})`;

const CHECKOUT = {
  main: NONCED,
  nodeClient: resolve('clients/node/esm/index.mjs'),
  pythonClient: resolve('clients/python'),
};

describe.skipIf(cannotBuild !== '')(`clients and daemons of two versions${skipped}${withoutPython}`, () => {
  let lastRelease: Installed;
  let exchange: Exchange;
  let place: DaemonPlace;
  let daemon: DaemonProcess;
  let bots: Bot[];

  beforeAll(async () => {
    lastRelease = await installLastRelease();
  }, BUILD_MS);

  beforeEach(async () => {
    exchange = await startExchange();
    place = daemonPlace();
    bots = [];
  });

  afterEach(async () => {
    for (const bot of bots) bot.kill();
    await daemon?.end('SIGKILL');
    await exchange.close();
    place.remove();
  });

  const programs = { 'the last release': () => lastRelease, 'this checkout': () => CHECKOUT };
  type Version = keyof typeof programs;

  async function start(version: Version): Promise<void> {
    daemon = await startDaemonProcess(place, { program: programs[version]().main });
  }

  /** One in each language, with two accounts of its own and a third whose lease it holds. */
  async function startBots(version: Version): Promise<void> {
    for (const language of LANGUAGES) {
      const name = `${language}-${version}`.replaceAll(/[ .]/g, '-');
      const keys = ['A', 'B'].map((letter) => exchange.addKey({ account: `${name}:${letter}` }));
      bots.push(
        await Bot.start(language, programs[version](), {
          name,
          socket: place.socket,
          url: exchange.url,
          keys,
          hold: `${name}:HELD`,
        }),
      );
    }
  }

  async function nonced(version: Version, ...args: string[]): Promise<string> {
    const { code, stdout, stderr } = await run(process.execPath, [programs[version]().main, ...args], {
      NONCED_SOCKET: place.socket,
    });
    if (code !== 0) throw new Error(`nonced ${args.join(' ')} of ${version} exits ${code}: ${stderr}`);
    return stdout;
  }

  async function allIsWell(): Promise<void> {
    for (const bot of bots) {
      expect(await bot.release()).toBe(true);
      await bot.stop();
      expect(bot.failures).toEqual([]);
      expect(isIncreasing(bot.held)).toBe(true);
    }
    expect(exchange.report()).toMatchObject({ invalidNonce: 0, repeatedNonces: 0, maxInFlightPerKey: 1, abandoned: 0 });
  }

  test.each<[clients: Version, daemon: Version]>([
    ['the last release', 'this checkout'],
    ['this checkout', 'the last release'],
  ])(
    'clients of %s with a daemon of %s: calls are made and leases are held, over a crash too',
    async (clients, version) => {
      await start(version);
      // Under any other policy the leases that are held would keep all other accounts waiting.
      await nonced(clients, 'set-exclusive', 'account');
      await startBots(clients);
      await Promise.all(bots.map((bot) => bot.goesOn()));
      await daemon.end('SIGKILL');
      await start(version);
      await Promise.all(bots.map((bot) => bot.goesOn()));
      expect(BigInt(await nonced(clients, 'nonce'))).toBeGreaterThan(0n);
      expect(JSON.parse(await nonced(clients, 'status', '--json'))).toMatchObject({ exclusive: 'account' });
      expect(await nonced(clients, 'exec', '--account', 'A', '--', 'sh', '-c', 'echo "$NONCED_NONCE"')).toMatch(
        /^\d{19}$/m,
      );
      await allIsWell();
    },
  );

  test('a client of this checkout tells a daemon of the last release nothing that it does not know', async () => {
    await start('the last release');
    const client = await connect({ socket: place.socket });
    try {
      const nested = (options: ExclusiveOptions) =>
        client.exclusive({ account: 'A', unit: 'ns', key: 'fedcba9876543210', outcome: () => 'ok' }, (outer) =>
          client.exclusive({ account: 'A', ...options }, (inner) => inner.nonce > outer.nonce),
        );
      expect(await nested({ outcome: () => 'ok', label: 'nested' })).toBe(true);
      await expect(nested({ unit: 'ns' })).rejects.toMatchObject({ code: 'UNSUPPORTED' });
      await daemon.end('SIGKILL');
      await start('this checkout');
      expect(await nested({ unit: 'ns', key: 'fedcba9876543210' })).toBe(true);
      await expect(nested({ unit: 'ms' })).rejects.toMatchObject({ code: 'UNIT_MISMATCH' });
    } finally {
      await client.close();
    }
  });

  test('each daemon goes on with the state and the leases that the other has left', async () => {
    await start('the last release');
    await nonced('this checkout', 'set-exclusive', 'account');
    await startBots('the last release');
    await startBots('this checkout');
    for (const [signal, version] of [
      ['SIGTERM', 'this checkout'],
      ['SIGKILL', 'the last release'],
      ['SIGKILL', 'this checkout'],
      ['SIGTERM', 'the last release'],
    ] as const) {
      await daemon.end(signal);
      await start(version);
      await Promise.all(bots.map((bot) => bot.goesOn()));
    }
    await allIsWell();
  });
});
