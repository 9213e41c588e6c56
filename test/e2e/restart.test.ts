import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { connect, type Nonced } from '../../src/client/index.ts';
import { runBots } from '../fixtures/bot-processes.ts';
import {
  type DaemonPlace,
  type DaemonProcess,
  daemonPlace,
  runNonced,
  startDaemonProcess,
} from '../fixtures/daemon-process.ts';
import { eventually } from '../fixtures/eventually.ts';
import { startExchange } from '../fixtures/exchange.ts';
import { RawConnection } from '../fixtures/raw-connection.ts';

let place: DaemonPlace;
let daemon: DaemonProcess;
let clients: Nonced[];

beforeEach(async () => {
  place = daemonPlace();
  daemon = await startDaemonProcess(place);
  clients = [];
});

afterEach(async () => {
  await Promise.all(clients.map((client) => client.close()));
  await daemon.end('SIGKILL');
  place.remove();
});

async function client(name: string, connectTimeoutMs = 10_000): Promise<Nonced> {
  const opened = await connect({ name, socket: place.socket, connectTimeoutMs });
  clients.push(opened);
  return opened;
}

async function killAndRestart(): Promise<void> {
  await daemon.end('SIGKILL');
  daemon = await startDaemonProcess(place);
}

const sessionOf = (digit: string): string => digit.repeat(32);

