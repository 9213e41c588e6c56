/** Returns who holds or waits, as every message prints it: `copy-trader (pid 4711)`. */
export function processText(name: string | null, pid: number | null): string {
  return pid === null ? (name ?? 'unnamed') : `${name ?? 'unnamed'} (pid ${pid})`;
}
