import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { connect } from '../../src/client/index.ts';
import { runBots } from '../fixtures/bot-processes.ts';
import { isLong } from '../fixtures/effort.ts';
import { eventually } from '../fixtures/eventually.ts';
import { type Exchange, startExchange } from '../fixtures/exchange.ts';
import { RawConnection } from '../fixtures/raw-connection.ts';
import { install, nonced, SOCKET, STATE_FILE } from './installed.ts';
import { cannotBoot, Machine } from './machine.ts';

let machine: Machine;
let exchange: Exchange;

const BOTS = 8;
const skipped = cannotBoot && ` (skipped: ${cannotBoot})`;
const KILLS = isLong ? 20 : 5;
const client = (name: string) => connect({ name, socket: machine.path(SOCKET), connectTimeoutMs: 90_000 });

describe.skipIf(cannotBoot !== '')(`the service under load and in trouble${skipped}`, () => {
  beforeAll(async () => {
    machine = await Machine.boot();
    await install(machine);
  });

  beforeEach(async () => {
    exchange = await startExchange({ delayMs: [0, 10] });
    return () => exchange.close();
  });

  afterAll(async () => {
    await machine?.end();
  });

  const kill = (signal = 'KILL') => machine.must(['systemctl', 'kill', '-s', signal, 'nonced.service']);

  /** Eight bots on six keys make their calls while `disturb` is done to the service, so many times evenly over them. */
  async function underLoad(callsPerBot: number, times: number, disturb: () => Promise<unknown>): Promise<void> {
    const keys = Array.from({ length: 6 }, (_, index) => exchange.addKey({ account: `A${index}` }));
    let calls = 0;
    const running = runBots(
      Array.from({ length: BOTS }, (_, index) => ({
        name: `bot-${index}`,
        socket: machine.path(SOCKET),
        url: exchange.url,
        accounts: keys.slice(index % 6, (index % 6) + 1),
        calls: callsPerBot,
        concurrency: 3,
      })),
      () => {
        calls += 1;
      },
    );
    const every = (BOTS * callsPerBot) / (times + 1);
    for (let time = 1; time <= times; time++) {
      await eventually(`bots make call ${time * every}`, () => calls >= time * every);
      await disturb();
    }
    const reports = await running;
    expect(reports.flatMap((report) => report.errors)).toEqual([]);
    const seen = exchange.report();
    expect(seen).toMatchObject({ invalidNonce: 0, repeatedNonces: 0, maxInFlightOverall: 1, abandoned: 0 });
    expect(seen.accepted).toBe(BOTS * callsPerBot);
  }

  test(`I2, I4: killed ${KILLS} times under eight bots, no call fails, no nonce is repeated, no two calls are made at once`, async () => {
    const before = Number(await machine.property('NRestarts'));
    await underLoad(13 * KILLS, KILLS, () => kill());
    await machine.until('NRestarts', String(before + KILLS));
  });

  test('systemctl restart under eight bots loses nothing', async () => {
    await underLoad(30, 4, () => machine.must(['systemctl', 'restart', 'nonced.service']));
  });

  test('I4: a lease that is held over a kill goes on, and no other call is granted beside it', async () => {
    const holder = await client('holder');
    const rival = await client('rival');
    try {
      const grant = await holder.acquire({ account: 'MASTER', ttlMs: 60_000 });
      const waiting = rival.acquire({ account: 'MASTER' });
      await eventually('the rival waits', async () => (await holder.status()).totals.waiting === 1);
      const { epoch } = await holder.status();
      await kill();
      await eventually('all are back', async () => {
        const status = await rival.status();
        return status.epoch > epoch && status.totals.leases === 1 && status.totals.waiting === 1;
      });
      expect(grant.signal.aborted).toBe(false);
      expect(await grant.next()).toBeGreaterThan(grant.nonce);
      expect(await grant.release('ok')).toBe(true);
      const later = await waiting;
      expect(later.token).toBeGreaterThan(grant.token);
      await later.release();
    } finally {
      await holder.close();
      await rival.close();
    }
  });

  test('a client that connects while the service is down is served when it is back', async () => {
    await machine.dropIn('late', '[Service]\nExecStartPre=/bin/sh -c "until [ -e /run/go ]; do sleep 0.02; done"\n');
    await kill();
    await machine.until('SubState', 'start-pre');
    const early = await RawConnection.open(machine.path(SOCKET));
    const answer = early.ask('nonce');
    expect(await machine.property('SubState')).toBe('start-pre');
    await machine.must(['touch', '/run/go']);
    expect(await answer).toMatchObject({ count: 1 });
    early.destroy();
    await machine.removeDropIns();
  });

  test('the watchdog ends a daemon that has stopped, and it comes back with the lease that was held', async () => {
    // As installed, it is too long to wait for.
    expect(await machine.property('WatchdogUSec')).toBe('10s');
    await machine.dropIn('watchdog', '[Service]\nWatchdogSec=2s\n');
    await machine.must(['systemctl', 'restart', 'nonced.service']);
    const holder = await client('holder');
    try {
      const grant = await holder.acquire({ account: 'MASTER', ttlMs: 60_000 });
      const stopped = await machine.property('MainPID');
      await kill('STOP');
      await machine.until('MainPID', (pid) => pid !== stopped && pid !== '0');
      expect(await grant.next()).toBeGreaterThan(grant.nonce);
      expect(await grant.release('ok')).toBe(true);
      expect(await machine.must(['journalctl', '--no-pager', '-u', 'nonced.service'])).toMatch(/watchdog/i);
    } finally {
      await holder.close();
      await machine.removeDropIns();
      await machine.must(['systemctl', 'restart', 'nonced.service']);
    }
  });

  test('the watchdog does not end a healthy daemon that is idle', async () => {
    await machine.dropIn('watchdog', '[Service]\nWatchdogSec=3s\n');
    await machine.must(['systemctl', 'restart', 'nonced.service']);
    const [pid, fedAt] = [await machine.property('MainPID'), await machine.property('WatchdogTimestampMonotonic')];
    await machine.until('WatchdogTimestampMonotonic', (at) => Number(at) > Number(fedAt) + 4_000_000);
    expect(await machine.property('MainPID')).toBe(pid);
    await machine.removeDropIns();
  });

  test('a daemon that cannot start for now is tried again and again, without spinning, until it can', async () => {
    await machine.must(['systemctl', 'stop', 'nonced.socket', 'nonced-admin.socket', 'nonced.service']);
    await machine.must([
      'sh',
      '-c',
      'cp -a /var/lib/nonced /var/lib/saved && mount -t tmpfs -o size=4k tmpfs /var/lib/nonced && cp -a /var/lib/saved/. /var/lib/nonced && chown nonced:nonced /var/lib/nonced && chmod 700 /var/lib/nonced',
    ]);
    expect((await machine.run(['systemctl', 'start', 'nonced.service'])).code).not.toBe(0);
    // It shows only until the next one is started.
    await machine.until('ExecMainStatus', '75');
    const before = Number(await machine.property('NRestarts'));
    await machine.until('NRestarts', (restarts) => Number(restarts) >= before + 3);
    await machine.must(['umount', '/var/lib/nonced']);
    await machine.until('SubState', 'running');
    const ends = (await machine.must(['journalctl', '--no-pager', '-o', 'json', '-u', 'nonced.service']))
      .split('\n')
      .map((line) => JSON.parse(line) as { MESSAGE: string; __MONOTONIC_TIMESTAMP: string })
      .filter(({ MESSAGE }) => MESSAGE.includes('status=75'))
      .map((entry) => Number(entry.__MONOTONIC_TIMESTAMP));
    // One that lived for a second does without the pause, as a start on a busy machine may: but then that second lies
    // before its end, where otherwise the pause lies after it. Less the clock's hundredths.
    const gapsUs = ends.slice(1).map((end, index) => end - (ends[index] ?? 0));
    expect(gapsUs.length).toBeGreaterThanOrEqual(3);
    for (const [index, gapUs] of gapsUs.slice(1).entries())
      expect(Math.max(gapUs, gapsUs[index] ?? 0)).toBeGreaterThan(980_000);
    const bot = await client('bot');
    expect(await bot.nonce()).toBeGreaterThan(0n);
    await bot.close();
  });

  test('a state that was put back under the daemon is served by nothing that systemd does, until it is raised', async () => {
    const bot = await client('bot');
    await machine.must(['cp', '-a', STATE_FILE, '/var/lib/older.json']);
    // A restart makes the copy older for certain.
    await machine.must(['systemctl', 'restart', 'nonced.service']);
    const last = await bot.nonce();
    await machine.must(['cp', '-a', '/var/lib/older.json', STATE_FILE]);
    await machine.until('ExecMainStatus', '78');
    await machine.until('SubState', 'failed');
    for (const socket of ['nonced.socket', 'nonced-admin.socket'])
      await machine.until('ActiveState', 'inactive', socket);
    expect((await machine.run(['systemctl', 'start', 'nonced.service'])).code).not.toBe(0);
    await machine.until('SubState', 'failed');
    const log = await machine.must(['journalctl', '--no-pager', '-o', 'cat', '-u', 'nonced.service']);
    const [, command = ''] = /: sudo -u nonced nonced (state init --floor .*)$/m.exec(log) ?? [];
    await machine.must(nonced(...command.split(' ')), { user: 'nonced' });
    await machine.must(['systemctl', 'start', 'nonced.service']);
    expect(await bot.nonce()).toBeGreaterThan(last);
    await bot.close();
  });

  test.each([
    ['the runtime directory', '/run/nonced'],
    ['a socket', SOCKET],
  ])('%s that is removed is made again, with all sockets', async (_what, path) => {
    await machine.must(['rm', '-rf', path]);
    await machine.must([
      'sh',
      '-c',
      'until [ -S /run/nonced/nonced.sock ] && [ -S /run/nonced/admin.sock ]; do sleep 0.1; done',
    ]);
    const bot = await client('bot');
    expect(await bot.nonce()).toBeGreaterThan(0n);
    await bot.close();
  });
});
