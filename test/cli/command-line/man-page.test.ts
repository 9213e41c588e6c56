import { spawnSync } from 'node:child_process';
import { expect, test, vi } from 'vitest';
import { allOf, treeOf } from '../../../src/cli/command-line/command-tree.ts';
import { manPage } from '../../../src/cli/command-line/man-page.ts';
import { NoncedCommand } from '../../../src/cli/command-line/nonced-command.ts';
import { program } from '../../../src/cli/command-line/program.ts';
import { Terminal } from '../../../src/cli/terminal/terminal.ts';
import { EXIT } from '../../../src/errors.ts';
import { RELEASED_MS, VERSION } from '../../../src/version.ts';
import { hasProgram } from '../../fixtures/shell.ts';

const tree = treeOf(program(new Terminal(process)));
const page = manPage(tree, VERSION, RELEASED_MS);

/** The page as a person reads it, on one endless line per paragraph; fails on any warning. */
function formatted(source: string): string {
  const { stdout, stderr } = spawnSync('groff', ['-ww', '-man', '-Tutf8', '-P-cbou', '-rLL=2000n'], {
    input: source,
    encoding: 'utf8',
  });
  expect(stderr).toBe('');
  return stdout;
}

// Programs on a busy machine.
vi.setConfig({ testTimeout: 30_000 });

const withoutGroff = hasProgram('groff') ? '' : ' (skipped: no groff)';
const withoutMan = hasProgram('man') && hasProgram('groff') ? '' : ' (skipped: no man, or no groff)';

test.skipIf(withoutGroff !== '')(`the page has every command, option, example and exit code${withoutGroff}`, () => {
  const text = formatted(page);
  for (const { path, options, examples, operands } of allOf(tree)) {
    expect(text).toMatch(new RegExp(`^ {3}${['nonced', ...path].join(' ')}( |$)`, 'm'));
    for (const { flags, fullDescription } of options) {
      expect(text).toContain(`  ${flags}`);
      expect(text).toContain(fullDescription);
    }
    for (const { fullDescription } of operands) expect(text).toContain(fullDescription);
    for (const [line, remark = ''] of examples) {
      expect(text).toContain(`       ${line}\n`);
      expect(text).toContain(remark);
    }
  }
  for (const code of Object.values(EXIT)) expect(text).toMatch(new RegExp(`^ {7}${code} +[A-Z]`, 'm'));
  for (const { envVar, hidden } of program(new Terminal(process)).commands.flatMap(({ options }) => options)) {
    if (envVar !== undefined && !hidden) expect(text).toMatch(new RegExp(`^ {7}${envVar}$`, 'm'));
  }
});

test.skipIf(withoutMan !== '')(`man shows the page without a warning${withoutMan}`, () => {
  const options = {
    input: page,
    encoding: 'utf8',
    env: { ...process.env, MANWIDTH: '80', LC_ALL: 'C.UTF-8' },
  } as const;
  const { stdout, stderr, status } = spawnSync('man', ['--warnings', '-l', '-'], options);
  expect({ stderr, status }).toEqual({ stderr: '', status: 0 });
  for (const section of [
    'NAME',
    'SYNOPSIS',
    'COMMANDS',
    'BOTS',
    'HOST',
    'ENVIRONMENT',
    'FILES',
    'EXIT STATUS',
    'SEE ALSO',
  ]) {
    expect(stdout).toMatch(new RegExp(`^${section}$`, 'm'));
  }
});

test('the page is the same whenever it is made, and dated by the version', () => {
  expect(manPage(treeOf(program(new Terminal(process))), VERSION, RELEASED_MS)).toBe(page);
  expect(page).toMatch(/^\.TH NONCED 1 2026-11-01 "nonced /);
});

test.skipIf(withoutGroff !== '')(`text that troff would obey is printed as it is${withoutGroff}`, () => {
  const hostile = [".so /etc/passwd 'n' \\fBbold\\fR", "'ig everything", '--all `x` ^~ "q" – …'];
  const nonced = new NoncedCommand('nonced');
  for (const [index, text] of hostile.entries()) {
    nonced
      .command(`c${index}`)
      .description(text)
      .option(`--o${index} <x>`, text)
      .addNotes(text)
      .addExamples([text, text]);
  }
  const text = formatted(manPage(treeOf(nonced), VERSION, RELEASED_MS));
  for (const line of hostile) {
    expect(text.split(line).length, line).toBeGreaterThanOrEqual(5);
    expect(text).toContain(`       # ${line}\n`);
  }
});
