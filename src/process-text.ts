/**
 * Returns a process and what it does as every message prints it: `copy-trader (pid 4711, close all)`. What is not known
 * is left out.
 */
export function processText(
  name: string | null | undefined,
  pid: number | null | undefined,
  ...details: readonly (string | undefined)[]
): string {
  const known = [pid == null ? undefined : `pid ${pid}`, ...details].filter((detail) => detail !== undefined);
  const who = name ?? 'unnamed';
  return known.length === 0 ? who : `${who} (${known.join(', ')})`;
}
