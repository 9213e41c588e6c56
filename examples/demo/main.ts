// npm run demo: eight bots and one exchange that checks every nonce, without and with the daemon. Takes under a minute.

import type { BotOptions, BotReport } from '../../test/fixtures/bot.ts';
import { runBots } from '../../test/fixtures/bot-processes.ts';
import { type DaemonProcess, daemonPlace, runNonced, startDaemonProcess } from '../../test/fixtures/daemon-process.ts';
import { startExchange } from '../../test/fixtures/exchange.ts';

const CALLS_PER_BOT = 60;
const KILLS = 10;
const KILL_EVERY_MS = 700;

/** One master and seven users, two pairs of which share a key. */
const BOTS = [
  { name: 'master', account: 'MASTER' },
  { name: 'alice-1', account: 'USER:alice' },
  { name: 'alice-2', account: 'USER:alice' },
  { name: 'bob-1', account: 'USER:bob' },
  { name: 'bob-2', account: 'USER:bob' },
  { name: 'carol', account: 'USER:carol' },
  { name: 'dave', account: 'USER:dave' },
  { name: 'erin', account: 'USER:erin' },
] as const;

interface Row {
  readonly title: string;
  readonly calls: number;
  readonly accepted: number;
  readonly rejected: number;
  readonly failed: number;
  readonly repeated: number;
  readonly atOnce: string;
  readonly perSecond: number;
  readonly medianMs: number | undefined;
  readonly p99Ms: number | undefined;
  readonly errors: readonly string[];
}

interface Phase {
  readonly title: string;
  readonly socket: string | undefined;
  /** Each bot has a key of its own and makes one call at a time. */
  readonly ownKeys?: boolean;
  /** How the exchange counts calls at once: over all keys, or on one. */
  readonly exclusive: 'overall' | 'per key';
  readonly meanwhile?: () => Promise<void>;
}

async function run({ title, socket, ownKeys = false, exclusive, meanwhile }: Phase): Promise<Row> {
  const exchange = await startExchange();
  try {
    const keys = new Map<string, ReturnType<typeof exchange.addKey>>();
    const bots: BotOptions[] = BOTS.map(({ name, account }) => {
      const label = ownKeys ? `${account}:${name}` : account;
      const key = keys.get(label) ?? exchange.addKey({ account: label });
      keys.set(label, key);
      const accounts = [{ account: label, key: key.key, secret: key.secret }];
      return { name, socket, url: exchange.url, accounts, calls: CALLS_PER_BOT, concurrency: ownKeys ? 1 : 3 };
    });
    let done = 0;
    const beganAt = performance.now();
    const total = BOTS.length * CALLS_PER_BOT;
    const running = runBots(bots, () => {
      done += 1;
      showProgress(title, done, total);
    });
    const [reports] = await Promise.all([running, meanwhile?.()]);
    const seconds = (performance.now() - beganAt) / 1000;
    const seen = exchange.report();
    const waitsMs = reports.flatMap((report) => report.waitsMs).sort((a, b) => a - b);
    const sum = (of: (report: BotReport) => number) => reports.reduce((total, report) => total + of(report), 0);
    return {
      title,
      calls: sum((report) => report.calls),
      accepted: seen.accepted,
      rejected: seen.invalidNonce,
      failed: sum((report) => report.failed),
      repeated: seen.repeatedNonces,
      atOnce: `${exclusive === 'overall' ? seen.maxInFlightOverall : seen.maxInFlightPerKey} ${exclusive}`,
      perSecond: sum((report) => report.calls) / seconds,
      medianMs: waitsMs[Math.floor(waitsMs.length / 2)],
      p99Ms: waitsMs[Math.floor(waitsMs.length * 0.99)],
      errors: reports.flatMap((report) => report.errors).slice(0, 3),
    };
  } finally {
    await exchange.close();
  }
}

function showProgress(title: string, done: number, total: number): void {
  if (process.stdout.isTTY) process.stdout.write(`\r${title}: ${done} of ${total} calls `);
  else if (done % (total / 4) === 0) process.stdout.write(`${title}: ${done} of ${total} calls\n`);
}

const HEADER = [
  '',
  'calls',
  'accepted',
  'rejected',
  'errors',
  'repeated',
  'most at once',
  'calls/s',
  'wait p50',
  'wait p99',
];

function cellsOf(row: Row): string[] {
  const ms = (value: number | undefined) => (value === undefined ? '-' : `${value.toFixed(0)} ms`);
  const counts = [row.calls, row.accepted, row.rejected, row.failed, row.repeated].map(String);
  return [row.title, ...counts, row.atOnce, row.perSecond.toFixed(0), ms(row.medianMs), ms(row.p99Ms)];
}

function printTable(rows: readonly Row[]): void {
  const table = [HEADER, ...rows.map(cellsOf)];
  const widths = HEADER.map((_, column) => Math.max(...table.map((cells) => cells[column]?.length ?? 0)));
  for (const cells of table) {
    const line = cells.map((cell, column) =>
      column === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart(widths[column] ?? 0),
    );
    console.log(line.join('  '));
  }
}

async function killAgainAndAgain(
  daemon: { current: DaemonProcess },
  restart: () => Promise<DaemonProcess>,
): Promise<void> {
  for (let kill = 0; kill < KILLS; kill++) {
    await new Promise((resolve) => setTimeout(resolve, KILL_EVERY_MS));
    await daemon.current.end('SIGKILL');
    daemon.current = await restart();
  }
}

console.log(
  'An exchange that checks signatures and nonces, 0 to 20 ms away. Eight bots, two pairs of them share a key.\n',
);
const place = daemonPlace();
const daemon = { current: await startDaemonProcess(place) };
const rows: Row[] = [];
try {
  rows.push(await run({ title: 'without nonced: own clocks', socket: undefined, exclusive: 'per key' }));
  for (const policy of ['global', 'account', 'off'] as const) {
    const switched = await runNonced(['set-exclusive', policy, '--socket', place.socket]);
    if (switched.code !== 0) throw new Error(switched.stderr);
    rows.push(
      await run({
        title: `nonced, exclusion ${policy}${policy === 'off' ? ' (a key each, one call at a time)' : ''}`,
        socket: place.socket,
        ownKeys: policy === 'off',
        exclusive: policy === 'global' ? 'overall' : 'per key',
      }),
    );
  }
  await runNonced(['set-exclusive', 'global', '--socket', place.socket]);
  rows.push(
    await run({
      title: `nonced, global, killed ${KILLS} times`,
      socket: place.socket,
      exclusive: 'overall',
      meanwhile: () => killAgainAndAgain(daemon, () => startDaemonProcess(place)),
    }),
  );
} finally {
  await daemon.current.end('SIGTERM');
  place.remove();
}
if (process.stdout.isTTY) process.stdout.write('\r\x1b[K');
console.log();
printTable(rows);

const withDaemon = rows.slice(1);
const bad = withDaemon.filter((row) => row.rejected + row.failed + row.repeated > 0 || !row.atOnce.startsWith('1 '));
for (const row of bad) console.log(`\n${row.title}: this must not happen. ${row.errors.join('; ')}`);
console.log(
  bad.length === 0
    ? '\nWith nonced: no call rejected, no nonce repeated, no two calls at once, no error seen by a bot.'
    : '\nSomething is wrong; please report it with this output.',
);
process.exitCode = bad.length === 0 ? 0 : 1;
