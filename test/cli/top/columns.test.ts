import { expect, test } from 'vitest';
import { widthOf } from '../../../src/cli/terminal/width.ts';
import { type Column, tableLines } from '../../../src/cli/top/columns.ts';
import { UNICODE } from '../../../src/cli/top/glyphs.ts';

interface Fruit {
  readonly name: string;
  readonly count: number;
  readonly note: string;
}

const columns: readonly Column<Fruit>[] = [
  { title: 'NAME', cell: ({ name }) => name, rank: 0, atLeast: 4 },
  { title: 'count', cell: ({ count }) => String(count), rank: 0, align: 'right', usually: 6 },
  { title: 'note', cell: ({ note }) => note, rank: 2, atLeast: 6 },
];
const fruits: readonly Fruit[] = [
  { name: 'apple', count: 7, note: 'from the garden' },
  { name: 'りんご', count: 1_200, note: '' },
];

const table = (width: number, items = fruits) => {
  const { heading, rows } = tableLines(columns, items, width, UNICODE);
  return [heading, ...rows];
};

test('columns are as wide as their widest cell takes places, figures stand to the right, and no line ends in blanks', () => {
  expect(table(80)).toEqual(['NAME     count  note', 'apple        7  from the garden', 'りんご    1200']);
});

test('if it is too wide, the widest cells are cut first', () => {
  expect(table(24)).toEqual(['NAME     count  note', 'apple        7  from th…', 'りんご    1200']);
});

test('where cutting is not enough, the column of the highest rank is left out, never one of rank 0', () => {
  expect(table(19)).toEqual(['NAME     count', 'apple        7', 'りんご    1200']);
  expect(table(12)).toEqual(['NAME   count', 'app…       7', 'り…     1200']);
  expect(table(3)[1]).toContain('7');
});

test('no line is too wide, at any width', () => {
  for (let width = 12; width < 60; width += 1) {
    for (const line of table(width)) expect(widthOf(line), `${width}: ${line}`).toBeLessThanOrEqual(width);
  }
});

test('a column that has nothing in any row is left out; of no rows at all there is the heading', () => {
  expect(table(80, fruits.slice(1))).toEqual(['NAME     count', 'りんご    1200']);
  expect(table(80, [])).toEqual(['NAME   count  note']);
});
