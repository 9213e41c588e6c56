import { spawnSync } from 'node:child_process';
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { type CallLogLine, decodeLine, encodeLine } from '../../src/protocol/call-log-lines.ts';
import { runInProcess } from '../fixtures/command-line.ts';
import {
  type DaemonPlace,
  type DaemonProcess,
  daemonPlace,
  type SpawnOptions,
  startDaemonProcess,
} from '../fixtures/daemon-process.ts';
import { eventually } from '../fixtures/eventually.ts';
import { RawConnection } from '../fixtures/raw-connection.ts';
import { hasProgram, isRoot } from '../fixtures/shell.ts';

const cleanup: (() => unknown)[] = [];

afterEach(async () => {
  for (const step of cleanup.splice(0).reverse()) await step();
});

function newPlace(): DaemonPlace & { readonly callLog: string } {
  const place = daemonPlace();
  cleanup.push(() => place.remove());
  return { ...place, callLog: join(place.dir, 'calls.jsonl') };
}

async function start(place: DaemonPlace, callLog: string, options: SpawnOptions = {}): Promise<DaemonProcess> {
  const daemon = await startDaemonProcess(place, { ...options, env: { ...options.env, NONCED_CALL_LOG: callLog } });
  cleanup.push(() => daemon.end('SIGKILL'));
  return daemon;
}

async function connect(place: DaemonPlace, session?: string): Promise<RawConnection> {
  const connection = await RawConnection.open(place.socket);
  cleanup.push(() => connection.destroy());
  await connection.ask('hello', { name: 'grid-bot', pid: 4711, ...(session && { session }) });
  return connection;
}

/** Makes so many calls, one after another, and answers their nonces. */
async function makeCalls(bot: RawConnection, count: number, outcome = 'ok'): Promise<bigint[]> {
  const nonces: bigint[] = [];
  for (let n = 0; n < count; n += 1) {
    const { nonce, token } = await bot.ask('acquire', { account: 'MASTER', label: 'balance' });
    await bot.ask('release', { token, outcome });
    nonces.push(BigInt(String(nonce)));
  }
  return nonces;
}

/** The lines of a call log, and how many of them cannot be read. */
function read(path: string): { readonly lines: readonly CallLogLine[]; readonly torn: number } {
  const lines = existsSync(path) ? readFileSync(path, 'utf8').split('\n') : [];
  const decoded = lines.filter((line) => line !== '').map(decodeLine);
  const whole = decoded.filter((line) => typeof line === 'object');
  return { lines: whole, torn: decoded.length - whole.length };
}

const noncesIn = (lines: readonly CallLogLine[]) =>
  lines.flatMap((line) => (line.type === 'call' ? [BigInt(line.nonce ?? 0)] : []));
const typesIn = (lines: readonly CallLogLine[]) => lines.map(({ type }) => type);

test('calls, events, starts and stops are in it; it may be read by the group, and holds no token and no session', async () => {
  const place = newPlace();
  const daemon = await start(place, place.callLog);
  const session = '9f86d081884c7d659a2feaa0c55ad015';
  const bot = await connect(place, session);
  const { nonce, token } = await bot.ask('acquire', { account: 'MASTER', key: '0123456789abcdef', count: 3 });
  await bot.ask('release', { token, outcome: 'invalid-nonce' });
  expect((await runInProcess(['pause', 'MASTER', '--socket', place.socket])).code).toBe(0);
  expect(await daemon.end('SIGTERM')).toBe(0);

  const { lines, torn } = read(place.callLog);
  expect([typesIn(lines), torn]).toEqual([['daemon', 'event', 'call', 'event', 'stop'], 0]);
  expect(lines[0]).toMatchObject({ epoch: 1, pid: daemon.pid, format: 1 });
  expect(lines[2]).toMatchObject({
    account: 'MASTER',
    holder: 'grid-bot',
    pid: 4711,
    nonce,
    lastNonce: String(BigInt(String(nonce)) + 2n),
    ended: 'released',
    outcome: 'invalid-nonce',
  });
  expect(lines[3]).toMatchObject({ kind: 'paused', subject: 'MASTER' });
  expect(statSync(place.callLog).mode & 0o777).toBe(0o640);
  const text = readFileSync(place.callLog, 'utf8');
  // The digits of a token may be in a nonce.
  expect(text).not.toMatch(new RegExp(`\\b${token}\\b`));
  expect(text).not.toContain(session);
  expect(text).not.toContain('0123456789abcdef');
});

