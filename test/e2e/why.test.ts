import { afterAll, beforeAll, expect, test } from 'vitest';
import { connect, type Nonced } from '../../src/client/index.ts';
import type { WhyResult } from '../../src/protocol/messages.ts';
import type { ApiKey } from '../../src/rehearsal/exchange-keys.ts';
import { runInProcess } from '../fixtures/command-line.ts';
import { type DaemonPlace, type DaemonProcess, daemonPlace, startDaemonProcess } from '../fixtures/daemon-process.ts';
import { type Exchange, startExchange } from '../fixtures/exchange.ts';
import { krakenCall } from '../fixtures/kraken-client.ts';
import { RawConnection } from '../fixtures/raw-connection.ts';

const HOUR_NS = 3_600_000_000_000n;
const REJECTED = ['EAPI:Invalid nonce'];

const place = daemonPlace();
let daemon: DaemonProcess;
let exchange: Exchange;
let bot: Nonced;

beforeAll(async () => {
  daemon = await startDaemonProcess(place);
  exchange = await startExchange({ delayMs: [0, 0] });
  bot = await connect({ name: 'grid-bot', socket: place.socket });
});

afterAll(async () => {
  await bot.close();
  await exchange.close();
  await daemon.end('SIGTERM');
  place.remove();
});

/** Sends a call with the nonce to the exchange, and answers its errors. */
async function send(key: ApiKey, nonce: bigint | string): Promise<readonly string[]> {
  return (await krakenCall({ url: exchange.url, ...key }, 'Balance', {}, { nonce })).error;
}

/** A call as a well-behaved bot makes it: under a lease, and telling how it ended. */
async function call(client: Nonced, account: string, key: ApiKey, meanwhile?: (nonce: bigint) => void) {
  const grant = await client.acquire({ account, label: 'balance' });
  meanwhile?.(grant.nonce);
  const errors = await send(key, grant.nonce);
  await grant.release(errors.length === 0 ? 'ok' : 'invalid-nonce');
  return errors;
}

/** What `nonced why` says, to a script and to a person. */
async function why(account: string, { socket }: DaemonPlace = place) {
  const asJson = await runInProcess(['why', account, '--json', '--socket', socket]);
  const asText = await runInProcess(['why', account, '--socket', socket]);
  expect([asJson.code, asText.code, asJson.stderr, asText.stderr]).toEqual([0, 0, '', '']);
  // Nonces are decimal strings in it.
  return { result: JSON.parse(asJson.stdout) as WhyResult, text: asText.stdout };
}

/** A connection of its own that says who it is. */
async function openAs(name: string): Promise<RawConnection> {
  const connection = await RawConnection.open(place.socket);
  await connection.ask('hello', { name, pid: 4711 });
  return connection;
}

test('an account that is well has a list of its calls, the latest first, and no verdict against anybody', async () => {
  const key = exchange.addKey();
  for (let n = 0; n < 3; n += 1) expect(await call(bot, 'WELL', key)).toEqual([]);
  const { result, text } = await why('WELL');
  expect(result).toMatchObject({ account: 'WELL', rejected: null, verdict: { kind: 'none' } });
  expect(result.calls).toMatchObject(
    Array(3).fill({ holder: 'grid-bot', pid: process.pid, label: 'balance', ended: 'released', outcome: 'ok' }),
  );
  const nonces = result.calls.map(({ nonce }) => BigInt(nonce ?? 0));
  expect(nonces).toEqual([...nonces].sort((a, b) => (a < b ? 1 : -1)));
  expect(nonces[0]).toBe(exchange.lastNonce(key.key));
  expect(text).toContain('3 calls of WELL are remembered, and none is known to have been rejected');
});

test('an account that was never used is told so, and -n lists fewer calls', async () => {
  expect((await why('NOBODY')).result).toMatchObject({ calls: [], verdict: { kind: 'none' } });
  const { stdout } = await runInProcess(['why', 'WELL', '-n', '2', '--json', '--socket', place.socket]);
  expect(JSON.parse(stdout).calls).toHaveLength(2);
});

