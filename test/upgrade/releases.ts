import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { VERSION } from '../../src/version.ts';
import { hasProgram, run } from '../fixtures/shell.ts';

/** A program that is installed from its packed tarball. */
export interface Installed {
  readonly version: string;
  readonly packageDir: string;
  readonly main: string;
  /** What a bot in Node imports. */
  readonly nodeClient: string;
  /** The directory in which a bot in Python finds `nonced`. */
  readonly pythonClient: string;
}

/** The release that a user upgrades from. A tag may not be in a clone; a commit is, unless the clone is shallow. */
const LAST_RELEASE = JSON.parse(readFileSync('test/upgrade/last-release.json', 'utf8')) as {
  readonly version: string;
  readonly commit: string;
};

/** More than building a release takes on a busy machine. */
export const BUILD_MS = 600_000;

/** Why the last release cannot be built here; empty if it can. */
export const cannotBuild = reason();

function reason(): string {
  const missing = ['git', 'npm', 'flock'].filter((name) => !hasProgram(name));
  if (missing.length > 0) return `no ${missing.join(', ')}`;
  const { status, stderr } = spawnSync('git', ['cat-file', '-e', `${LAST_RELEASE.commit}^{commit}`], {
    encoding: 'utf8',
  });
  if (status === 0) return '';
  const { version, commit } = LAST_RELEASE;
  return `this clone does not have the commit of ${version}, ${commit.slice(0, 7)}: ${stderr.trim()}; if it is shallow: git fetch --unshallow`;
}

/** Installs the last release. It is built once, which takes some ten seconds, and kept for later runs. */
export async function installLastRelease(): Promise<Installed> {
  const { version, commit } = LAST_RELEASE;
  const prefix = resolve('build/last-release', commit);
  await install(prefix, commit);
  return installedAt(prefix, version);
}

/** Installs this checkout, which must be built. `remove` takes it away again. */
export async function installCheckout(): Promise<Installed & { remove(): void }> {
  const dir = mkdtempSync(resolve('build/checkout-'));
  await install(join(dir, 'prefix'));
  return { ...installedAt(join(dir, 'prefix'), VERSION), remove: () => rmSync(dir, { recursive: true, force: true }) };
}

async function install(prefix: string, ...commit: readonly string[]): Promise<void> {
  // Within `npm test` it is another package that npm would take itself to be run for.
  const npms = Object.keys(process.env).filter((name) => name.startsWith('npm_'));
  const outside = ['env', ...npms.flatMap((name) => ['-u', name])];
  // Test files run at the same time, and only one of them needs to build.
  const command = [...outside, 'test/upgrade/install-packed', prefix, ...commit];
  const { code, stderr } = await run('flock', ['build/install-packed.lock', ...command]);
  if (code !== 0) throw new Error(`install-packed exits ${code}: ${stderr}`);
}

function installedAt(prefix: string, version: string): Installed {
  const packageDir = join(prefix, 'lib/node_modules/nonced');
  return {
    version,
    packageDir,
    main: join(packageDir, 'dist/cli/main.js'),
    nodeClient: join(packageDir, 'dist/client/index.js'),
    pythonClient: join(packageDir, 'clients/python'),
  };
}
