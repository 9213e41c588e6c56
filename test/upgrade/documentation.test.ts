import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { allOf, treeOf } from '../../src/cli/command-line/command-tree.ts';
import { program } from '../../src/cli/command-line/program.ts';
import { Terminal } from '../../src/cli/terminal/terminal.ts';
import { BUILD_MS, cannotBuild, type Installed, installLastRelease } from './releases.ts';

const skipped = cannotBuild && ` (skipped: ${cannotBuild})`;
const lines = readFileSync('docs/upgrading.md', 'utf8').split('\n');

type Tree = ReturnType<typeof treeOf>;

/** Commands as they are typed, each with its options. */
function commandsOf(tree: Tree): Map<string, readonly string[]> {
  return new Map(
    allOf(tree).map(({ path, options }) => [
      ['nonced', ...path].join(' '),
      options.map(({ names }) => names.at(-1) ?? ''),
    ]),
  );
}

const variablesOf = (tree: Tree): Set<string> => new Set(JSON.stringify(tree).match(/\bNONCED_[A-Z_]+/g));

/** As a bot writes them: `nonced/ccxt`. */
const importsOf = (packageDir: string): string[] =>
  Object.keys(JSON.parse(readFileSync(join(packageDir, 'package.json'), 'utf8')).exports).map((name) =>
    join('nonced', name),
  );

/** Those for which docs/upgrading.md has no line that names all of it. */
const unnamed = (gone: readonly (readonly string[])[]): readonly (readonly string[])[] =>
  gone.filter((words) => !lines.some((line) => words.every((word) => line.includes(word))));

describe.skipIf(cannotBuild !== '')(
  `what the last release had and this one has not is in docs/upgrading.md${skipped}`,
  () => {
    let lastRelease: Installed;
    let before: Tree;
    const now = treeOf(program(new Terminal(process)));

    beforeAll(async () => {
      lastRelease = await installLastRelease();
      const built = (name: string) => import(join(lastRelease.packageDir, 'dist/cli', name));
      const [old, tree] = [await built('program.js'), await built('command-tree.js')];
      before = tree.treeOf(old.program());
    }, BUILD_MS);

    test('commands and options', () => {
      const today = commandsOf(now);
      const gone = [...commandsOf(before)].flatMap(([command, options]) => {
        const left = today.get(command);
        if (left === undefined) return [[`\`${command}`]];
        return options.filter((option) => !left.includes(option)).map((option) => [`\`${command}`, `${option}\``]);
      });
      expect(gone).toContainEqual(['`nonced init']);
      expect(unnamed(gone)).toEqual([]);
    });

    test('environment variables', () => {
      const today = variablesOf(now);
      const gone = [...variablesOf(before)].filter((name) => !today.has(name));
      expect(gone).toContain('NONCED_JOURNAL');
      expect(unnamed(gone.map((name) => [`\`${name}\``]))).toEqual([]);
    });

    test('what a bot imports', () => {
      const load = createRequire(import.meta.url);
      const gone = importsOf(lastRelease.packageDir).filter((name) => {
        try {
          load(name);
          return false;
        } catch {
          return true;
        }
      });
      expect(gone).toContain('nonced/ccxt');
      expect(unnamed(gone.map((name) => [`\`${name}\``]))).toEqual([]);
    });

    test('pages', () => {
      const pages = readdirSync(join(lastRelease.packageDir, 'docs'), { recursive: true, encoding: 'utf8' });
      expect(pages).toContain('operations.md');
      expect(unnamed(pages.filter((page) => !existsSync(join('docs', page))).map((page) => [page]))).toEqual([]);
    });
  },
);
