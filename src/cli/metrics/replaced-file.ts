import { closeSync, fchmodSync, lstatSync, openSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { EXIT, ExitError, systemErrorCode } from '../../errors.ts';

/** The mode of the file: the collector can read it, whatever the umask. */
const MODE = 0o644;

/**
 * Replaces the file at `path` in one step: a reader finds all of the old text or all of the new. Nothing needs to
 * outlive a power cut, so nothing is synced. Throws ExitError if `path` is not a regular file.
 */
export function replaceFile(path: string, text: string): void {
  const found = lstatSync(path, { throwIfNoEntry: false });
  if (found !== undefined && !found.isFile()) {
    throw new ExitError(
      EXIT.usage,
      `${path} is not a regular file; name another one, or print the metrics without --output`,
    );
  }
  // node_exporter reads only names that end in .prom, so it never reads this one half written.
  const temporary = `${path}.${process.pid}.new`;
  try {
    const descriptor = openSync(temporary, 'wx', MODE);
    try {
      fchmodSync(descriptor, MODE);
      writeFileSync(descriptor, text);
    } finally {
      closeSync(descriptor);
    }
    renameSync(temporary, path);
  } catch (error) {
    rmSync(temporary, { force: true });
    const exitCode = ['EACCES', 'EPERM'].includes(systemErrorCode(error) ?? '') ? EXIT.noPermission : EXIT.ioError;
    throw new ExitError(
      exitCode,
      `${path} cannot be written (${(error as Error).message}); give this user write access to its directory`,
      {
        cause: error,
      },
    );
  }
}
