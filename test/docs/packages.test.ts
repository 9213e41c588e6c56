import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { pages } from './pages.ts';

interface Locked {
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
}

const { version } = JSON.parse(readFileSync('package.json', 'utf8')) as { readonly version: string };
const { packages } = JSON.parse(readFileSync('package-lock.json', 'utf8')) as {
  readonly packages: Readonly<Record<string, Locked>>;
};

test('SECURITY.md names every package that an install of nonced brings, and no other, and has their number', () => {
  const [, section = ''] = /\n## Dependencies\n([\s\S]*)/.exec(readFileSync('SECURITY.md', 'utf8')) ?? [];
  const rows = [...section.matchAll(/^\| (`[^|]+\|[^|]+)\|/gm)].map(([, cells = '']) => cells);
  const named = rows.flatMap((row) => [...row.matchAll(/`([^`]+)`/g)].map(([, name = '']) => name));
  const [, told = ''] = /brings (\d+) packages:/.exec(section) ?? [];

  const installed = [...installedBelow('')].map((path) => path.replace(/.*node_modules\//, ''));
  // One binary is installed, the one of the host.
  const isBinary = (name: string): boolean => name.startsWith('@msgpackr-extract/');
  const withoutBinaries = installed.filter((name) => !isBinary(name));
  expect(installed.some(isBinary)).toBe(true);
  expect([...new Set(named)].sort()).toEqual([...new Set(withoutBinaries)].sort());
  expect(Number(told)).toBe(withoutBinaries.length + 1);
});

test('a tarball that a page installs is one of this version', () => {
  const shown = pages()
    .filter((page) => page !== 'CHANGELOG.md')
    .flatMap((page) => [...readFileSync(page, 'utf8').matchAll(/nonced(?:-client)?-(\d+\.\d+\.\d+)\.tgz/g)]);
  expect(shown.length).toBeGreaterThan(0);
  expect(new Set(shown.map(([, each]) => each))).toEqual(new Set([version]));
});

/** Where npm puts all that the package at `path` needs, directly or not. */
function installedBelow(path: string, found = new Set<string>()): ReadonlySet<string> {
  const { dependencies, optionalDependencies } = packages[path] ?? {};
  for (const name of Object.keys({ ...dependencies, ...optionalDependencies })) {
    const place = placesFrom(path)
      .map((from) => `${from}node_modules/${name}`)
      .find((each) => each in packages);
    if (place === undefined || found.has(place)) continue;
    found.add(place);
    installedBelow(place, found);
  }
  return found;
}

/** Below the package itself, then below each that it is in. */
function placesFrom(path: string): string[] {
  if (path === '') return [''];
  return [`${path}/`, ...placesFrom(path.replace(/\/?node_modules\/(?:@[^/]+\/)?[^/]+$/, ''))];
}
