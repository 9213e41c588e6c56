import { expect, test } from 'vitest';
import { type TreeCommand, treeOf } from '../../src/cli/command-line/command-tree.ts';
import { program } from '../../src/cli/command-line/program.ts';
import { Terminal } from '../../src/cli/terminal/terminal.ts';
import { blocksOf, inlineCodeOf, pages } from './pages.ts';

/** They describe names that are no longer used. */
const OF_THE_PAST = new Set(['CHANGELOG.md', 'docs/upgrading.md']);

const tree = treeOf(program(new Terminal(process)));

test('every nonced command that a page shows is one that there is, with options that it has', () => {
  const shown = pages()
    .filter((page) => !OF_THE_PAST.has(page))
    .flatMap((page) => typedIn(page).map((line) => ({ page, line, problem: problemOf(line) })));
  expect(shown.length).toBeGreaterThan(200);
  expect(shown.filter(({ problem }) => problem !== undefined)).toEqual([]);
});

test('anything but a command or an option is noticed', () => {
  expect(problemOf('inspect')).toBe('no such command');
  expect(problemOf('state inspect --jsn')).toBe('no option --jsn');
  expect(problemOf('exec --wait 3s -- kraken --no-option-of-ours')).toBeUndefined();
  expect(commandsIn('sudo -u nonced nonced pause A && (npx nonced status --all | tee x); chown nonced x')).toEqual([
    'pause A',
    'status --all',
  ]);
});

/** What follows `nonced` wherever a page shows a command line. */
function typedIn(page: string): string[] {
  const lines = blocksOf(page).flatMap(({ language, code }) => {
    const all = code.replaceAll('\\\n', ' ').split('\n');
    if (language === 'console') return all.filter((line) => /^[$>] /.test(line)).map((line) => line.slice(2));
    return language === 'sh' ? all : [];
  });
  return [...lines, ...inlineCodeOf(page)].flatMap(commandsIn);
}

/** A name in capitals stands for something else: `nonced COMMAND --help`. */
function commandsIn(line: string): string[] {
  const found = line
    .replace(/ # .*/, '')
    .matchAll(/(?:^|sudo (?:-u \w+ )?|npx |&& |\| |; |\()nonced (?=[a-z-])([^|;&<>()]*)/g);
  return [...found].map(([, words = '']) => words.trim());
}

function problemOf(line: string): string | undefined {
  let command: TreeCommand = tree;
  for (const word of line.split(/\s+/)) {
    if (word === '--') return undefined;
    const below = command.commands.find(({ path }) => path.at(-1) === word);
    if (below !== undefined) command = below;
    else if (/^--?[a-z]/.test(word) && !optionsOf(command).has(word.replace(/[=,].*$/, ''))) return `no option ${word}`;
    else if (command.commands.length > 0 && /^[a-z]/.test(word)) return 'no such command';
  }
  return undefined;
}

function optionsOf(command: TreeCommand): ReadonlySet<string> {
  return new Set([...command.options, ...tree.options].flatMap(({ names }) => names));
}
