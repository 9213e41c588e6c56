import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, onTestFinished } from 'vitest';
import { runBots } from '../fixtures/bot-processes.ts';
import { runInProcess } from '../fixtures/command-line.ts';
import { type DaemonPlace, daemonPlace, startDaemonProcess } from '../fixtures/daemon-process.ts';
import { daemonPerTest } from '../fixtures/daemon-test.ts';
import { isLong } from '../fixtures/effort.ts';
import { eventually } from '../fixtures/eventually.ts';
import { RawConnection } from '../fixtures/raw-connection.ts';

const test = daemonPerTest({ exchange: { delayMs: [0, 10] } }).extend('killAndRestart', ({ daemon, start }) => {
  let running = daemon;
  return async () => {
    await running.end('SIGKILL');
    running = await start();
    return running;
  };
});

const KILLS = isLong ? 10 : 3;

const sessionOf = (digit: string): string => digit.repeat(32);

test('a lease that is held over SIGKILL of the daemon goes on under the same token, and no other call is granted beside it', async ({
  client,
  killAndRestart,
}) => {
  const holder = await client('holder');
  const rival = await client('rival');
  const grant = await holder.acquire({ account: 'MASTER' });
  let granted = false;
  const waiting = rival.acquire({ account: 'MASTER' }).then((later) => {
    granted = true;
    return later;
  });
  await killAndRestart();
  // Both are back, the holder with its lease and the rival with its request.
  await expect.poll(async () => (await rival.status()).totals).toMatchObject({ leases: 1, waiting: 1 });
  // Longer than the lane of a holder that never came back would have stayed closed.
  await new Promise((resolve) => setTimeout(resolve, 2_500));
  expect(granted).toBe(false);
  expect(grant.signal.aborted).toBe(false);
  const further = await grant.next();
  expect(further).toBeGreaterThan(grant.nonce);
  expect(await grant.release('ok')).toBe(true);
  const later = await waiting;
  expect(later.nonce).toBeGreaterThan(further);
  expect(later.token).toBeGreaterThan(grant.token);
  await later.release();
});

test("a clean restart loses neither a holder nor the waiters, and keeps their client's order", async ({
  daemon,
  client,
  start,
}) => {
  const nonced = await client('bot');
  const grant = await nonced.acquire();
  const order: number[] = [];
  const waiting = Array.from({ length: 10 }, (_, index) =>
    nonced.acquire({ waitMs: 20_000 }).then(async (later) => {
      order.push(index);
      await later.release();
      return later.nonce;
    }),
  );
  await expect.poll(async () => (await nonced.status()).totals.waiting).toBe(10);
  expect(await daemon.end('SIGTERM')).toBe(0);
  await start();
  expect(await grant.release('ok')).toBe(true);
  const nonces = await Promise.all(waiting);
  expect(order).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  expect([...nonces].sort()).toEqual(nonces);
});

test('a backup is refused until it is raised, and then gives nobody the token of a lease that lives', async ({
  place,
  client,
  spawn,
  start,
  nonced,
  killAndRestart,
}) => {
  const state = join(place.stateDir, 'state.json');
  const backup = readFileSync(state);
  const second = await killAndRestart();
  const holder = await client('holder');
  const grant = await holder.acquire({ account: 'A' });
  await second.end('SIGKILL');
  writeFileSync(state, backup);
  const refused = spawn();
  expect(await refused.ended).toBe(78);
  const [, command = ''] = /: nonced (state init --floor .*)$/m.exec(refused.log()) ?? [];
  expect(await nonced(...command.split(' '))).toMatchObject({ code: 0 });
  await start();
  expect(await grant.renew()).toBe(grant.ttlMs);
  await grant.release('ok');
  const next = await (await client('other')).acquire({ account: 'B' });
  expect(next.token).toBeGreaterThan(grant.token);
});

