import type { Sample } from './load.ts';

/** What one peer did under one load. Times in microseconds. */
export interface Figures {
  readonly operations: number;
  readonly perSecond: number;
  readonly meanUs: number;
  readonly medianUs: number;
  readonly p99Us: number;
}

/** The value that `percent` of the sorted values lie at or below; NaN if there are none. */
export function percentile(sorted: ArrayLike<number>, percent: number): number {
  const rank = Math.ceil((sorted.length * percent) / 100);
  return sorted[Math.max(0, rank - 1)] ?? Number.NaN;
}

/** The middle value, or the mean of the two in the middle; NaN if there are none. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length / 2;
  if (sorted.length % 2 === 1) return sorted[Math.floor(middle)] ?? Number.NaN;
  return ((sorted[middle - 1] ?? Number.NaN) + (sorted[middle] ?? Number.NaN)) / 2;
}

/**
 * Sums up times in nanoseconds that were seen within `measureMs`. Who still waits at the end counts in the tail with
 * the time so far: otherwise a lock that lets most of its callers starve would have the best one.
 */
export function figuresOf(timesNs: readonly number[], waitingNs: readonly number[], measureMs: number): Figures {
  const sorted = Float64Array.from(timesNs).sort();
  let sum = 0;
  for (const time of sorted) sum += time;
  return {
    operations: sorted.length,
    perSecond: sorted.length / (measureMs / 1e3),
    meanUs: sum / sorted.length / 1e3,
    medianUs: percentile(sorted, 50) / 1e3,
    p99Us: percentile(Float64Array.from([...timesNs, ...waitingNs]).sort(), 99) / 1e3,
  };
}

/**
 * The times from each release to the next grant, whichever process saw it. Throws where two held the lane at once.
 */
export function handOffs(samples: readonly Sample[]): number[] {
  const holds = samples
    .flatMap(({ grantedAtNs, releasedAtNs }) =>
      Array.from(grantedAtNs, (grantedAt, index) => ({ grantedAt, releasedAt: releasedAtNs[index] ?? Number.NaN })),
    )
    .sort((a, b) => a.grantedAt - b.grantedAt);
  return holds.slice(1).map(({ grantedAt }, index) => {
    const gap = grantedAt - (holds[index]?.releasedAt ?? Number.NaN);
    if (gap < 0) throw new Error('two callers held one lane at the same time');
    return gap;
  });
}
