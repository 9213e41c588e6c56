import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { NONCED } from '../test/fixtures/daemon-process.ts';
import { Clients } from './clients.ts';
import { Daemons, lookAtState } from './daemons.ts';
import { Faults } from './faults.ts';
import { HistoryReader, HistoryWriter, nowMs, type Told } from './history.ts';
import { askOnce } from './json-lines.ts';
import { Judge, type Violation } from './judge.ts';
import { Place } from './place.ts';
import { ACCOUNTS, configuration, SEQUENCES } from './terms.ts';

/** No process is stopped for so long that its entries come later than this. */
const LAG_MS = 8_000;
const READ_EVERY_MS = 250;
const LOOK_EVERY_MS = 60;
/** At the end, with all faults taken back, every account must be served within this time. */
const CALM_MS = 40_000;

export interface RunOptions {
  readonly seconds: number;
  readonly seed: number;
  /** Ends the run early. Everything is cleaned up. */
  readonly signal: AbortSignal;
  readonly progress: (line: string) => void;
}

export interface Report {
  readonly seed: number;
  readonly seconds: number;
  readonly faults: Readonly<Record<string, number>>;
  readonly skipped: Readonly<Record<string, string>>;
  readonly daemonsStarted: number;
  readonly ends: Readonly<Record<string, number>>;
  readonly grants: number;
  readonly nonces: number;
  readonly leasesLost: number;
  readonly intrusionsRefused: number;
  readonly stateReadings: number;
  /** The errors that clients got, by code. */
  readonly refusals: Readonly<Record<string, number>>;
  /** Requests of killed clients, whose end is unknown. */
  readonly unanswered: number;
  readonly violations: readonly Violation[];
}

/** Tortures a daemon for the given time, or until the first violation. */
export async function torture(options: RunOptions): Promise<Report> {
  const place = new Place();
  const over = new AbortController();
  const end = () => over.abort();
  options.signal.addEventListener('abort', end);
  const path = join(place.dir, 'torture.history');
  const history = new HistoryWriter(path);
  const daemons = new Daemons(place, history);
  const clients = new Clients(place, history, options.seed);
  const judge = new Judge();
  const ears = new Ears(judge, [
    new HistoryReader(path, 'torture'),
    ...clients.all.map(({ history: of, name }) => new HistoryReader(of, name)),
  ]);
  // However this process ends, it ends what it has started, and removes its directories and its mount.
  const lastResort = () => {
    for (const { child } of clients.all) child?.kill('SIGKILL');
    daemons.stop();
    place.remove();
  };
  process.once('exit', lastResort);
  const startedAt = nowMs();
  try {
    prepare(place);
    history.write({ k: 'clock', wallMs: Date.now() });
    const faults = new Faults({ place, daemons, clients, history, seed: options.seed, signal: over.signal });
    const supervision = daemons.supervise();
    await until(() => daemons.serving !== undefined, 20_000);
    clients.start();
    const trouble = faults.run();
    const watching = watch({ place, history, judge, ears, over, daemons, faults, startedAt, options });
    await sleep(options.seconds * 1_000, undefined, { signal: over.signal }).catch(() => {});
    end();
    await Promise.all([trouble, watching]);
    if (judge.violations.length === 0 && !options.signal.aborted) await calm(place, history);
    await clients.stop();
    daemons.stop();
    await supervision;
    await until(() => daemons.running.length === 0, 5_000);
    ears.listen(Number.POSITIVE_INFINITY);
    const { counts } = judge;
    return {
      seed: options.seed,
      seconds: Math.round((nowMs() - startedAt) / 100) / 10,
      faults: Object.fromEntries([...faults.made].sort()),
      skipped: Object.fromEntries(faults.skipped),
      daemonsStarted: daemons.started,
      ends: Object.fromEntries(daemons.ends),
      grants: counts.grants,
      nonces: counts.nonces,
      leasesLost: counts.lost,
      intrusionsRefused: counts.intrusions,
      stateReadings: counts.states,
      refusals: Object.fromEntries([...judge.refusals].sort()),
      unanswered: judge.unanswered,
      violations: judge.violations,
    };
  } finally {
    over.abort();
    options.signal.removeEventListener('abort', end);
    await clients.stop();
    daemons.stop();
    await until(() => daemons.running.length === 0, 5_000);
    ears.close();
    history.close();
    place.remove();
    process.off('exit', lastResort);
  }
}

