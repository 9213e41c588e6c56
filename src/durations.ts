const SECOND_MS = 1_000;
const MINUTE_MS = 60_000;

/**
 * Returns a duration as every message and table prints it: 850 ms, 4.2 s, 3 min 5 s, 2 h 10 min, 3 d 4 h. Under a
 * second it rounds up, so that what is still to come is never 0 ms away.
 */
export function formatDuration(ms: number): string {
  if (ms < 0) return `-${formatDuration(-ms)}`;
  const wholeMs = Math.ceil(ms);
  if (wholeMs < SECOND_MS) return `${wholeMs} ms`;
  const tenths = Math.round(ms / 100);
  if (tenths < 600) return `${(tenths / 10).toFixed(1)} s`;
  // From here on in whole seconds: 59.97 s is a minute, and not 60.0 s.
  const seconds = Math.floor(Math.max(ms, MINUTE_MS) / SECOND_MS);
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ${seconds % 60} s`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours} h ${minutes % 60} min` : `${Math.floor(hours / 24)} d ${hours % 24} h`;
}