test('kill -9 costs the last tenth of a second; the next daemon appends, whatever was left of a line', async () => {
  const place = newPlace();
  const first = await start(place, place.callLog);
  const bot = await connect(place);
  const nonces = await makeCalls(bot, 50);
  await eventually('they are written', async () => noncesIn(read(place.callLog).lines).length === 50);
  await makeCalls(bot, 1);
  await first.end('SIGKILL');
  appendFileSync(place.callLog, '{"type":"call","at":"2026-');

  const second = await start(place, place.callLog);
  nonces.push(...(await makeCalls(await connect(place), 5)));
  expect(await second.end('SIGTERM')).toBe(0);
  const { lines, torn } = read(place.callLog);
  expect(torn).toBe(1);
  expect(lines.filter(({ type }) => type === 'daemon').map(({ epoch }) => epoch)).toEqual([1, 2]);
  expect(lines.filter(({ type }) => type === 'stop').map(({ epoch }) => epoch)).toEqual([2]);
  const written = noncesIn(lines);
  expect(written).toEqual(expect.arrayContaining(nonces));
  expect(written.length).toBeLessThanOrEqual(nonces.length + 1);
});

test('at its size it is renamed and a new one is begun; one older one is kept, and no call between is missing', async () => {
  const place = newPlace();
  const at = '2026-11-28T22:40:01.007Z';
  const author = { format: 1, version: '0', instance: 'i', pid: 1, boot: 'b', startedAt: at };
  const stop = encodeLine({ type: 'stop', at, epoch: 0 });
  const before = [encodeLine({ type: 'daemon', at, epoch: 0, ...author }), ...Array<string>(17_600).fill(stop)];
  writeFileSync(place.callLog, `${before.join('\n')}\n`);
  writeFileSync(`${place.callLog}.1`, 'the one before');
  const daemon = await start(place, place.callLog, { args: ['--call-log-size', '1M'] });
  const nonces = await makeCalls(await connect(place), 150);
  await eventually('it is rotated', async () => noncesIn(read(place.callLog).lines).length > 0);
  nonces.push(...(await makeCalls(await connect(place), 20)));
  expect(await daemon.end('SIGTERM')).toBe(0);
  const [older, newer] = [read(`${place.callLog}.1`), read(place.callLog)];
  expect([older.lines[0]?.epoch, newer.lines[0]?.epoch, older.torn, newer.torn]).toEqual([0, 1, 0, 0]);
  for (const path of [place.callLog, `${place.callLog}.1`]) expect(statSync(path).size).toBeLessThanOrEqual(2 ** 20);
  expect(noncesIn([...older.lines, ...newer.lines])).toEqual(nonces);
  expect(readdirSync(place.dir).filter((name) => name.startsWith('calls'))).toEqual(['calls.jsonl', 'calls.jsonl.1']);
});

test('SIGHUP lets go of a file that was moved away, and does not stop the daemon', async () => {
  const place = newPlace();
  const daemon = await start(place, place.callLog);
  const bot = await connect(place);
  const before = await makeCalls(bot, 3);
  await eventually('they are written', async () => noncesIn(read(place.callLog).lines).length === 3);
  renameSync(place.callLog, `${place.callLog}.yesterday`);
  daemon.child.kill('SIGHUP');
  await bot.ask('status');
  const after = await makeCalls(bot, 3);
  expect(await daemon.end('SIGTERM')).toBe(0);
  expect(noncesIn(read(`${place.callLog}.yesterday`).lines)).toEqual(before);
  expect(noncesIn(read(place.callLog).lines)).toEqual(after);
  expect(daemon.log()).not.toContain('warning');
});

test('what is not a call log is left alone and said once, and calls go on: the state of the daemon, a directory', async () => {
  const place = newPlace();
  const first = await start(place, join(place.stateDir, 'state.json'));
  const bot = await connect(place);
  await makeCalls(bot, 3);
  await first.says('is not a call log');
  expect(await first.end('SIGTERM')).toBe(0);

  mkdirSync(place.callLog);
  const second = await start(place, place.callLog);
  const nonces = await makeCalls(await connect(place), 3);
  await second.says('is a directory');
  rmdirSync(place.callLog);
  second.child.kill('SIGHUP');
  await second.says('is written again; nothing was dropped');
  expect(noncesIn(read(place.callLog).lines)).toEqual(nonces);
  expect(second.log().split(/call log \S+ cannot be written/)).toHaveLength(2);
});

const mayMount = isRoot && spawnSync('unshare', ['-m', 'true']).status === 0;
const withoutMount = mayMount ? '' : ' (skipped: may not mount a tmpfs; run as root)';

