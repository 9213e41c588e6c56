import { writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { connect, type Nonced, type Outcome } from '../../src/client/index.ts';
import { runInProcess } from '../fixtures/command-line.ts';
import { type DaemonProcess, daemonPlace, runNonced, startDaemonProcess } from '../fixtures/daemon-process.ts';
import { eventually } from '../fixtures/eventually.ts';
import { type Exchange, startExchange } from '../fixtures/exchange.ts';
import { krakenCall } from '../fixtures/kraken-client.ts';
import { RawConnection } from '../fixtures/raw-connection.ts';

let place: ReturnType<typeof daemonPlace>;
let daemon: DaemonProcess | undefined;
let exchange: Exchange | undefined;
const clients: Nonced[] = [];

beforeEach(() => {
  place = daemonPlace();
});

afterEach(async () => {
  for (const client of clients.splice(0)) await client.close();
  await daemon?.end('SIGKILL');
  await exchange?.close();
  [daemon, exchange] = [undefined, undefined];
  place.remove();
});

/** Writes a configuration and answers its path. */
function configured(configuration: unknown): string {
  const path = join(place.dir, 'config.json');
  writeFileSync(path, typeof configuration === 'string' ? configuration : JSON.stringify(configuration));
  return path;
}

async function started(configuration: unknown, ...args: string[]): Promise<DaemonProcess> {
  daemon = await startDaemonProcess(place, { args: ['--config', configured(configuration), ...args] });
  return daemon;
}

async function bot(name: string): Promise<Nonced> {
  const client = await connect({ name, socket: place.socket });
  clients.push(client);
  return client;
}

const nonced = (...args: string[]) => runInProcess([...args, '--socket', place.socket]);

/** Says how a call of the account ended, and answers its nonce. */
async function call(client: Nonced, account: string, outcome: Outcome = 'ok'): Promise<bigint> {
  const grant = await client.acquire({ account });
  await grant.release(outcome);
  return grant.nonce;
}

async function reloaded(running: DaemonProcess, says: string): Promise<void> {
  const before = running.log().length;
  running.child.kill('SIGHUP');
  await eventually(`the log says ${says}`, () => running.log().slice(before).includes(says));
}

test.each([
  ['paced', true],
  ['not paced', false],
])('two clients at full speed, %s, with a daemon killed in between: within the call rate %s', async (_, isPaced) => {
  const rate = { max: 6, perSecond: 20 };
  // Without pacing the counter hardly falls: it is passed however slow the machine is.
  const decayPerSecond = isPaced ? rate.perSecond : 0.01;
  exchange = await startExchange({ delayMs: [0, 30], callRate: { max: rate.max, decayPerSecond } });
  const { url } = exchange;
  const { key, secret } = exchange.addKey({ account: 'MASTER' });
  let running = await started(isPaced ? { accounts: { MASTER: { pacing: rate } } } : {});
  const one = async (client: Nonced) =>
    client.exclusive({ account: 'MASTER', waitMs: 50_000 }, ({ nonce, signal }) =>
      krakenCall({ url, key, secret }, 'Balance', {}, { nonce, signal }),
    );
  const [first, second] = [await bot('first'), await bot('second')];
  const half = () => Promise.all(Array.from({ length: 15 }, () => [one(first), one(second)]).flat());
  await half();
  await running.end('SIGKILL');
  running = await started(isPaced ? { accounts: { MASTER: { pacing: rate } } } : {});
  await half();
  const { accepted, rateLimited, invalidNonce } = exchange.report();
  expect(invalidNonce).toBe(0);
  if (isPaced) expect({ accepted, rateLimited }).toEqual({ accepted: 60, rateLimited: 0 });
  else expect(rateLimited).toBeGreaterThan(0);
});

test('--check-config says what is wrong, with the path of each key, and exits 78; what is good exits 0', async () => {
  const bad = configured({ accounts: { MASTER: { pacing: { max: 15, perSeconds: 1 } } }, exchange: {} });
  const { code, stdout, stderr } = await runInProcess(['serve', '--config', bad, '--check-config']);
  expect({ code, stdout }).toEqual({ code: 78, stdout: '' });
  expect(stderr).toContain('accounts.MASTER.pacing');
  expect(stderr).toContain('perSeconds');
  expect(stderr.trim().split('\n').length).toBeGreaterThan(1);
  expect((await runNonced(['serve', '--config', bad, '--state-dir', place.stateDir])).code).toBe(78);

  const good = configured({ accounts: { MASTER: { pacing: 'kraken-pro' } } });
  expect(await runInProcess(['serve', '--config', good, '--check-config'])).toMatchObject({ code: 0, stderr: '' });
  expect((await runInProcess(['serve', '--config', join(place.dir, 'none'), '--check-config'])).code).toBe(78);
  expect((await runInProcess(['serve', '--check-config'])).code).toBe(64);
});

test('SIGHUP reads the configuration again; a bad one, or one that does not fit the state, changes nothing and says so', async () => {
  const running = await started({ exchanges: { default: { pacing: { max: 1, perSecond: 0.001 } } } });
  const client = await bot('bot');
  const pace = async () => (await client.status()).accounts.find(({ account }) => account === 'A')?.pace?.max;
  await expect(client.acquire({ account: 'A', waitMs: 0 })).rejects.toMatchObject({ code: 'WAIT_TIMEOUT' });
  expect(await pace()).toBe(1);

  configured('{"exchanges": {"default": {"pacing": {"max": 2, ');
  await reloaded(running, 'nothing was changed');
  configured({ sequences: { mine: { unit: 'ms' } }, exchanges: { default: { sequence: 'mine' } } });
  await reloaded(running, 'nonced state init --sequence mine --unit ms --floor now');
  expect(await pace()).toBe(1);

  configured({ exchanges: { default: {} } });
  const waiting = client.acquire({ account: 'A' });
  await reloaded(running, 'is in effect from now on');
  await (await waiting).release('ok');
  expect(await pace()).toBeUndefined();
  expect(await running.end('SIGTERM')).toBe(0);
});

test('the example of the package runs Kraken and Bitfinex side by side, each with nonces of its own', async () => {
  const example = resolve('systemd/config.example.json');
  const dirs = ['--state-dir', place.stateDir, '--runtime-dir', place.runtimeDir];
  expect((await runInProcess(['state', 'init', '--floor', 'now', '--unit', 'ns', ...dirs])).code).toBe(0);
  const unmade = await runInProcess(['serve', '--config', example, '--check-config', '--state-dir', place.stateDir]);
  expect(unmade.code).toBe(78);
  const [, command = ''] = /nonced (state init --sequence \S+ --unit \S+ --floor now)/.exec(unmade.stderr) ?? [];
  expect((await runInProcess([...command.split(' '), ...dirs])).code).toBe(0);
  daemon = await startDaemonProcess(place, { args: ['--config', example] });
  const client = await bot('bot');
  const digits = async (account: string) => String(await client.nonce({ account })).length;
  expect([await digits('KRAKEN:main'), await digits('BFX:main')]).toEqual([19, 16]);
  await expect(client.acquire({ account: 'BFX:main', unit: 'ns' })).rejects.toMatchObject({ code: 'UNIT_MISMATCH' });
  // Two exchanges are two lanes, also under the policy global.
  const kraken = await client.acquire({ account: 'KRAKEN:main', waitMs: 50_000 });
  const bitfinex = await client.acquire({ account: 'BFX:main', waitMs: 50_000 });
  await Promise.all([kraken.release('ok'), bitfinex.release('ok')]);
});

test('I2: no configuration moves an account that has drawn, present or absent, and an operator can', async () => {
  const dirs = ['--state-dir', place.stateDir, '--runtime-dir', place.runtimeDir];
  await runNonced(['state', 'init', '--floor', 'now', '--unit', 'ns', ...dirs]);
  await runNonced(['state', 'init', '--floor', 'now', '--sequence', 'short', '--unit', 'us', ...dirs]);
  const config = { sequences: { short: { unit: 'us' } }, accounts: { A: { sequence: 'short' } } };
  const running = await started(config);
  const client = await bot('bot');
  const digits = async () => String(await client.nonce({ account: 'A' })).length;
  expect(await digits()).toBe(16);

  // Lost in an edit: the check and the reload refuse it, with both ways out, and A draws on.
  const path = configured({ sequences: config.sequences });
  const move = `nonced state move A --to default --state-dir ${place.stateDir}`;
  const check = ['serve', '--check-config', '--config', path, '--state-dir', place.stateDir];
  const checked = await runNonced(check);
  expect(checked).toMatchObject({ code: 78, stdout: '', stderr: expect.stringContaining(move) });
  expect(checked.stderr).toContain('"accounts": {"A": {"sequence": "short"}}');
  await reloaded(running, 'no configuration moves an account');
  expect((await client.status()).configurationProblem).toContain(move);
  expect(await digits()).toBe(16);
  await running.end('SIGTERM');

  // Forgotten once: refused, and nothing of it stays.
  const forgotten = await runNonced(['serve', ...dirs]);
  expect(forgotten).toMatchObject({ code: 78, stderr: expect.stringContaining(move) });
  expect(await runNonced(['state', 'inspect', '--json', '--state-dir', place.stateDir])).toMatchObject({
    stdout: expect.stringMatching(/"A": \{\s*"sequence": "short"/),
  });

  const moving = move.split(' ').slice(1);
  const unasked = await runNonced(moving);
  expect(unasked).toMatchObject({ code: 64, stderr: expect.stringContaining('--yes') });
  expect(unasked.stdout).toContain('never takes one in us (16 digits) again');
  expect((await runNonced(['state', 'move', 'A', '--to', 'nowhere', '--state-dir', place.stateDir])).code).toBe(64);
  expect((await runNonced([...moving, '--yes'])).code).toBe(0);
  expect(await runNonced(check)).toMatchObject({ code: 0 });
  daemon = await startDaemonProcess(place);
  expect(await digits()).toBe(19);
  expect((await runNonced([...moving, '--yes'])).code).not.toBe(0);
  // Where an operator has placed it, it stays, with a warning.
  await daemon.end('SIGTERM');
  const restarted = await started(config);
  await restarted.says('account A stays on sequence default');
  expect(await digits()).toBe(19);
  const down = await runNonced(['state', 'move', 'A', '--to', 'short', '--yes', '--state-dir', place.stateDir]);
  expect(down.code).not.toBe(0);
});

test('a paused account is refused until it is resumed, by no restart, and its call under way is not touched', async () => {
  const running = await started({});
  const client = await bot('bot');
  const held = await client.acquire({ account: 'A' });
  const waiting = client.acquire({ account: 'A' }).then(
    () => 'granted',
    (error) => error.code,
  );
  const paused = await nonced('pause', 'A');
  expect(paused).toMatchObject({ code: 0, stderr: '' });
  expect(paused.stdout).toContain('running -> paused');
  expect(await waiting).toBe('PAUSED');
  expect(await held.release('ok')).toBe(true);
  await call(client, 'B');

  await running.end('SIGKILL');
  await started({});
  await expect(client.acquire({ account: 'A' })).rejects.toMatchObject({ code: 'PAUSED', sent: false });
  await expect(client.nonce({ account: 'A' })).rejects.toMatchObject({ code: 'PAUSED' });
  const check = await nonced('status', '--check');
  expect(check).toMatchObject({ code: 1 });
  expect(check.stdout).toContain('account A is paused');
  expect((await nonced('resume', 'A')).stdout).toContain('paused -> running');
  await call(client, 'A');
});

test('rejected nonces are logged with who held the lane before, and three in a row quarantine the account over a crash', async () => {
  const running = await started({}, '--log-level', 'debug');
  const before = await bot('the one before');
  await call(before, 'OTHER');
  const client = await bot('unlucky');
  const nonces: bigint[] = [];
  for (let n = 0; n < 3; n += 1) nonces.push(await call(client, 'A', 'invalid-nonce'));
  await expect(client.acquire({ account: 'A' })).rejects.toMatchObject({
    code: 'QUARANTINED',
    sent: false,
    retryAfterMs: expect.any(Number),
  });
  await running.says('warn: account A is quarantined');
  const log = running.log();
  expect(log).toMatch(/is ready: .*; sequence default in ns \(19 digits\); exclusion global/);
  expect(log).toContain(`debug: granted ${nonces[0]} to unlucky (pid ${process.pid}, A) for account A`);
  expect(log).toMatch(
    new RegExp(`warn: the exchange rejected nonce ${nonces[0]} of account A, .*unlucky.*held by the one before`),
  );
  expect(await nonced('status', '--check')).toMatchObject({ code: 2 });

  await running.end('SIGKILL');
  await started({});
  await expect(client.acquire({ account: 'A' })).rejects.toMatchObject({ code: 'QUARANTINED' });
  await call(client, 'B');
  const urgent = await client.acquire({ account: 'A', priority: 'urgent' });
  await urgent.release('ok');
  expect(urgent.nonce).toBeGreaterThan(nonces[2] ?? 0n);
  await call(client, 'A');
});

test('an exchange that does not answer is left alone, but for urgent calls with short leases', async () => {
  const running = await started({ exchanges: { other: {} }, accounts: { 'O:*': { exchange: 'other' } } });
  const [client, other] = [await bot('bot'), await bot('other')];
  for (const account of ['A', 'B']) await call(client, account, 'unsettled');
  await call(other, 'C', 'unsettled');
  await expect(client.acquire({ account: 'D' })).rejects.toMatchObject({ code: 'EXCHANGE_DOWN', sent: false });
  await running.says('exchange default does not answer');
  await call(client, 'O:1');
  const urgent = await client.acquire({ account: 'D', priority: 'urgent', ttlMs: 60_000 });
  expect(urgent.ttlMs).toBe(5_000);
  await urgent.release('ok');
  await call(client, 'D');
});

test('one program that alone gets no answer is held back alone, by name', async () => {
  const running = await started({});
  const [broken, healthy] = [await bot('broken'), await bot('healthy')];
  for (const account of ['A', 'B', 'A']) await call(broken, account, 'unavailable');
  await expect(broken.acquire({ account: 'C' })).rejects.toMatchObject({
    code: 'EXCHANGE_DOWN',
    message: expect.stringContaining(`only broken (pid ${process.pid}) gets no answer from the exchange`),
  });
  await running.says('gets no answer from exchange default');
  for (const account of ['A', 'B', 'C']) await call(healthy, account);
  expect((await nonced('status')).stdout).toContain(`only broken (pid ${process.pid}) has got no answer`);
});

test("advance --account raises one key's nonces, durably, and nobody else's", async () => {
  const running = await started({});
  const client = await bot('bot');
  const before = [await call(client, 'A'), await call(client, 'B')];
  const advanced = await nonced('advance', '--account', 'A', '--by', '5m');
  expect(advanced).toMatchObject({ code: 0, stderr: '' });
  expect(advanced.stdout).toContain('sequence account:A (ns)');
  const fiveMinutes = 300_000_000_000n;
  expect(await call(client, 'A')).toBeGreaterThanOrEqual((before[0] ?? 0n) + fiveMinutes);
  expect(await call(client, 'B')).toBeLessThan((before[1] ?? 0n) + fiveMinutes);
  await running.end('SIGKILL');
  await started({});
  const after = await call(client, 'A');
  expect(after).toBeGreaterThanOrEqual((before[0] ?? 0n) + fiveMinutes);
  expect(await call(client, 'B')).toBeLessThan(after - fiveMinutes / 2n);
  expect((await nonced('advance', '--account', 'A', '--sequence', 'default', '--by', '1s')).code).toBe(64);
});

test('one key under two labels is refused', async () => {
  const running = await started({});
  const client = await bot('bot');
  const key = '0123456789abcdef';
  await (await client.acquire({ account: 'A', key })).release('ok');
  await expect(client.acquire({ account: 'B', key })).rejects.toMatchObject({ code: 'KEY_MISMATCH', sent: false });
  await (await client.acquire({ account: 'A', key: 'fedcba9876543210' })).release('ok');
  await running.says('account A has another API key than before');
  expect(running.log()).not.toContain(key);
});

test('a bot has no operator methods', async () => {
  await started({});
  const raw = await RawConnection.open(place.socket);
  for (const method of ['pause', 'resume-account']) {
    await expect(raw.ask(method, { account: 'A' })).rejects.toMatchObject({ code: 'FORBIDDEN' });
  }
  raw.destroy();
});
