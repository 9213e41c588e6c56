/** A status lists at most this many of a kind. */
export const LISTED = 100;

/** Returns the first items, at most as many as are listed, each as `describe` makes it. */
export function firstOf<T, R>(items: Iterable<T>, describe: (item: T) => R): R[] {
  const listed: R[] = [];
  for (const item of items) {
    if (listed.length === LISTED) break;
    listed.push(describe(item));
  }
  return listed;
}
