import { chmodSync, chownSync, existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { NONCED } from '../fixtures/daemon-process.ts';
import { hasProgram, isRoot, type RunResult, run } from '../fixtures/shell.ts';

const USER = 61_021;
const AS_USER = ['setpriv', '--reuid', String(USER), '--regid', String(USER), '--clear-groups', '--'] as const;

const cannot = !isRoot
  ? 'only as root: becomes another user'
  : !hasProgram('setpriv')
    ? 'needs setpriv'
    : (await run(AS_USER[0], [...AS_USER.slice(1), process.execPath, NONCED, '--version'])).code !== 0
      ? 'other users cannot read this checkout'
      : '';

describe.skipIf(cannot !== '')(
  `a user's own daemon, in a shell and in cron${cannot && ` (skipped: ${cannot})`}`,
  () => {
    let dir: string;
    let cron: Readonly<Record<string, string>>;
    let shell: Readonly<Record<string, string>>;

    beforeAll(() => {
      dir = mkdtempSync(join(tmpdir(), 'nonced-'));
      for (const name of ['home', 'xdg', 'tmp']) {
        mkdirSync(join(dir, name));
        chownSync(join(dir, name), USER, USER);
      }
      chmodSync(dir, 0o755);
      const cleared = { STATE_DIRECTORY: '', RUNTIME_DIRECTORY: '', XDG_RUNTIME_DIR: '', XDG_STATE_HOME: '' };
      cron = { ...cleared, HOME: join(dir, 'home'), TMPDIR: join(dir, 'tmp') };
      shell = { ...cron, XDG_STATE_HOME: join(dir, 'xdg') };
    });

    afterAll(() => rmSync(dir, { recursive: true, force: true }));

    /** Runs `nonced serve` until it is ready, and stops it then. */
    function served(env: Readonly<Record<string, string>>, ...args: string[]): Promise<RunResult> {
      const script =
        'const child = require("node:child_process").spawn(process.execPath, process.argv.slice(1), { stdio: ["ignore", 1, "pipe"] });' +
        'child.stderr.on("data", (text) => { process.stderr.write(text); if (/ is ready/.test(text)) child.kill(); });' +
        'child.on("close", (code) => { process.exitCode = code; });';
      return run(AS_USER[0], [...AS_USER.slice(1), process.execPath, '-e', script, NONCED, 'serve', ...args], env);
    }

    test('a second start that looks for the state elsewhere makes no second one, and its message leads to the first', async () => {
      expect((await served(shell)).stderr).toContain('first start: made a new state');
      const refused = await served(cron);
      expect(refused.code).toBe(78);
      expect(existsSync(join(dir, 'home/.local/state/nonced/state.json'))).toBe(false);
      const stateDir = /nonced serve --state-dir (\S+?)\. /.exec(refused.stderr)?.[1] ?? '';
      expect(stateDir).toBe(join(dir, 'xdg/nonced'));
      const followed = await served(cron, '--state-dir', stateDir);
      expect(followed).toMatchObject({ code: 0, stderr: expect.not.stringContaining('first start') });
      expect((await served(shell)).code).toBe(0);
    });
  },
);
