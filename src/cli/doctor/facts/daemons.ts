import { access, readdir, readFile, readlink, stat } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import { processIds, readProcessFile, readProcessStatus } from './proc.ts';

/** A daemon of nonced that runs on this host. */
export interface RunningDaemon {
  readonly pid: number;
  readonly uid: number;
  /** It was stopped by a signal (SIGSTOP, Ctrl-Z) and answers nothing until it is continued. */
  readonly stopped: boolean;
  /** It is in a container, and its paths are those inside. */
  readonly contained: boolean;
  /** Its directories, if they are known. */
  readonly stateDir: string | undefined;
  readonly runtimeDir: string | undefined;
}

export interface DaemonFacts {
  readonly daemons: readonly RunningDaemon[];
  /** Nothing is hidden (hidepid), so a daemon that is not listed does not run. */
  readonly all: boolean;
  /** The paths of the bots' sockets on which a process listens, as it named them. */
  readonly listening: readonly string[];
}

/** Looks for daemons in /proc. Only root sees everything about those of other users. */
export async function daemonFacts(_: object): Promise<DaemonFacts | undefined> {
  const pids = await processIds();
  if (pids === undefined) return undefined;
  const found = await Promise.all(pids.filter((pid) => pid !== process.pid).map(daemonAt));
  return {
    daemons: found.filter((daemon) => daemon !== undefined),
    all: (await readProcessFile(1, 'cmdline')) !== undefined,
    listening: listenersIn((await readIfAllowed('/proc/net/unix')) ?? ''),
  };
}

async function daemonAt(pid: number): Promise<RunningDaemon | undefined> {
  const options = serveOptionsIn((await readProcessFile(pid, 'cmdline')) ?? '');
  const status = options === undefined ? undefined : await readProcessStatus(pid);
  if (options === undefined || status === undefined || status.state === 'Z') return undefined;
  const open = await openDirectories(pid);
  const cwd = await readlink(`/proc/${pid}/cwd`).catch(() => '/');
  const told = (path: string | undefined) => (path === undefined ? undefined : resolve(cwd, path));
  return {
    pid,
    uid: status.uid,
    stopped: status.state === 'T',
    contained: status.contained,
    // It keeps both directories open. If its descriptors are hidden, its command line must do.
    stateDir: open.stateDir ?? told(options['--state-dir']),
    runtimeDir: open.runtimeDir ?? told(options['--runtime-dir']),
  };
}

/** Returns the options of a command line from /proc, or undefined if it is not a daemon's. */
export function serveOptionsIn(commandLine: string): Readonly<Record<string, string>> | undefined {
  const words = commandLine.split('\0');
  const at = words.indexOf('serve');
  const program = words[at - 1] ?? '';
  const isOurs = basename(program) === 'nonced' || /(^|\/)cli\/main\.js$/.test(program);
  if (at < 1 || !isOurs) return undefined;
  const options: Record<string, string> = {};
  for (const [index, word] of words.slice(at + 1).entries()) {
    const [name = '', ...value] = word.split('=');
    if (name.startsWith('--')) options[name] = value.length > 0 ? value.join('=') : (words[at + index + 2] ?? '');
  }
  return options;
}

/** Returns the bots' sockets in /proc/net/unix on which a process listens. */
export function listenersIn(table: string): readonly string[] {
  const paths = table.split('\n').flatMap((line) => {
    // Num RefCount Protocol Flags Type St Inode Path; the flag is __SO_ACCEPTCON.
    const [, flags, path] = /^\S+ \S+ \S+ (\S+) \S+ \S+ +\S+ (\/.*\/nonced\.sock)$/.exec(line) ?? [];
    return flags === '00010000' && path !== undefined ? [path] : [];
  });
  return [...new Set(paths)];
}

async function openDirectories(pid: number): Promise<Pick<RunningDaemon, 'stateDir' | 'runtimeDir'>> {
  const found: { stateDir: string | undefined; runtimeDir: string | undefined } = {
    stateDir: undefined,
    runtimeDir: undefined,
  };
  const descriptors = await readdir(`/proc/${pid}/fd`).catch(() => []);
  for (const descriptor of descriptors) {
    const path = await readlink(`/proc/${pid}/fd/${descriptor}`).catch(() => '');
    if (!path.startsWith('/') || !(await isDirectory(path))) continue;
    if (await isThere(join(path, 'state.json'))) found.stateDir = path;
    if (await isThere(join(path, 'leases'))) found.runtimeDir = path;
  }
  return found;
}

async function isDirectory(path: string): Promise<boolean> {
  return stat(path).then(
    (stats) => stats.isDirectory(),
    () => false,
  );
}

async function isThere(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}

async function readIfAllowed(path: string): Promise<string | undefined> {
  return readFile(path, 'utf8').catch(() => undefined);
}
