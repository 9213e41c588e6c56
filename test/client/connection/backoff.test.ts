import { expect, test } from 'vitest';
import { Backoff } from '../../../src/client/connection/backoff.ts';

/** Rests for the first second, in which a daemon that was killed comes back. */
function pastTheFirstSecond(backoff: Backoff): void {
  for (let restedMs = 0; restedMs < 1_000; ) restedMs += backoff.next(10_000);
}

test('for the first second rests are short, then they double up to a second', () => {
  const backoff = new Backoff(() => 1);
  const rests = Array.from({ length: 110 }, () => backoff.next(10_000));
  expect(rests.slice(0, 101)).toEqual([5, ...Array(100).fill(10)]);
  expect(rests.slice(101)).toEqual([10, 20, 40, 80, 160, 320, 640, 1000, 1000]);
});

test('half of a rest is left to chance, so that bots come back one by one', () => {
  expect(new Backoff(() => 0).next(10_000)).toBe(2.5);
  expect(new Backoff(() => 0.5).next(10_000)).toBe(3.75);
});

test('a cap shortens a rest and not the ones after it', () => {
  const backoff = new Backoff(() => 1);
  pastTheFirstSecond(backoff);
  for (let i = 0; i < 7; i += 1) backoff.next(10_000);
  expect(backoff.next(250)).toBe(250);
  expect(backoff.next(10_000)).toBe(1000);
});

test('after a reset rests begin at 5 ms again, and are short for another second', () => {
  const backoff = new Backoff(() => 1);
  pastTheFirstSecond(backoff);
  backoff.next(10_000);
  backoff.next(10_000);
  backoff.reset();
  expect([backoff.next(10_000), backoff.next(10_000), backoff.next(10_000)]).toEqual([5, 10, 10]);
});
