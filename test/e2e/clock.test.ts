import { spawnSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect } from 'vitest';
import { parseState, serialiseState } from '../../src/store/state/state-format.ts';
import { RELEASED_MS } from '../../src/version.ts';
import { type DaemonPlace, type DaemonProcess, runNonced } from '../fixtures/daemon-process.ts';
import { placePerTest } from '../fixtures/daemon-test.ts';
import type { RawConnection } from '../fixtures/raw-connection.ts';

/** What to preload, as the faketime program itself would: its path differs between machines. */
const library = /^LD_PRELOAD=(\S+)$/m.exec(
  spawnSync('faketime', ['-f', '+0', 'env'], { encoding: 'utf8' }).stdout ?? '',
)?.[1];
const reason = library === undefined ? ' (skipped: no faketime program; install faketime)' : '';

const SECOND_NS = 1_000_000_000n;
const MINUTE_NS = 60n * SECOND_NS;
const HOUR_NS = 60n * MINUTE_NS;

const clockFile = (place: DaemonPlace) => join(place.dir, 'clock');

/** The wall clock alone is false: the monotonic one and the time since boot stay real. */
const fakeClock = (place: DaemonPlace) => ({
  LD_PRELOAD: library ?? '',
  FAKETIME_TIMESTAMP_FILE: clockFile(place),
  FAKETIME_NO_CACHE: '1',
  FAKETIME_DONT_FAKE_MONOTONIC: '1',
  TZ: 'UTC',
});

const test = placePerTest()
  // Steps the daemon's clock: `+3600` seconds from the real one, or a date that then stands still.
  .extend('setClock', ({ place }) => (at: string) => {
    writeFileSync(`${clockFile(place)}.new`, at);
    renameSync(`${clockFile(place)}.new`, clockFile(place));
  })
  .extend('begin', ({ place, start, setClock }) => {
    setClock('+0');
    return (): Promise<DaemonProcess> => start({ env: fakeClock(place) });
  })
  .extend('refusedStart', ({ place, spawn }) => async () => {
    const refused = spawn({ env: fakeClock(place) });
    return { code: await refused.ended, said: refused.log() };
  });

async function draw(bot: RawConnection): Promise<bigint> {
  return BigInt(String((await bot.ask('nonce'))['nonce']));
}

async function status(bot: RawConnection) {
  return (await bot.ask('status')) as unknown as {
    clock: { state: string; offMs: number };
    sequences: [{ leadMs: number; last: string }];
  };
}

const realNs = () => BigInt(Date.now()) * 1_000_000n;
const distance = (a: bigint, b: bigint) => (a > b ? a - b : b - a);

