import { type Command, Option } from 'commander';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { allOf, treeOf } from '../../../src/cli/command-line/command-tree.ts';
import { bashCompletion } from '../../../src/cli/command-line/completion/bash.ts';
import { zshCompletion } from '../../../src/cli/command-line/completion/zsh.ts';
import { manPage } from '../../../src/cli/command-line/man-page.ts';
import { NoncedCommand } from '../../../src/cli/command-line/nonced-command.ts';
import { addRenamed } from '../../../src/cli/command-line/old-names.ts';
import { program } from '../../../src/cli/command-line/program.ts';
import { Terminal } from '../../../src/cli/terminal/terminal.ts';

const OLD_OPTIONS = ['--journal', '--journal-size', 'NONCED_JOURNAL', 'NONCED_JOURNAL_SIZE', '--watch'];

afterEach(() => vi.unstubAllEnvs());

/** The options that a command with a renamed one is run with. */
async function parsed(args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<object> {
  for (const [name, value] of Object.entries(env)) vi.stubEnv(name, value);
  let options: object = {};
  const command = new NoncedCommand('x');
  addRenamed(command, new Option('--call-log <file>').env('CALL_LOG_OF_TEST').default('none'), {
    flag: '--journal',
    variable: 'JOURNAL_OF_TEST',
  });
  addRenamed(command, new Option('--size <n>').argParser(Number), { flag: '--old-size' });
  command.action((found) => {
    options = found;
  });
  await command.parseAsync(args, { from: 'user' });
  return options;
}

const told = (old: string, current: string) => `'${old}' is now '${current}'; the next version removes the old name`;

describe('an option that had another name', () => {
  test('is as it was if no old name is used', async () => {
    expect(await parsed([])).toMatchObject({ callLog: 'none', oldNames: [] });
    expect(await parsed(['--call-log', 'a', '--size', '3'])).toMatchObject({ callLog: 'a', size: 3, oldNames: [] });
    expect(await parsed([], { CALL_LOG_OF_TEST: 'a' })).toMatchObject({ callLog: 'a', oldNames: [] });
  });

  test('takes its value from the old one, read in the same way, and one line is to be told for each', async () => {
    expect(await parsed(['--journal', 'a', '--old-size=3'])).toMatchObject({
      callLog: 'a',
      size: 3,
      oldNames: [told('--journal', '--call-log'), told('--old-size', '--size')],
    });
    expect(await parsed([], { JOURNAL_OF_TEST: 'a' })).toMatchObject({
      callLog: 'a',
      oldNames: [told('JOURNAL_OF_TEST', 'CALL_LOG_OF_TEST')],
    });
  });

  test('goes by the new name where both are given, and what is typed goes before the environment', async () => {
    const both = { JOURNAL_OF_TEST: 'old', CALL_LOG_OF_TEST: 'new' };
    expect(await parsed(['--call-log', 'new', '--journal', 'old'])).toMatchObject({ callLog: 'new' });
    expect(await parsed(['--journal', 'old', '--call-log', 'new'])).toMatchObject({ callLog: 'new' });
    expect(await parsed([], both)).toMatchObject({ callLog: 'new', oldNames: [expect.any(String)] });
    expect(await parsed(['--call-log', 'typed'], { JOURNAL_OF_TEST: 'old' })).toMatchObject({ callLog: 'typed' });
    expect(await parsed(['--journal', 'typed'], both)).toMatchObject({ callLog: 'typed' });
  });
});

test('no old name is in a help, the manual page or a completion', () => {
  const tree = treeOf(program(new Terminal(process)));
  const listed = (command: Command): Command[] => [
    command,
    ...command.createHelp().visibleCommands(command).flatMap(listed),
  ];
  const texts = [
    ...listed(program(new Terminal(process))).map((command) => command.helpInformation()),
    manPage(tree, '0.0.0', 0),
    bashCompletion(tree, '0.0.0'),
    zshCompletion(tree, '0.0.0'),
    JSON.stringify(allOf(tree).map(({ examples, notes }) => [examples, notes])),
  ];
  for (const text of texts) for (const old of OLD_OPTIONS) expect(text).not.toMatch(new RegExp(`${old}\\b`));
  for (const old of ['inspect', 'init', 'retire', 'adopt']) {
    for (const text of texts) expect(text).not.toMatch(new RegExp(`nonced ${old}\\b`));
    expect(program(new Terminal(process)).helpInformation()).not.toMatch(new RegExp(`^ *${old}\\b`, 'm'));
  }
});
