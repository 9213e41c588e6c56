const MINUTE_MS = 60_000;

/** 40 ms, 2.5 s */
export const seconds = (ms: number): string => (ms < 100 ? `${Math.ceil(ms)} ms` : `${(ms / 1000).toFixed(1)} s`);

/** 2.5 s, 42 min, 3.5 h */
export function span(ms: number): string {
  if (ms < 2 * MINUTE_MS) return seconds(ms);
  const minutes = ms / MINUTE_MS;
  return minutes < 120 ? `${minutes.toFixed(0)} min` : `${(minutes / 60).toFixed(1)} h`;
}