describe.skipIf(reason !== '')(`when the wall clock steps${reason}`, () => {
  test('back by an hour: the sequence goes on from the last nonce, status shows its lead, a warning is logged, I2 I10', async ({
    nonced,
    raw,
    setClock,
    begin,
  }) => {
    const running = await begin();
    const bot = await raw();
    const before = await draw(bot);
    setClock('-3600');
    const nonces = [await draw(bot), await draw(bot), await draw(bot)];
    expect(nonces).toEqual([before + 1n, before + 2n, before + 3n]);
    const { sequences } = await status(bot);
    expect(sequences[0].leadMs).toBeGreaterThan(3_590_000);
    expect(await nonced('status', '--check')).toMatchObject({
      code: 1,
      stdout: expect.stringMatching(/sequence default is (1 h|59 min).* ahead of the clock/),
    });
    // It is checked at the next write.
    await nonced('set-exclusive', 'account');
    await running.says(/warn: sequence default is (1 h 0 min|59 min \d+ s) ahead of the clock/);
    await running.end('SIGKILL');
    await begin();
    const after = await draw(await raw());
    expect(after).toBeGreaterThan(before + 3n);
    // One reserve at most was skipped by the crash.
    expect(after - before).toBeLessThan(10n * SECOND_NS);
  });

  test('I7: back by an hour: a lease and a wait neither end early nor late', async ({ raw, setClock, begin }) => {
    await begin();
    const holder = await raw();
    const waiter = await raw();
    const askedAtMs = performance.now();
    const { token } = await holder.ask('acquire', { ttlMs: 500 });
    const id = waiter.request('acquire', { waitMs: 60_000 });
    setClock('-3600');
    const revoked = await holder.message((message) => message.kind === 'notification');
    expect(revoked).toMatchObject({ method: 'revoked', params: { token, reason: 'expired' } });
    // It was granted after it was asked for, and has lasted at least its TTL since.
    expect(performance.now() - askedAtMs).toBeGreaterThanOrEqual(490);
    const { waitedMs } = await waiter.answer(id);
    expect(waitedMs).toBeLessThan(60_000);
  });

  test('I7: forward by half an hour: no lease ends for it', async ({ raw, setClock, begin }) => {
    await begin();
    const holder = await raw();
    const { token } = await holder.ask('acquire', { ttlMs: 60_000 });
    setClock('+1800');
    await draw(holder);
    expect(await holder.ask('release', { token })).toEqual({ released: true });
  });

  test('forward by half an hour: it is followed', async ({ nonced, raw, setClock, begin }) => {
    await begin();
    const bot = await raw();
    const before = await draw(bot);
    setClock('+1800');
    const after = await draw(bot);
    expect(distance(after - before, 30n * MINUTE_NS)).toBeLessThan(MINUTE_NS);
    const { clock, sequences } = await status(bot);
    expect(clock.state).toBe('followed');
    expect(Math.abs(sequences[0].leadMs)).toBeLessThan(60_000);
    expect(await nonced('status', '--check')).toMatchObject({ code: 0 });
  });

  test('forward in two steps of 45 minutes: the second one is not followed, or a clock could be led away, I10', async ({
    raw,
    setClock,
    begin,
  }) => {
    await begin();
    const bot = await raw();
    setClock('+2700');
    await draw(bot);
    setClock('+5400');
    expect(distance(await draw(bot), realNs())).toBeLessThan(HOUR_NS);
    expect((await status(bot)).clock.state).toBe('not-followed');
  });

  test('forward by two hours: not followed, not even by a daemon that is killed and started again, until an operator accepts it, I10', async ({
    nonced,
    raw,
    setClock,
    begin,
  }) => {
    const running = await begin();
    const bot = await raw();
    const before = await draw(bot);
    setClock('+7200');
    const after = await draw(bot);
    expect(after).toBeGreaterThan(before);
    expect(distance(after, realNs())).toBeLessThan(MINUTE_NS);
    await running.says(
      /warn: the clock jumped (1 h 59|2 h \d+) min ahead and is not followed.*nonced advance --to now/,
    );
    const { clock } = await status(bot);
    expect(clock).toMatchObject({ state: 'not-followed' });
    expect(distance(BigInt(clock.offMs), 7_200_000n)).toBeLessThan(60_000n);
    expect(await nonced('status', '--check')).toMatchObject({
      code: 1,
      stdout: expect.stringContaining('not followed'),
    });
    // The program's own clock would be two hours ahead of what others are granted next.
    expect(await nonced('exec', '--own-clock', '--', 'true')).toMatchObject({
      code: 75,
      stderr: expect.stringContaining('does not follow it'),
    });

    await running.end('SIGKILL');
    const second = await begin();
    const again = await raw();
    const restarted = await draw(again);
    expect(restarted).toBeGreaterThan(after);
    expect(distance(restarted, realNs())).toBeLessThan(MINUTE_NS);
    expect((await status(again)).clock.state).toBe('not-followed');
    await second.says('is not followed');

    // Two hours are more than what is allowed without --yes.
    expect(await nonced('advance', '--to', 'now')).toMatchObject({
      code: 64,
      stderr: expect.stringContaining('cannot be undone'),
    });
    expect(distance(await draw(again), realNs())).toBeLessThan(MINUTE_NS);
    expect(await nonced('advance', '--to', 'now', '--yes')).toMatchObject({ code: 0 });
    const accepted = await draw(again);
    expect(distance(accepted - realNs(), 2n * HOUR_NS)).toBeLessThan(MINUTE_NS);
    expect((await status(again)).clock.state).toBe('followed');
    expect(await nonced('status', '--check')).toMatchObject({ code: 0 });

    await second.end('SIGKILL');
    await begin();
    const third = await raw();
    expect(distance((await draw(third)) - realNs(), 2n * HOUR_NS)).toBeLessThan(MINUTE_NS);
    expect((await status(third)).clock.state).toBe('followed');
  });

  test('forward by two hours and back: it is followed again, and nothing was lost, I2', async ({
    raw,
    setClock,
    begin,
  }) => {
    const running = await begin();
    const bot = await raw();
    setClock('+7200');
    const before = await draw(bot);
    setClock('+0');
    const after = await draw(bot);
    expect(after).toBeGreaterThan(before);
    expect(distance(after, realNs())).toBeLessThan(MINUTE_NS);
    expect((await status(bot)).clock.state).toBe('followed');
    await running.says('the clock is followed again');
  });

  test('a first start in 1970 is refused with 75, makes no state, and succeeds once the clock is set', async ({
    place,
    raw,
    setClock,
    begin,
    refusedStart,
  }) => {
    setClock('@1970-01-01 00:01:00');
    const { code, said } = await refusedStart();
    expect({ code, said }).toMatchObject({ code: 75, said: expect.stringContaining('1970-01-01T00:01') });
    expect(said).toContain('set it (timedatectl)');
    expect(existsSync(join(place.stateDir, 'state.json'))).toBe(false);
    setClock('+0');
    await begin();
    expect(distance(await draw(await raw()), realNs())).toBeLessThan(MINUTE_NS);
  });

  test('init --floor now in 1970 is refused with 75 as well', async ({ place, setClock }) => {
    setClock('@1970-01-01 00:01:00');
    const init = await runNonced(['state', 'init', '--floor', 'now', '--state-dir', place.stateDir], fakeClock(place));
    expect(init).toMatchObject({ code: 75, stderr: expect.stringContaining('1970-01-01') });
    expect(RELEASED_MS).toBeGreaterThan(0);
  });

  describe('in another boot', () => {
    // As if the machine had been started again after a crash: neither boot id nor notes are those of now.
    const rebooted = test.extend('before', { auto: true }, async ({ place, begin, raw }) => {
      const running = await begin();
      const before = await draw(await raw());
      await running.end('SIGKILL');
      const path = join(place.stateDir, 'state.json');
      const parsed = parseState(readFileSync(path));
      if (parsed.kind !== 'state') throw new Error('the state cannot be read');
      const { anchor } = parsed.state.state;
      if (anchor === undefined) throw new Error('the state has no anchor');
      const state = { ...parsed.state.state, anchor: { ...anchor, bootId: randomUUID() } };
      writeFileSync(path, serialiseState({ ...parsed.state, state }));
      spawnSync('rm', ['-r', place.runtimeDir]);
      return before;
    });

    const state = (place: DaemonPlace) => readFileSync(join(place.stateDir, 'state.json'), 'utf8');

    rebooted(
      '2099 is refused with 75, changes no state, and the right clock is served',
      async ({ place, raw, setClock, begin, refusedStart, before }) => {
        const found = state(place);
        setClock('@2099-01-01 00:00:00');
        const { code, said } = await refusedStart();
        expect({ code, said }).toMatchObject({ code: 75, said: expect.stringContaining('2099-01-01') });
        expect(said).toContain('27 days');
        expect(state(place)).toBe(found);
        setClock('+0');
        await begin();
        const after = await draw(await raw());
        expect(after).toBeGreaterThan(before);
        expect(distance(after, realNs())).toBeLessThan(MINUTE_NS);
      },
    );

    rebooted(
      '1970 goes on from the ceiling, says so, and the correction is followed, I2',
      async ({ place, nonced, raw, setClock, begin, before }) => {
        const ceiling = BigInt(/"default": \{[^}]*"ceiling": "(\d+)"/.exec(state(place))?.[1] ?? '0');
        expect(ceiling).toBeGreaterThan(before);
        setClock('@1970-01-01 00:01:00');
        const running = await begin();
        const bot = await raw();
        const first = await draw(bot);
        expect(first).toBeGreaterThanOrEqual(ceiling);
        expect(await draw(bot)).toBe(first + 1n);
        expect((await status(bot)).clock.state).toBe('behind');
        await running.says('the clock is behind');
        expect(await nonced('status', '--check')).toMatchObject({ code: 1 });
        // The time service sets the clock: that is not a jump ahead but the cure.
        setClock('+10');
        const cured = await draw(bot);
        expect(cured).toBeGreaterThan(first + 1n);
        expect(distance(cured, realNs())).toBeLessThan(MINUTE_NS);
        expect((await status(bot)).clock.state).toBe('followed');
      },
    );

    rebooted(
      '1970, and killed there: the next start goes on from the ceiling again, I2 I10',
      async ({ raw, setClock, begin }) => {
        setClock('@1970-01-01 00:01:00');
        const running = await begin();
        const first = await draw(await raw());
        await running.end('SIGKILL');
        await begin();
        const second = await draw(await raw());
        expect(second).toBeGreaterThan(first);
        expect(distance(second, realNs())).toBeLessThan(MINUTE_NS);
      },
    );

    rebooted(
      '26 days later is believed, 28 days later is not',
      async ({ raw, setClock, begin, refusedStart, before }) => {
        setClock(`+${28 * 24 * 3_600}`);
        expect(await refusedStart()).toMatchObject({ code: 75, said: expect.stringContaining('27 days') });
        setClock(`+${26 * 24 * 3_600}`);
        await begin();
        expect((await draw(await raw())) - before).toBeGreaterThan(25n * 24n * HOUR_NS);
      },
    );
  });
});