test('late: a call that is answered after its lease has ended and the next one was granted', async () => {
  const key = exchange.addKey();
  const slow = await openAs('slow-bot');
  const quick = await openAs('quick-bot');
  const held = await slow.ask('acquire', { account: 'LATE', ttlMs: 200, label: 'place order' });
  await slow.message((message) => message.kind === 'notification' && message.method === 'revoked');
  const next = await quick.ask('acquire', { account: 'LATE' });
  expect(await send(key, String(next['nonce']))).toEqual([]);
  await quick.ask('release', { token: next['token'], outcome: 'ok' });
  expect(await send(key, String(held['nonce']))).toEqual(REJECTED);
  expect(await slow.ask('release', { token: held['token'], outcome: 'invalid-nonce' })).toEqual({ released: false });
  const { result, text } = await why('LATE');
  expect(result).toMatchObject({
    verdict: { kind: 'late', sure: 'likely' },
    rejected: {
      call: { holder: 'slow-bot', label: 'place order', ended: 'expired', outcome: 'invalid-nonce', late: true },
    },
    calls: [{ holder: 'quick-bot', outcome: 'ok' }, { holder: 'slow-bot' }],
  });
  expect(text).toContain('The call of slow-bot (pid 4711, place order) came too late');
  expect(text).toContain('quick-bot (pid 4711) was granted the next nonce');
  for (const { token } of [held, next] as { token: string }[]) {
    // The nonces may begin with the same digits.
    expect(text).not.toMatch(new RegExp(`\\b${token}\\b`));
    expect(JSON.stringify(result)).not.toMatch(new RegExp(`\\b${token}\\b`));
  }
  slow.destroy();
  quick.destroy();
});

test('I5: nobody but its holder tells afterwards how a call ended', async () => {
  const slow = await openAs('slow-bot');
  const other = await openAs('other-bot');
  const held = await slow.ask('acquire', { account: 'HELD', ttlMs: 100 });
  await slow.message((message) => message.kind === 'notification' && message.method === 'revoked');
  const { token } = held;
  expect(await other.ask('release', { token, outcome: 'invalid-nonce' })).toEqual({ released: false });
  expect((await why('HELD')).result).toMatchObject({ rejected: null, calls: [{ outcome: 'unknown', late: false }] });
  slow.destroy();
  other.destroy();
});

test('foreign use: a program outside the daemon uses the key once, between two calls that are accepted', async () => {
  const key = exchange.addKey();
  expect(await call(bot, 'FOREIGN', key)).toEqual([]);
  const errors = await call(bot, 'FOREIGN', key, (nonce) => exchange.useKeyElsewhere(key.key, nonce + 1n));
  expect(errors).toEqual(REJECTED);
  expect((await why('FOREIGN')).result.verdict).toMatchObject({ kind: 'foreign-use', sure: 'possible' });
  expect(await call(bot, 'FOREIGN', key)).toEqual([]);
  const { result, text } = await why('FOREIGN');
  expect(result).toMatchObject({
    verdict: { kind: 'foreign-use', sure: 'likely' },
    rejected: {
      call: { account: 'FOREIGN', holder: 'grid-bot', outcome: 'invalid-nonce', late: false },
      before: { account: 'FOREIGN', holder: 'grid-bot', outcome: 'ok' },
    },
  });
  expect(text).toContain('foreign-use (likely): The call of grid-bot');
  expect(text).toContain('calls before and after it were accepted');
});

test('ahead: the key has seen far higher nonces, and the advance that is advised is the cure', async () => {
  const key = exchange.addKey();
  const highest = BigInt(Date.now()) * 1_000_000n + HOUR_NS / 2n;
  exchange.useKeyElsewhere(key.key, highest);
  for (let n = 0; n < 3; n += 1) expect(await call(bot, 'AHEAD', key)).toEqual(REJECTED);
  const { result, text } = await why('AHEAD');
  expect(result).toMatchObject({
    verdict: { kind: 'ahead', sure: 'likely' },
    rejected: { call: { account: 'AHEAD' } },
  });
  expect(text).toContain('3 calls of AHEAD in a row were rejected');
  expect(text).toContain('cannot be undone');
  const [, advised = ''] = /`nonced (advance --account AHEAD --to )NONCE`/.exec(text) ?? [];
  const advance = [...advised.trim().split(' '), String(highest + 1n), '--socket', place.socket];
  const advanced = await runInProcess(advance);
  expect([advanced.code, advanced.stderr]).toEqual([0, '']);
  expect((await why('AHEAD')).text).toContain('The sequence has been raised since the last rejection');
  const resumed = await runInProcess(['resume', 'AHEAD', '--socket', place.socket]);
  expect([resumed.code, resumed.stderr]).toEqual([0, '']);
  expect(await call(bot, 'AHEAD', key)).toEqual([]);
});

