import { readFileSync, realpathSync } from 'node:fs';
import { join, resolve, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { EXIT, ExitError } from '../../errors.ts';
import { VERSION } from '../../version.ts';
import { quoteForShell } from '../terminal/shell-word.ts';
import { HIDDEN_DIRS } from './places.ts';

/** A Node and a package of nonced that can run the service, as absolute paths without symbolic links. */
export interface Program {
  readonly node: string;
  readonly packageDir: string;
  readonly version: string;
}

/** Returns the Node and the package that this process runs from. */
export function thisProgram(): Program {
  return {
    node: realpathSync(process.execPath),
    packageDir: realpathSync(resolve(fileURLToPath(import.meta.url), '../../../..')),
    version: VERSION,
  };
}

export function mainFile(packageDir: string): string {
  return join(packageDir, 'dist/cli/main.js');
}

/** Returns the version of the package in a directory, or undefined if there is none. */
export function versionAt(packageDir: string): string | undefined {
  try {
    const { version } = JSON.parse(readFileSync(join(packageDir, 'package.json'), 'utf8')) as { version?: string };
    return version;
  } catch {
    return undefined;
  }
}

/** Throws ExitError (78) if the service's sandbox would hide Node or the package from it. */
export function refuseHidden({ node, packageDir, version }: Program): void {
  const hidden = [node, packageDir].filter(isHidden);
  if (hidden.length === 0) return;
  throw new ExitError(
    EXIT.config,
    `${hidden.join(' and ')}: the service cannot see anything in ${HIDDEN_DIRS.join(', ')}; add --copy, which copies ` +
      `Node and nonced to /usr/local/lib/nonced/${version}, or install both for all users (npm install -g with a Node in /usr)`,
  );
}

export function isHidden(path: string): boolean {
  return HIDDEN_DIRS.some((dir) => path.startsWith(dir + sep));
}

/** Throws ExitError (77) with the command to run instead. sudo has its own PATH, so the paths are absolute. */
export function requireRoot(what: string, args: readonly string[]): void {
  if (process.geteuid?.() === 0) return;
  const { node, packageDir } = thisProgram();
  const command = [node, mainFile(packageDir), ...args].map(quoteForShell).join(' ');
  throw new ExitError(EXIT.noPermission, `${what} needs root: sudo ${command}`);
}
