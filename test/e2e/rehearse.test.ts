import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { RehearsalReport } from '../../src/cli/rehearsal/report-text.ts';
import { NONCED, runNonced } from '../fixtures/daemon-process.ts';
import { eventually } from '../fixtures/eventually.ts';

const BOT = `${process.execPath} ${resolve('build/test/fixtures/rehearsed-bot-process.js')}`;
const SHORT = ['--scale', '0.05', '--maintenance', '700ms', '--limit', '30s'];

async function rehearsed(args: readonly string[], bot: string, env: Readonly<Record<string, string>> = {}) {
  const { code, stdout, stderr } = await runNonced(
    ['rehearse', ...SHORT, '--json', ...args, '--', 'sh', '-c', bot],
    env,
  );
  expect(stdout, stderr).not.toBe('');
  const report = JSON.parse(stdout) as RehearsalReport & { dir?: string };
  const counts = Object.fromEntries(report.findings.map(({ kind, count }) => [kind, count]));
  return { code, stderr, report, counts };
}

describe.concurrent('nonced rehearse', () => {
  test('a bot that does everything right goes through all acts without a finding', async () => {
    const { code, report } = await rehearsed(['--unit', 'us'], `exec ${BOT} good`);
    expect(report.findings).toEqual([]);
    expect(code).toBe(0);
    expect(report).toMatchObject({ ending: 'complete', restarts: 0, notes: [] });
    const names = ['calm', 'hang', 'rate-limit', 'maintenance', 'reset', 'kill', 'restart', 'lockout'];
    expect(report.acts.map(({ act }) => act)).toEqual(names);
    for (const act of report.acts) {
      expect(act).toMatchObject({ happened: true, rejectedNonces: 0, ordersTwice: 0, withoutGrant: 0, overlaps: 0 });
      expect(act.calls, act.act).toBeGreaterThan(0);
    }
  });

  test('two processes with nonces of their own are found: rejected, and without a grant', async () => {
    const { code, report, counts } = await rehearsed(['--acts', 'calm'], `${BOT} own-clock & ${BOT} own-clock & wait`);
    expect(code).toBe(1);
    expect(counts['rejectedNonces']).toBeGreaterThan(0);
    expect(counts['withoutGrant']).toBeGreaterThan(counts['rejectedNonces'] ?? 0);
    expect(report.acts).toMatchObject([{ act: 'calm', withoutGrant: report.acts[0]?.calls }]);
    expect(report.findings.find(({ kind }) => kind === 'withoutGrant')?.fix).toContain('grant.nonce');
  });

  test('with --own-clock they may make their nonces, and are rejected all the same', async () => {
    const { counts } = await rehearsed(['--acts', 'calm', '--own-clock'], `${BOT} own-clock & ${BOT} own-clock & wait`);
    expect(counts).not.toHaveProperty('withoutGrant');
    expect(counts['rejectedNonces']).toBeGreaterThan(0);
  });

  test('a bot that repeats an order blindly after a hang is found, with the acts in which it did', async () => {
    const { code, report, counts } = await rehearsed(['--acts', 'calm,hang,reset'], `exec ${BOT} blind`);
    expect({ code, counts }).toEqual({ code: 1, counts: { ordersTwice: 2 } });
    expect(report.findings[0]).toMatchObject({
      acts: ['hang', 'reset'],
      fact: expect.stringMatching(/^2 orders sent again .* AddOrder of MASTER with cl_ord_id /),
      fix: expect.stringContaining('look for the order by its cl_ord_id'),
    });
    expect(report.acts.map(({ ordersTwice }) => ordersTwice)).toEqual([0, 1, 1]);
  });

  test('a command that ends at once is started again, and the report says that it made no call', async () => {
    const { code, report, counts } = await rehearsed(['--limit', '2s'], 'echo no key; exit 3');
    expect(code).toBe(1);
    expect(counts).toMatchObject({ 'no-call': 1, ended: report.restarts + 1 });
    expect(report).toMatchObject({ ending: 'unheard', acts: [] });
    expect(report.restarts).toBeGreaterThan(0);
  });

  test('without restarts, its end is the end of the rehearsal', async () => {
    const { code, report, counts } = await rehearsed(['--no-restart'], 'exit 0');
    expect(code).toBe(1);
    expect(counts).toEqual({ 'no-call': 1, ended: 1 });
    expect(report).toMatchObject({ ending: 'gone', restarts: 0 });
  });

  test('a bot that gets leases but makes no call is stopped soon, because it calls somewhere else', async () => {
    const elsewhere = `for n in 1 2 3 4; do ${process.execPath} ${NONCED} exec -- true; done; sleep 60`;
    const { report } = await rehearsed(['--limit', '60s'], elsewhere);
    expect(report.findings[0]?.fact).toMatch(/although it was granted [34] leases: ITS CALLS WENT ELSEWHERE$/);
  });

  test('no credential of the environment reaches the bot', async () => {
    const env = { KRAKEN_SECRET: 'the-real-one', MY_API_KEY: 'mine', MY_DB_PASSWORD: 'also-mine', PLAIN: 'to-be-seen' };
    const show = 'echo "$KRAKEN_SECRET/$MY_API_KEY/$MY_DB_PASSWORD/$PLAIN/$(stat -c %a "$KRAKEN_KEYS")"; sleep 60';
    const args = ['--keep', '--pass-env', 'MY_DB_PASSWORD', '--limit', '3s'];
    const { report, stderr } = await rehearsed(args, show, env);
    const dir = report.dir ?? '';
    try {
      expect(readFileSync(join(dir, 'bot.log'), 'utf8')).toMatch(/^[\w+/=]{88}\/\/also-mine\/to-be-seen\/600\n$/);
      expect(stderr).toMatch(/kept from the bot: .*\bMY_API_KEY\b/);
    } finally {
      rmSync(dir, { recursive: true });
    }
  });

  test('what cannot be rehearsed is refused: a command that names the real exchange, one that is not there, a bad file', async () => {
    const real = await runNonced(['rehearse', '--', 'bot', '--url=https://api.kraken.com']);
    expect(real).toMatchObject({ code: 64, stdout: '', stderr: expect.stringContaining('NONCED_REHEARSAL_URL') });
    const missing = await runNonced(['rehearse', '--no-restart', '--', '/no/such/bot']);
    expect(missing).toMatchObject({
      code: 64,
      stdout: '',
      stderr: expect.stringContaining('/no/such/bot cannot be run'),
    });
    const unreadable = await runNonced(['rehearse', '--config', '/no/such/file', '--', 'true']);
    expect(unreadable).toMatchObject({
      code: 78,
      stdout: '',
      stderr: expect.stringContaining('/no/such/file: does not'),
    });
    expect((await runNonced(['rehearse', '--acts', 'calm,war', '--', 'true'])).code).toBe(64);
    expect((await runNonced(['rehearse'])).code).toBe(64);
  });

  describe.skipIf(process.platform !== 'linux')('Ctrl-C (Linux only: reads /proc)', () => {
    const stubborn = `trap '' TERM; while :; do sleep 1000 & wait; done`;

    test.each([
      { what: 'once, with a report', bot: `sleep 1000 & exec ${BOT} good`, times: 1 },
      { what: 'twice, for a bot that does not want to end', bot: `${BOT} good & ${stubborn}`, times: 2 },
    ])('leaves no process behind: $what', async ({ bot, times }) => {
      const mark = randomUUID();
      const args = [NONCED, 'rehearse', ...SHORT, '--scale', '9', '--', 'sh', '-c', bot];
      const child = spawn(process.execPath, args, {
        env: { ...process.env, MARK: mark },
        stdio: ['ignore', 'pipe', 'pipe'],
      });
      let [said, told] = ['', ''];
      child.stderr.setEncoding('utf8').on('data', (text: string) => {
        told += text;
      });
      child.stdout.setEncoding('utf8').on('data', (text: string) => {
        said += text;
      });
      const ended = once(child, 'close');
      try {
        await eventually('the first act', () => told.includes('act 1 of 8'));
        // This process, the daemon, and what was started for the bot.
        expect(marked(mark).length).toBeGreaterThanOrEqual(4);
        child.kill('SIGINT');
        if (times > 1) {
          await eventually('its own bot is told to end', () => marked(mark).length < 5);
          child.kill('SIGINT');
        }
        expect(await ended).toEqual([130, null]);
        expect(marked(mark)).toEqual([]);
      } finally {
        for (const pid of marked(mark)) process.kill(Number(pid), 'SIGKILL');
      }
      expect(said).toContain('Nothing wrong so far.');
      expect(existsSync(/\/\S+(?=\/bot\.log)/.exec(told)?.[0] ?? '/')).toBe(false);
    });
  });
});

/** The processes that have it in their environment. */
function marked(mark: string): string[] {
  return readdirSync('/proc').filter((pid) => {
    try {
      return /^\d+$/.test(pid) && readFileSync(`/proc/${pid}/environ`, 'utf8').includes(`MARK=${mark}`);
    } catch {
      return false;
    }
  });
}
