import { readdir, readFile } from 'node:fs/promises';

/** What proc(5) says of a process in its `status`. */
export interface ProcessStatus {
  /** Its command's name, cut to 15 bytes. */
  readonly name: string;
  /** As ps(1) has it: R, S, T for stopped, Z for a zombie. */
  readonly state: string;
  readonly uid: number;
  /** All that count for a permission: the effective one and the supplementary ones. */
  readonly groups: readonly number[];
  /** It runs in a container: in its process namespace it has another number. */
  readonly contained: boolean;
}

/** Undefined where the text is not that of a process. */
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

/** The processes that can be seen, or undefined where there is no /proc to see them in. */
export async function processIds(): Promise<readonly number[] | undefined> {
  try {
    const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name)).map(Number);
    return pids.includes(process.pid) ? pids : undefined;
  } catch {
    return undefined;
  }
}

/** A file of a process, or undefined where it has ended or is somebody else's to read. */
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
