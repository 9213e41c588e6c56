import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { ERROR_CODES, EXIT } from '../../src/errors.ts';

const page = readFileSync('docs/errors.md', 'utf8');

test('docs/errors.md has a heading for each error code, with something below it, and no other', () => {
  const [, ...sections] = page.split(/^### (?=[A-Z_]+$)/m);
  const explained = sections.map((section) => /^([A-Z_]+)\n\n\S/.exec(section)?.[1]);
  expect(explained.sort()).toEqual([...ERROR_CODES].sort());
});

test('docs/errors.md has a row for each exit code', () => {
  for (const code of Object.values(EXIT)) expect(page).toMatch(new RegExp(`^\\| ${code} \\| \\w`, 'm'));
});
