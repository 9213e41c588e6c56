import { shareOf } from '../fixtures/effort.ts';

/** How often a property is tried: a share of `all` in a usual run, and as often as `FUZZ_RUNS=100000` says. */
export function runs(all: number): { readonly numRuns: number; readonly endOnFailure: boolean } {
  const asked = Number(process.env['FUZZ_RUNS']);
  return { numRuns: asked > 0 ? asked : shareOf(all), endOnFailure: asked > 0 };
}

/** How long such a test may take. */
export const FUZZ_TIMEOUT_MS = process.env['FUZZ_RUNS'] === undefined ? 120_000 : 3_600_000;
