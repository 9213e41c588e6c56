import { resolve } from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { connect } from '../../src/client/index.ts';
import { type DaemonProcess, daemonPlace, runNonced, startDaemonProcess } from '../fixtures/daemon-process.ts';
import { type Exchange, startExchange } from '../fixtures/exchange.ts';

const PROGRAM = resolve('build/test/fixtures/own-clock-process.js');
const PROGRAMS = 12;

const place = daemonPlace();
let daemon: DaemonProcess;
let exchange: Exchange;

beforeAll(async () => {
  daemon = await startDaemonProcess(place);
});

afterAll(async () => {
  await daemon.end('SIGTERM');
  await exchange.close();
  place.remove();
});

beforeEach(async () => {
  await exchange?.close();
  exchange = await startExchange({ delayMs: [0, 20] });
});

test(`${PROGRAMS} programs with clocks of their own, at once on one key, are all accepted under exec --own-clock`, async () => {
  const { key, secret } = exchange.addKey({ account: 'MASTER' });
  const program = [process.execPath, PROGRAM, exchange.url, key, secret];
  const runs = await Promise.all(
    Array.from({ length: PROGRAMS }, () =>
      runNonced([
        'exec',
        '--account',
        'MASTER',
        '--own-clock',
        '--wait',
        '50s',
        '--socket',
        place.socket,
        '--',
        ...program,
      ]),
    ),
  );
  expect(runs.map(({ stdout, stderr }) => stdout + stderr)).toEqual(Array(PROGRAMS).fill('[]\n'));
  expect(exchange.report()).toMatchObject({ accepted: PROGRAMS, invalidNonce: 0, maxInFlightPerKey: 1 });
});

test('what others are granted afterwards lies above the nonces that such a program made', async () => {
  const { key, secret } = exchange.addKey({ account: 'MASTER' });
  const program = [process.execPath, PROGRAM, exchange.url, key, secret];
  const { code } = await runNonced(['exec', '--own-clock', '--socket', place.socket, '--', ...program]);
  expect(code).toBe(0);
  await using nonced = await connect({ name: 'after', socket: place.socket });
  expect(await nonced.nonce()).toBeGreaterThan(exchange.lastNonce(key));
});

test('a sequence that is ahead of the clock is waited for outside the lane, and past the wait it is said why', async () => {
  await using nonced = await connect({ name: 'ahead', socket: place.socket });
  const exec = (...options: readonly string[]) =>
    runNonced(['exec', '--own-clock', '--socket', place.socket, ...options, '--', 'true']);
  const advance = (by: string) => runNonced(['advance', '--by', by, '--socket', place.socket]);
  expect((await advance('2s')).code).toBe(0);
  // Nobody else is held up meanwhile.
  const waiting = exec();
  await nonced.exclusive({ waitMs: 10_000 }, async () => {});
  expect((await waiting).code).toBe(0);
  const { sequences } = await nonced.status();
  expect(sequences[0]?.leadMs).toBeLessThan(1_000);
  expect((await advance('1m')).code).toBe(0);
  const refused = await exec('--wait', '100ms');
  expect(refused.code).toBe(75);
  expect(refused.stderr).toContain('ahead of the clock');
});
