/** How many of a kind are listed. */
export const LISTED = 100;

/** The first of them, at most as many as are listed, each as `describe` has it. */
export function firstOf<T, R>(items: Iterable<T>, describe: (item: T) => R): R[] {
  const listed: R[] = [];
  for (const item of items) {
    if (listed.length === LISTED) break;
    listed.push(describe(item));
  }
  return listed;
}