test('bots that knew another instance are named by status, --check and doctor until they are restarted', async ({
  daemon,
  place,
  client,
  nonced,
  start,
}) => {
  const bot = await client('grid-bot');
  await bot.nonce();
  await daemon.end('SIGKILL');
  for (const dir of [place.stateDir, place.runtimeDir]) rmSync(dir, { recursive: true });
  const init = await nonced('state', 'init', '--floor', 'now', '--unit', 'ns', '--state-dir', place.stateDir);
  expect(init).toMatchObject({ code: 0, stdout: expect.stringContaining('new instance') });
  await start();
  const fact = `1 client has refused this daemon for .*restart these bots: grid-bot \\(pid ${process.pid}\\)`;
  await expect(bot.nonce()).rejects.toMatchObject({ code: 'UNAVAILABLE', message: /another nonced answers/ });
  // The refusal was written before the connection was closed, so the daemon reads it sooner than what is asked now.
  const check = await nonced('status', '--check');
  expect(check).toMatchObject({ code: 2, stdout: expect.stringMatching(new RegExp(`^NONCED CRITICAL - ${fact}`)) });
  expect(JSON.parse((await nonced('status', '--json')).stdout).refusingClients).toMatchObject([{ name: 'grid-bot' }]);
  expect((await nonced('doctor', '--socket', place.socket)).stdout.replaceAll(/\s+/g, ' ')).toMatch(new RegExp(fact));
  await (await client('grid-bot')).nonce();
  expect(await nonced('status', '--check')).toMatchObject({ code: 0 });
});

test('a release that the daemon died before reading is made good after the restart', async ({
  daemon,
  client,
  killAndRestart,
}) => {
  const holder = await client('holder');
  const rival = await client('rival');
  const grant = await holder.acquire();
  daemon.child.kill('SIGSTOP');
  const released = grant.release('ok');
  await new Promise((resolve) => setTimeout(resolve, 50));
  await killAndRestart();
  expect(await released).toBe(true);
  await (await rival.acquire({ waitMs: 1_500 })).release();
});

test('a grant whose answer was lost is found by its request, and gets a fresh nonce', async ({
  daemon,
  client,
  raw,
  killAndRestart,
}) => {
  const rival = await client('rival');
  const before = await rival.nonce();
  // Spoken by hand: the grant is noted, and this connection dies before it has read the answer.
  const lost = await raw();
  await lost.ask('hello', { name: 'lost', session: sessionOf('a') });
  lost.pause();
  const id = lost.request('acquire', { account: 'MASTER' });
  await expect.poll(async () => (await rival.status()).totals.leases).toBe(1);
  daemon.child.kill('SIGKILL');
  lost.destroy();
  await killAndRestart();
  const back = await raw();
  const { held } = await back.ask('hello', { name: 'lost', session: sessionOf('a') });
  expect(held).toMatchObject([{ account: 'MASTER', id }]);
  const [{ token }] = held as [{ token: string }];
  const { nonce } = await back.ask('next', { token });
  expect(BigInt(nonce as string)).toBeGreaterThan(before);
  expect(await back.ask('release', { token })).toEqual({ released: true });
});

test('no other session can take up a lease after a restart, and its lane opens after 2 s', async ({
  raw,
  killAndRestart,
}) => {
  const holder = await raw();
  await holder.ask('hello', { session: sessionOf('a') });
  const { token } = await holder.ask('acquire', { account: 'MASTER', ttlMs: 600_000 });
  await killAndRestart();
  holder.destroy();
  const thief = await raw();
  expect((await thief.ask('hello', { session: sessionOf('b') }))['held']).toEqual([]);
  const nameless = await raw();
  expect((await nameless.ask('hello', {}))['held']).toEqual([]);
  await expect(thief.ask('renew', { token })).rejects.toMatchObject({ code: 'LEASE_LOST' });
  expect(await thief.ask('release', { token })).toEqual({ released: false });
  await expect(thief.ask('acquire', { account: 'MASTER', waitMs: 0 })).rejects.toMatchObject({ code: 'WAIT_TIMEOUT' });
  const { token: later } = await thief.ask('acquire', { account: 'MASTER', waitMs: 15_000 });
  expect(BigInt(later as string)).toBeGreaterThan(BigInt(token as string));
});

test('a damaged note closes all lanes for 2 s and does not keep the daemon from starting', async ({
  daemon,
  place,
  raw,
  start,
}) => {
  const holder = await raw();
  await holder.ask('hello', { session: sessionOf('a') });
  await holder.ask('acquire', { account: 'MASTER' });
  await daemon.end('SIGKILL');
  holder.destroy();
  const notes = join(place.runtimeDir, 'leases');
  const bytes = readFileSync(notes);
  // The first slot lies behind the header's 128 bytes.
  bytes[130] = (bytes[130] ?? 0) ^ 0xff;
  writeFileSync(notes, bytes);
  const second = await start();
  await second.says('damaged');
  const nonced = await raw();
  await expect(nonced.ask('acquire', { account: 'OTHER', waitMs: 0 })).rejects.toMatchObject({ code: 'WAIT_TIMEOUT' });
  // A bare nonce claims nothing exclusive.
  expect(await nonced.ask('nonce')).toMatchObject({ count: 1 });
  expect(await nonced.ask('acquire', { account: 'OTHER', waitMs: 15_000 })).toMatchObject({ count: 1 });
});

