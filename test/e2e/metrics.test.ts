import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { connect } from '../../src/client/index.ts';
import { parseStrictly } from '../cli/metrics/strict-parser.ts';
import { runInProcess } from '../fixtures/command-line.ts';
import { type DaemonProcess, daemonPlace, NONCED, startDaemonProcess } from '../fixtures/daemon-process.ts';
import { eventually } from '../fixtures/eventually.ts';
import { hasProgram } from '../fixtures/shell.ts';

const place = daemonPlace();
let daemon: DaemonProcess;

beforeAll(async () => {
  daemon = await startDaemonProcess(place);
});

afterAll(async () => {
  await daemon.end('SIGTERM');
  place.remove();
});

const nonced = (...args: string[]) => runInProcess(args, { NONCED_SOCKET: place.socket });

test('what bots have done is counted: grants, nonces, outcomes, refusals', async () => {
  await using bot = await connect({ name: 'grid-bot', socket: place.socket });
  await bot.exclusive({ account: 'MASTER' }, async () => {});
  await bot.nonce({ account: 'MASTER', count: 4 });
  const grant = await bot.acquire({ account: 'USER:alice' });
  await expect(bot.acquire({ account: 'MASTER', waitMs: 0 })).rejects.toMatchObject({ code: 'WAIT_TIMEOUT' });
  const { code, stdout, stderr } = await nonced('metrics');
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  const families = parseStrictly(stdout);
  const value = (series: string) => families.get(series.replace(/\{.*/, ''))?.samples.get(series);
  expect(value('nonced_up')).toBe(1);
  expect(value('nonced_grants_total')).toBe(2);
  expect(value('nonced_nonces_total')).toBe(6);
  expect(value('nonced_leases')).toBe(1);
  expect(value('nonced_account_outcomes_total{account="MASTER",exchange="default",outcome="ok"}')).toBe(1);
  expect(value('nonced_account_leases{account="USER:alice",exchange="default"}')).toBe(1);
  expect(value('nonced_refusals_total{code="WAIT_TIMEOUT"}')).toBe(1);
  await grant.release();
});

const withoutPromtool = hasProgram('promtool') ? '' : ' (skipped: no promtool)';

test.skipIf(withoutPromtool !== '')(`Prometheus’ own checker finds nothing to say${withoutPromtool}`, async () => {
  const { stdout } = await nonced('metrics');
  const {
    status,
    stdout: said,
    stderr,
  } = spawnSync('promtool', ['check', 'metrics'], { input: stdout, encoding: 'utf8' });
  expect({ status, said, stderr }).toEqual({ status: 0, said: '', stderr: '' });
});

test('--output writes a file that all users may read, and nothing to standard output', async () => {
  const file = join(place.dir, 'nonced.prom');
  const line = `umask 077; exec "$0" ${NONCED} metrics --output ${file}`;
  const { status, stdout } = spawnSync('sh', ['-c', line, process.execPath], {
    env: { ...process.env, NONCED_SOCKET: place.socket },
    encoding: 'utf8',
  });
  expect({ status, stdout }).toEqual({ status: 0, stdout: '' });
  expect(parseStrictly(readFileSync(file, 'utf8')).get('nonced_up')?.samples.get('nonced_up')).toBe(1);
  expect(statSync(file).mode & 0o777).toBe(0o644);
  expect(readdirSync(place.dir).filter((name) => name.startsWith('nonced.prom'))).toEqual(['nonced.prom']);
});

describe('where no daemon answers', () => {
  test('the text and the file say so, and the exit code too', async () => {
    const none = join(place.dir, 'none.sock');
    const file = join(place.dir, 'down.prom');
    const printed = await runInProcess(['metrics', '--socket', none]);
    const written = await runInProcess(['metrics', '--socket', none, '--output', file]);
    expect([printed.code, written.code]).toEqual([69, 69]);
    expect(printed.stdout).toMatch(/\nnonced_up 0\n$/);
    expect(printed.stderr).toContain(`no daemon answers at ${none}`);
    expect(readFileSync(file, 'utf8')).toBe(printed.stdout);
  });
});

test.each([['0.0.0.0:9464'], ['9464'], ['--output', 'x', '127.0.0.1:0']])('--listen %s is misuse', async (...args) => {
  const { code, stdout } = await nonced('metrics', ...args.slice(0, -1), '--listen', args.at(-1) ?? '');
  expect({ code, stdout }).toEqual({ code: 64, stdout: '' });
});

test('the daemon’s own socket is not taken for its metrics', async () => {
  expect(await nonced('metrics', '--listen', place.socket)).toMatchObject({ code: 64 });
});

test('the exporter goes on while the daemon goes and comes back, says so once, and ends at SIGTERM', async () => {
  const exporter = spawn(process.execPath, [NONCED, 'metrics', '--listen', '127.0.0.1:0', '--socket', place.socket], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let said = '';
  for (const stream of [exporter.stdout, exporter.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      said += text;
    });
  }
  const url = await eventually('it listens', () => /at (http:\S+)\n/.exec(said)?.[1]);
  const scraped = async () => {
    const text = await (await fetch(url)).text();
    return parseStrictly(text);
  };
  const before = await scraped();
  expect(before.get('nonced_up')?.samples.get('nonced_up')).toBe(1);
  await daemon.end('SIGTERM');
  for (let scrape = 0; scrape < 3; scrape += 1) {
    const down = await scraped();
    expect([...down.keys()]).toEqual(['nonced_up']);
    expect(down.get('nonced_up')?.samples.get('nonced_up')).toBe(0);
  }
  daemon = await startDaemonProcess(place);
  const after = await scraped();
  const starts = (families: typeof before) =>
    families.get('nonced_starts_total')?.samples.get('nonced_starts_total') ?? 0;
  expect(starts(after)).toBe(starts(before) + 1);
  expect(said.match(/no daemon/g)).toHaveLength(1);
  expect(said.match(/answers again/g)).toHaveLength(1);
  exporter.kill('SIGTERM');
  const [code, signal] = await once(exporter, 'close');
  expect({ code, signal }).toEqual({ code: 0, signal: null });
});