test('a lease that is held over SIGKILL of the daemon goes on under the same token, and nobody is granted beside it', async () => {
  const holder = await client('holder');
  const rival = await client('rival');
  const grant = await holder.acquire({ account: 'MASTER' });
  let granted = false;
  const waiting = rival.acquire({ account: 'MASTER' }).then((later) => {
    granted = true;
    return later;
  });
  await killAndRestart();
  // Both are back: the holder with its lease, the rival with its request.
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

test("a clean restart is the same to a holder and to those who wait, in their client's order", async () => {
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
  daemon = await startDaemonProcess(place);
  expect(await grant.release('ok')).toBe(true);
  const nonces = await Promise.all(waiting);
  expect(order).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  expect([...nonces].sort()).toEqual(nonces);
});

test('a backup that is brought back by itself is told of, and gives nobody the token of a lease that lives', async () => {
  const state = join(place.stateDir, 'state.json');
  const backup = readFileSync(state);
  await killAndRestart();
  const holder = await client('holder');
  const grant = await holder.acquire({ account: 'A' });
  await daemon.end('SIGKILL');
  writeFileSync(state, backup);
  daemon = await startDaemonProcess(place);
  await daemon.says(/warn: leases of this boot are newer than the state in .*: nonced advance$/m);
  expect(await grant.renew()).toBe(grant.ttlMs);
  await grant.release('ok');
  const next = await (await client('other')).acquire({ account: 'B' });
  expect(next.token).toBeGreaterThan(grant.token);
});

test('a release that the daemon died before reading is made good after the restart', async () => {
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

test('a grant whose answer was lost is found by its request, and gets a nonce that nobody has seen', async () => {
  const rival = await client('rival');
  const before = await rival.nonce();
  // Spoken by hand: the grant is noted, and this connection dies before it has read the answer.
  const lost = await RawConnection.open(place.socket);
  await lost.ask('hello', { name: 'lost', session: sessionOf('a') });
  lost.pause();
  const id = lost.request('acquire', { account: 'MASTER' });
  await expect.poll(async () => (await rival.status()).totals.leases).toBe(1);
  daemon.child.kill('SIGKILL');
  lost.destroy();
  await killAndRestart();
  const back = await RawConnection.open(place.socket);
  const { held } = await back.ask('hello', { name: 'lost', session: sessionOf('a') });
  expect(held).toMatchObject([{ account: 'MASTER', id }]);
  const [{ token }] = held as [{ token: string }];
  const { nonce } = await back.ask('next', { token });
  expect(BigInt(nonce as string)).toBeGreaterThan(before);
  expect(await back.ask('release', { token })).toEqual({ released: true });
  back.destroy();
});

test("nobody else's session can take a lease up after a restart, and its lane opens after 2 s", async () => {
  const holder = await RawConnection.open(place.socket);
  await holder.ask('hello', { session: sessionOf('a') });
  const { token } = await holder.ask('acquire', { account: 'MASTER', ttlMs: 600_000 });
  await killAndRestart();
  holder.destroy();
  const thief = await RawConnection.open(place.socket);
  expect((await thief.ask('hello', { session: sessionOf('b') }))['held']).toEqual([]);
  const nameless = await RawConnection.open(place.socket);
  expect((await nameless.ask('hello', {}))['held']).toEqual([]);
  await expect(thief.ask('renew', { token })).rejects.toMatchObject({ code: 'LEASE_LOST' });
  expect(await thief.ask('release', { token })).toEqual({ released: false });
  await expect(thief.ask('acquire', { account: 'MASTER', waitMs: 0 })).rejects.toMatchObject({ code: 'WAIT_TIMEOUT' });
  const { token: later } = await thief.ask('acquire', { account: 'MASTER', waitMs: 15_000 });
  expect(BigInt(later as string)).toBeGreaterThan(BigInt(token as string));
  thief.destroy();
  nameless.destroy();
});

test('a damaged note closes all lanes for 2 s and does not keep the daemon from starting', async () => {
  const holder = await RawConnection.open(place.socket);
  await holder.ask('hello', { session: sessionOf('a') });
  await holder.ask('acquire', { account: 'MASTER' });
  await daemon.end('SIGKILL');
  holder.destroy();
  const notes = join(place.runtimeDir, 'leases');
  const bytes = readFileSync(notes);
  // The first slot lies behind the header's 128 bytes.
  bytes[130] = (bytes[130] ?? 0) ^ 0xff;
  writeFileSync(notes, bytes);
  daemon = await startDaemonProcess(place);
  await daemon.says('damaged');
  const nonced = await RawConnection.open(place.socket);
  await expect(nonced.ask('acquire', { account: 'OTHER', waitMs: 0 })).rejects.toMatchObject({ code: 'WAIT_TIMEOUT' });
  // A bare nonce claims nothing exclusive.
  expect(await nonced.ask('nonce')).toMatchObject({ count: 1 });
  expect(await nonced.ask('acquire', { account: 'OTHER', waitMs: 15_000 })).toMatchObject({ count: 1 });
  nonced.destroy();
});

test('notes of another boot are ignored', async () => {
  const holder = await RawConnection.open(place.socket);
  await holder.ask('acquire', { ttlMs: 600_000 });
  await daemon.end('SIGKILL');
  holder.destroy();
  // What a reboot does: /run is empty again.
  rmSync(place.runtimeDir, { recursive: true });
  daemon = await startDaemonProcess(place);
  const next = await RawConnection.open(place.socket);
  expect(await next.ask('acquire', { waitMs: 0 })).toMatchObject({ count: 1 });
  next.destroy();
});

test('a caller whose lease could not be kept is told LEASE_LOST by its signal', async () => {
  const holder = await client('holder');
  const grant = await holder.acquire({ account: 'MASTER' });
  await daemon.end('SIGKILL');
  rmSync(join(place.runtimeDir, 'leases'));
  daemon = await startDaemonProcess(place);
  await expect.poll(() => grant.signal.aborted).toBe(true);
  expect(grant.signal.reason).toMatchObject({ code: 'LEASE_LOST', sent: 'unknown' });
  await expect(grant.next()).rejects.toMatchObject({ code: 'LEASE_LOST' });
});

test('without a daemon for connectTimeoutMs what waits is rejected with UNAVAILABLE, and a later call finds the next one', async () => {
  const nonced = await client('bot', 500);
  await nonced.nonce();
  await daemon.end('SIGKILL');
  await expect(nonced.nonce()).rejects.toMatchObject({ code: 'UNAVAILABLE', sent: false });
  await expect(nonced.acquire()).rejects.toMatchObject({ code: 'UNAVAILABLE' });
  daemon = await startDaemonProcess(place);
  await (await nonced.acquire()).release();
});

test("another daemon's socket at the same path is refused by a client that knew the first", async () => {
  const nonced = await client('bot');
  const before = await nonced.nonce();
  await daemon.end('SIGKILL');
  const other = daemonPlace();
  try {
    // Another state, another authority: its nonces have nothing to do with those before.
    await runNonced(['state', 'init', '--floor', 'now', '--unit', 'ns', '--state-dir', other.stateDir]);
    daemon = await startDaemonProcess({ ...place, stateDir: other.stateDir });
    await expect(nonced.nonce()).rejects.toMatchObject({
      code: 'UNAVAILABLE',
      message: expect.stringContaining('instance'),
    });
    await daemon.end('SIGKILL');
    daemon = await startDaemonProcess(place);
    const fresh = await client('fresh');
    expect(await fresh.nonce()).toBeGreaterThan(before);
  } finally {
    other.remove();
  }
});

test('eight bots ride out ten kills of the daemon without an error, a rejected nonce, or two calls at once', async () => {
  const exchange = await startExchange({ delayMs: [0, 10] });
  try {
    const keys = Array.from({ length: 6 }, (_, index) => exchange.addKey({ account: `A${index}` }));
    const bots = Array.from({ length: 8 }, (_, index) => ({
      name: `bot-${index}`,
      socket: place.socket,
      url: exchange.url,
      accounts: keys.slice(index % 6, (index % 6) + 1),
      calls: 30,
      concurrency: 3,
    }));
    let calls = 0;
    const running = runBots(bots, () => {
      calls += 1;
    });
    // Each kill meets calls that are under way, however fast or slow the machine is.
    for (let kill = 1; kill <= 10; kill++) {
      await eventually(`the bots have made ${20 * kill} calls`, () => calls >= 20 * kill);
      await killAndRestart();
    }
    const reports = await running;
    const seen = exchange.report();
    expect(reports.flatMap((report) => report.errors)).toEqual([]);
    expect(seen).toMatchObject({ invalidNonce: 0, repeatedNonces: 0, maxInFlightOverall: 1 });
    expect(seen.accepted).toBe(reports.reduce((sum, report) => sum + report.calls, 0));
    expect(seen.accepted).toBe(bots.length * 30);
    const { stdout } = await runNonced(['status', '--json', '--socket', place.socket]);
    expect(JSON.parse(stdout)).toMatchObject({ epoch: 11, totals: { leases: 0, waiting: 0 } });
  } finally {
    await exchange.close();
  }
});

test('a killed daemon skips at most one reserve, however often it is killed', async () => {
  const nonced = await client('bot');
  for (let kill = 0; kill < 10; kill++) {
    await nonced.nonce();
    await killAndRestart();
  }
  const last = await nonced.nonce();
  const leadMs = Number(last / 1_000_000n) - Date.now();
  // Ten reserves of 5 s would have added up to 50 s.
  expect(leadMs).toBeLessThan(6_000);
});
