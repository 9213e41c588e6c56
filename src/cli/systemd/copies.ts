import { createHash } from 'node:crypto';
import {
  chmodSync,
  constants,
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { EXIT, ExitError } from '../../errors.ts';
import { COPIES_DIR } from './places.ts';
import { type Program, versionAt } from './program.ts';
import { readIfThere } from './unit-files.ts';

const PREVIOUS_FILE = join(COPIES_DIR, 'previous.json');
/** What the service needs, and the pages, which link to one another; a checkout has more. */
const PACKAGE_PARTS = [
  ...['package.json', 'dist', 'systemd', 'LICENSE'],
  ...['docs', 'README.md', 'SECURITY.md', 'CHANGELOG.md', 'clients/python/README.md'],
];

/** One file of a copy: its source, and its place within the copy. */
interface Part {
  readonly from: string;
  readonly to: string;
}

/** Returns the copy that `program` would get. */
export function copyOf(program: Program): Program {
  const dir = join(COPIES_DIR, program.version);
  return { ...program, node: join(dir, 'bin/node'), packageDir: join(dir, 'package') };
}

/**
 * Copies Node, the package and its dependencies to COPIES_DIR/VERSION, owned by root and readable by all, and returns
 * the copy. Leaves an existing copy alone if it is the same.
 */
export function copyProgram(program: Program): { readonly copy: Program; readonly changed: boolean } {
  const copy = copyOf(program);
  const dir = dirname(copy.packageDir);
  if (program.packageDir === copy.packageDir) return { copy, changed: false };

  const parts = [{ from: program.node, to: 'bin/node' }, ...packageParts(program.packageDir)];
  const digest = digestOf(parts);
  const digestFile = join(dir, 'digest');
  if (readIfThere(digestFile) === digest) return { copy, changed: false };

  const temporary = `${dir}.new`;
  rmSync(temporary, { recursive: true, force: true });
  for (const { from, to } of parts) {
    const target = join(temporary, to);
    mkdirSync(dirname(target), { recursive: true, mode: 0o755 });
    copyFileSync(from, target, constants.COPYFILE_FICLONE);
    chmodSync(target, to === 'bin/node' ? 0o755 : 0o644);
  }
  writeFileSync(join(temporary, 'digest'), digest, { mode: 0o644 });
  // A daemon that runs from the old copy keeps what it has opened.
  const old = `${dir}.old`;
  rmSync(old, { recursive: true, force: true });
  if (existsSync(dir)) renameSync(dir, old);
  renameSync(temporary, dir);
  rmSync(old, { recursive: true, force: true });
  return { copy, changed: true };
}

function packageParts(packageDir: string): Part[] {
  const own = PACKAGE_PARTS.filter((name) => existsSync(join(packageDir, name)));
  const parts = own.flatMap((name) => filesBelow(join(packageDir, name), join('package', name)));
  addDependencies(packageDir, 'package', new Map(), parts);
  return parts;
}

/**
 * Adds the packages that Node would find, wherever npm has put them: side by side, or below their user if versions
 * differ.
 */
function addDependencies(userDir: string, userTo: string, placed: Map<string, string>, parts: Part[]): void {
  const { dependencies = {} } = JSON.parse(readFileSync(join(userDir, 'package.json'), 'utf8')) as {
    dependencies?: Record<string, string>;
  };
  for (const name of Object.keys(dependencies)) {
    const from = findPackage(name, userDir);
    const atTop = join('package/node_modules', name);
    const to = [undefined, from].includes(placed.get(atTop)) ? atTop : join(userTo, 'node_modules', name);
    if (placed.get(to) === from) continue;
    placed.set(to, from);
    parts.push(...filesBelow(from, to));
    addDependencies(from, to, placed, parts);
  }
}

function findPackage(name: string, userDir: string): string {
  for (let dir = userDir; ; dir = dirname(dir)) {
    const candidate = join(dir, 'node_modules', name);
    if (existsSync(join(candidate, 'package.json'))) return candidate;
    if (dirname(dir) === dir) break;
  }
  throw new ExitError(EXIT.config, `${userDir} needs ${name}, which is not installed; run npm install there`);
}

function filesBelow(from: string, to: string): Part[] {
  if (!statSync(from).isDirectory()) return [{ from, to }];
  return readdirSync(from)
    .filter((name) => name !== 'node_modules')
    .flatMap((name) => filesBelow(join(from, name), join(to, name)));
}

function digestOf(parts: readonly Part[]): string {
  const hash = createHash('sha256');
  for (const { from, to } of parts) hash.update(`${to}\0${statSync(from).size}\0`).update(readFileSync(from));
  return hash.digest('hex');
}

/** Returns what `rollback` goes back to. */
export function previousProgram(): Program | undefined {
  const text = readIfThere(PREVIOUS_FILE);
  return text === undefined ? undefined : (JSON.parse(text) as Program);
}

/** Remembers what was installed until now, and removes the copies that neither it nor `current` runs from. */
export function rememberPrevious(previous: Program, current: Program): void {
  mkdirSync(COPIES_DIR, { recursive: true, mode: 0o755 });
  writeFileSync(PREVIOUS_FILE, `${JSON.stringify(previous)}\n`, { mode: 0o644 });
  const kept = new Set([previous, current].map(({ packageDir }) => basename(dirname(packageDir))));
  for (const entry of readdirSync(COPIES_DIR, { withFileTypes: true })) {
    if (entry.isDirectory() && !kept.has(entry.name)) rmSync(join(COPIES_DIR, entry.name), { recursive: true });
  }
}

/** Returns whether what was installed then is still there, and still that version. */
export function isStillThere({ node, packageDir, version }: Program): boolean {
  return existsSync(node) && versionAt(packageDir) === version;
}

export function removeCopies(): boolean {
  if (!existsSync(COPIES_DIR)) return false;
  rmSync(COPIES_DIR, { recursive: true });
  return true;
}
