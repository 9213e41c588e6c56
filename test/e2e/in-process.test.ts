import { describe, expect } from 'vitest';
import { runInProcess } from '../fixtures/command-line.ts';
import { runNonced } from '../fixtures/daemon-process.ts';
import { daemonPerFile } from '../fixtures/daemon-test.ts';

// Most tests run commands in their own process. That proves something only if a user gets the same.

const test = daemonPerFile();

describe('a command that runs in the process of a test says what the program says, to the letter', () => {
  test.for([
    ['no command', []],
    ['the help', ['--help']],
    ['the help of a command', ['advance', '--help']],
    ['the help of a command of a group', ['help', 'state', 'init']],
    ['the version', ['--version']],
    ['a command that there is not', ['pusae']],
    ['an option that there is not', ['status', '--jsno']],
    ['a value that is refused', ['nonce', '--count', '0']],
    ['options that exclude each other', ['advance', '--to', '1', '--by', '1s']],
    ['a change', ['set-exclusive', 'account']],
    ['JSON', ['pause', 'MASTER', '--json']],
    ['a warning', ['pause', 'NEVER-SEEN']],
    ['a refusal', ['nonce', '--account', 'MASTER']],
    ['an old name', ['inspect', '--state-dir', '/nowhere']],
    ['an option that is gone', ['status', '--watch']],
    ['a socket that there is not', ['metrics', '--socket', '/nowhere/nonced.sock']],
  ] satisfies [string, string[]][])('%s', async ([_what, args], { place }) => {
    const env = { NONCED_SOCKET: place.socket };
    // The first run may change what the others find.
    await runInProcess(args, env);
    expect(await runInProcess(args, env)).toEqual(await runNonced(args, env));
  });

  test('the socket is named in the commands to type only if the reader has to name it', async ({ place }) => {
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
});
