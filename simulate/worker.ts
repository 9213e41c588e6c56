// One process of a search: runs its share of the seeds and reports the results, one line of JSON each.
import { argv, stdout } from 'node:process';
import { run } from './run.ts';
import { scenarioOf } from './scenario.ts';

/** How many seeds it runs between two reports of progress. */
const TELL_EVERY = 50;

export type Told =
  | { readonly kind: 'failed'; readonly seed: number; readonly invariant: string; readonly message: string }
  | {
      readonly kind: 'progress';
      readonly seeds: number;
      readonly turns: number;
      readonly lastedMs: number;
      readonly coverage: Readonly<Record<string, number>>;
    };

const [from = 1, every = 1, count = 1_000, atFirst = 0] = argv.slice(2).map(Number);
let seeds = 0;
let turns = 0;
let lastedMs = 0;
const coverage: Record<string, number> = {};

function tell(told: Told): void {
  stdout.write(`${JSON.stringify(told)}\n`);
}

function progress(): void {
  tell({ kind: 'progress', seeds, turns, lastedMs, coverage });
}

for (let left = count, seed = from; left > 0; left--, seed += every) {
  const one = await run(scenarioOf(seed));
  seeds += 1;
  turns += one.turns;
  lastedMs += one.lastedMs;
  for (const [what, times] of one.coverage) coverage[what] = (coverage[what] ?? 0) + times;
  if (one.failure !== undefined) {
    tell({ kind: 'failed', seed, ...one.failure });
    if (atFirst === 1) break;
  }
  if (seeds % TELL_EVERY === 0) progress();
}
progress();
