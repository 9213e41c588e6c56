import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { expect, test } from 'vitest';

const [, house = ''] = /## The house\n([\s\S]*?)\n## /.exec(readFileSync('docs/design.md', 'utf8')) ?? [];

/** What the tables of the house name in their first column: folders and files of src. */
const named = [...house.matchAll(/^\| (`[^|]+) \|/gm)].flatMap(([, cell = '']) =>
  [...cell.matchAll(/`([^`]+)`/g)].map(([, name = '']) => name),
);

test('the house of docs/design.md has every room of src, and no room that is not there', () => {
  const layers = directoriesIn('src');
  const rooms = layers.flatMap((layer) => directoriesIn(`src/${layer}`).map((room) => `${layer}/${room}`));
  expect(rooms.length).toBeGreaterThan(20);
  expect([...layers, ...rooms].filter((room) => !named.includes(room))).toEqual([]);
  expect(named.filter((name) => !existsSync(`src/${name}`))).toEqual([]);
});

test('it has every file that all layers may import', () => {
  const shared = readdirSync('src').filter((name) => name.endsWith('.ts'));
  expect(shared.filter((name) => !named.includes(name))).toEqual([]);
});

function directoriesIn(path: string): string[] {
  return readdirSync(path, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => name);
}
