import { spawnSync } from 'node:child_process';
import { closeSync, constants, openSync } from 'node:fs';
import { EXIT, ExitError } from '../../errors.ts';
import { startFailure } from '../directories.ts';

const FLOCK_BUSY = 75;

/** Whether a daemon holds the kernel's lock on `dir`. Takes the lock for a moment to find out. Throws ExitError. */
export function isLocked(dir: string): boolean {
  let descriptor: number;
  try {
    descriptor = openSync(dir, constants.O_RDONLY | constants.O_DIRECTORY);
  } catch (error) {
    throw startFailure(error, `${dir} cannot be opened`);
  }
  try {
    const probe = spawnSync('flock', ['-x', '-n', '-E', String(FLOCK_BUSY), '3'], {
      stdio: ['ignore', 'ignore', 'ignore', descriptor],
    });
    if (probe.status === FLOCK_BUSY) return true;
    if (probe.status === 0) return false;
    throw new ExitError(EXIT.config, `flock cannot tell whether ${dir} is locked; install that of util-linux`);
  } finally {
    closeSync(descriptor);
  }
}
