import { type Run, run } from './run.ts';
import type { Scenario } from './scenario.ts';

/** A part of a scenario: some of its steps, by their places, perhaps on a machine without quirks. */
export interface Cut {
  readonly steps: readonly number[];
  readonly isCalm: boolean;
}

/** Everything quick, nothing cut into pieces, nothing lost. */
const CALM = { stepMs: 0.25, latencyMs: 0.25, fragmentation: 0, loss: 0 };

export function cutDown(scenario: Scenario, { steps, isCalm }: Cut): Scenario {
  const kept = steps.map((place) => scenario.steps[place]).filter((step) => step !== undefined);
  return { ...scenario, ...(isCalm ? CALM : {}), steps: kept };
}

/**
 * Finds the smallest part of a scenario that still fails by the same invariant. It leaves out ever smaller runs of
 * steps, as Zeller's delta debugging does, until none can be left out. Each try is a whole run, and always has the same
 * result.
 */
export async function shrink(scenario: Scenario, invariant: string): Promise<{ cut: Cut; run: Run }> {
  let cut: Cut = { steps: scenario.steps.map((_, place) => place), isCalm: false };
  let best = await run(scenario);
  const attempt = async (smaller: Cut): Promise<boolean> => {
    const tried = await run(cutDown(scenario, smaller));
    if (tried.failure?.invariant !== invariant) return false;
    cut = smaller;
    best = tried;
    return true;
  };
  await attempt({ ...cut, isCalm: true });
  for (let size = Math.ceil(cut.steps.length / 2); size >= 1; ) {
    let hasShrunk = false;
    for (let from = cut.steps.length - size; from > -size; from -= size) {
      const steps = cut.steps.filter((_, place) => place < from || place >= from + size);
      if (steps.length < cut.steps.length && (await attempt({ ...cut, steps }))) hasShrunk = true;
    }
    if (size > 1) size = Math.floor(size / 2);
    else if (!hasShrunk) break;
  }
  return { cut, run: best };
}

/** Returns the command that replays it. */
export function replayCommand(seed: number, { steps, isCalm }: Cut): string {
  return `npm run simulate -- --seed ${seed} --steps ${steps.join(',') || 'none'}${isCalm ? ' --calm' : ''}`;
}
