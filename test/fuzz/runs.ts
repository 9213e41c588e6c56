/** How often a property is tried: a few times in the usual run, and for as long as one likes with `FUZZ_RUNS=100000`. */
export function runs(usually: number): { readonly numRuns: number; readonly endOnFailure: boolean } {
  const asked = Number(process.env['FUZZ_RUNS']);
  return { numRuns: asked > 0 ? asked : usually, endOnFailure: asked > 0 };
}

/** How long such a test may take. */
export const FUZZ_TIMEOUT_MS = process.env['FUZZ_RUNS'] === undefined ? 60_000 : 3_600_000;
