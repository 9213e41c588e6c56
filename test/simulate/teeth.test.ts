import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { BUGS } from '../../simulate/bugs.ts';
import { bite, changesOf, misfitOf } from '../../simulate/teeth.ts';

// Compiled by `npm run build:test`, which `npm test` does first.
const BUILD = fileURLToPath(new URL('../../build', import.meta.url));
const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const DOCUMENT = readFileSync(new URL('../../docs/reliability.md', import.meta.url), 'utf8');

describe('the deliberate bugs', () => {
  test.each(BUGS)('fits the program as it is: $name', (bug) => {
    for (const change of changesOf(bug)) {
      // The compiler leaves the output of a file that is gone where it was.
      expect(existsSync(`${ROOT}/src/${change.file.replace(/\.js$/, '.ts')}`), `a source of ${change.file}`).toBe(true);
      expect(misfitOf(change, readFileSync(`${BUILD}/src/${change.file}`, 'utf8'))).toBeUndefined();
    }
  });

  test('have names of their own, and each is in the table of what was found', () => {
    expect(new Set(BUGS.map(({ name }) => name)).size).toBe(BUGS.length);
    for (const { name } of BUGS) expect(DOCUMENT).toMatch(new RegExp(`^\\| ${name} \\| \\d+ \\|`, 'm'));
  });

  test('a bug is planted, and found by what it breaks', { timeout: 120_000 }, async () => {
    const chosen = BUGS.filter(({ name }) => name === 'the directory is not synced');
    const [bitten] = await bite({ bugs: chosen, build: BUILD, root: ROOT, mostSeeds: 20 });
    expect(bitten?.found?.invariant).toBe('I1');
  });

  test('one that does not fit is refused, and does not count as one that was not found', async () => {
    const misfit = { name: 'nonsense', file: 'clock.js', from: 'there is no such text', to: '' };
    const refused = bite({ bugs: [misfit], build: BUILD, root: ROOT, mostSeeds: 1 });
    await expect(refused).rejects.toThrow('the bug "nonsense" does not fit: its text is 0 times in clock.js');
  });
});
