import fc from 'fast-check';
import { expect, test } from 'vitest';
import { tableOf, tableWithin, wrapped } from '../../../src/cli/terminal/table.ts';

const ROWS = [
  ['NAME', 'label', 'last'],
  ['a', 'a label that is long', '1795365006294000000'],
  ['bb', '', '7'],
];

test('each column is as wide as its widest cell, and nothing trails', () => {
  expect(tableOf(ROWS)).toEqual([
    'NAME  label                 last',
    'a     a label that is long  1795365006294000000',
    'bb                          7',
  ]);
});

test('if there is less room the widest column is cut, but a number is not', () => {
  expect(tableOf(ROWS, 40)).toEqual([
    'NAME  label          last',
    'a     a label that…  1795365006294000000',
    'bb                   7',
  ]);
  for (const line of tableOf(ROWS, 40)) expect(line.length).toBeLessThanOrEqual(40);
  expect(tableOf(ROWS, 10).join('\n')).toContain('1795365006294000000');
});

test('columns are left out from the right before any is cut, down to the least that is asked for', () => {
  expect(tableWithin(ROWS, 27, 1)).toEqual(['NAME  label', 'a     a label that is long', 'bb']);
  expect(tableWithin(ROWS, 20, 2)).toEqual(['NAME  label', 'a     a label that …', 'bb']);
  expect(tableWithin(ROWS, 4, 1)).toEqual(['NAME', 'a', 'bb']);
  expect(tableWithin(ROWS, 200, 1)).toEqual(tableOf(ROWS));
});

test('text is broken between words, and indented as asked', () => {
  expect(wrapped('one two three four', 10, '! ', '  ')).toEqual(['! one two', '  three', '  four']);
  expect(wrapped('one two', Number.POSITIVE_INFINITY)).toEqual(['one two']);
  expect(wrapped('', 10)).toEqual(['']);
});

test('a line is too long only if a single word is, and no word is lost', () => {
  const words = fc.array(fc.string({ unit: fc.constantFrom('x', 'y'), minLength: 1, maxLength: 12 }), { minLength: 1 });
  fc.assert(
    fc.property(words, fc.integer({ min: 1, max: 30 }), (each, width) => {
      const lines = wrapped(each.join(' '), width, '- ', '  ');
      expect(lines.flatMap((line) => line.slice(2).split(' '))).toEqual(each);
      for (const line of lines) expect(line.length <= width || !line.slice(2).includes(' ')).toBe(true);
    }),
  );
});
