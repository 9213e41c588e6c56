import { expect, test } from 'vitest';
import { judge } from '../../bench/aims.ts';
import { absolute, ratio } from '../../bench/comparison.ts';
import { cell, results } from './example.ts';

const ours = (round: number, perSecond: number) => cell({ case: 'call-1', peer: 'nonced', round, perSecond });
const theirs = (round: number, perSecond: number) => cell({ case: 'call-1', peer: 'redis-always', round, perSecond });
const where = (peer: string) => ({ case: 'call-1', peer });

test('a ratio is taken in each round, so that a round in which everything was slow does not count for more', () => {
  const measured = results({
    cells: [ours(1, 1_000), theirs(1, 100), ours(2, 50), theirs(2, 10), ours(3, 600), theirs(3, 100)],
  });
  const spread = ratio(measured, 'perSecond', where('nonced'), where('redis-always'));
  expect(spread).toEqual({ median: 6, least: 5, most: 10 });
});

test('a round without the other side has no ratio', () => {
  const measured = results({ cells: [ours(1, 1_000), ours(2, 1_000), theirs(2, 100)] });
  expect(ratio(measured, 'perSecond', where('nonced'), where('redis-always'))).toEqual({
    median: 10,
    least: 10,
    most: 10,
  });
  expect(ratio(measured, 'perSecond', where('nonced'), where('etcd'))).toBeUndefined();
});

test('an absolute figure is the median of the rounds', () => {
  const measured = results({ cells: [ours(1, 100), ours(2, 900), ours(3, 300)] });
  expect(absolute(measured, where('nonced'), 'perSecond')).toEqual({ median: 300, least: 100, most: 900 });
  expect(absolute(measured, where('etcd'), 'perSecond')).toBeUndefined();
});

test('the first calls of a process are not part of a comparison that does not ask for them', () => {
  const measured = results({
    cells: [ours(1, 100), cell({ case: 'call-1', peer: 'nonced', heat: 'cold', perSecond: 7 })],
  });
  expect(absolute(measured, where('nonced'), 'perSecond')?.median).toBe(100);
  expect(absolute(measured, { ...where('nonced'), heat: 'cold' }, 'perSecond')?.median).toBe(7);
});

test('an aim is judged by the median round, at its limit it is met, and without a measurement it is not judged', () => {
  const verdicts = (perSecond: number) =>
    judge(
      results({
        cells: [ours(1, perSecond), theirs(1, 100), ours(2, 1), theirs(2, 100), ours(3, 9_999), theirs(3, 1)],
      }),
    );
  expect(verdicts(1_000).map(({ aim, isMet }) => [aim.title, isMet])).toEqual([
    ['Exclusive call, 1 client: throughput, over redis-always', true],
  ]);
  expect(verdicts(999)[0]?.isMet).toBe(false);
});

test('an aim of at most so much is met below it', () => {
  const verdicts = (noncedMs: number) =>
    judge(results({ start: [{ bareMs: 40, noncedMs }] })).map(({ isMet }) => isMet);
  expect(verdicts(60)).toEqual([true]);
  expect(verdicts(61)).toEqual([false]);
});

test('the cost of a call grows as its throughput falls', () => {
  const growth = judge(
    results({
      cells: [
        cell({ case: 'waiters-10', peer: 'nonced', perSecond: 300 }),
        cell({ case: 'waiters-10000', peer: 'nonced', perSecond: 200 }),
      ],
    }),
  );
  expect(growth.map(({ measured, isMet }) => [measured.median, isMet])).toEqual([[1.5, false]]);
});
