import { judge, type Verdict } from './aims.ts';
import { absolute, cellsOf, ratio, type Spread, spread, type Where } from './comparison.ts';
import type { Results } from './results.ts';
import { accounts, SIZES, waiters } from './works/growth.ts';
import { WORKS } from './works/index.ts';
import type { Case } from './works/work.ts';

/** The first column is text, all others are figures. */
export interface Table {
  readonly title: string;
  readonly columns: readonly string[];
  readonly rows: readonly (readonly string[])[];
}

const US = 'nonced';
const HEATS = ['hot', 'cold'] as const;
const NOTHING = '–';

/** Every table that something was measured for, the ratios before the absolute figures. */
export function tablesOf(results: Results): readonly Table[] {
  const cases = WORKS.flatMap((work) => (work.name === 'growth' ? [] : [...work.cases, ...work.short]));
  const tables = [
    ...cases.map((each) => (each.times === 'call' ? throughputTable(results, each) : handOffTable(results, each))),
    growthTable(results),
    aloneTable(results),
    ...(results.settings.short ? [] : [aimsTable(judge(results))]),
  ];
  return tables.filter(({ rows }) => rows.length > 0);
}

/** What the figures stand on, and what is missing. */
export function circumstances({ machine, settings, skipped, startedAt }: Results): readonly string[] {
  return [
    `${machine.processor}, ${machine.cores} cores, ${machine.memoryGiB} GiB, ${machine.kernel}, Node ${machine.node}; ` +
      `state on ${machine.filesystem}`,
    `${startedAt.slice(0, 10)}, load before it ${machine.loadAverage.toFixed(2)}; medians of ${settings.rounds} rounds, ` +
      `${settings.hotCalls.toLocaleString('en')} calls of each client process after ${settings.warmUpCalls.toLocaleString('en')}; ` +
      `cold: the first ${settings.coldCalls.toLocaleString('en')}; each part ${settings.atMostMs / 1e3} s at most`,
    ...(machine.filesystem === 'tmpfs' ? ['state in memory: what is called durable here is not; see --dir'] : []),
    ...(machine.loadAverage > machine.cores / 2
      ? ['the machine was busy in the minute before: if that went on, take nothing from these figures']
      : []),
    ...skipped.map(({ what, why }) => `${what} was left out: ${why}`),
  ];
}

function throughputTable(results: Results, { name, title }: Case): Table {
  return {
    title,
    columns: ['', 'throughput of nonced', 'p99 of nonced', 'a second', 'median µs', 'p99 µs'],
    rows: rowsOf(results, name, (us, peer) => [
      times(ratio(results, 'perSecond', us, peer)),
      times(ratio(results, 'p99Us', us, peer)),
      plain(absolute(results, peer, 'perSecond')),
      plain(absolute(results, peer, 'medianUs')),
      plain(absolute(results, peer, 'p99Us')),
    ]),
  };
}

function handOffTable(results: Results, { name, title }: Case): Table {
  return {
    title,
    columns: ['', 'median of nonced', 'p99 of nonced', 'median µs', 'p99 µs'],
    rows: rowsOf(results, name, (us, peer) => [
      times(ratio(results, 'medianUs', us, peer)),
      times(ratio(results, 'p99Us', us, peer)),
      plain(absolute(results, peer, 'medianUs')),
      plain(absolute(results, peer, 'p99Us')),
    ]),
  };
}

/** Two rows for each peer that took part in the case: hot, and cold. Each is compared with ours of the same heat. */
function rowsOf(results: Results, name: string, figures: (us: Where, peer: Where) => string[]): string[][] {
  return results.peers.flatMap(({ name: peer, title, isDurable }) =>
    HEATS.flatMap((heat): string[][] => {
      const where = { case: name, peer, heat };
      if (cellsOf(results, where).length === 0) return [];
      const label = isDurable ? `${title} (durable)` : title;
      return [[heat === 'hot' ? label : `${label}, cold`, ...figures({ ...where, peer: US }, where)]];
    }),
  );
}

function growthTable(results: Results): Table {
  const row = (of: (count: number) => Case, what: string, count: number): string[] => {
    const cost = (peer: string) =>
      times(ratio(results, 'perSecond', { case: of(10).name, peer }, { case: of(count).name, peer }));
    const rate = (peer: string) => plain(absolute(results, { case: of(count).name, peer }, 'perSecond'));
    return [
      `${count.toLocaleString('en')} ${what}`,
      cost(US),
      cost('nonced-protocol'),
      rate(US),
      rate('nonced-protocol'),
    ];
  };
  const isMeasured = results.cells.some((cell) => cell.case === waiters(10).name || cell.case === accounts(10).name);
  return {
    title: 'Cost of an exclusive call, over that with 10',
    columns: ['', 'client library', 'bare protocol', 'a second, library', 'a second, protocol'],
    rows: isMeasured
      ? [
          ...SIZES.map((count) => row(waiters, 'callers on one lane', count)),
          ...SIZES.map((count) => row(accounts, 'accounts', count)),
        ]
      : [],
  };
}

function aloneTable({ memory, idle, start }: Results): Table {
  const row = <T>(what: string, unit: string, measured: readonly T[], figure: (one: T) => number): string[][] => {
    const values = spread(measured.map(figure));
    return values === undefined ? [] : [[what, plain(values), unit]];
  };
  return {
    title: 'The daemon alone',
    columns: ['', '', ''],
    rows: [
      ...row(
        `memory for a connection (${memory[0]?.connections} of them)`,
        'KiB',
        memory,
        (one) => one.perConnectionKiB,
      ),
      ...row(`memory for a waiting request (${memory[0]?.waiting} of them)`, 'KiB', memory, (one) => one.perWaiterKiB),
      ...row(`idle, ${idle[0]?.connections} connections: processor`, '% of a core', idle, (one) => one.cpuPercent),
      ...row(`idle: written to disk in ${idle[0]?.seconds} s`, 'B', idle, (one) => one.writtenBytes),
      ...row('idle: resident', 'MiB', idle, (one) => one.residentMiB),
      ...row('start to the first nonce, over `node -e 0`', '×', start, (one) => one.noncedMs / one.bareMs),
      ...row('start to the first nonce', 'ms', start, (one) => one.noncedMs),
      ...row('start and end of `node -e 0`', 'ms', start, (one) => one.bareMs),
    ],
  };
}

function aimsTable(verdicts: readonly Verdict[]): Table {
  return {
    title: 'Aims',
    columns: ['', 'aim', 'measured', 'lowest and highest round', 'met'],
    rows: verdicts.map(({ aim, measured, isMet }) => [
      aim.title,
      `${aim.sense === 'at least' ? '≥' : '≤'} ${aim.limit} ${aim.unit}`,
      `${figure(measured.median)} ${aim.unit}`,
      `${figure(measured.least)} … ${figure(measured.most)}`,
      isMet ? 'yes' : 'no',
    ]),
  };
}

function times(measured: Spread | undefined): string {
  return measured === undefined ? NOTHING : `${figure(measured.median)} ×`;
}

function plain(measured: Spread | undefined): string {
  return measured === undefined ? NOTHING : figure(measured.median);
}

/** Two or three digits that count, or all of a whole number. */
export function figure(value: number): string {
  if (value !== 0 && Math.abs(value) < 0.1) return value.toLocaleString('en', { maximumSignificantDigits: 2 });
  const digits = Math.abs(value) >= 100 ? 0 : Math.abs(value) >= 10 ? 1 : 2;
  return value.toLocaleString('en', { minimumFractionDigits: value === 0 ? 0 : digits, maximumFractionDigits: digits });
}