test('leases whose notes are gone close all lanes for 2 s, also at a second start', async ({
  daemon,
  place,
  raw,
  start,
}) => {
  const holder = await raw();
  await holder.ask('acquire', { ttlMs: 600_000 });
  await daemon.end('SIGKILL');
  holder.destroy();
  rmSync(place.runtimeDir, { recursive: true });
  for (let starts = 0; starts < 2; starts++) {
    const next = await start();
    await next.says(starts === 0 ? 'are not noted in' : 'are not noted in|damaged');
    const bot = await raw();
    await expect(bot.ask('acquire', { waitMs: 0 })).rejects.toMatchObject({ code: 'WAIT_TIMEOUT' });
    if (starts === 0) await next.end('SIGKILL');
    else expect(await bot.ask('acquire', { waitMs: 15_000 })).toMatchObject({ count: 1 });
  }
});

test('a clean stop without a lease leaves nothing to wait for', async ({ daemon, place, raw, start }) => {
  const bot = await raw();
  const { token } = await bot.ask('acquire');
  await bot.ask('release', { token });
  expect(await daemon.end('SIGTERM')).toBe(0);
  rmSync(place.runtimeDir, { recursive: true });
  await start();
  expect(await (await raw()).ask('acquire', { waitMs: 0 })).toMatchObject({ count: 1 });
});

test('a holder that cannot find the daemon in another runtime directory keeps its lane until its lease ends', async ({
  daemon,
  place,
  raw,
}) => {
  const holder = await raw();
  await holder.ask('acquire', { account: 'MASTER', ttlMs: 600_000 });
  await daemon.end('SIGKILL');
  const runtimeDir = join(place.dir, 'r2');
  const second = await startDaemonProcess({ ...place, runtimeDir });
  onTestFinished(() => void second.end('SIGKILL'));
  const bot = await RawConnection.open(join(runtimeDir, 'nonced.sock'));
  // Longer than the lane of a holder that may come back stays closed.
  await expect(bot.ask('acquire', { account: 'MASTER', waitMs: 2_500 })).rejects.toMatchObject({
    code: 'WAIT_TIMEOUT',
  });
  bot.destroy();
});

test.each<[string, (place: DaemonPlace) => void]>([
  ['runtime directory', ({ runtimeDir }) => rmSync(runtimeDir, { recursive: true })],
  ['socket', ({ socket }) => rmSync(socket)],
  ["operators' socket", ({ adminSocket }) => rmSync(adminSocket)],
])('a daemon whose %s is removed ends to be started again, and repeats nothing', async (_what, remove) => {
  const place = daemonPlace();
  onTestFinished(() => place.remove());
  const first = await startDaemonProcess(place);
  const bot = await RawConnection.open(place.socket);
  const before = await bot.ask('nonce');
  remove(place);
  expect(await first.ended).toBe(75);
  expect(first.log()).toMatch(/was removed or replaced while nonced ran/);
  const second = await startDaemonProcess(place);
  onTestFinished(() => void second.end('SIGKILL'));
  const again = await RawConnection.open(place.socket);
  expect(BigInt(String((await again.ask('nonce'))['nonce']))).toBeGreaterThan(BigInt(String(before['nonce'])));
  again.destroy();
});

test('a caller whose lease could not be kept gets LEASE_LOST from its signal', async ({
  daemon,
  place,
  client,
  start,
}) => {
  const holder = await client('holder');
  const grant = await holder.acquire({ account: 'MASTER' });
  await daemon.end('SIGKILL');
  rmSync(join(place.runtimeDir, 'leases'));
  await start();
  await expect.poll(() => grant.signal.aborted).toBe(true);
  expect(grant.signal.reason).toMatchObject({ code: 'LEASE_LOST', sent: 'unknown' });
  await expect(grant.next()).rejects.toMatchObject({ code: 'LEASE_LOST' });
});