/** Makes the state, with all its sequences. */
function prepare(place: Place): void {
  place.configure(configuration(20));
  const init = (...args: string[]) => {
    const command = [
      NONCED,
      'state',
      'init',
      ...args,
      '--state-dir',
      place.stateDir,
      '--runtime-dir',
      place.runtimeDir,
    ];
    const { status, stderr } = spawnSync(process.execPath, command, { encoding: 'utf8' });
    if (status !== 0) throw new Error(`nonced state init ${args.join(' ')}: ${stderr}`);
  };
  init('--floor', 'now', '--unit', 'ns');
  for (const { name, unit, floor } of SEQUENCES) init('--sequence', name, '--unit', unit, '--floor', floor);
}

interface Watched {
  readonly place: Place;
  readonly history: HistoryWriter;
  readonly judge: Judge;
  readonly ears: Ears;
  readonly over: AbortController;
  readonly daemons: Daemons;
  readonly faults: Faults;
  readonly startedAt: number;
  readonly options: RunOptions;
}

/** Reads the state and the histories until the run is over, and ends it at the first violation. */
async function watch({
  place,
  history,
  judge,
  ears,
  over,
  daemons,
  faults,
  startedAt,
  options,
}: Watched): Promise<void> {
  for (let nextReadAt = 0; !over.signal.aborted; await sleep(LOOK_EVERY_MS)) {
    lookAtState(place, history);
    if (nowMs() < nextReadAt) continue;
    nextReadAt = nowMs() + READ_EVERY_MS;
    ears.listen(nowMs() - LAG_MS);
    const made = [...faults.made.values()].reduce((sum, count) => sum + count, 0);
    const { grants, nonces } = judge.counts;
    options.progress(
      `${Math.round((nowMs() - startedAt) / 1_000)} s: ${made} faults, ${daemons.started} daemons, ${grants} grants, ${nonces} nonces, ${judge.violations.length} violations`,
    );
    if (judge.violations.length > 0) over.abort();
  }
}

/** I8: checks that every account is served once all faults are taken back. */
async function calm(place: Place, history: HistoryWriter): Promise<void> {
  history.write({ k: 'fault', kind: 'all faults are taken back' });
  const endsAt = nowMs() + CALM_MS;
  for (const account of ACCOUNTS) {
    // Its bots report rejected nonces, so its breaker may be open.
    if (account === 'BAD') continue;
    let last = 'no answer';
    for (;;) {
      try {
        await askOnce(place.socket, 'acquire', { account, priority: 'urgent', waitMs: 10_000, ttlMs: 1_000 }, 12_000);
        break;
      } catch (error) {
        last = String(error);
      }
      if (nowMs() > endsAt) {
        history.write({
          k: 'found',
          invariant: 'I8',
          what: `${account} is not served although no fault is left: ${last}`,
        });
        return;
      }
      await sleep(100);
    }
  }
}

/** Merges the histories by time, for the judge. */
class Ears {
  readonly #judge: Judge;
  readonly #readers: readonly HistoryReader[];
  #heard: Told[] = [];

  constructor(judge: Judge, readers: readonly HistoryReader[]) {
    this.#judge = judge;
    this.#readers = readers;
  }

  /** Passes everything that was seen before `until` to the judge. */
  listen(until: number): void {
    for (const reader of this.#readers) for (const entry of reader.read()) this.#heard.push(entry);
    this.#heard.sort((a, b) => a.t - b.t);
    const later = this.#heard.findIndex(({ t }) => t >= until);
    const due = later < 0 ? this.#heard.splice(0) : this.#heard.splice(0, later);
    for (const entry of due) this.#judge.hear(entry);
  }

  close(): void {
    for (const reader of this.#readers) reader.close();
  }
}

async function until(holds: () => boolean, withinMs: number): Promise<void> {
  const endsAt = nowMs() + withinMs;
  while (!holds() && nowMs() < endsAt) await sleep(20);
}
