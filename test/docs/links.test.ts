import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { anchorsOf, destinationOf, isRelative, linksOf, pages } from './pages.ts';

/** The packages that are made of this repository: the directory of each. */
const { workspaces = [] } = JSON.parse(readFileSync('package.json', 'utf8')) as { readonly workspaces?: string[] };
const PACKAGES: readonly string[] = ['.', ...workspaces];

test('every relative link of every page leads to a file that is there, and to a heading that it has', () => {
  const links = pages().flatMap((page) => linksOf(page).map((target) => ({ page, target })));
  expect(links.length).toBeGreaterThan(100);
  const broken = links.filter(({ page, target }) => {
    if (!isRelative(target)) return false;
    const { path, anchor } = destinationOf(page, target);
    return !existsSync(path) || (anchor !== '' && !anchorsOf(path).has(anchor));
  });
  expect(broken.map(({ page, target }) => `${page}: ${target}`)).toEqual([]);
});

// A package has no web address to link to, so what is only in the repository is named in its pages and not linked.
test.each(PACKAGES)(
  'in the tarball of %s every relative link leads to a file of that tarball',
  (directory) => {
    const packed = packedFiles(directory);
    const ours = packed.filter((path) => path.endsWith('.md'));
    expect(ours.length).toBeGreaterThan(0);
    const broken = ours.flatMap((page) =>
      linksOf(join(directory, page))
        .filter(isRelative)
        .filter((target) => {
          const { path } = destinationOf(page, target);
          return !packed.some((file) => file === path || file.startsWith(`${path}/`));
        })
        .map((target) => `${page}: ${target}`),
    );
    expect(broken).toEqual([]);
  },
  60_000,
);

function packedFiles(directory: string): string[] {
  // The scripts would build, which changes no page.
  const { status, stdout, stderr } = spawnSync('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'], {
    cwd: directory,
    encoding: 'utf8',
  });
  expect(status, stderr).toBe(0);
  const [{ files } = { files: [] }] = JSON.parse(stdout) as { readonly files: readonly { readonly path: string }[] }[];
  return files.map(({ path }) => path);
}
