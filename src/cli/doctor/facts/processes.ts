import { readFile, readlink } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { processIds, readProcessFile, readProcessStatus } from './proc.ts';

/** A process of the user, as far as the user may see it. */
export interface UserProcess {
  readonly pid: number;
  readonly name: string;
  readonly groups: readonly number[];
  /** The systemd service that it belongs to. */
  readonly unit: { readonly name: string; readonly manager: 'system' | 'user' } | undefined;
  /** Its `$NONCED_SOCKET`; undefined if it has none, or if its environment cannot be read. */
  readonly socket: string | undefined;
  /** The version of the client that it would load, if it is a Node process. */
  readonly client: string | undefined;
}

/** Undefined if there is no /proc. */
export type ProcessFacts = readonly UserProcess[] | undefined;

/** Returns the processes of this process's user, except `but` and this one. */
export async function processFacts({ but }: { readonly but: readonly number[] }): Promise<ProcessFacts> {
  const pids = await processIds();
  if (pids === undefined) return undefined;
  const all = await Promise.all(pids.filter((pid) => pid !== process.pid && !but.includes(pid)).map(userProcess));
  return all.filter((found) => found !== undefined);
}

async function userProcess(pid: number): Promise<UserProcess | undefined> {
  const status = await readProcessStatus(pid);
  if (status === undefined || status.uid !== process.geteuid?.() || status.state === 'Z') return undefined;
  return {
    pid,
    name: status.name,
    groups: status.groups,
    unit: unitOf((await readProcessFile(pid, 'cgroup')) ?? ''),
    socket: variableIn((await readProcessFile(pid, 'environ')) ?? '', 'NONCED_SOCKET'),
    client: await clientOf(pid),
  };
}

/** Returns the service that a process belongs to, by its place in the tree of systemd's control groups. */
export function unitOf(cgroups: string): UserProcess['unit'] {
  // The tree of version 2, or that of version 1, which may lie beside it.
  for (const [, path = ''] of cgroups.matchAll(/^(?:0:|\d+:name=systemd):(.*)$/gm)) {
    const user = /\/user@\d+\.service\/(?:.*\/)?([^/]+\.service)(?:\/|$)/.exec(path)?.[1];
    if (user !== undefined) return { name: user, manager: 'user' };
    const system = /^\/system\.slice\/(?:.*\/)?([^/]+\.service)(?:\/|$)/.exec(path)?.[1];
    if (system !== undefined) return { name: system, manager: 'system' };
  }
  return undefined;
}

/**
 * Returns one variable of an environment from proc(5). The others may be secrets, and go no further than this function.
 */
export function variableIn(environment: string, name: string): string | undefined {
  const found = environment.split('\0').find((entry) => entry.startsWith(`${name}=`));
  return found?.slice(name.length + 1) || undefined;
}

async function clientOf(pid: number): Promise<string | undefined> {
  try {
    if (!basename(await readlink(`/proc/${pid}/exe`)).startsWith('node')) return undefined;
    for (let dir = await readlink(`/proc/${pid}/cwd`); ; dir = dirname(dir)) {
      const packages = join(dir, 'node_modules');
      // Before 0.2 the client was part of the package nonced.
      const version =
        (await packageVersion(join(packages, 'nonced-client/package.json'))) ??
        (await packageVersion(join(packages, 'nonced/package.json')));
      if (version !== undefined || dirname(dir) === dir) return version;
    }
  } catch {
    return undefined;
  }
}

async function packageVersion(path: string): Promise<string | undefined> {
  try {
    const { version } = JSON.parse(await readFile(path, 'utf8')) as { version?: unknown };
    return typeof version === 'string' ? version : undefined;
  } catch {
    return undefined;
  }
}
