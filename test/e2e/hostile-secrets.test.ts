import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { ApiKey } from '../../src/rehearsal/exchange-keys.ts';
import { runBots } from '../fixtures/bot-processes.ts';
import {
  type DaemonPlace,
  type DaemonProcess,
  daemonPlace,
  runNonced,
  startDaemonProcess,
} from '../fixtures/daemon-process.ts';
import { startExchange } from '../fixtures/exchange.ts';
import { RawConnection } from '../fixtures/raw-connection.ts';
import { hasProgram, run } from '../fixtures/shell.ts';

// A daemon that has been at work, with a log of everything, for bots whose key it must never have seen.

let place: DaemonPlace;
let daemon: DaemonProcess;
let key: ApiKey;
/** A client that has told a session and still holds its lease. */
let holder: RawConnection;
let token: string;
const session = createHash('sha256').update('a session of a test').digest('hex').slice(0, 32);
/** What somebody has put into fields where it does not belong. */
const misplaced = 'kQH5HW/8p1uGOVjbgWA7FunAmGO8lsSUXNsu3eow76sz84Q18fWxnyRzBHCd';

beforeAll(async () => {
  place = daemonPlace();
  daemon = await startDaemonProcess(place, { args: ['--log-level', 'debug'] });
  const exchange = await startExchange();
  key = exchange.addKey({ account: 'MASTER' });
  const [report] = await runBots([
    { name: 'bot', socket: place.socket, url: exchange.url, accounts: [key], calls: 20, concurrency: 4 },
  ]);
  expect(report).toMatchObject({ accepted: 20, failed: 0 });
  await exchange.close();
  holder = await RawConnection.open(place.socket);
  await holder.ask('hello', { name: 'holder', session });
  ({ token } = (await holder.ask('acquire', { account: 'MASTER', ttlMs: 600_000 })) as { token: string });
});

afterAll(async () => {
  holder.destroy();
  await daemon.end('SIGKILL');
  place.remove();
});

/** Nothing of the secrets, whole or in the part that would give them away; `what` says where it was looked for. */
function expectNoSecret(text: string | Buffer, what: string, secrets: Readonly<Record<string, string>>): void {
  for (const [name, secret] of Object.entries(secrets)) {
    expect(text.includes(secret.slice(0, 16)), `${name} in ${what}`).toBe(false);
  }
}

/** A nonce in nanoseconds may begin with the same digits. */
function expectNoToken(text: string): void {
  expect(text).not.toMatch(new RegExp(`\\b${token}\\b`));
}

const ofTheBot = () => ({ 'the API key': key.key, 'the API secret': key.secret });

test('neither keys, sessions nor tokens are in the log, however much it says', async () => {
  await daemon.says('granted');
  expectNoSecret(daemon.log(), 'the log', { ...ofTheBot(), session });
  expectNoToken(daemon.log());
});

test('neither keys, sessions nor tokens are in what status and why tell, to bots and operators', async () => {
  for (const socket of [place.socket, place.adminSocket]) {
    for (const args of [['status'], ['status', '--json'], ['why', 'MASTER'], ['why', 'MASTER', '--json']]) {
      const { code, stdout } = await runNonced([...args, '--socket', socket]);
      expect([code, stdout === '']).toEqual([0, false]);
      expectNoSecret(stdout, args.join(' '), { ...ofTheBot(), session });
      expectNoToken(stdout);
    }
  }
});

test('neither keys nor sessions are in any file of the daemon, which nobody else may read anyway', () => {
  for (const dir of [place.stateDir, place.runtimeDir]) {
    for (const name of readdirSync(dir)) {
      const path = join(dir, name);
      if (!statSync(path).isFile()) continue;
      const bytes = readFileSync(path);
      expectNoSecret(bytes, path, { ...ofTheBot(), session });
      expect(bytes.includes(Buffer.from(session, 'hex')), path).toBe(false);
      expect(statSync(path).mode & 0o077, path).toBe(0);
    }
  }
});

test('a secret in the wrong field is not told back, logged or noted', async () => {
  const clumsy = await RawConnection.open(place.socket);
  const attempts: readonly (readonly [method: string, params: object])[] = [
    ['hello', { session: misplaced }],
    ['acquire', { key: misplaced }],
    ['acquire', { key: misplaced.slice(0, 16) }],
  ];
  for (const [method, params] of attempts) {
    const { message } = await clumsy.refusal(clumsy.request(method, params));
    expectNoSecret(message, `the refusal of ${method}`, { misplaced });
  }
  clumsy.destroy();
  expectNoSecret(daemon.log(), 'the log', { misplaced });
  expectNoSecret(readFileSync(join(place.stateDir, 'state.json')), 'the state', { misplaced });
});

test.skipIf(!hasProgram('gcore'))(
  'a core of the daemon has neither key nor secret in it: they never came',
  async () => {
    const core = join(place.dir, 'core');
    const dumped = await run('gcore', ['-o', core, String(daemon.pid)]);
    const path = `${core}.${daemon.pid}`;
    try {
      expect(dumped.code, dumped.stderr).toBe(0);
      const bytes = readFileSync(path);
      // The label did come, so that this is the memory of the daemon that was asked.
      expect(bytes.includes('MASTER')).toBe(true);
      expectNoSecret(bytes, 'a core', ofTheBot());
      // As text and as the bytes it stands for.
      expect(bytes.includes(Buffer.from(key.secret, 'base64').subarray(0, 16))).toBe(false);
    } finally {
      rmSync(path, { force: true });
    }
  },
);
