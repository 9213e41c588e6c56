// The deterministic simulation from the command line: searches seeds for one that fails, replays one, or shows that it
// has teeth. What it does and what it finds: docs/reliability.md.
import { dirname, join } from 'node:path';
import { stdout } from 'node:process';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { BUGS } from './bugs.ts';
import { run } from './run.ts';
import { scenarioOf } from './scenario.ts';
import { type Found, type SearchResult, search } from './search.ts';
import { type Cut, cutDown, replayCommand, shrink } from './shrink.ts';
import { type Bite, bite } from './teeth.ts';

const USAGE = `npm run simulate -- [--seeds 1000] [--first 1] [--workers N]   search
npm run simulate -- --seed N [--steps 3,17,22] [--calm]       replay one seed, or some of its steps
npm run simulate -- --teeth [--bug TEXT] [--seeds 5000]       plant each deliberate bug, or those with TEXT in their
                                                              names, and search for it
`;
const HERE = dirname(fileURLToPath(import.meta.url));
/** The compiled program with the simulator beside it, and the directory of the packages. */
const BUILD = dirname(HERE);
const ROOT = join(BUILD, '..');
const TELL_EVERY_MS = 5_000;
/** How many failing seeds are shrunk and shown. The others are only listed. */
const MOST_SHOWN = 3;

class Misuse extends Error {}

function nowMs(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}

function wholeNumber(name: string, text: string): number {
  if (!/^\d{1,9}$/.test(text)) throw new Misuse(`--${name} is ${text}; give a whole number`);
  return Number(text);
}

function say(text: string): void {
  stdout.write(`${text}\n`);
}

async function replay(seed: number, steps: string | undefined, isCalm: boolean): Promise<boolean> {
  const scenario = scenarioOf(seed);
  const cut: Cut = {
    steps: steps === undefined ? scenario.steps.map((_, place) => place) : placesOf(steps),
    isCalm,
  };
  const replayed = await run(cutDown(scenario, cut));
  for (const line of replayed.history()) say(line);
  say('');
  say(replayed.failure === undefined ? 'nothing is wrong' : `FAILED  ${replayed.failure.message}`);
  return replayed.failure === undefined;
}

function placesOf(steps: string): number[] {
  return steps === 'none' ? [] : steps.split(',').map((place) => wholeNumber('steps', place));
}

async function searchAndTell(firstSeed: number, seeds: number, workers: number | undefined): Promise<boolean> {
  const beganMs = nowMs();
  let toldMs = beganMs;
  const onProgress = (result: SearchResult): void => {
    if (nowMs() - toldMs < TELL_EVERY_MS) return;
    toldMs = nowMs();
    say(`${result.seeds} of ${seeds} seeds, ${rate(result, toldMs - beganMs)} a second, ${result.found.length} failed`);
  };
  const onFound = ({ seed, message }: Found): void => say(`seed ${seed} FAILED  ${message.slice(0, 200)}`);
  const options = { dir: HERE, firstSeed, seeds, atFirst: false, onProgress, onFound };
  const result = await search(workers === undefined ? options : { ...options, workers });
  const tookMs = nowMs() - beganMs;
  const hours = (result.lastedMs / 3_600_000).toFixed(0);
  say(
    `${result.seeds} seeds in ${(tookMs / 1000).toFixed(0)} s, ${rate(result, tookMs)} a second: ${result.turns} turns, ${hours} hours of virtual time`,
  );
  say('What happened, and how often:');
  const entries = [...result.coverage].sort(([a], [b]) => (a < b ? -1 : 1));
  for (const [what, times] of entries) say(`  ${String(times).padStart(9)}  ${what}`);
  for (const { seed, invariant } of result.found.slice(0, MOST_SHOWN)) await explain(seed, invariant);
  if (result.found.length > MOST_SHOWN) {
    const others = result.found.slice(MOST_SHOWN).map(({ seed, message }) => `  ${seed}  ${message.slice(0, 160)}`);
    say(`\n${others.length} more seeds have failed:\n${others.slice(0, 50).join('\n')}`);
  }
  say(result.found.length === 0 ? 'No seed has failed.' : `${result.found.length} seeds have FAILED.`);
  return result.found.length === 0;
}

/** Shows the shortest history that fails in this way, and how to replay it. */
async function explain(seed: number, invariant: string): Promise<void> {
  const { cut, run: shortest } = await shrink(scenarioOf(seed), invariant);
  say(`\nseed ${seed} FAILED  ${shortest.failure?.message}`);
  for (const line of shortest.history()) say(`  ${line}`);
  say(`again: ${replayCommand(seed, cut)}`);
}

function rate({ seeds }: SearchResult, tookMs: number): string {
  return (seeds / (tookMs / 1000)).toFixed(0);
}

/** Prints the table that docs/reliability.md has. */
async function showTeeth(mostSeeds: number, named: string): Promise<boolean> {
  const bugs = BUGS.filter(({ name }) => name.includes(named));
  if (bugs.length === 0) throw new Misuse(`no bug has ${named} in its name; simulate/bugs.ts lists them`);
  say('| bug | found at seed | by |');
  say('| --- | --- | --- |');
  const told = ({ bug, found }: Bite): void =>
    say(`| ${bug.name} | ${found?.seed ?? `not in ${mostSeeds}`} | ${found?.invariant ?? ''} |`);
  const bites = await bite({ bugs, build: BUILD, root: ROOT, mostSeeds, told });
  const missed = bites.filter(({ found }) => found === undefined).length;
  say(missed === 0 ? `\nAll ${bites.length} bugs are found.` : `\n${missed} of ${bites.length} bugs are NOT FOUND.`);
  return missed === 0;
}

async function main(): Promise<boolean> {
  const { values } = parseArgs({
    options: {
      seeds: { type: 'string' },
      first: { type: 'string', default: '1' },
      workers: { type: 'string' },
      seed: { type: 'string' },
      steps: { type: 'string' },
      calm: { type: 'boolean', default: false },
      teeth: { type: 'boolean', default: false },
      bug: { type: 'string' },
    },
  });
  if (values.seed !== undefined) return replay(wholeNumber('seed', values.seed), values.steps, values.calm);
  if (values.teeth) return showTeeth(wholeNumber('seeds', values.seeds ?? '5000'), values.bug ?? '');
  if (values.bug !== undefined) throw new Misuse('--bug selects among --teeth; give both');
  const workers = values.workers === undefined ? undefined : wholeNumber('workers', values.workers);
  return searchAndTell(wholeNumber('first', values.first), wholeNumber('seeds', values.seeds ?? '1000'), workers);
}

try {
  process.exitCode = (await main()) ? 0 : 1;
} catch (error) {
  const isMisuse = error instanceof Misuse || (error instanceof TypeError && 'code' in error);
  if (!isMisuse) throw error;
  process.stderr.write(`${(error as Error).message}\n\n${USAGE}`);
  process.exitCode = 64;
}
