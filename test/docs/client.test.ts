import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { checkOptions } from '../../src/client/calls/options.ts';

const page = readFileSync('docs/client.md', 'utf8');

test.each([
  { method: 'connect', heading: '## Connecting' },
  { method: 'exclusive', heading: '### Options' },
] as const)('docs/client.md has a row for each option of $method, and no other', ({ method, heading }) => {
  const [section = ''] = page.split(`\n${heading}\n`).at(1)?.split(/\n##/) ?? [];
  const documented = [...section.matchAll(/^\| `(\w+)` \|/gm)].map(([, name = '']) => name);
  expect(documented.sort()).toEqual(optionsOf(method).sort());
});

/** The client names them all when it is given one that it does not know. */
function optionsOf(method: Parameters<typeof checkOptions>[0]): string[] {
  try {
    checkOptions(method, { noSuchOption: true });
  } catch (error) {
    const [, names = ''] = / takes (.*)$/.exec(String(error)) ?? [];
    return names.split(', ');
  }
  throw new Error('it took an option that there is not');
}
