import { resolve } from 'node:path';
import { expect } from 'vitest';
import { daemonPerFile } from '../fixtures/daemon-test.ts';

const PROGRAM = resolve('build/test/fixtures/own-clock-process.js');
const PROGRAMS = 12;

const test = daemonPerFile({ exchange: { delayMs: [0, 20] } });

test(`${PROGRAMS} programs with clocks of their own, at once on one key, are all accepted under exec --own-clock`, async ({
  nonced,
  exchange,
}) => {
  const { key, secret } = exchange.addKey({ account: 'MASTER' });
  const program = [process.execPath, PROGRAM, exchange.url, key, secret];
  const runs = await Promise.all(
    Array.from({ length: PROGRAMS }, () =>
      nonced('exec', '--account', 'MASTER', '--own-clock', '--wait', '50s', '--', ...program),
    ),
  );
  expect(runs.map(({ stdout, stderr }) => stdout + stderr)).toEqual(Array(PROGRAMS).fill('[]\n'));
  expect(exchange.report()).toMatchObject({ accepted: PROGRAMS, invalidNonce: 0, maxInFlightPerKey: 1 });
});

test('what others are granted afterwards lies above the nonces that such a program made', async ({
  nonced,
  client,
  exchange,
}) => {
  const { key, secret } = exchange.addKey({ account: 'MASTER' });
  const program = [process.execPath, PROGRAM, exchange.url, key, secret];
  const { code } = await nonced('exec', '--own-clock', '--', ...program);
  expect(code).toBe(0);
  const after = await client('after');
  expect(await after.nonce()).toBeGreaterThan(exchange.lastNonce(key));
});

test('exec waits outside the lane for a sequence that is ahead of the clock, and says so if it gives up', async ({
  nonced,
  client,
}) => {
  const bot = await client('bot');
  const exec = (...options: readonly string[]) => nonced('exec', '--own-clock', ...options, '--', 'true');
  const advance = (by: string) => nonced('advance', '--by', by);
  expect((await advance('2s')).code).toBe(0);
  // No other call is held up meanwhile.
  const waiting = exec();
  await bot.exclusive({ waitMs: 10_000 }, async () => {});
  expect((await waiting).code).toBe(0);
  const { sequences } = await bot.status();
  expect(sequences[0]?.leadMs).toBeLessThan(1_000);
  expect((await advance('1m')).code).toBe(0);
  const refused = await exec('--wait', '100ms');
  expect(refused.code).toBe(75);
  expect(refused.stderr).toContain('ahead of the clock');
});
