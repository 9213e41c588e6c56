import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { EXIT, ExitError } from '../../errors.ts';

/** Returns what identifies this boot of this machine: notes and clock readings of another boot do not count. */
export function readBootId(): string {
  try {
    // Written from sysctl(8) and not tested: our tests run on Linux.
    if (process.platform === 'darwin')
      return execFileSync('sysctl', ['-n', 'kern.bootsessionuuid'], { encoding: 'utf8' }).trim();
    return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
  } catch (error) {
    throw new ExitError(EXIT.config, 'the boot id (kernel.random.boot_id) cannot be read; make /proc readable', {
      cause: error,
    });
  }
}

/**
 * Returns what tells this machine from another, so that a copied state is noticed; undefined if the system has no
 * machine-id(5). It is a hash, as that page asks for: the id itself must stay on the machine.
 */
export function readMachine(): string | undefined {
  try {
    const id = readFileSync('/etc/machine-id', 'utf8').trim();
    return id === '' ? undefined : createHash('sha256').update(`nonced ${id}`).digest('hex').slice(0, 32);
  } catch {
    return undefined;
  }
}