test.skipIf(!mayMount)(`on a full disk calls go on, it is said once, and nothing is lost${withoutMount}`, async () => {
  const place = newPlace();
  const disk = join(place.dir, 'disk');
  mkdirSync(disk);
  expect(spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=64k,mode=700', 'tmpfs', disk]).status).toBe(0);
  cleanup.push(() => spawnSync('umount', ['-l', disk]));
  const callLog = join(disk, 'calls.jsonl');
  writeFileSync(join(disk, 'ballast'), Buffer.alloc(40 * 1024));
  const daemon = await start(place, callLog);
  const bot = await connect(place);
  const nonces = await makeCalls(bot, 500);
  await daemon.says('ENOSPC');
  nonces.push(...(await makeCalls(bot, 20)));
  rmSync(join(disk, 'ballast'));
  expect(spawnSync('mount', ['-o', 'remount,size=4m', disk]).status).toBe(0);
  daemon.child.kill('SIGHUP');
  await daemon.says('is written again; nothing was dropped');
  expect(await daemon.end('SIGTERM')).toBe(0);
  expect(noncesIn(read(callLog).lines)).toEqual(nonces);
  expect(daemon.log().split(/call log \S+ cannot be written/)).toHaveLength(2);
});

/** One letter, as in `ps`. */
const stateOf = (pid: number) => / \((?:.*)\) (.)/.exec(readFileSync(`/proc/${pid}/stat`, 'utf8'))?.[1];

const mayTrace = hasProgram('strace') && spawnSync('strace', ['-o', '/dev/null', 'true']).status === 0;
const withoutStrace = mayTrace ? '' : ' (skipped: strace is not installed or may not trace)';

test.skipIf(!mayTrace)(`a write that hangs holds up no call, no stop and no later daemon${withoutStrace}`, async () => {
  const place = newPlace();
  writeFileSync(place.callLog, '');
  const hang = ['-P', place.callLog, '-e', 'trace=write', '-e', 'inject=write:delay_enter=120s'];
  const daemon = await start(place, place.callLog, {
    wrapper: ['strace', '-f', '-qq', '-o', join(place.dir, 'trace'), ...hang],
  });
  const pid = Number(JSON.parse((await runInProcess(['status', '--json', '--socket', place.socket])).stdout).pid);
  const bot = await connect(place);
  const nonces = await makeCalls(bot, 20);
  await eventually('a write hangs', async () => readFileSync(join(place.dir, 'trace'), 'utf8').includes('write('));
  nonces.push(...(await makeCalls(bot, 20)));
  process.kill(pid, 'SIGTERM');
  // It has ended, all but the thread that strace keeps: a process that waited for it would sleep (S).
  await eventually('it ends', async () => stateOf(pid) === 'Z');
  await daemon.end('SIGKILL');
  expect(daemon.log()).toMatch(/the last \d+ lines of the call log .* could not be written/);
  const next = await start(place, place.callLog);
  const [nonce] = await makeCalls(await connect(place), 1);
  expect(nonce).toBeGreaterThan(nonces.at(-1) ?? 0n);
  expect(await next.end('SIGTERM')).toBe(0);
});

test('what was refused is in the log, the call log, status, why and both pages, and a bot that goes on fills nothing', async () => {
  const place = newPlace();
  const daemon = await start(place, place.callLog);
  const bot = await connect(place);
  await makeCalls(bot, 1);
  const key = 'fedcba9876543210';
  const other = await bot.ask('acquire', { account: 'OTHER', key });
  await bot.ask('release', { token: other['token'] });
  for (let n = 0; n < 200; n += 1) bot.request('acquire', { account: 'MASTER', key });
  await bot.ask('status');
  const nonced = async (...args: string[]) => (await runInProcess([...args, '--socket', place.socket])).stdout;
  expect(await nonced('status')).toMatch(
    /^! account MASTER was refused 200 times .*: KEY_MISMATCH, by grid-bot \(pid 4711\)/m,
  );
  expect(await nonced('status', '--check')).toMatch(/^NONCED WARNING - account MASTER was refused 200 times/);
  expect(await nonced('why', 'MASTER')).toMatch(
    /KEY_MISMATCH.*\n {4}the key of account MASTER is already known as account OTHER/,
  );
  const sumOf = (page: string) =>
    (JSON.parse(page) as { refused: { code: string; count: number }[] }).refused
      .filter(({ code }) => code === 'KEY_MISMATCH')
      .reduce((sum, { count }) => sum + count, 0);
  expect(sumOf(await nonced('timeline', '--json'))).toBe(200);
  const written = () =>
    read(place.callLog).lines.reduce((sum, line) => sum + (line.type === 'refused' ? line.count : 0), 0);
  await eventually('it is written', () => written() === 200);
  expect(sumOf(await nonced('timeline', '--json', '--call-log', place.callLog))).toBe(200);
  expect(daemon.log().match(/^.*KEY_MISMATCH.*$/gm)).toHaveLength(3);
});
