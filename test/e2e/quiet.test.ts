import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { connect, type Nonced } from '../../src/client/index.ts';
import { type DaemonProcess, daemonPlace, startDaemonProcess } from '../fixtures/daemon-process.ts';

const place = daemonPlace();
let daemon: DaemonProcess;
let nonced: Nonced;

beforeAll(async () => {
  daemon = await startDaemonProcess(place);
  nonced = await connect({ name: 'quiet', socket: place.socket });
});

afterAll(async () => {
  await nonced.close();
  await daemon.end('SIGTERM');
  place.remove();
});

const onLinux = process.platform === 'linux';

/** How often the daemon's main thread has gone to sleep and been woken, and how many writes it has made. */
function activity(): { readonly wakes: number; readonly writes: number; readonly written: number } {
  const field = (file: string, name: string) =>
    Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(readFileSync(`/proc/${daemon.pid}/${file}`, 'utf8'))?.[1]);
  return {
    wakes: field(`task/${daemon.pid}/status`, 'voluntary_ctxt_switches'),
    writes: field('io', 'syscw'),
    written: field('io', 'wchar'),
  };
}

test.skipIf(!onLinux)(
  'an idle daemon with a client connected writes nothing and wakes less than once a second',
  async () => {
    await nonced.nonce();
    // The write of the ceiling that this nonce may have caused comes first.
    await new Promise((resolve) => setTimeout(resolve, 300));
    const before = activity();
    await new Promise((resolve) => setTimeout(resolve, 4_000));
    const after = activity();
    expect(after.writes - before.writes).toBe(0);
    expect(after.wakes - before.wakes).toBeLessThan(4);
  },
);

test('10,000 nonces in steady use cost a ceiling write every two and a half seconds, and no more', async () => {
  const before = await nonced.status();
  for (let round = 0; round < 100; round++) {
    await Promise.all(Array.from({ length: 100 }, () => nonced.nonce()));
  }
  const after = await nonced.status();
  expect(after.totals.nonces - before.totals.nonces).toBe(10_000);
  const seconds = (after.uptimeMs - before.uptimeMs) / 1000;
  expect(after.durability.writes - before.durability.writes).toBeLessThanOrEqual(Math.ceil(seconds / 2.5) + 1);
});

test.skipIf(!onLinux)('a grant and its release cost two writes of a note of 128 bytes, and their answers', async () => {
  const calls = 200;
  await nonced.exclusive(async () => {});
  const before = activity();
  for (let call = 0; call < calls; call++) await nonced.exclusive(async () => {});
  await nonced.status();
  const after = activity();
  // A note, its striking, and one answer each; a ceiling write in between would add some ten.
  expect(after.writes - before.writes).toBeLessThanOrEqual(3 * calls + 30);
});