test('without a daemon for connectTimeoutMs what waits is rejected with UNAVAILABLE, and a later call finds the next one', async ({
  daemon,
  client,
  start,
}) => {
  const nonced = await client('bot', 500);
  await nonced.nonce();
  await daemon.end('SIGKILL');
  await expect(nonced.nonce()).rejects.toMatchObject({ code: 'UNAVAILABLE', sent: false });
  await expect(nonced.acquire()).rejects.toMatchObject({ code: 'UNAVAILABLE' });
  await start();
  await (await nonced.acquire()).release();
});

test("another daemon's socket at the same path is refused by a client that knew the first", async ({
  daemon,
  place,
  client,
  start,
}) => {
  const nonced = await client('bot');
  const before = await nonced.nonce();
  await daemon.end('SIGKILL');
  // Another state, another authority: its nonces have nothing to do with those before.
  const otherState = join(place.dir, 'other');
  await runInProcess(['state', 'init', '--floor', 'now', '--unit', 'ns', '--state-dir', otherState]);
  const other = await start({ args: ['--state-dir', otherState] });
  await expect(nonced.nonce()).rejects.toMatchObject({
    code: 'UNAVAILABLE',
    message: expect.stringContaining('instance'),
  });
  await other.end('SIGKILL');
  await start();
  const fresh = await client('fresh');
  expect(await fresh.nonce()).toBeGreaterThan(before);
});

test(`eight bots ride out ${KILLS} kills of the daemon without an error, a rejected nonce, or two calls at once`, async ({
  place,
  nonced,
  exchange,
  killAndRestart,
}) => {
  const keys = Array.from({ length: 6 }, (_, index) => exchange.addKey({ account: `A${index}` }));
  const bots = Array.from({ length: 8 }, (_, index) => ({
    name: `bot-${index}`,
    socket: place.socket,
    url: exchange.url,
    accounts: keys.slice(index % 6, (index % 6) + 1),
    calls: 3 * KILLS,
    concurrency: 3,
  }));
  let calls = 0;
  const running = runBots(bots, () => {
    calls += 1;
  });
  // Each kill meets calls that are under way, however fast or slow the machine is.
  for (let kill = 1; kill <= KILLS; kill++) {
    await eventually(`the bots have made ${20 * kill} calls`, () => calls >= 20 * kill);
    await killAndRestart();
  }
  const reports = await running;
  const seen = exchange.report();
  expect(reports.flatMap((report) => report.errors)).toEqual([]);
  expect(seen).toMatchObject({ invalidNonce: 0, repeatedNonces: 0, maxInFlightOverall: 1 });
  expect(seen.accepted).toBe(reports.reduce((sum, report) => sum + report.calls, 0));
  expect(seen.accepted).toBe(bots.length * 3 * KILLS);
  const { stdout } = await nonced('status', '--json');
  expect(JSON.parse(stdout)).toMatchObject({ epoch: 1 + KILLS, totals: { leases: 0, waiting: 0 } });
});

test('a killed daemon skips at most one reserve, however often it is killed', async ({ client, killAndRestart }) => {
  const nonced = await client('bot');
  for (let kill = 0; kill < KILLS; kill++) {
    await nonced.nonce();
    await killAndRestart();
  }
  const last = await nonced.nonce();
  const leadMs = Number(last / 1_000_000n) - Date.now();
  // Three reserves of 5 s would have added up to 15 s.
  expect(leadMs).toBeLessThan(6_000);
});

test('a daemon that stops cleanly repeats nothing, skips nothing and leaves no socket or lock behind', async ({
  daemon,
  place,
  start,
  nonced,
}) => {
  const { stdout } = await nonced('nonce');
  expect(await daemon.end('SIGTERM')).toBe(0);
  const { stdout: inspected } = await runInProcess(['state', 'inspect', '--json', '--state-dir', place.stateDir]);
  expect(JSON.parse(inspected).sequences.default.ceiling).toBe(String(BigInt(stdout) + 1n));
  expect(readdirSync(place.stateDir)).toEqual(['state.json']);
  expect(readdirSync(place.runtimeDir).toSorted()).toEqual(['accounts', 'leases', 'state']);
  const second = await start();
  const { stdout: next } = await nonced('nonce');
  expect(BigInt(next)).toBeGreaterThan(BigInt(stdout));
  expect(await second.end('SIGINT')).toBe(0);
});

test('a daemon that gets SIGTERM twice ends at once', async ({ daemon }) => {
  daemon.child.kill('SIGTERM');
  daemon.child.kill('SIGTERM');
  expect([0, 'SIGTERM', 'SIGKILL']).toContain(await daemon.ended);
});
