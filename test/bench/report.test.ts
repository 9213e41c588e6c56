import { expect, test } from 'vitest';
import { circumstances, figure, tablesOf } from '../../bench/report.ts';
import { asMarkdown, asText, withMeasured } from '../../bench/tables.ts';
import { cell, results, SETTINGS } from './example.ts';

test('figures have two or three digits that count, and whole numbers all of theirs', () => {
  expect([0, 0.00123, 0.5, 1, 12.345, 99.99, 1_234.5].map(figure)).toEqual([
    '0',
    '0.0012',
    '0.50',
    '1.00',
    '12.3',
    '100.0',
    '1,235',
  ]);
});

test('a load has a row for each peer that took it, with the ratio before the absolute figures', () => {
  const [table] = tablesOf(
    results({
      cells: [
        cell({ case: 'nonce-1', peer: 'nonced', perSecond: 500, medianUs: 2_000, p99Us: 3_000 }),
        cell({ case: 'nonce-1', peer: 'redis', perSecond: 1_000, medianUs: 1_000, p99Us: 1_500 }),
        cell({ case: 'nonce-50', peer: 'echo' }),
      ],
    }),
  );
  expect(table?.title).toBe('Bare nonce, 1 connection');
  expect(table?.rows).toEqual([
    ['the nonced (durable)', '1.00 ×', '1.00 ×', '500', '2,000', '3,000'],
    ['the redis', '0.50 ×', '2.00 ×', '1,000', '1,000', '1,500'],
  ]);
});

test('the first calls of a process have a row of their own, and are compared with our first ones', () => {
  const [table] = tablesOf(
    results({
      cells: [
        cell({ case: 'nonce-1', peer: 'nonced', perSecond: 500 }),
        cell({ case: 'nonce-1', peer: 'nonced', heat: 'cold', perSecond: 50 }),
        cell({ case: 'nonce-1', peer: 'redis', perSecond: 1_000 }),
        cell({ case: 'nonce-1', peer: 'redis', heat: 'cold', perSecond: 200 }),
      ],
    }),
  );
  expect(table?.rows.map(([title, ratio]) => [title, ratio])).toEqual([
    ['the nonced (durable)', '1.00 ×'],
    ['the nonced (durable), cold', '1.00 ×'],
    ['the redis', '0.50 ×'],
    ['the redis, cold', '0.25 ×'],
  ]);
});

test('a hand-off is compared by its time', () => {
  const [table] = tablesOf(
    results({
      cells: [
        cell({ case: 'hand-off-64', peer: 'nonced', medianUs: 30, p99Us: 80 }),
        cell({ case: 'hand-off-64', peer: 'echo', medianUs: 20, p99Us: 40 }),
      ],
    }),
  );
  expect(table?.rows[1]).toEqual(['the echo', '1.50 ×', '2.00 ×', '20.0', '40.0']);
});

test('if only one side was measured there is no ratio, and no NaN', () => {
  const [table] = tablesOf(results({ cells: [cell({ case: 'call-1', peer: 'redis' })] }));
  expect(table?.rows).toEqual([['the redis', '–', '–', '100', '10.0', '20.0']]);
});

test('nothing measured, no tables', () => {
  expect(tablesOf(results())).toEqual([]);
});

test('a short run is not held to the aims', () => {
  const start = [{ bareMs: 40, noncedMs: 50 }];
  const titles = (short: boolean) =>
    tablesOf(results({ start, settings: { ...SETTINGS, short } })).map(({ title }) => title);
  expect(titles(false)).toEqual(['The daemon alone', 'Aims']);
  expect(titles(true)).toEqual(['The daemon alone']);
});

test('it says how many calls the figures are of', () => {
  expect(circumstances(results()).join()).toContain(
    '1,000 calls of each client process after 200; cold: the first 10; each part 0.5 s at most',
  );
});

test('what was left out is said with the reason, and so is state that is not on a disk', () => {
  const { machine } = results();
  const said = circumstances(
    results({
      skipped: [{ what: 'etcd', why: 'no etcd; install etcd-server' }],
      machine: { ...machine, filesystem: 'tmpfs' },
    }),
  );
  expect(said).toContain('etcd was left out: no etcd; install etcd-server');
  expect(said.join()).toContain('durable here is not');
});

test('figures of a busy machine say so themselves', () => {
  const said = (loadAverage: number) =>
    circumstances(results({ machine: { ...results().machine, loadAverage } })).join();
  expect(said(1)).not.toContain('busy');
  expect(said(1.1)).toContain('busy');
});

const TABLE = {
  title: 'A table',
  columns: ['', 'a second'],
  rows: [
    ['one', '1'],
    ['the other', '1,000'],
  ],
};

test('a table is aligned for a terminal, its figures to the right', () => {
  expect(asText(TABLE)).toBe(
    ['A table', '           a second', 'one               1', 'the other     1,000'].join('\n'),
  );
});

test('a table is a table in Markdown', () => {
  expect(asMarkdown(TABLE)).toBe(
    ['### A table', '', '|  | a second |', '| --- | --: |', '| one | 1 |', '| the other | 1,000 |'].join('\n'),
  );
});

test('in a document only what is between the marks is replaced, however often', () => {
  const first = withMeasured('before\n<!-- measured -->old<!-- /measured -->\nafter\n', 'new');
  expect(first).toBe('before\n<!-- measured -->\n\nnew\n\n<!-- /measured -->\nafter\n');
  expect(withMeasured(first, 'new')).toBe(first);
});

test('a file of its own has the tables and the marks', () => {
  expect(withMeasured(undefined, 'new')).toBe('<!-- measured -->\n\nnew\n\n<!-- /measured -->\n');
});
