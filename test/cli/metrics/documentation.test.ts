import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { expositionOf } from '../../../src/cli/metrics/exposition.ts';
import { familiesOf } from '../../../src/cli/metrics/families.ts';
import { accountAnswer, metricsAnswer } from '../answers.ts';
import { type ParsedFamily, parseStrictly } from './strict-parser.ts';

const accounts = [accountAnswer('A', { pace: { level: 1, max: 15 } })];
const told = parseStrictly(expositionOf(familiesOf(metricsAnswer({ accounts }), 0)));
const page = readFileSync('docs/metrics.md', 'utf8');

/** Of each row of the tables: the name, the type and the labels. */
const documented = [...page.matchAll(/^\| `(nonced_\w+)` \| (\w+) \|([^|]*)\|/gm)].map(
  ([, name, type, labels = '']) => ({
    name,
    type,
    labels: [...labels.matchAll(/`(\w+)`/g)].map(([, label]) => label),
  }),
);

test('docs/metrics.md has a row for each metric, in their order, with its type and its labels', () => {
  expect(documented).toEqual(
    [...told].map(([name, { type, labels }]: [string, ParsedFamily]) => ({ name, type, labels: [...labels] })),
  );
});

test('docs/metrics.md has the number of series of an account', () => {
  const series = [...told]
    .filter(([name]) => name.startsWith('nonced_account_'))
    .flatMap(([, { samples }]) => [...samples]);
  expect(page).toContain(`; ${series.length - 2} series each, ${series.length} for one that is paced`);
});
