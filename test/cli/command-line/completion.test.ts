import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { allOf, treeOf } from '../../../src/cli/command-line/command-tree.ts';
import { bashCompletion } from '../../../src/cli/command-line/completion/bash.ts';
import { zshCompletion } from '../../../src/cli/command-line/completion/zsh.ts';
import { program } from '../../../src/cli/command-line/program.ts';
import { Terminal } from '../../../src/cli/terminal/terminal.ts';
import { hasProgram } from '../../fixtures/shell.ts';
import { cannotType, typedWords } from './typed-line.ts';

const tree = treeOf(program(new Terminal(process)));
const scripts = { bash: bashCompletion(tree, '0.0.0'), zsh: zshCompletion(tree, '0.0.0') };

let dir: string;
const scriptOf = (shell: 'bash' | 'zsh') => join(dir, `script.${shell}`);

beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'nonced-'));
  for (const shell of ['bash', 'zsh'] as const) writeFileSync(scriptOf(shell), scripts[shell]);
  mkdirSync(join(dir, 'a directory'));
  writeFileSync(join(dir, 'a file.json'), '');
});
afterAll(() => rmSync(dir, { recursive: true }));

test('the tree has what --help shows, and nothing hidden', () => {
  const names = allOf(tree).map(({ path }) => path.join(' '));
  expect(names).toContain('systemd install');
  expect(names).toContain('state init');
  for (const hidden of ['man', 'inspect', 'init', 'retire', 'adopt']) expect(names).not.toContain(hidden);
  const exec = allOf(tree).find(({ path }) => path.join(' ') === 'exec');
  expect(exec?.operands).toMatchObject([{ name: 'command', takes: { kind: 'program' } }]);
  expect(exec?.options.find(({ names }) => names.includes('--unit'))).toMatchObject({
    names: ['--unit'],
    value: { name: 'unit', takes: { kind: 'choice', choices: ['ns', 'us', 'ms', 's', 'counter'] } },
  });
});

const withoutBash = hasProgram('bash') ? '' : ' (skipped: no bash)';
describe.skipIf(withoutBash !== '')(`bash${withoutBash}`, { timeout: 30_000 }, () => {
  /** What is offered for the last word of each line, whose words are as bash splits them; asks one bash for all. */
  function offeredFor(lines: readonly (readonly string[])[]): string[][] {
    const quoted = (word: string) => `'${word.replaceAll("'", "'\\''")}'`;
    const text = [
      'set -u; source "$0"',
      `ask() { COMP_WORDS=(nonced "$@"); COMP_CWORD=$#; _nonced; printf '%s\\n' \${COMPREPLY[@]+"\${COMPREPLY[@]}"} .; }`,
      ...lines.map((words) => `ask ${words.map(quoted).join(' ')}`),
    ].join('\n');
    const options = { cwd: dir, encoding: 'utf8' } as const;
    const { stdout, stderr } = spawnSync('bash', ['--norc', '-c', text, scriptOf('bash')], options);
    expect(stderr).toBe('');
    return stdout
      .split('.\n')
      .slice(0, -1)
      .map((answer) => answer.split('\n').filter((word) => word !== ''));
  }

  const offered = (...words: readonly string[]): string[] => offeredFor([words])[0] ?? [];

  test('offers the commands, and those of systemd and of state below them', () => {
    expect(offered('')).toEqual(tree.commands.map(({ path }) => path[0]));
    expect(offered('s')).toEqual(['status', 'set-exclusive', 'serve', 'state', 'systemd']);
    expect(offered('systemd', '')).toEqual(['install', 'uninstall', 'status', 'print', 'rollback', 'help']);
    expect(offered('state', '')).toEqual(['inspect', 'init', 'retire', 'adopt', 'move', 'forget', 'help']);
    expect(offered('help', 'sys')).toEqual(['systemd']);
  });

  test('offers every option of every command, and none after --', () => {
    const commands = allOf(tree);
    const answers = offeredFor(commands.map(({ path }) => [...path, '-']));
    expect(answers).toEqual(commands.map(({ options }) => options.flatMap(({ names }) => names)));
    expect(offeredFor(commands.map(({ path }) => [...path, '--', '-'])).flat()).toEqual([]);
  });

  test('offers the choices of an option, in both ways of writing it, and of an operand', () => {
    expect(offered('exec', '--priority', '')).toEqual(['urgent', 'normal', 'background']);
    expect(offered('exec', '--priority', '=')).toEqual(['urgent', 'normal', 'background']);
    expect(offered('exec', '--priority', '=', 'u')).toEqual(['urgent']);
    expect(offered('exec', '--priority', '=', 'urgent', '--unit', '')).toEqual(['ns', 'us', 'ms', 's', 'counter']);
    expect(offered('set-exclusive', '--json', '')).toEqual(['global', 'account', 'off']);
    expect(offered('set-exclusive', '--', 'o')).toEqual(['off']);
    expect(offered('set-exclusive', 'off', 'g')).toEqual([]);
  });

  test('offers files or directories for an option that takes a path, with blanks in their names', () => {
    expect(offered('serve', '--config', 'a')).toEqual(expect.arrayContaining(['a directory', 'a file.json']));
    expect(offered('serve', '--state-dir', 'a')).toEqual(['a directory']);
  });

  test('offers nothing where anything may stand', () => {
    expect(offered('exec', '--account', '')).toEqual([]);
    expect(offered('exec', '--wait', 'a')).toEqual([]);
    expect(offered('why', 'a')).toEqual([]);
  });

  test('takes the value of an option for no command, and the words of another program for nothing of ours', () => {
    expect(offered('nonce', '--account', 'status', '--c')).toEqual(['--count']);
    expect(offered('exec', '--', 'print')).toContain('printf');
    expect(offered('exec', '--label', 'x', 'cat', '--pri')).toEqual([]);
    expect(offered('exec', 'cat', 'a f')).toEqual(['a file.json']);
  });

  test('offers the options of a command that takes nothing else', () => {
    expect(offered('status', '')).toEqual(offered('status', '-'));
  });
});

