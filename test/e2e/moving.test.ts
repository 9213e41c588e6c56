import { cpSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { runInProcess } from '../fixtures/command-line.ts';
import {
  type DaemonPlace,
  daemonPlace,
  runNonced,
  spawnDaemon,
  startDaemonProcess,
} from '../fixtures/daemon-process.ts';

let here: DaemonPlace;
let there: DaemonPlace;
/** Runs a program as on another machine, by another machine-id(5). */
let onOther: readonly string[];

const isRoot = process.getuid?.() === 0 && process.platform === 'linux';

beforeEach(() => {
  here = daemonPlace();
  there = daemonPlace();
  const id = join(there.dir, 'machine-id');
  writeFileSync(id, '0123456789abcdef0123456789abcdef\n');
  const script = 'mount --make-rprivate / && mount --bind "$0" /etc/machine-id && exec "$@"';
  onOther = ['unshare', '--mount', 'sh', '-c', script, id];
});

afterEach(() => {
  here.remove();
  there.remove();
});

/** A state that has handed out a nonce here. */
async function usedState(): Promise<bigint> {
  const daemon = await startDaemonProcess(here);
  const { stdout } = await runInProcess(['nonce', '--socket', here.socket]);
  await daemon.end('SIGTERM');
  return BigInt(stdout);
}

const copyState = () => cpSync(here.stateDir, there.stateDir, { recursive: true, mode: 0 });

test('I2: a retired state is adopted on another machine and goes on above all its nonces', async (context) => {
  context.skip(!isRoot, 'only as root on Linux: another machine is played in a mount namespace');
  const before = await usedState();
  const retired = await runInProcess(['state', 'retire', '--state-dir', here.stateDir]);
  expect(retired).toMatchObject({ code: 0, stderr: '' });
  expect(retired.stdout).toContain('nonced state adopt');

  const refused = spawnDaemon(here);
  expect(await refused.ended).toBe(78);
  expect(refused.log()).toContain('retired');

  copyState();
  const early = spawnDaemon(there, { wrapper: onOther });
  expect(await early.ended).toBe(78);
  const adopted = await runNonced(['state', 'adopt', '--state-dir', there.stateDir], {}, onOther);
  expect(adopted).toMatchObject({ code: 0, stderr: '' });
  const daemon = await startDaemonProcess(there, { wrapper: onOther });
  const { stdout } = await runInProcess(['nonce', '--socket', there.socket]);
  expect(BigInt(stdout)).toBeGreaterThan(before);
  expect(await daemon.end('SIGTERM')).toBe(0);
});

test("a copy of another machine's state is refused, and taken over only by force and above the clock", async (context) => {
  context.skip(!isRoot, 'only as root on Linux: another machine is played in a mount namespace');
  await usedState();
  copyState();
  const refused = spawnDaemon(there, { wrapper: onOther });
  expect(await refused.ended).toBe(78);
  expect(refused.log()).toContain('another machine');

  // The tombstone must be left where the daemon is.
  const wrongHost = await runNonced(['state', 'retire', '--state-dir', there.stateDir], {}, onOther);
  expect(wrongHost.code).toBe(78);
  expect(wrongHost.stderr).toContain("another machine's");

  const unsafe = await runNonced(['state', 'adopt', '--state-dir', there.stateDir], {}, onOther);
  expect(unsafe.code).toBe(78);
  expect(unsafe.stderr).toContain('--force');
  const clock = BigInt(Date.now()) * 1_000_000n;
  expect((await runNonced(['state', 'adopt', '--force', '--state-dir', there.stateDir], {}, onOther)).code).toBe(0);
  const { stdout } = await runInProcess(['state', 'inspect', '--json', '--state-dir', there.stateDir]);
  expect(BigInt(JSON.parse(stdout).sequences.default.ceiling)).toBeGreaterThanOrEqual(clock);
});

test('retire says so when it is said twice, and adopt takes a state back on its own host only by force', async () => {
  await usedState();
  await runInProcess(['state', 'retire', '--state-dir', here.stateDir]);
  expect((await runInProcess(['state', 'retire', '--state-dir', here.stateDir])).stdout).toContain('already retired');
  const refused = await runInProcess(['state', 'adopt', '--state-dir', here.stateDir]);
  expect(refused.code).toBe(78);
  expect((await runInProcess(['state', 'adopt', '--force', '--state-dir', here.stateDir])).code).toBe(0);
  const daemon = await startDaemonProcess(here);
  expect(await daemon.end('SIGTERM')).toBe(0);
  expect((await runInProcess(['state', 'adopt', '--state-dir', here.stateDir])).stdout).toContain('already');
});

test('neither is possible while a daemon runs, or without a state', async () => {
  const daemon = await startDaemonProcess(here);
  for (const command of ['retire', 'adopt']) {
    const busy = await runInProcess(['state', command, '--state-dir', here.stateDir]);
    expect(busy.code).toBe(75);
    expect(busy.stderr).toContain(`pid ${daemon.pid}`);
    expect((await runInProcess(['state', command, '--state-dir', there.stateDir])).code).toBe(78);
  }
  await daemon.end('SIGTERM');
});

test('a counter that was copied is adopted only with a number, for no clock tells where it was', async (context) => {
  context.skip(!isRoot, 'only as root on Linux: another machine is played in a mount namespace');
  await runInProcess(['state', 'init', '--floor', '100', '--unit', 'counter', '--state-dir', here.stateDir]);
  copyState();
  const adopt = (...args: string[]) =>
    runNonced(['state', 'adopt', '--force', '--state-dir', there.stateDir, ...args], {}, onOther);
  const refused = await adopt();
  expect(refused.code).toBe(78);
  expect(refused.stderr).toContain('--counter-floor');
  expect((await adopt('--counter-floor', '5000')).code).toBe(0);
  const { stdout } = await runInProcess(['state', 'inspect', '--json', '--state-dir', there.stateDir]);
  expect(JSON.parse(stdout).sequences.default.ceiling).toBe('5000');
});
