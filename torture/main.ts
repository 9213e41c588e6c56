// A daemon under continuous load from nine processes, while everything happens that can happen on a real machine:
// `npm run torture -- --minutes 30`. It prints a report at the end. The exit code is 1 if an invariant was violated.
import { parseArgs } from 'node:util';
import type { Told } from './history.ts';
import { type Report, torture } from './run.ts';

const USAGE = 'usage: npm run torture -- [--minutes N] [--seed N] [--json]';

class UsageError extends Error {}

function numberOf(name: string, text: string, least: number): number {
  const value = Number(text);
  if (Number.isFinite(value) && value >= least) return value;
  throw new UsageError(`--${name} is ${JSON.stringify(text)}; give a number from ${least}\n${USAGE}`);
}

function table(report: Report): string {
  const rows = (of: Readonly<Record<string, number | string>>) =>
    Object.entries(of).map(([name, value]) => `  ${name.padEnd(46)}${String(value).padStart(9)}`);
  const { faults, skipped, ends, refusals } = report;
  return [
    `seed ${report.seed}, ${report.seconds} s`,
    'faults',
    ...rows(faults),
    ...Object.entries(skipped).map(([name, reason]) => `  ${name.padEnd(46)}  skipped: ${reason}`),
    `daemons: ${report.daemonsStarted} started, ended with`,
    ...rows(ends),
    'load',
    ...rows({
      grants: report.grants,
      nonces: report.nonces,
      'leases lost': report.leasesLost,
      "attempts on another's lease, all refused": report.intrusionsRefused,
      'readings of the state file': report.stateReadings,
      'requests whose end is unknown': report.unanswered,
    }),
    'refusals',
    ...rows(refusals),
    `violations: ${report.violations.length}`,
    ...report.violations.flatMap(({ invariant, what, extract }) => [`\n${invariant}: ${what}`, ...extract.map(line)]),
  ].join('\n');
}

function line({ t, who, ...what }: Told): string {
  return `  ${t.toFixed(3)} ${who.padEnd(8)} ${JSON.stringify(what)}`;
}

try {
  const { values } = parseArgs({
    options: {
      minutes: { type: 'string', default: '1' },
      seed: { type: 'string', default: String(Date.now() % 1_000_000) },
      json: { type: 'boolean', default: false },
    },
  });
  const seconds = numberOf('minutes', values.minutes, 0.05) * 60;
  const seed = Math.floor(numberOf('seed', values.seed, 0));
  const stop = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stop.abort());
  if (!values.json) console.log(`seed ${seed}`);
  const { isTTY } = process.stderr;
  const report = await torture({
    seconds,
    seed,
    signal: stop.signal,
    progress: (text) => void (isTTY && process.stderr.write(`\r\x1b[K${text}`)),
  });
  if (isTTY) process.stderr.write('\r\x1b[K');
  console.log(values.json ? JSON.stringify(report, null, 2) : table(report));
  process.exitCode = report.violations.length > 0 ? 1 : 0;
} catch (error) {
  const isUsage =
    error instanceof UsageError || String((error as { code?: unknown }).code).startsWith('ERR_PARSE_ARGS');
  console.error(isUsage ? (error as Error).message : error);
  process.exitCode = isUsage ? 64 : 70;
}
