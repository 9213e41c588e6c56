/** Times for the page and its tables, in UTC like those of exchanges and their logs. */

/** A time as people give it, in milliseconds: how long ago, or by the clock. */
export type Moment = { readonly kind: 'ago'; readonly ms: number } | { readonly kind: 'at'; readonly ms: number };

/** Returns 22:40:01.007. */
export function clockTime(ms: number): string {
  return new Date(ms).toISOString().slice(11, -1);
}

/** Returns 2026-11-28 22:40:01. */
export function dateTime(ms: number): string {
  return new Date(ms).toISOString().slice(0, 19).replace('T', ' ');
}

/** Returns a stretch of time; the day stands once if it is the same. */
export function stretchText(fromMs: number, toMs: number): string {
  const [from, to] = [dateTime(fromMs), dateTime(toMs)];
  const isOneDay = from.slice(0, 10) === to.slice(0, 10);
  return `${from} – ${isOneDay ? to.slice(11) : to} UTC`;
}
