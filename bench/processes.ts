import { type ChildProcess, type SpawnOptions, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';

/** Generous, because the machine may be busy: a process that takes longer is stuck. */
const READY_WITHIN_MS = 60_000;
const STOP_WITHIN_MS = 10_000;
const LOOK_AGAIN_MS = 5;

/** What this run has started and not yet stopped, with the signal that ends each at once. */
const running = new Map<ChildProcess, NodeJS.Signals>();
const directories = new Set<string>();

// When this process ends, by an error or a Ctrl-C, what it started ends too, and nothing else.
process.on('exit', () => {
  for (const [child, signal] of running) child.kill(signal);
  for (const directory of directories) remove(directory);
});

/** Removes a directory, even if a process that is about to end still writes to it. */
export function remove(directory: string): void {
  rmSync(directory, { recursive: true, force: true, maxRetries: 10 });
}

/** Makes this run responsible for a process. `atOnce` is how to end it without waiting for anything. */
export function track(child: ChildProcess, atOnce: NodeJS.Signals = 'SIGKILL'): ChildProcess {
  running.set(child, atOnce);
  child.once('exit', () => running.delete(child));
  // It could not be started: what waits for it rejects.
  child.once('error', () => running.delete(child));
  return child;
}

/** Starts a program that lives until `stop`, with what it says going nowhere but for what is asked for. */
export function start(
  file: string,
  args: readonly string[],
  options: SpawnOptions = {},
  atOnce?: NodeJS.Signals,
): ChildProcess {
  return track(spawn(file, args, { stdio: 'ignore', ...options }), atOnce);
}

/** Asks a process to end, and makes it if it will not. */
export async function stop(child: ChildProcess, signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return;
  const ended = once(child, 'exit');
  child.kill(signal);
  const timer = setTimeout(() => child.kill('SIGKILL'), STOP_WITHIN_MS);
  await ended;
  clearTimeout(timer);
}

/** Waits until `holds`, as long as the process lives. */
export async function ready(child: ChildProcess, what: string, holds: () => Promise<boolean> | boolean): Promise<void> {
  const deadline = performance.now() + READY_WITHIN_MS;
  let failure: Error | undefined;
  child.once('error', (error) => {
    failure = error;
  });
  while (!(await holds())) {
    if (failure !== undefined) throw failure;
    if (child.exitCode !== null || child.signalCode !== null) {
      throw new Error(`${what} ended with ${child.exitCode ?? child.signalCode} before it was ready`);
    }
    if (performance.now() > deadline) throw new Error(`${what} was not ready within ${READY_WITHIN_MS} ms`);
    await new Promise((resolve) => setTimeout(resolve, LOOK_AGAIN_MS));
  }
}

/** Runs a program to its end. Throws with what it printed if it fails. */
export function run(file: string, args: readonly string[], options: { uid?: number; gid?: number } = {}): string {
  const { status, error, stdout, stderr } = spawnSync(file, args, { encoding: 'utf8', ...options });
  if (error !== undefined) throw error;
  if (status !== 0) throw new Error(`${file} ended with ${status}: ${stderr.trim()}`);
  return stdout.trim();
}

/** Returns the path of a program, or undefined. */
export function find(program: string, ...further: readonly string[]): string | undefined {
  const path = [...(process.env['PATH'] ?? '').split(':'), ...further].join(':');
  const { status, stdout } = spawnSync('sh', ['-c', `command -v ${program}`], {
    encoding: 'utf8',
    env: { ...process.env, PATH: path },
  });
  return status === 0 ? stdout.trim() : undefined;
}

/** A directory that is gone with this process. Other users may pass through it to what is theirs in it. */
export function temporaryDirectory(parent: string): string {
  const directory = mkdtempSync(join(parent, 'nonced-bench-'));
  chmodSync(directory, 0o711);
  directories.add(directory);
  return directory;
}
