import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, existsSync, opendirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { eventually } from '../fixtures/eventually.ts';
import { hasProgram, isRoot } from '../fixtures/shell.ts';

/** One system call of a thread: the `ordinal`-th of its kind since the tracer was attached. */
export interface Call {
  readonly kind: string;
  readonly ordinal: number;
}

/** What writes a file. `write` is how a thread tells the event loop that it is done: the moment between two steps. */
const KINDS = [
  ...['open', 'openat', 'read', 'pread64', 'write', 'pwrite64', 'fsync', 'fdatasync', 'close', 'ftruncate'],
  ...['stat', 'lstat', 'fstat', 'newfstatat', 'statx', 'chmod', 'fchmod', 'fchmodat', 'fchmodat2'],
  ...['rename', 'renameat', 'renameat2', 'unlink', 'unlinkat'],
];

export function obstacleToTracing(): string | undefined {
  if (!isRoot || process.platform !== 'linux') return 'only as root on Linux: traces another process';
  return ['strace', 'setpriv']
    .map((program) => (hasProgram(program) ? undefined : `no program ${program}`))
    .find(Boolean);
}

export interface Tracer {
  /** The calls so far. */
  calls(): readonly Call[];
  /** Resolves when the traced process has ended or the tracer was stopped. */
  readonly ended: Promise<void>;
  stop(): Promise<void>;
}

let traces = 0;

/**
 * Traces the one thread of the daemon that does its file operations, and at the call that is given, if any, kills the daemon
 * before the kernel has done anything about it. The daemon must run with `UV_THREADPOOL_SIZE=1`.
 */
export async function trace(pid: number, dir: string, killAt?: Call): Promise<Tracer> {
  traces += 1;
  const output = join(dir, `trace-${traces}`);
  const inject = killAt === undefined ? [] : ['-e', `inject=${killAt.kind}:signal=KILL:when=${killAt.ordinal}`];
  const thread = lastThread(pid);
  const child = spawn(
    'strace',
    [
      '-o',
      output,
      '-e', // Not every processor has them all.
      `trace=${KINDS.map((kind) => `?${kind}`).join(',')}`,
      ...inject,
      '-p',
      thread,
    ],
    {
      stdio: ['ignore', 'ignore', 'pipe'],
    },
  );
  let said = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    said += text;
  });
  const ended = once(child, 'close').then(() => {});
  await eventually('strace to be attached', () => {
    if (child.exitCode !== null) throw new Error(`strace: ${said}`);
    return said.includes('attached');
  });
  return {
    calls: () => (existsSync(output) ? callsOf(readFileSync(output, 'utf8')) : []),
    ended,
    async stop() {
      child.kill('SIGTERM');
      await ended;
    },
  };
}

/** The pool's only thread: the module loader has used it by now, and Node makes no other after it. */
function lastThread(pid: number): string {
  const directory = opendirSync(`/proc/${pid}/task`);
  try {
    let last = '';
    // In the order in which they were made; their numbers start over now and then, and readdirSync would sort them.
    for (let entry = directory.readSync(); entry !== null; entry = directory.readSync()) last = entry.name;
    return last;
  } finally {
    directory.closeSync();
  }
}

function callsOf(text: string): readonly Call[] {
  const counts = new Map<string, number>();
  return [...text.matchAll(/^(\w+)\(/gm)].map(([, kind = '']) => {
    const ordinal = (counts.get(kind) ?? 0) + 1;
    counts.set(kind, ordinal);
    return { kind, ordinal };
  });
}

/** Holds a start up right before it takes the lock, when all modules are loaded and nothing is written yet. */
export class StartGate {
  readonly #dir: string;

  constructor(dir: string) {
    this.#dir = dir;
    const script = `#!/bin/sh
: >'${dir}/waiting'
until [ -e '${dir}/open' ]; do sleep 0.01; done
PATH="$BEHIND_GATE" exec flock "$@"
`;
    writeFileSync(join(dir, 'flock'), script);
    chmodSync(join(dir, 'flock'), 0o755);
  }

  /** For the daemon that is to be held up. */
  get env(): Record<string, string> {
    const path = process.env['PATH'] ?? '';
    return { PATH: `${this.#dir}:${path}`, BEHIND_GATE: path };
  }

  async reached(): Promise<void> {
    await eventually('the daemon to ask for its lock', () => existsSync(join(this.#dir, 'waiting')));
  }

  open(): void {
    writeFileSync(join(this.#dir, 'open'), '');
  }

  /** For the next start. */
  close(): void {
    for (const name of ['waiting', 'open']) rmSync(join(this.#dir, name), { force: true });
  }
}
