import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type Deadline, DeadlineQueue } from '../../../src/core/lanes/deadline-queue.ts';
import { shareOf } from '../../fixtures/effort.ts';

const deadline = (dueMs: number): Deadline => ({ dueMs, heapIndex: -1 });

function drain(queue: DeadlineQueue<Deadline>): number[] {
  const due: number[] = [];
  for (let next = queue.peek(); next !== undefined; next = queue.peek()) {
    due.push(next.dueMs);
    queue.remove(next);
  }
  return due;
}

const operation = fc.record({ what: fc.constantFrom('add', 'remove', 'move'), at: fc.nat(50), which: fc.nat(100) });

describe('DeadlineQueue', () => {
  test('an empty queue has nothing due', () => {
    expect(new DeadlineQueue().peek()).toBeUndefined();
  });

  test('what is in no queue can be removed without harm, and twice', () => {
    const queue = new DeadlineQueue<Deadline>();
    const item = deadline(1);
    queue.remove(item);
    queue.add(item);
    queue.remove(item);
    queue.remove(item);
    expect(queue.size).toBe(0);
    expect(item.heapIndex).toBe(-1);
  });

  test('rescheduling adds what was in no queue', () => {
    const queue = new DeadlineQueue<Deadline>();
    queue.reschedule(deadline(9), 3);
    expect(queue.peek()?.dueMs).toBe(3);
  });

  test('after any additions, removals and moves, the soonest comes first', () => {
    fc.assert(
      fc.property(fc.array(operation, { maxLength: 80 }), (operations) => {
        const queue = new DeadlineQueue<Deadline>();
        const items: Deadline[] = [];
        for (const { what, at, which } of operations) {
          const item = items[which % Math.max(1, items.length)];
          if (what === 'add' || item === undefined) {
            const added = deadline(at);
            items.push(added);
            queue.add(added);
          } else if (what === 'remove') {
            items.splice(items.indexOf(item), 1);
            queue.remove(item);
            expect(item.heapIndex).toBe(-1);
          } else {
            queue.reschedule(item, at);
          }
          expect(queue.size).toBe(items.length);
          expect(queue.peek()?.dueMs).toBe(items.length === 0 ? undefined : Math.min(...items.map((i) => i.dueMs)));
        }
        expect(drain(queue)).toEqual(items.map(({ dueMs }) => dueMs).sort((a, b) => a - b));
      }),
      { numRuns: shareOf(5_000) },
    );
  });

  test('a timer for the soonest time that was announced is never late', () => {
    fc.assert(
      fc.property(fc.array(operation, { maxLength: 80 }), fc.nat(10), (operations, before) => {
        const queue = new DeadlineQueue<Deadline>();
        const items: Deadline[] = [];
        let timerMs = Infinity;
        for (const [n, { what, at, which }] of operations.entries()) {
          if (n === before) {
            queue.announceTo((dueMs) => {
              timerMs = Math.min(timerMs, dueMs);
            });
          }
          const item = items[which % Math.max(1, items.length)];
          if (what === 'add' || item === undefined) {
            const added = deadline(at);
            items.push(added);
            queue.add(added);
          } else if (what === 'move') {
            queue.reschedule(item, at);
          } else {
            // The timer fires, and is set for what is left.
            for (let due = queue.peek(); due !== undefined && due.dueMs <= timerMs; due = queue.peek()) {
              items.splice(items.indexOf(due), 1);
              queue.remove(due);
            }
            timerMs = queue.peek()?.dueMs ?? Infinity;
          }
          if (n >= before) expect(timerMs).toBeLessThanOrEqual(queue.peek()?.dueMs ?? Infinity);
        }
      }),
      { numRuns: shareOf(5_000) },
    );
  });
});
