import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { EXIT, ExitError } from '../../errors.ts';

/** Identifies this boot of this machine: notes and clock readings of another one do not count. */
export function readBootId(): string {
  try {
    // Written from sysctl(8); our tests run on Linux.
    if (process.platform === 'darwin')
      return execFileSync('sysctl', ['-n', 'kern.bootsessionuuid'], { encoding: 'utf8' }).trim();
    return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
  } catch (error) {
    throw new ExitError(EXIT.config, 'cannot tell one boot from another: no kernel.random.boot_id', {
      cause: error,
    });
  }
}

/**
 * Tells this machine from another, so that a copied state is noticed; undefined where the system has no machine-id(5).
 * A hash, as that page asks for: the id itself is nobody else's business.
 */
export function readMachine(): string | undefined {
  try {
    const id = readFileSync('/etc/machine-id', 'utf8').trim();
    return id === '' ? undefined : createHash('sha256').update(`nonced ${id}`).digest('hex').slice(0, 32);
  } catch {
    return undefined;
  }
}