test('unit: a key that has had 19 digits rejects 13 for ever, all the more where a program asks for 19', async () => {
  const own = daemonPlace();
  const { code, stderr } = await runInProcess([
    'state',
    'init',
    '--floor',
    'now',
    '--unit',
    'ms',
    '--state-dir',
    own.stateDir,
  ]);
  expect([code, stderr]).toEqual([0, '']);
  const inMs = await startDaemonProcess(own);
  try {
    await using short = await connect({ name: 'ccxt-bot', socket: own.socket });
    const key = exchange.addKey();
    exchange.useKeyElsewhere(key.key, BigInt(Date.now()) * 1_000_000n);
    expect(await call(short, 'UNIT', key)).toEqual(REJECTED);
    const { result, text } = await why('UNIT', own);
    expect(result).toMatchObject({
      verdict: { kind: 'unit', sure: 'possible' },
      rejected: { call: { holder: 'ccxt-bot', outcome: 'invalid-nonce' } },
    });
    expect(text).toContain('ms (13 digits)');
    expect(text).toContain('make a new API key');
    await expect(short.acquire({ account: 'UNIT', unit: 'ns' })).rejects.toMatchObject({ code: 'UNIT_MISMATCH' });
    for (let n = 0; n < 2; n += 1) expect(await call(short, 'UNIT', key)).toEqual(REJECTED);
    expect((await why('UNIT', own)).result.verdict).toMatchObject({
      kind: 'unit',
      sure: 'likely',
      text: expect.stringContaining('once a program asked for ns (19 digits)'),
    });
  } finally {
    await inMs.end('SIGTERM');
    own.remove();
  }
});

test('out of order: with exclusion off, a call is overtaken by one with a higher nonce', async () => {
  const own = daemonPlace();
  const unordered = await startDaemonProcess(own);
  try {
    expect((await runInProcess(['set-exclusive', 'off', '--socket', own.socket])).code).toBe(0);
    await using first = await connect({ name: 'first', socket: own.socket });
    await using second = await connect({ name: 'second', socket: own.socket });
    const key = exchange.addKey();
    const overtaken = await first.acquire({ account: 'OFF' });
    expect(await call(second, 'OFF', key)).toEqual([]);
    expect(await send(key, overtaken.nonce)).toEqual(REJECTED);
    await overtaken.release('invalid-nonce');
    const { result, text } = await why('OFF', own);
    expect(result.verdict).toMatchObject({ kind: 'out-of-order', sure: 'likely' });
    expect(text).toContain('nonced set-exclusive account');
  } finally {
    await unordered.end('SIGTERM');
    own.remove();
  }
});

test('out of order: a bare nonce that is used first overtakes a call under a lease', async () => {
  const key = exchange.addKey();
  const grant = await bot.acquire({ account: 'BARE' });
  const { stdout } = await runInProcess(['nonce', '--account', 'BARE', '--socket', place.socket]);
  expect(await send(key, stdout.trim())).toEqual([]);
  expect(await send(key, grant.nonce)).toEqual(REJECTED);
  await grant.release('invalid-nonce');
  const { verdict } = (await why('BARE')).result;
  expect(verdict).toMatchObject({ kind: 'out-of-order', sure: 'possible' });
  expect(verdict.text).toContain('1 nonce of BARE was drawn without a lease');
});

test('one program: only the calls of one that makes its own nonces are rejected', async () => {
  const key = exchange.addKey();
  await using careless = await connect({ name: 'old-script', socket: place.socket });
  for (let n = 0; n < 2; n += 1) {
    expect(await call(bot, 'ONE', key)).toEqual([]);
    const grant = await careless.acquire({ account: 'ONE' });
    expect(await send(key, BigInt(Date.now()))).toEqual(REJECTED);
    await grant.release('invalid-nonce');
  }
  const { result } = await why('ONE');
  expect(result.verdict).toMatchObject({ kind: 'one-program', sure: 'possible' });
  expect(result.verdict.text).toContain('Only the calls of old-script');
});

test('a paused account says so, and its calls are refused until it is resumed', async () => {
  await bot.nonce({ account: 'PAUSED' });
  const paused = await runInProcess(['pause', 'PAUSED', '--socket', place.socket]);
  expect(paused).toMatchObject({ code: 0, stderr: '' });
  expect(paused.stdout).toContain('PAUSED: running -> paused');
  await expect(bot.acquire({ account: 'PAUSED' })).rejects.toMatchObject({ code: 'PAUSED' });
  expect((await why('PAUSED')).text).toContain('paused: its calls are refused until nonced resume PAUSED');
  const resumed = await runInProcess(['resume', 'PAUSED', '--socket', place.socket]);
  expect(resumed).toMatchObject({ code: 0, stderr: '' });
  expect(resumed.stdout).toContain('PAUSED: paused -> running');
  await (await bot.acquire({ account: 'PAUSED' })).release('ok');
});

test('whoever asks for no account, or for one that cannot be, is told how', async () => {
  expect((await runInProcess(['why', '--socket', place.socket])).code).toBe(64);
  const refused = await runInProcess(['why', 'no blanks', '--socket', place.socket]);
  expect([refused.code, refused.stdout]).toEqual([64, '']);
  expect(refused.stderr).toContain('account');
});
