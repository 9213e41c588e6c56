import { readFileSync } from 'node:fs';
import { expect } from 'vitest';
import { daemonPerFile } from '../fixtures/daemon-test.ts';

const test = daemonPerFile().extend('bot', ({ client }) => client('quiet'));

const onLinux = process.platform === 'linux';

/** How often the daemon's main thread has gone to sleep and been woken, and how many writes it has made. */
function activity(pid: number): { readonly wakes: number; readonly writes: number; readonly written: number } {
  const field = (file: string, name: string) =>
    Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(readFileSync(`/proc/${pid}/${file}`, 'utf8'))?.[1]);
  return {
    wakes: field(`task/${pid}/status`, 'voluntary_ctxt_switches'),
    writes: field('io', 'syscw'),
    written: field('io', 'wchar'),
  };
}

test.skipIf(!onLinux)(
  'an idle daemon with a client connected writes nothing and wakes less than once a second',
  async ({ daemon, bot }) => {
    await bot.nonce();
    // The write of the ceiling that this nonce may have caused comes first.
    await new Promise((resolve) => setTimeout(resolve, 300));
    const before = activity(daemon.pid);
    await new Promise((resolve) => setTimeout(resolve, 4_000));
    const after = activity(daemon.pid);
    expect(after.writes - before.writes).toBe(0);
    expect(after.wakes - before.wakes).toBeLessThan(4);
  },
);

test('10,000 nonces in steady use cost a ceiling write every two and a half seconds, and no more', async ({ bot }) => {
  const before = await bot.status();
  for (let round = 0; round < 100; round++) {
    await Promise.all(Array.from({ length: 100 }, () => bot.nonce()));
  }
  const after = await bot.status();
  expect(after.totals.nonces - before.totals.nonces).toBe(10_000);
  const seconds = (after.uptimeMs - before.uptimeMs) / 1000;
  expect(after.durability.writes - before.durability.writes).toBeLessThanOrEqual(Math.ceil(seconds / 2.5) + 1);
});

test.skipIf(!onLinux)(
  'a grant and its release cost two writes of a note of 128 bytes, and their answers',
  async ({ daemon, bot }) => {
    const calls = 200;
    await bot.exclusive(async () => {});
    const before = activity(daemon.pid);
    for (let call = 0; call < calls; call++) await bot.exclusive(async () => {});
    await bot.status();
    const after = activity(daemon.pid);
    // A note, its striking, and one answer each; a ceiling write in between would add some ten.
    expect(after.writes - before.writes).toBeLessThanOrEqual(3 * calls + 30);
  },
);
