import { expect, test } from 'vitest';
import { expositionOf, type Family } from '../../../src/cli/metrics/exposition.ts';
import { parseStrictly } from './strict-parser.ts';

const gauge = (over: Partial<Family>): Family => ({
  name: 'nonced_up',
  type: 'gauge',
  help: 'Whether it is up.',
  samples: [{ labels: {}, value: 1 }],
  ...over,
});

test('a family is its HELP, its TYPE and its samples, a line each', () => {
  const samples = [
    { labels: { account: 'A', exchange: 'default' }, value: 1.5 },
    { labels: { account: 'B', exchange: 'default' }, value: -2 },
  ];
  expect(expositionOf([gauge({ samples })])).toBe(
    '# HELP nonced_up Whether it is up.\n' +
      '# TYPE nonced_up gauge\n' +
      'nonced_up{account="A",exchange="default"} 1.5\n' +
      'nonced_up{account="B",exchange="default"} -2\n',
  );
});

test('a family without samples is left out, and nothing at all is an empty text', () => {
  expect(expositionOf([gauge({ samples: [] })])).toBe('');
});

test('a backslash, a quote and a line end in a label are escaped, in a help text all but the quote', () => {
  const text = expositionOf([gauge({ help: 'a\\b\n"c"', samples: [{ labels: { x: 'a\\b\n"c"' }, value: 1 }] })]);
  expect(text).toBe('# HELP nonced_up a\\\\b\\n"c"\n# TYPE nonced_up gauge\nnonced_up{x="a\\\\b\\n\\"c\\""} 1\n');
  expect(() => parseStrictly(text)).not.toThrow();
});

test.each([
  [0, '0'],
  [1e21, '1e+21'],
  [2.5e-7, '2.5e-7'],
  [Number.POSITIVE_INFINITY, '+Inf'],
  [Number.NEGATIVE_INFINITY, '-Inf'],
  [Number.NaN, 'NaN'],
])('%d is written %s', (value, written) => {
  expect(expositionOf([gauge({ samples: [{ labels: {}, value }] })])).toContain(`\nnonced_up ${written}\n`);
});
