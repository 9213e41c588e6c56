import { expect, test } from 'vitest';
import { check } from '../../bench/check.ts';
import { split } from '../../bench/crew.ts';
import { readOptions, UsageError } from '../../bench/options.ts';
import { readResults } from '../../bench/results.ts';
import { cell, results } from './example.ts';

const MEASURED = results({ cells: [cell({ case: 'call-4', peer: 'redis', connections: 4 })] });

test('what a run has written can be read again', () => {
  expect(readResults(JSON.stringify(MEASURED))).toEqual(MEASURED);
});

test.each([
  ['of another format', { ...MEASURED, format: 1 }],
  ['with something unknown', { ...MEASURED, more: 1 }],
  ['with a figure that is none', { ...MEASURED, cells: [{ ...MEASURED.cells[0], p99Us: Number.NaN }] }],
  ['with a peer that did nothing', { ...MEASURED, cells: [{ ...MEASURED.cells[0], operations: 0 }] }],
])('results %s are refused', (_, wrong) => {
  expect(() => readResults(JSON.stringify(wrong))).toThrow();
});

test('a run passes when every peer that took part has done something', () => {
  expect(() => check(MEASURED)).not.toThrow();
  const peers = [...MEASURED.peers, { name: 'etcd', title: 'etcd', isDurable: true }];
  expect(() => check({ ...MEASURED, peers })).toThrow('nothing was measured of etcd');
  expect(() => check(results())).toThrow('nothing was measured');
});

test('without options everything is measured, in three rounds', () => {
  const options = readOptions([]);
  expect(options).toMatchObject({ rounds: 3, calls: 10_000, isShort: false, json: undefined });
  expect(options?.works).toEqual(['nonce', 'call', 'hand-off', 'growth', 'memory', 'idle', 'start']);
  expect(options?.peers).toContain('redis-always');
});

test('works and peers may be given again and again', () => {
  expect(readOptions(['--work', 'call', '--work', 'idle', '--peer', 'etcd'])).toMatchObject({
    works: ['call', 'idle'],
    peers: ['etcd'],
  });
});

test('a short run has one round, unless more are asked for', () => {
  expect(readOptions(['--short'])).toMatchObject({ rounds: 1, calls: 100, isShort: true });
  expect(readOptions(['--short', '--rounds', '2'])).toMatchObject({ rounds: 2 });
});

test.each([
  [['--work', 'lunch'], 'give one of nonce,'],
  [['--peer', 'memcached'], 'give one of nonced,'],
  [['--rounds', '1.5'], 'give a whole number from 1'],
  [['--rounds', '0'], 'give a whole number from 1'],
  [['--calls', 'many'], 'give a whole number from 1'],
  [['--json', '/nowhere/run.json'], '"/nowhere", which does not exist'],
  [['--from', '/nowhere/run.json'], '"/nowhere/run.json", which does not exist'],
  [['--fast'], '--fast'],
])('%j is refused with what to give', (args, said) => {
  expect(() => readOptions(args)).toThrow(UsageError);
  expect(() => readOptions(args)).toThrow(said);
});

test('help is help, with any other options', () => {
  expect(readOptions(['--help', '--rounds', 'x'])).toBeUndefined();
});

test('connections are shared out evenly, and no process is without any', () => {
  expect(split(65, 2)).toEqual([
    { first: 0, count: 32 },
    { first: 32, count: 33 },
  ]);
  expect(split(1, 2)).toEqual([{ first: 0, count: 1 }]);
});
