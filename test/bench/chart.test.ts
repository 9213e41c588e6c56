import { SaxesParser } from 'saxes';
import { expect, test } from 'vitest';
import { chart, panelsOf } from '../../bench/chart.ts';
import type { Results } from '../../bench/results.ts';
import { cell, results } from './example.ts';

const MEASURED = results({
  cells: [
    cell({ case: 'nonce-50', peer: 'nonced', connections: 50, perSecond: 900, p99Us: 90 }),
    cell({ case: 'nonce-1', peer: 'nonced', perSecond: 300, p99Us: 30 }),
    cell({ case: 'nonce-1', peer: 'nonced', round: 2, perSecond: 500, p99Us: 30 }),
    cell({ case: 'nonce-1x64', peer: 'nonced' }),
    cell({ case: 'nonce-1', peer: 'nonced', heat: 'cold', perSecond: 1, p99Us: 1 }),
    cell({ case: 'nonce-1', peer: 'counter' }),
  ],
});

/** The attributes of all elements of this name. Throws if the document is not well-formed. */
function elements(document: string, name: string): Record<string, string>[] {
  const found: Record<string, string>[] = [];
  const parser = new SaxesParser();
  parser.on('opentag', (tag) => void (tag.name === name && found.push(tag.attributes)));
  parser.write(document).close();
  return found;
}

test('a panel has the median of each load by its number of clients, without what has many outstanding on one', () => {
  expect(panelsOf(MEASURED)).toEqual([
    [
      {
        title: 'Bare nonce: a second',
        series: [
          {
            peer: 'nonced',
            points: [
              { clients: 1, value: 400 },
              { clients: 50, value: 900 },
            ],
          },
        ],
      },
      {
        title: 'Bare nonce: p99, µs',
        series: [
          {
            peer: 'nonced',
            points: [
              { clients: 1, value: 30 },
              { clients: 50, value: 90 },
            ],
          },
        ],
      },
    ],
  ]);
});

test('the chart is well-formed and has a line for each series and a mark for each point', () => {
  const document = chart(MEASURED);
  expect(elements(document, 'path')).toHaveLength(2);
  expect(elements(document, 'circle')).toHaveLength(4);
  expect(document).toContain('the nonced');
  expect(document).not.toContain('the counter');
});

test('more a second is higher up, and more clients are further right', () => {
  const [first, second] = elements(chart(MEASURED), 'circle');
  expect(Number(second?.['cy'])).toBeLessThan(Number(first?.['cy']));
  expect(Number(second?.['cx'])).toBeGreaterThan(Number(first?.['cx']));
});

test.each<[string, Partial<Results>]>([
  ['nothing', {}],
  ['one point', { cells: [cell({ case: 'call-4', peer: 'redis', connections: 4 })] }],
  ['names that mean something in XML', { cells: [cell({ case: 'call-4', peer: 'a<b&"c"' })] }],
])('a chart of %s is well-formed and without a number that is none', (_, of) => {
  const document = chart(results(of));
  expect(elements(document, 'svg')).toHaveLength(1);
  expect(document).not.toMatch(/NaN|Infinity|undefined/);
});
