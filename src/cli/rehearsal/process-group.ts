import type { ChildProcess } from 'node:child_process';
import type { Clock } from '../../clock.ts';
import { systemErrorCode } from '../../errors.ts';

const LOOK_EVERY_MS = 20;

/** How long to wait for killed processes to be gone. That may never happen: a process may be stuck in the kernel. */
const KILLED_WITHIN_MS = 1_000;

/**
 * Ends a process that leads a group, and everything that it has started: TERM first, and KILL for what is left after
 * `graceMs`. Resolves when none of it runs any more.
 */
export async function endGroup({ pid }: ChildProcess, graceMs: number, clock: Clock): Promise<void> {
  if (pid === undefined) return;
  for (const [signal, withinMs] of [['SIGTERM', graceMs] as const, ['SIGKILL', KILLED_WITHIN_MS] as const]) {
    const deadlineMs = clock.monotonicMs() + withinMs;
    if (!signalGroup(pid, signal)) return;
    while (clock.monotonicMs() < deadlineMs) {
      await new Promise<void>((resolve) => clock.after(LOOK_EVERY_MS, resolve));
      if (!signalGroup(pid, 0)) return;
    }
  }
}

/** Returns false if the group is gone. */
export function signalGroup(pid: number, signal: NodeJS.Signals | 0): boolean {
  try {
    process.kill(-pid, signal);
    return true;
  } catch (error) {
    // EPERM: something is left, which runs as another user.
    return systemErrorCode(error) !== 'ESRCH';
  }
}
