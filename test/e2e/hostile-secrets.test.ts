import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import type { ApiKey } from '../../src/rehearsal/exchange-keys.ts';
import { runBots } from '../fixtures/bot-processes.ts';
import { runInProcess } from '../fixtures/command-line.ts';
import { daemonPerFile } from '../fixtures/daemon-test.ts';
import { startExchange } from '../fixtures/exchange.ts';
import { RawConnection } from '../fixtures/raw-connection.ts';
import { hasProgram, run } from '../fixtures/shell.ts';

const session = createHash('sha256').update('a session of a test').digest('hex').slice(0, 32);
/** What a careless bot has put into fields where it does not belong. */
const misplaced = 'kQH5HW/8p1uGOVjbgWA7FunAmGO8lsSUXNsu3eow76sz84Q18fWxnyRzBHCd';

// The daemon has served bots whose key it must never have seen, and has logged everything.
const test = daemonPerFile({ args: ['--log-level', 'debug'] })
  .extend('key', { scope: 'file', auto: true }, async ({ place }) => {
    const exchange = await startExchange();
    try {
      const key = exchange.addKey({ account: 'MASTER' });
      const [report] = await runBots([
        { name: 'bot', socket: place.socket, url: exchange.url, accounts: [key], calls: 20, concurrency: 4 },
      ]);
      expect(report).toMatchObject({ accepted: 20, failed: 0 });
      return key;
    } finally {
      await exchange.close();
    }
  })
  // The token of a client that has told its session and still holds its lease.
  .extend('token', { scope: 'file', auto: true }, async ({ place, key }, { onCleanup }) => {
    const holder = await RawConnection.open(place.socket);
    onCleanup(() => holder.destroy());
    await holder.ask('hello', { name: 'holder', session });
    const { token } = await holder.ask('acquire', { account: key.account, ttlMs: 600_000 });
    return token as string;
  });

/** Expects none of the secrets, whole or in the part that would give them away; `what` says where it was looked for. */
function expectNoSecret(text: string | Buffer, what: string, secrets: Readonly<Record<string, string>>): void {
  for (const [name, secret] of Object.entries(secrets)) {
    expect(text.includes(secret.slice(0, 16)), `${name} in ${what}`).toBe(false);
  }
}

/** A nonce in nanoseconds may begin with the same digits. */
function expectNoToken(text: string, token: string): void {
  expect(text).not.toMatch(new RegExp(`\\b${token}\\b`));
}

const ofTheBot = (key: ApiKey) => ({ 'the API key': key.key, 'the API secret': key.secret });

test('neither keys, sessions nor tokens are in the log, however much it says', async ({ daemon, key, token }) => {
  await daemon.says('granted');
  expectNoSecret(daemon.log(), 'the log', { ...ofTheBot(key), session });
  expectNoToken(daemon.log(), token);
});

test('neither keys, sessions nor tokens are in what status and why show, to bots and operators', async ({
  place,
  key,
  token,
}) => {
  for (const socket of [place.socket, place.adminSocket]) {
    for (const args of [['status'], ['status', '--json'], ['why', 'MASTER'], ['why', 'MASTER', '--json']]) {
      const { code, stdout } = await runInProcess([...args, '--socket', socket]);
      expect([code, stdout === '']).toEqual([0, false]);
      expectNoSecret(stdout, args.join(' '), { ...ofTheBot(key), session });
      expectNoToken(stdout, token);
    }
  }
});

test('neither keys nor sessions are in any file of the daemon, which no other user may read anyway', ({
  place,
  key,
}) => {
  for (const dir of [place.stateDir, place.runtimeDir]) {
    for (const name of readdirSync(dir)) {
      const path = join(dir, name);
      if (!statSync(path).isFile()) continue;
      const bytes = readFileSync(path);
      expectNoSecret(bytes, path, { ...ofTheBot(key), session });
      expect(bytes.includes(Buffer.from(session, 'hex')), path).toBe(false);
      expect(statSync(path).mode & 0o077, path).toBe(0);
    }
  }
});

test('a secret in the wrong field is not quoted, logged or noted', async ({ daemon, place, raw }) => {
  const clumsy = await raw();
  const attempts: readonly (readonly [method: string, params: object])[] = [
    ['hello', { session: misplaced }],
    ['acquire', { key: misplaced }],
    ['acquire', { key: misplaced.slice(0, 16) }],
  ];
  for (const [method, params] of attempts) {
    const { message } = await clumsy.refusal(clumsy.request(method, params));
    expectNoSecret(message, `the refusal of ${method}`, { misplaced });
  }
  expectNoSecret(daemon.log(), 'the log', { misplaced });
  expectNoSecret(readFileSync(join(place.stateDir, 'state.json')), 'the state', { misplaced });
});

test.skipIf(!hasProgram('gcore'))(
  'a core of the daemon has neither key nor secret in it: they never came',
  async ({ daemon, place, key }) => {
    const core = join(place.dir, 'core');
    const dumped = await run('gcore', ['-o', core, String(daemon.pid)]);
    const path = `${core}.${daemon.pid}`;
    try {
      expect(dumped.code, dumped.stderr).toBe(0);
      const bytes = readFileSync(path);
      // The label did come, so this is the memory of the right daemon.
      expect(bytes.includes('MASTER')).toBe(true);
      expectNoSecret(bytes, 'a core', ofTheBot(key));
      // As text and as the bytes it stands for.
      expect(bytes.includes(Buffer.from(key.secret, 'base64').subarray(0, 16))).toBe(false);
    } finally {
      rmSync(path, { force: true });
    }
  },
);
