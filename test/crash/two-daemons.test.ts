import { join } from 'node:path';
import { expect } from 'vitest';
import { runInProcess } from '../fixtures/command-line.ts';
import type { DaemonProcess } from '../fixtures/daemon-process.ts';
import { placePerTest } from '../fixtures/daemon-test.ts';
import { shareOf } from '../fixtures/effort.ts';

const ROUNDS = shareOf(60);
const CONTENDERS = 3;

const test = placePerTest();

test('the second daemon on a state directory says who holds it, exits 75 and disturbs nothing', async ({
  place,
  nonced,
  start,
  spawn,
}) => {
  const first = await start();
  const second = spawn();
  expect(await second.ended).toBe(75);
  expect(second.log()).toContain(`pid ${first.pid}`);
  expect(second.log()).toContain(place.socket);
  const { code, stdout } = await nonced('nonce');
  expect(code).toBe(0);
  expect(stdout).toMatch(/^\d{19}\n$/);
});

test('a second daemon with another state directory but the same runtime directory exits 75', async ({
  place,
  start,
  spawn,
}) => {
  await start();
  const second = spawn({ args: ['--state-dir', join(place.dir, 'other')] });
  expect(await second.ended).toBe(75);
  expect(second.log()).toContain(place.runtimeDir);
});

test('after SIGKILL of the first the second starts at once, although there is a lock that looks fresh', async ({
  place,
  start,
}) => {
  const first = await start();
  await first.end('SIGKILL');
  const second = await start();
  // It did not wait for a lock to go stale: that was a day away for the first one's.
  expect(second.log()).toContain('is ready');
  const { stdout } = await runInProcess(['state', 'inspect', '--json', '--state-dir', place.stateDir]);
  expect(JSON.parse(stdout)).toMatchObject({ epoch: 2, pid: second.pid, locked: true });
});

test(`in ${ROUNDS} rounds of daemons that race for a state, there are never two at once and never none`, async ({
  place,
  spawn,
}) => {
  const waiting = new Set<DaemonProcess>();
  const contend = () => {
    const daemon = spawn();
    waiting.add(daemon);
    // A contender that has waited for a second gives up with 75.
    void daemon.ended.then(() => waiting.delete(daemon));
  };
  for (let round = 1; round <= ROUNDS; round++) {
    let next: DaemonProcess | undefined;
    await expect
      .poll(
        () => {
          while (waiting.size < CONTENDERS) contend();
          const ready = [...waiting].filter((daemon) => daemon.log().includes('is ready'));
          expect(ready.length).toBeLessThanOrEqual(1);
          next = ready[0];
          return next !== undefined;
        },
        { interval: 5, timeout: 90_000 },
      )
      .toBe(true);
    if (next === undefined) throw new Error('unreachable');
    waiting.delete(next);
    await next.end('SIGKILL');
  }
  await Promise.all([...waiting].map((daemon) => daemon.end('SIGKILL')));
  const { stdout } = await runInProcess(['state', 'inspect', '--json', '--state-dir', place.stateDir]);
  // A contender may have been killed after it took over the lock and before it said so.
  expect(JSON.parse(stdout).epoch).toBeGreaterThanOrEqual(ROUNDS);
  expect(JSON.parse(stdout).epoch).toBeLessThanOrEqual(ROUNDS + CONTENDERS);
}, 240_000);
