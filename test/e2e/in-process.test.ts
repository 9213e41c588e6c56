import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect } from 'vitest';
import { allOf, treeOf } from '../../src/cli/command-line/command-tree.ts';
import { program } from '../../src/cli/command-line/program.ts';
import { pipe, runInProcess } from '../fixtures/command-line.ts';
import { runNonced } from '../fixtures/daemon-process.ts';
import { daemonPerFile } from '../fixtures/daemon-test.ts';
import type { RunResult } from '../fixtures/shell.ts';

// Most tests run commands in their own process. That proves something only if a user gets the same.

// biome-ignore lint/correctness/noEmptyPattern: the runner reads from the pattern what a fixture needs
const test = daemonPerFile().extend('dir', ({}, { onCleanup }) => {
  const dir = mkdtempSync(join(tmpdir(), 'nonced-'));
  onCleanup(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
});

/** Commands of which a test elsewhere starts the program, for they need a process of their own or root. */
const STARTED_ELSEWHERE: Readonly<Record<string, string>> = {
  exec: 'test/e2e/command-line.test.ts',
  serve: 'test/fixtures/daemon-process.ts',
  top: 'test/e2e/top.test.ts',
  doctor: 'test/e2e/doctor.test.ts',
  rehearse: 'test/e2e/rehearse.test.ts',
  'systemd install': 'test/systemd/install.test.ts',
  'systemd uninstall': 'test/systemd/install.test.ts',
  'systemd status': 'test/systemd/install.test.ts',
  'systemd rollback': 'test/systemd/install.test.ts',
};

const NEW = ['--floor', '100', '--unit', 'counter', '--state-dir'];

/** A run of every other command. DIR is a directory of the test. */
const RUNS: Readonly<Record<string, readonly string[]>> = {
  '': ['--version'],
  nonce: ['nonce', '--account', 'MASTER', '--count', '3'],
  status: ['status', '--json'],
  why: ['why', 'MASTER'],
  timeline: ['timeline', '--until', '1m'],
  metrics: ['metrics', '--output', 'DIR/nonced.prom'],
  pause: ['pause', 'USER:alice', '--json'],
  resume: ['resume', 'USER:alice'],
  drain: ['drain', '--off'],
  advance: ['advance', '--to', '1'],
  'set-exclusive': ['set-exclusive', 'account'],
  state: ['state'],
  'state inspect': ['state', 'inspect', '--state-dir', 'DIR'],
  'state init': ['state', 'init', ...NEW, 'DIR', '--json'],
  'state move': ['state', 'move', 'MASTER', '--to', 'default', '--state-dir', 'DIR'],
  'state forget': ['state', 'forget', 'MASTER', '--state-dir', 'DIR'],
  'state retire': ['state', 'retire', '--state-dir', 'DIR'],
  'state adopt': ['state', 'adopt', '--state-dir', 'DIR', '--force'],
  systemd: ['systemd'],
  'systemd print': ['systemd', 'print'],
  completion: ['completion', 'bash'],
};

test('every command has a run here, or a test elsewhere starts it', () => {
  const names = allOf(treeOf(program(pipe().terminal))).map(({ path }) => path.join(' '));
  const known = [...Object.keys(RUNS), ...Object.keys(STARTED_ELSEWHERE)];
  expect(known.sort()).toEqual(names.filter((name) => !name.endsWith('help')).sort());
});

describe('a command says the same in the process of a test as a program of its own', () => {
  test.for(Object.keys(RUNS).map((name) => [name]))('%s', async ([name = ''], { place, dir }) => {
    const args = (RUNS[name] ?? []).map((arg) => arg.replace('DIR', dir));
    const env = { NONCED_SOCKET: place.socket };
    // For the commands that work on a state, and so that both of the others find what a first run has changed.
    if (name.startsWith('state ')) await runInProcess(['state', 'init', ...NEW, dir]);
    await runInProcess(args, env);
    expect(shapeOf(await runInProcess(args, env))).toEqual(shapeOf(await runNonced(args, env)));
  });

  /** Without numbers: times and nonces differ from one run to the next. */
  const shapeOf = ({ code, stdout, stderr }: RunResult) => ({
    code,
    stdout: stdout.replaceAll(/-?\d+([.:-]\d+)*( (ms|s|min|h)\b)?/g, 'N'),
    stderr: stderr.replaceAll(/\d+([.:-]\d+)*/g, 'N'),
  });
});

describe('also what is wrong is said to the letter', () => {
  test.for([
    ['no command', []],
    ['the help of a command', ['advance', '--help']],
    ['the help of a command of a group', ['help', 'state', 'init']],
    ['a command that there is not', ['pusae']],
    ['an option that there is not', ['status', '--jsno']],
    ['a value that is refused', ['nonce', '--count', '0']],
    ['options that exclude each other', ['advance', '--to', '1', '--by', '1s']],
    ['a warning', ['pause', 'NEVER-SEEN']],
    ['a refusal', ['nonce', '--account', 'NEVER-SEEN']],
    ['an old name', ['inspect', '--state-dir', '/nowhere']],
    ['an option that is gone', ['status', '--watch']],
    ['a socket that there is not', ['status', '--socket', '/nowhere/nonced.sock']],
  ] satisfies [string, string[]][])('%s', async ([_what, args], { place }) => {
    const env = { NONCED_SOCKET: place.socket };
    await runInProcess(args, env);
    expect(await runInProcess(args, env)).toEqual(await runNonced(args, env));
  });
});

test('the commands to type name the socket only if the reader has to name it', async ({ place }) => {
  const next = /next: .*$/m;
  for (const [args, env] of [
    [['status'], { NONCED_SOCKET: place.socket }],
    [['status', '--socket', place.socket], {}],
  ] as const) {
    const [here, there] = [await runInProcess(args, env), await runNonced(args, env)];
    expect(next.exec(here.stdout)?.[0]).toContain('nonced ');
    expect(next.exec(here.stdout)?.[0]).toBe(next.exec(there.stdout)?.[0]);
  }
});
