import { readdir, readFile } from 'node:fs/promises';

/** What proc(5) has in the `status` of a process. */
export interface ProcessStatus {
  /** The name of its command, cut to 15 bytes. */
  readonly name: string;
  /** As in ps(1): R, S, T for stopped, Z for a zombie. */
  readonly state: string;
  readonly uid: number;
  /** All that count for permissions: the effective group and the supplementary ones. */
  readonly groups: readonly number[];
  /** It runs in a container: in its own process namespace it has another number. */
  readonly contained: boolean;
}

/** Returns undefined if the text is not that of a process. */
export function parseProcessStatus(text: string): ProcessStatus | undefined {
  const field = (name: string): string[] =>
    new RegExp(`^${name}:[ \\t]*(.*)$`, 'm').exec(text)?.[1]?.split(/\s+/).filter(Boolean) ?? [];
  const [state] = field('State');
  const [, uid] = field('Uid');
  const [, gid] = field('Gid');
  if (state === undefined || uid === undefined || gid === undefined) return undefined;
  const groups = [Number(gid), ...field('Groups').map(Number)];
  const name = /^Name:[ \t]*(.*)$/m.exec(text)?.[1] ?? '?';
  return { name, state, uid: Number(uid), groups: [...new Set(groups)], contained: field('NSpid').length > 1 };
}

/** Returns the processes that can be seen, or undefined if there is no /proc. */
export async function processIds(): Promise<readonly number[] | undefined> {
  try {
    const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name)).map(Number);
    return pids.includes(process.pid) ? pids : undefined;
  } catch {
    return undefined;
  }
}

/** Returns a file of a process, or undefined if it has ended or this user may not read the file. */
export async function readProcessFile(pid: number, name: string): Promise<string | undefined> {
  try {
    return await readFile(`/proc/${pid}/${name}`, 'utf8');
  } catch {
    return undefined;
  }
}

export async function readProcessStatus(pid: number): Promise<ProcessStatus | undefined> {
  const text = await readProcessFile(pid, 'status');
  return text === undefined ? undefined : parseProcessStatus(text);
}
