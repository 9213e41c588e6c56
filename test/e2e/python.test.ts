import { readdirSync } from 'node:fs';
import { resolve } from 'node:path';
import { describe, expect, test } from 'vitest';
import { run, shell } from '../fixtures/shell.ts';

const TESTS = resolve('clients/python/tests');
const { code, stdout } = await shell('python3 -c "import sys; print(int(sys.version_info >= (3, 9)))" 2>/dev/null');
const reason =
  code !== 0
    ? ' (skipped: no python3; install it)'
    : stdout.trim() === '1'
      ? ''
      : ' (skipped: python3 is older than 3.9)';

/** Each starts daemons and an exchange of its own. */
const modules = readdirSync(TESTS)
  .filter((name) => /^test_.*\.py$/.test(name))
  .map((name) => name.replace(/\.py$/, ''));

describe.skipIf(reason !== '')(`the client for Python${reason}`, () => {
  test('there are tests', () => {
    expect(modules.length).toBeGreaterThan(3);
  });

  test.each(modules)('%s', { timeout: 240_000 }, async (name) => {
    // -B: the tree stays free of what Python compiles.
    const result = await run('python3', ['-B', '-m', 'unittest', name], {
      PYTHONPATH: TESTS,
      NODE: process.execPath,
    });
    // What failed, rather than that something did.
    if (result.code !== 0) throw new Error(result.stderr);
    expect(result.stderr).toMatch(/Ran [1-9]\d* tests? in [\s\S]*OK/);
  });
});
