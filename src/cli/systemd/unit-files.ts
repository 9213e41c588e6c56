import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { EXIT, ExitError, systemErrorCode } from '../../errors.ts';
import { SYSUSERS_FILE, UNIT_DIR, UNITS } from './places.ts';
import { mainFile, type Program } from './program.ts';

/** A file that belongs to the installation, as it is to be. */
export interface InstalledFile {
  readonly name: string;
  readonly path: string;
  readonly text: string;
}

/**
 * The units, filled in for `program`, and who the service runs as; the templates are those of the package `templates`.
 * Throws ExitError for a path that no unit can hold.
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
    throw new ExitError(EXIT.config, `${JSON.stringify(path)} cannot be written in a unit; move it, or say --copy`);
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

/** A word of a command line as systemd.service(5) reads it: `%` and `$` stand for something else there. */
function commandWord(path: string): string {
  const escaped = path.replaceAll('%', '%%').replaceAll('$', '$$$$');
  return /^[\w@%+=:,./$-]+$/.test(escaped) ? escaped : `"${escaped.replaceAll(/["\\]/g, '\\$&')}"`;
}

/** What the installed service runs; undefined where none is installed. */
export function installedProgram(): Program | undefined {
  const text = readIfThere(join(UNIT_DIR, UNITS[0]));
  if (text === undefined) return undefined;
  const field = (name: string) => new RegExp(`^${name}=(.*)$`, 'm').exec(text.split('[X-Nonced]')[1] ?? '')?.[1];
  const [node, packageDir, version] = [field('Node'), field('Package'), field('Version')];
  return node && packageDir && version ? { node, packageDir, version } : undefined;
}

/** Writes what differs, each file in one step, and answers the names of those. */
export function writeFiles(files: readonly InstalledFile[]): readonly string[] {
  const changed = files.filter(({ path, text }) => readIfThere(path) !== text);
  for (const { path, text } of changed) {
    mkdirSync(dirname(path), { recursive: true });
    // systemd reads no name that ends like this.
    const temporary = `${path}.new`;
    rmSync(temporary, { force: true });
    writeFileSync(temporary, text, { mode: 0o644, flag: 'wx' });
    renameSync(temporary, path);
  }
  return changed.map(({ name }) => name);
}

/** Answers the paths that were there. */
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
