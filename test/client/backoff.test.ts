import { expect, test } from 'vitest';
import { Backoff } from '../../src/client/backoff.ts';

test('rests double from 5 ms to a second', () => {
  const backoff = new Backoff(() => 1);
  const rests = Array.from({ length: 10 }, () => backoff.next(10_000));
  expect(rests).toEqual([5, 10, 20, 40, 80, 160, 320, 640, 1000, 1000]);
});

test('half of a rest is left to chance, so that bots come back one by one', () => {
  expect(new Backoff(() => 0).next(10_000)).toBe(2.5);
  expect(new Backoff(() => 0.5).next(10_000)).toBe(3.75);
});

test('a cap shortens a rest and not the ones after it', () => {
  const backoff = new Backoff(() => 1);
  for (let i = 0; i < 7; i += 1) backoff.next(10_000);
  expect(backoff.next(250)).toBe(250);
  expect(backoff.next(10_000)).toBe(1000);
});

test('after a reset rests begin at 5 ms again', () => {
  const backoff = new Backoff(() => 1);
  backoff.next(10_000);
  backoff.next(10_000);
  backoff.reset();
  expect(backoff.next(10_000)).toBe(5);
});
