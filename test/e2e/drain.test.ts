import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { runInProcess } from '../fixtures/command-line.ts';
import {
  type DaemonPlace,
  type DaemonProcess,
  daemonPlace,
  NONCED,
  startDaemonProcess,
} from '../fixtures/daemon-process.ts';
import { eventually } from '../fixtures/eventually.ts';
import { RawConnection } from '../fixtures/raw-connection.ts';

let place: DaemonPlace;
let daemon: DaemonProcess;
let trader: RawConnection;
const ends: (() => void)[] = [];

beforeEach(async () => {
  place = daemonPlace();
  daemon = await startDaemonProcess(place);
  trader = await bot('copy-trader', 4711);
});

afterEach(async () => {
  for (const end of ends.splice(0)) end();
  await daemon.end('SIGKILL');
  place.remove();
});

async function bot(name: string, pid: number): Promise<RawConnection> {
  const connection = await RawConnection.open(place.socket);
  ends.push(() => connection.destroy());
  await connection.ask('hello', { name, pid });
  return connection;
}

const nonced = (...args: string[]) => runInProcess([...args, '--socket', place.socket]);

/** A drain that runs on, and all it has said. */
function draining(...args: string[]) {
  const child = spawn(process.execPath, [NONCED, 'drain', '--socket', place.socket, ...args]);
  ends.push(() => child.kill('SIGKILL'));
  let said = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      said += text;
    });
  }
  return { child, said: () => said, ended: once(child, 'close').then(([code]) => code as number) };
}

test('it says what is under way, and when that has ended that it is safe', async () => {
  const { token } = await trader.ask('acquire', { account: 'MASTER', label: 'close all', ttlMs: 600_000 });
  const drain = draining();
  await eventually('it says whose call it is', () => /MASTER +copy-trader +4711 +close all/.test(drain.said()));
  expect(drain.said()).toContain('draining: only urgent calls begin');
  expect(await trader.refusal(trader.request('acquire', { account: 'MASTER' }))).toMatchObject({ code: 'DRAINING' });
  expect(drain.said()).not.toContain('safe to reboot');
  await trader.ask('release', { token, outcome: 'ok' });
  expect(await drain.ended).toBe(0);
  expect(drain.said()).toMatch(/^safe to reboot: no call is under way\nAn urgent call may still begin/m);
});

test('under the policy off it waits for every call, and again for one that has begun meanwhile', async () => {
  await nonced('set-exclusive', 'off');
  const tokens = await Promise.all(
    ['A', 'B'].map(async (account) => (await trader.ask('acquire', { account, ttlMs: 600_000 }))['token']),
  );
  const drain = draining();
  await eventually('both are told', () => drain.said().includes('2 calls are under way'));
  await trader.ask('release', { token: tokens[0] });
  await eventually('one is told', () => drain.said().includes('1 call is under way'));
  const urgent = await trader.ask('acquire', { account: 'C', priority: 'urgent', ttlMs: 600_000 });
  await trader.ask('release', { token: tokens[1] });
  await eventually('the urgent one is told', () => / C +copy-trader/.test(drain.said()));
  expect(drain.said()).not.toContain('safe');
  await trader.ask('release', { token: urgent['token'] });
  expect(await drain.ended).toBe(0);
});

test('--wait bounds it: it exits 75, says who still holds, and the drain stays on until --off', async () => {
  await trader.ask('acquire', { account: 'MASTER', label: 'close all', ttlMs: 600_000 });
  const first = await nonced('drain', '--wait', '300ms');
  expect(first).toMatchObject({
    code: 75,
    stdout: expect.stringMatching(/1 call is under way:\n.*\n {2}MASTER +copy-trader +4711 +close all/),
    stderr: expect.stringMatching(/do not reboot yet\. The drain stays on/),
  });
  expect((await trader.ask('status'))['drainingForMs']).toBeGreaterThan(0);
  const second = await nonced('drain', '--wait', '300ms', '--json');
  expect({ ...second, stdout: JSON.parse(second.stdout) }).toEqual({
    code: 75,
    stderr: '',
    stdout: {
      before: 'draining',
      after: 'draining',
      state: 'busy',
      waitedMs: expect.any(Number),
      leases: 1,
      waiting: 0,
      holders: [expect.objectContaining({ lane: 'default', account: 'MASTER', pid: 4711, label: 'close all' })],
    },
  });
  expect(await nonced('status', '--check')).toMatchObject({ code: 1, stdout: expect.stringContaining('draining for') });
  expect(await nonced('drain', '--off')).toMatchObject({ code: 0, stdout: 'all calls may begin again\n' });
  expect(await nonced('drain', '--off')).toMatchObject({ code: 0, stdout: 'it was not draining\n' });
  expect((await trader.ask('status'))['drainingForMs']).toBeNull();
});

test('with --json it prints one document once it is safe', async () => {
  const { code, stdout } = await nonced('drain', '--json');
  expect(code).toBe(0);
  expect(JSON.parse(stdout)).toMatchObject({
    before: 'running',
    after: 'draining',
    state: 'safe',
    leases: 0,
    holders: [],
  });
  expect(JSON.parse((await nonced('drain', '--off', '--json')).stdout)).toEqual({
    before: 'draining',
    after: 'running',
  });
});

test('Ctrl-C leaves the drain on, and says how to end it', async () => {
  await trader.ask('acquire', { account: 'MASTER', ttlMs: 600_000 });
  const drain = draining();
  await eventually('it waits', () => drain.said().includes('1 call is under way'));
  drain.child.kill('SIGINT');
  expect(await drain.ended).toBe(130);
  expect(drain.said()).toContain('the drain stays on; to end it: nonced drain --off');
  expect((await trader.ask('status'))['drainingForMs']).toBeGreaterThan(0);
});

test('a restart of the daemon ends the drain, and it does not say that it is safe', async () => {
  await trader.ask('acquire', { account: 'MASTER', ttlMs: 600_000 });
  const drain = draining();
  await eventually('it waits', () => drain.said().includes('1 call is under way'));
  await daemon.end('SIGKILL');
  daemon = await startDaemonProcess(place);
  // It may have found none at all for a second, on a busy machine.
  expect([69, 75]).toContain(await drain.ended);
  expect(drain.said()).not.toContain('safe to reboot');
});
