import { closeSync, fchmodSync, lstatSync, openSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { EXIT, ExitError, systemErrorCode } from '../../errors.ts';

/** Readable for whoever collects it, whatever the umask. */
const MODE = 0o644;

/**
 * Puts `text` in the place of the file at `path` in one step: whoever reads it finds all of the old or all of the new.
 * Nothing needs to outlive a power cut, so nothing is synced. Rejects a `path` that is no plain file: throws ExitError.
 */
export function replaceFile(path: string, text: string): void {
  const found = lstatSync(path, { throwIfNoEntry: false });
  if (found !== undefined && !found.isFile()) {
    throw new ExitError(EXIT.usage, `${path} is no plain file and is left alone; without --output it is printed`);
  }
  // Not named as node_exporter wants a name to end, so that it reads none half written.
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
      `${path} cannot be written (${(error as Error).message}); its directory must be writable`,
      {
        cause: error,
      },
    );
  }
}
