import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Ring } from '../../../src/core/record/ring.ts';

function ringOf(capacity: number, added: number): Ring<number> {
  const ring = new Ring<number>(capacity);
  for (let n = 1; n <= added; n += 1) ring.add(n);
  return ring;
}

describe('a ring', () => {
  test('read page by page gives each that it remembers once, in order, and counts what was overwritten', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 9 }), fc.nat(40), fc.nat(45), fc.integer({ min: 1, max: 6 }), (...of) => {
        const [capacity, added, after, limit] = of;
        const ring = ringOf(capacity, added);
        const read: number[] = [];
        const first = ring.after(after, limit);
        for (let page = first; page.items.length > 0; page = ring.after(page.lastSerial, limit)) {
          expect(page.items.every(({ serial, item }) => serial === item)).toBe(true);
          read.push(...page.items.map(({ item }) => item));
        }
        const remembered = Array.from({ length: added }, (_, n) => n + 1).slice(-capacity);
        expect(read).toEqual(remembered.filter((n) => n > after));
        expect(first.missed).toBe(Math.max(0, added - capacity - after));
      }),
    );
  });

  test('without a place to read on from gives the last ones, the earliest first', () => {
    expect(
      ringOf(5, 12)
        .after(undefined, 3)
        .items.map(({ item }) => item),
    ).toEqual([10, 11, 12]);
    expect(
      ringOf(5, 2)
        .after(undefined, 3)
        .items.map(({ item }) => item),
    ).toEqual([1, 2]);
    expect(ringOf(5, 12).after(undefined, 3).lastSerial).toBe(12);
  });

  test('gives those that are wanted, and goes on after those that are not', () => {
    const even = (n: number) => n % 2 === 0;
    const page = ringOf(10, 9).after(0, 2, even);
    expect(page.items.map(({ item }) => item)).toEqual([2, 4]);
    expect(page.lastSerial).toBe(4);
    const rest = ringOf(10, 9).after(4, 9, even);
    expect(rest.items.map(({ item }) => item)).toEqual([6, 8]);
    expect(rest.lastSerial).toBe(9);
  });

  test('asked by a reader of an earlier daemon, it goes on from here', () => {
    expect(ringOf(5, 3).after(900, 10)).toEqual({ items: [], lastSerial: 3, missed: 0 });
  });
});
