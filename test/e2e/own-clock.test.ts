import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { expect } from 'vitest';
import { runNonced } from '../fixtures/daemon-process.ts';
import { daemonPerFile } from '../fixtures/daemon-test.ts';
import { eventually } from '../fixtures/eventually.ts';

const PROGRAM = resolve('build/test/fixtures/own-clock-process.js');
const PROGRAMS = 12;

// Its program gets the streams of the process that runs it.
const test = daemonPerFile({ exchange: { delayMs: [0, 20] } }).extend(
  'exec',
  ({ place }) =>
    (...args: readonly string[]) =>
      runNonced(['exec', '--own-clock', ...args], { NONCED_SOCKET: place.socket }),
);

test(`${PROGRAMS} programs with clocks of their own, at once on one key, are all accepted under exec --own-clock`, async ({
  exec,
  exchange,
}) => {
  const { key, secret } = exchange.addKey({ account: 'MASTER' });
  const program = [process.execPath, PROGRAM, exchange.url, key, secret];
  const runs = await Promise.all(
    Array.from({ length: PROGRAMS }, () => exec('--account', 'MASTER', '--wait', '50s', '--', ...program)),
  );
  expect(runs.map(({ stdout, stderr }) => stdout + stderr)).toEqual(Array(PROGRAMS).fill('[]\n'));
  expect(exchange.report()).toMatchObject({ accepted: PROGRAMS, invalidNonce: 0, maxInFlightPerKey: 1 });
});

test('what others are granted afterwards lies above the nonces that such a program made', async ({
  exec,
  client,
  exchange,
}) => {
  const { key, secret } = exchange.addKey({ account: 'MASTER' });
  const program = [process.execPath, PROGRAM, exchange.url, key, secret];
  const { code } = await exec('--', ...program);
  expect(code).toBe(0);
  const after = await client('after');
  expect(await after.nonce()).toBeGreaterThan(exchange.lastNonce(key));
});

test('exec waits outside the lane for a sequence that is ahead of the clock, and says so if it gives up', async ({
  exec,
  nonced,
  client,
}) => {
  const bot = await client('bot');
  const advance = (by: string) => nonced('advance', '--by', by);
  expect((await advance('2s')).code).toBe(0);
  // No other call is held up meanwhile.
  const waiting = exec('--', 'true');
  await bot.exclusive({ waitMs: 10_000 }, async () => {});
  expect((await waiting).code).toBe(0);
  const { sequences } = await bot.status();
  expect(sequences[0]?.leadMs).toBeLessThan(1_000);
  expect((await advance('1m')).code).toBe(0);
  const refused = await exec('--wait', '100ms', '--', 'true');
  expect(refused.code).toBe(75);
  expect(refused.stderr).toContain('ahead of the clock');
});

test('a program dies with an exec that is killed, before its lease goes to another', async ({ place, client }) => {
  const bot = await client('bot');
  const main = resolve('dist/cli/main.js');
  const program = ['sh', '-c', 'echo $$; exec sleep 600'];
  const exec = spawn(process.execPath, [main, 'exec', '--socket', place.socket, '--', ...program]);
  const [said] = (await once(exec.stdout, 'data')) as [Buffer];
  exec.kill('SIGKILL');
  await bot.exclusive({ waitMs: 10_000 }, async () => {});
  await eventually('the program is gone', () => !existsSync(`/proc/${said.toString().trim()}/exe`));
});
