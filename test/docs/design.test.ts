import { readdirSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { expect, test } from 'vitest';

const [, house = ''] = /## The house\n([\s\S]*?)\n## /.exec(readFileSync('docs/design.md', 'utf8')) ?? [];

/** What the tables of the house name in their first column, row by row: folders and files of src. */
const rows = [...house.matchAll(/^\| (`[^|]+) \|.*$/gm)].map(([row, cell = '']) => ({
  named: namesIn(cell),
  last: namesIn(row.split('|').at(-2) ?? ''),
}));
const named = rows.flatMap((row) => row.named);

/** A directory without a file is not a room: git leaves it behind when the files move. */
const files = readdirSync('src', { withFileTypes: true, recursive: true })
  .filter((entry) => entry.isFile())
  .map((entry) => relative('src', join(entry.parentPath, entry.name)));

test('the house of docs/design.md has every room of src, and no room that is not there', () => {
  const folders = files.map((file) => file.split('/').slice(0, -1));
  const rooms = new Set(
    folders.flatMap(([layer, room]) => (room === undefined ? [layer] : [layer, `${layer}/${room}`])),
  );
  expect(rooms.size).toBeGreaterThan(25);
  expect([...rooms].filter((room) => room !== undefined && !named.includes(room))).toEqual([]);
  expect(named.filter((name) => !files.some((file) => `${file}/`.startsWith(`${name}/`)))).toEqual([]);
});

test('it has every file that all layers may import', () => {
  const shared = readdirSync('src').filter((name) => name.endsWith('.ts'));
  expect(shared.filter((name) => !named.includes(name))).toEqual([]);
});

test('it says who may import whom as test/layers.test.ts holds it', () => {
  const allowed = constantOf<Readonly<Record<string, readonly RegExp[]>>>('MAY_IMPORT');
  for (const [layer, patterns] of Object.entries(allowed)) {
    const others = patterns
      .map(({ source }) => source.replaceAll(/\\|^\^|\/?\$?$/g, ''))
      .filter((name) => name !== layer);
    expect(rows.find((row) => row.named[0] === layer)?.last, layer).toEqual(others);
  }
});

test('it has the rooms of a layer in the order that test/layers.test.ts holds', () => {
  const rooms = constantOf<Readonly<Record<string, readonly (readonly string[])[]>>>('ROOMS');
  for (const [layer, floors] of Object.entries(rooms)) {
    const told = rows
      .map((row) => row.named.filter((name) => name.startsWith(`${layer}/`)))
      .filter((names) => names.length > 0)
      .map((names) => names.map((name) => name.slice(layer.length + 1).replace(/\.ts$/, '')));
    expect(told, layer).toEqual(floors);
  }
});

/** A table of test/layers.test.ts, which is a test and cannot be imported by another. */
function constantOf<T>(name: string): T {
  const text = readFileSync('test/layers.test.ts', 'utf8');
  const [, value = ''] = new RegExp(`\\nconst ${name}\\b[^=]*= (\\{[\\s\\S]*?\\n\\});`).exec(text) ?? [];
  return new Function(`return ${value};`)() as T;
}

function namesIn(cell: string): string[] {
  return [...cell.matchAll(/`([^`]+)`/g)].map(([, name = '']) => name);
}
