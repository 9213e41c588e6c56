import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { allOf, treeOf } from '../../../src/cli/command-line/command-tree.ts';
import { commandsPage } from '../../../src/cli/command-line/commands-page.ts';
import { program } from '../../../src/cli/command-line/program.ts';
import { Terminal } from '../../../src/cli/terminal/terminal.ts';

const tree = treeOf(program(new Terminal(process)));

test('docs/commands.md is what the command line is now', () => {
  const page = readFileSync('docs/commands.md', 'utf8');
  expect(page, 'docs/commands.md is stale; make it again with: npm run commands').toBe(commandsPage(tree));
});

test('the page has every command, operand, option and example', () => {
  const page = commandsPage(tree);
  for (const { path, options, operands, examples } of allOf(tree).slice(1)) {
    if (path.includes('help')) continue;
    expect(page).toContain(`\n### nonced ${path.join(' ')}\n`);
    for (const { names, flags } of options) if (!names.includes('--help')) expect(page).toContain(`| \`${flags}\` |`);
    for (const { name, fullDescription } of operands) if (fullDescription) expect(page).toContain(`| \`${name}\` |`);
    for (const [line] of examples) expect(page).toContain(`\n${line}`);
  }
});
