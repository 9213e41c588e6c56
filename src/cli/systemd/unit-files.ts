import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { EXIT, ExitError, systemErrorCode } from '../../errors.ts';
import { SYSUSERS_FILE, UNIT_DIR, UNITS } from './places.ts';
import { mainFile, type Program } from './program.ts';

/** A file of the installation, as it should be. */
export interface InstalledFile {
  readonly name: string;
  readonly path: string;
  readonly text: string;
}

/**
 * Returns the units and the service's user, filled in for `program`, from the templates of the package `templates`.
 * Throws ExitError for a path that a unit cannot contain.
 */
export function installedFiles(program: Program, templates = program.packageDir): readonly InstalledFile[] {
  const units = UNITS.map((name) => ({ name, path: join(UNIT_DIR, name) }));
  return [...units, { name: 'nonced.sysusers', path: SYSUSERS_FILE }].map((file) => ({
    ...file,
    text: fill(readFileSync(join(templates, 'systemd', file.name), 'utf8'), program),
  }));
}

function fill(template: string, { node, packageDir, version }: Program): string {
  for (const path of [node, packageDir]) {
    if (!/[\p{Cc}]/u.test(path)) continue;
    throw new ExitError(EXIT.config, `a unit cannot contain the path ${JSON.stringify(path)}; move it, or add --copy`);
  }
  const values: Readonly<Record<string, string>> = {
    NODE: commandWord(node),
    MAIN: commandWord(mainFile(packageDir)),
    DOCUMENTATION: pathToFileURL(join(packageDir, 'docs/operations.md')).href.replaceAll('%', '%%'),
    VERSION: version,
    NODE_PATH: node,
    PACKAGE_PATH: packageDir,
  };
  return template.replaceAll(/@([A-Z_]+)@/g, (placeholder, name: string) => values[name] ?? placeholder);
}

/** Returns a word of a command line as systemd.service(5) reads it, where `%` and `$` have a meaning. */
function commandWord(path: string): string {
  const escaped = path.replaceAll('%', '%%').replaceAll('$', '$$$$');
  return /^[\w@%+=:,./$-]+$/.test(escaped) ? escaped : `"${escaped.replaceAll(/["\\]/g, '\\$&')}"`;
}

/** Returns what the installed service runs; undefined if none is installed. */
export function installedProgram(): Program | undefined {
  const text = readIfThere(join(UNIT_DIR, UNITS[0]));
  if (text === undefined) return undefined;
  const field = (name: string) => new RegExp(`^${name}=(.*)$`, 'm').exec(text.split('[X-Nonced]')[1] ?? '')?.[1];
  const [node, packageDir, version] = [field('Node'), field('Package'), field('Version')];
  return node && packageDir && version ? { node, packageDir, version } : undefined;
}

/** Writes the files that differ, each in one step, and returns their names. */
export function writeFiles(files: readonly InstalledFile[]): readonly string[] {
  const changed = files.filter(({ path, text }) => readIfThere(path) !== text);
  for (const { path, text } of changed) {
    mkdirSync(dirname(path), { recursive: true });
    // systemd ignores names that end like this.
    const temporary = `${path}.new`;
    rmSync(temporary, { force: true });
    writeFileSync(temporary, text, { mode: 0o644, flag: 'wx' });
    renameSync(temporary, path);
  }
  return changed.map(({ name }) => name);
}

/** Removes the files and returns the paths that were there. */
export function removeFiles(paths: readonly string[]): readonly string[] {
  const there = paths.filter((path) => readIfThere(path) !== undefined);
  for (const path of there) rmSync(path);
  return there;
}

export function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return undefined;
    throw error;
  }
}
