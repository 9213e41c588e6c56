import { expect, test } from 'vitest';
import { programName } from '../../../src/client/connection/host.ts';

test.each([
  [['/usr/bin/node', '/opt/bots/grid.js'], 'grid.js'],
  [['/usr/bin/node', '/opt/bots/grid/main.js'], 'grid/main.js'],
  [['/usr/bin/node', '/opt/bots/grid/index.mjs'], 'grid/index.mjs'],
  // node -e, and a program that embeds Node.
  [['/usr/bin/node'], 'node'],
  [[], 'node'],
  [['/usr/bin/node', '/opt/b\u00f6t\n.js'], 'b?t?.js'],
])('a bot that was started as %j is called %s', (argv, name) => {
  expect(programName(argv)).toBe(name);
});

test('a long name is cut to what the daemon takes', () => {
  expect(programName(['node', `/opt/${'a'.repeat(80)}`])).toBe('a'.repeat(64));
});
