import { readdirSync } from 'node:fs';
import { resolve } from 'node:path';
import { describe, expect, test } from 'vitest';
import { pythonSkipped } from '../fixtures/python.ts';
import { run } from '../fixtures/shell.ts';

const TESTS = resolve('clients/python/tests');

/** Each starts daemons and an exchange of its own. */
const modules = readdirSync(TESTS)
  .filter((name) => /^test_.*\.py$/.test(name))
  .map((name) => name.replace(/\.py$/, ''));

describe.skipIf(pythonSkipped !== '')(`the client for Python${pythonSkipped}`, () => {
  test('there are tests', () => {
    expect(modules.length).toBeGreaterThan(3);
  });

  test.each(modules)('%s', { timeout: 240_000 }, async (name) => {
    // -B: Python writes no compiled files into the tree.
    const result = await run('python3', ['-B', '-m', 'unittest', name], {
      PYTHONPATH: TESTS,
      NODE: process.execPath,
    });
    // What failed, rather than that something did.
    if (result.code !== 0) throw new Error(result.stderr);
    expect(result.stderr).toMatch(/Ran [1-9]\d* tests? in [\s\S]*OK/);
  });
});
