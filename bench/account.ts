import { existsSync, readdirSync, readFileSync } from 'node:fs';

/** Why a process cannot be inspected here; undefined if it can. */
export const unaccountable = existsSync('/proc/self/schedstat') ? undefined : 'no /proc/PID/schedstat; run it on Linux';

/** Processor time that all its threads have used, to the nanosecond: `/proc/PID/stat` counts in steps of 10 ms. */
export function cpuMs(pid: number): number {
  const threads = readdirSync(`/proc/${pid}/task`);
  const used = threads.map((thread) =>
    Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'utf8').split(' ')[0]),
  );
  return used.reduce((sum, ns) => sum + ns, 0) / 1e6;
}

/** Bytes that it caused to be sent to a disk. */
export function writtenBytes(pid: number): number {
  return field(`/proc/${pid}/io`, 'write_bytes');
}

export function residentKiB(pid: number): number {
  return field(`/proc/${pid}/status`, 'VmRSS');
}

function field(file: string, name: string): number {
  const found = new RegExp(`^${name}:\\s*(\\d+)`, 'm').exec(readFileSync(file, 'utf8'));
  if (found === null) throw new Error(`${file} has no ${name}`);
  return Number(found[1]);
}