/** Lines with their Tabs, and the words that come of them. */
const TYPED: readonly (readonly [line: string, words: readonly string[]])[] = [
  ['nonced syst\tinst\t', ['systemd', 'install']],
  ['nonced exec --pri\t urg\t', ['exec', '--priority', 'urgent']],
  ['nonced exec --priority=urg\t', ['exec', '--priority=urgent']],
  ['nonced set-e\tglo\t', ['set-exclusive', 'global']],
  ['nonced serve --config a\\ f\t', ['serve', '--config', 'a file.json']],
  ['nonced serve --state-dir a\tx', ['serve', '--state-dir', 'a directory/x']],
  ['nonced exec --account alice -- basena\t', ['exec', '--account', 'alice', '--', 'basename']],
];

for (const shell of ['bash', 'zsh'] as const) {
  const cannot = cannotType(shell);
  test.skipIf(cannot !== '')(`lines typed into ${shell} come out completed${cannot}`, { timeout: 30_000 }, async () => {
    const lines = TYPED.map(([line]) => line);
    expect(await typedWords(shell, scriptOf(shell), lines, dir)).toEqual(TYPED.map(([, words]) => words));
  });
}

const withoutZsh = hasProgram('zsh') ? '' : ' (skipped: no zsh)';
test.skipIf(withoutZsh !== '')(`zsh finds the script in $fpath as well${withoutZsh}`, { timeout: 30_000 }, () => {
  const line = 'fpath=($2 $fpath); cp $1 $2/_nonced; autoload -U compinit; compinit -u -D; print $_comps[nonced]';
  const { stdout, stderr } = spawnSync('zsh', ['-f', '-c', line, 'zsh', scriptOf('zsh'), dir], { encoding: 'utf8' });
  expect({ stdout, stderr }).toEqual({ stdout: '_nonced\n', stderr: '' });
});

test('the scripts start nothing: no command of ours, no substitution but of the shell itself', () => {
  for (const script of Object.values(scripts)) {
    expect(script).not.toMatch(/\$\((?!compgen|IFS|\(|\$)|`/);
    expect(script).not.toMatch(/^\s*nonced /m);
  }
});
