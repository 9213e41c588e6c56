import { type SpawnSyncReturns, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'vitest';
import { expect, onTestFinished } from 'vitest';
import type { DurableSequence, DurableState } from '../../src/core/ports.ts';
import { ExitError } from '../../src/errors.ts';
import type { StateIdentity } from '../../src/store/state/state-format.ts';

export const IDENTITY: StateIdentity = {
  instance: '00112233445566778899aabbccddeeff',
  epoch: 7,
  pid: 4711,
  socket: '/run/nonced/nonced.sock',
};

export const NS: DurableSequence = { unit: 'ns', ceiling: 1_790_000_000_000_000_000n, max: 2n ** 63n - 1n };

export function stateWith(sequences: Record<string, DurableSequence> = { default: NS }): DurableState {
  const anchor = { bootId: '6f0f9c1e-7a51-4f7e-9d0b-0e6a1b2c3d4e', wallMs: 1_790_000_000_000, uptimeMs: 12_345.67 };
  return { sequences, accounts: new Map(), exclusive: 'global', anchor, seenWallMs: 1_790_000_000_000 };
}

/** A directory of this test's own, 0700. */
export function scratchDirectory(): string {
  const dir = mkdtempSync(join(tmpdir(), 'nonced-store-'));
  onTestFinished(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
}

/** The ExitError that `action` throws. */
export function refusalOf(action: () => unknown): ExitError {
  try {
    action();
  } catch (error) {
    if (error instanceof ExitError) return error;
    throw error;
  }
  return expect.fail('nothing was thrown');
}

export function skipUnlessRoot(context: TestContext, why: string): void {
  context.skip(process.geteuid?.() !== 0 || process.platform !== 'linux', `only as root on Linux: ${why}`);
}

export function run(program: string, ...args: string[]): SpawnSyncReturns<string> {
  return spawnSync(program, args, { encoding: 'utf8' });
}

/** A small tmpfs mounted in a scratch directory; the test is skipped if that is not possible. */
export function mountTmpfs(context: TestContext, options: string): string {
  skipUnlessRoot(context, 'mounts a tmpfs');
  const dir = scratchDirectory();
  const mounted = run('mount', '-t', 'tmpfs', '-o', `${options},mode=700`, 'nonced-test', dir);
  context.skip(mounted.status !== 0, `cannot mount a tmpfs: ${mounted.stderr}`);
  onTestFinished(() => {
    run('umount', '-l', dir);
  });
  return dir;
}

/** Runs `action` as the user `nobody`, whom permissions bind. */
export async function asNobody<T>(action: () => T | Promise<T>): Promise<T> {
  process.seteuid?.(65_534);
  try {
    return await action();
  } finally {
    process.seteuid?.(0);
  }
}
