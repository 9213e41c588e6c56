import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { StatusResult } from '../../src/protocol/messages.ts';
import { runInProcess } from '../fixtures/command-line.ts';
import { type DaemonPlace, daemonPlace, startDaemonProcess } from '../fixtures/daemon-process.ts';

let place: DaemonPlace;

beforeEach(() => {
  place = daemonPlace();
});

afterEach(() => {
  place.remove();
});

const run = (...args: string[]) => runInProcess(args);
const draw = async (account: string) =>
  BigInt((await run('nonce', '--account', account, '--socket', place.socket)).stdout);
const named = async () => {
  const { stdout } = await run('status', '--json', '--socket', place.socket);
  return (JSON.parse(stdout) as StatusResult).register?.named;
};

test('I2: labels of orders are forgotten while the daemon is stopped, and one that comes back draws higher', async () => {
  const stateFile = join(place.stateDir, 'state.json');
  const forgetting = ['state', 'forget', 'order-*', '--yes', '--state-dir', place.stateDir];
  const daemon = await startDaemonProcess(place);
  await draw('MASTER');
  await draw('order-1');
  const before = readFileSync(stateFile);
  const last = await draw('order-2');
  expect(await named()).toBe(3);

  const early = await run(...forgetting);
  expect(early.code).not.toBe(0);
  expect(await named()).toBe(3);
  expect(await daemon.end('SIGTERM')).toBe(0);

  // A copy from before order-2 would pass for a state that has forgotten it.
  const newest = readFileSync(stateFile);
  writeFileSync(stateFile, before);
  const older = await run(...forgetting);
  expect(older).toMatchObject({ code: 78, stderr: expect.stringContaining('it does not know account order-2') });
  expect(readFileSync(stateFile)).toEqual(before);
  writeFileSync(stateFile, newest);

  const forgotten = await run(...forgetting);
  expect(forgotten).toMatchObject({ code: 0, stderr: '' });
  expect(forgotten.stdout).toContain('2 forgotten, 1 left');

  const next = await startDaemonProcess(place);
  expect(await named()).toBe(1);
  expect(await draw('order-2')).toBeGreaterThan(last);
  expect(await named()).toBe(2);
  expect(await next.end('SIGTERM')).toBe(0);
});
