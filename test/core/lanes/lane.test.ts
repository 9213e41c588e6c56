import { describe, expect, test } from 'vitest';
import type { Queued } from '../../../src/core/lanes/account-queue.ts';
import { DeadlineQueue } from '../../../src/core/lanes/deadline-queue.ts';
import { AGED_MS, AGED_SHARE, type Held, Lane, PREEMPT_AFTER_MS } from '../../../src/core/lanes/lane.ts';
import type { Priority } from '../../../src/terms.ts';

interface W extends Queued<W> {
  readonly name: string;
}

let arrivals = 0;
const ACCOUNT = {};

function waiter(name: string, priority: Priority = 'normal', sinceMs = 0): W {
  return {
    name,
    account: ACCOUNT,
    priority,
    sinceMs,
    arrival: arrivals++,
    previous: undefined,
    next: undefined,
    queue: undefined,
  };
}

const laneOf = (...waiters: W[]): Lane<W, Held> => {
  const lane = new Lane<W, Held>('default', true, new DeadlineQueue());
  for (const each of waiters) lane.enqueue(each);
  return lane;
};

/** Grants the next `count` at `nowMs` and returns their names. */
function grant(lane: Lane<W, Held>, nowMs: number, count = 1): string[] {
  const names: string[] = [];
  for (let n = 0; n < count; n += 1) {
    const chosen = lane.choose(nowMs);
    if (chosen === undefined) break;
    lane.granted(chosen, nowMs);
    names.push(chosen.name);
  }
  return names;
}

const many = (count: number, name: string, priority: Priority, sinceMs = 0): W[] =>
  Array.from({ length: count }, () => waiter(name, priority, sinceMs));

describe('Lane', () => {
  test('I6: order is by priority and then by arrival', () => {
    const lane = laneOf(
      waiter('b1', 'background'),
      waiter('n1'),
      waiter('u1', 'urgent'),
      waiter('n2'),
      waiter('u2', 'urgent'),
      waiter('b2', 'background'),
    );
    expect(grant(lane, 1, 9)).toEqual(['u1', 'u2', 'n1', 'n2', 'b1', 'b2']);
  });

  test('I6: a waiter that is removed, first, last or in the middle, is not chosen, and the others keep their order', () => {
    const [a, b, c, d, e] = ['a', 'b', 'c', 'd', 'e'].map((name) => waiter(name)) as [W, W, W, W, W];
    const lane = laneOf(a, b, c, d, e);
    for (const gone of [c, a, e, c]) lane.remove(gone);
    expect(lane.waiting).toBe(2);
    expect([...lane.waiters()].map(({ name }) => name)).toEqual(['b', 'd']);
    expect(grant(lane, 1, 9)).toEqual(['b', 'd']);
    lane.enqueue(a);
    expect(grant(lane, 1, 9)).toEqual(['a']);
  });

  test('I4: it is free without a lease only; a lane that is not exclusive is always free', () => {
    const lane = laneOf();
    expect(lane.isFree).toBe(true);
    lane.leases.add({ priority: 'normal', grantedAtMs: 0 });
    expect(lane.isFree).toBe(false);
    const off = new Lane<W, Held>('default', false, new DeadlineQueue());
    off.leases.add({ priority: 'normal', grantedAtMs: 0 });
    expect(off.isFree).toBe(true);
  });

  test('I6: after a hang that has aged every waiter, an urgent one that comes is next', () => {
    const lane = laneOf(...many(50, 'poll', 'normal'));
    lane.enqueue(waiter('cancel', 'urgent', 30_000));
    expect(grant(lane, 30_000)).toEqual(['cancel']);
  });

  test('I6: seven grants go by priority, the eighth to the waiter that has waited longest', () => {
    const lane = laneOf(waiter('poll', 'background'), ...many(20, 'urgent', 'urgent', 6_000));
    expect(grant(lane, 6_000, AGED_SHARE - 1)).toEqual(many(AGED_SHARE - 1, 'urgent', 'urgent').map((w) => w.name));
    expect(grant(lane, 6_000)).toEqual(['poll']);
  });

  test('I6: of an endless stream of urgent calls at most one grant in eight goes to an aged poll, and not fewer', () => {
    const lane = laneOf(...many(100, 'poll', 'background'), ...many(1_000, 'urgent', 'urgent', 9_000));
    const order = grant(lane, 10_000, 160);
    expect(order.filter((name) => name === 'poll')).toHaveLength(20);
    for (let at = 0; at + AGED_SHARE <= order.length; at += 1) {
      expect(order.slice(at, at + AGED_SHARE).filter((name) => name === 'poll').length).toBeLessThanOrEqual(1);
    }
  });

  test('I6: a waiter counts as aged once it has waited for more than five seconds', () => {
    const begun = laneOf(waiter('poll', 'background'), ...many(50, 'urgent', 'urgent', AGED_MS));
    expect(grant(begun, AGED_MS, 20)).not.toContain('poll');
    expect(grant(begun, AGED_MS + 1, AGED_SHARE)).toContain('poll');
  });

  test('I6: grants before any waiter was aged do not count', () => {
    const lane = laneOf(waiter('poll', 'background'), ...many(50, 'urgent', 'urgent'));
    grant(lane, 1_000, 20);
    expect(grant(lane, 6_000, AGED_SHARE - 1)).not.toContain('poll');
  });

  test('I6: what a hang has counted does not outlast it: after the next one the urgent one is next again', () => {
    const poll = waiter('poll', 'background');
    const lane = laneOf(poll, ...many(AGED_SHARE - 1, 'urgent', 'urgent', 6_000));
    grant(lane, 6_000, AGED_SHARE - 1);
    lane.remove(poll);
    lane.enqueue(waiter('fresh', 'normal', 10_000));
    expect(grant(lane, 10_000)).toEqual(['fresh']);
    lane.enqueue(waiter('poll', 'background', 20_000));
    lane.enqueue(waiter('cancel', 'urgent', 50_000));
    expect(grant(lane, 50_000)).toEqual(['cancel']);
  });

  test('I6: the share goes to the waiter that has waited longest, of any priority', () => {
    const lane = laneOf(
      waiter('first', 'normal'),
      waiter('second', 'background'),
      ...many(20, 'urgent', 'urgent', 6_000),
    );
    expect(grant(lane, 9_000, AGED_SHARE).at(-1)).toBe('first');
    expect(grant(lane, 9_000, AGED_SHARE).at(-1)).toBe('second');
  });

  test('an urgent waiter may end a background lease after three seconds', () => {
    const lane = laneOf();
    lane.leases.add({ priority: 'background', grantedAtMs: 1_000 });
    expect(lane.preemptionDueMs()).toBeUndefined();
    lane.enqueue(waiter('poll', 'background'));
    lane.enqueue(waiter('order'));
    expect(lane.preemptionDueMs()).toBeUndefined();
    const exit = waiter('exit', 'urgent');
    lane.enqueue(exit);
    expect(lane.preemptionDueMs()).toBe(1_000 + PREEMPT_AFTER_MS);
    lane.remove(exit);
    expect(lane.preemptionDueMs()).toBeUndefined();
  });

  test.each(['normal', 'urgent'] as const)('I7: a lease of priority %s is never preempted', (priority) => {
    const lane = laneOf(waiter('exit', 'urgent'));
    lane.leases.add({ priority, grantedAtMs: 0 });
    expect(lane.preemptionDueMs()).toBeUndefined();
    // Ending the other one would not free the lane.
    lane.leases.add({ priority: 'background', grantedAtMs: 0 });
    expect(lane.preemptionDueMs()).toBeUndefined();
  });

  test('if a switch has left several background leases in a lane, the youngest decides when they may end', () => {
    const lane = laneOf(waiter('exit', 'urgent'));
    lane.leases.add({ priority: 'background', grantedAtMs: 500 });
    lane.leases.add({ priority: 'background', grantedAtMs: 2_000 });
    lane.leases.add({ priority: 'background', grantedAtMs: 1_000 });
    expect(lane.preemptionDueMs()).toBe(2_000 + PREEMPT_AFTER_MS);
  });

  test('a lane that is not exclusive preempts no lease', () => {
    const lane = new Lane<W, Held>('default', false, new DeadlineQueue());
    lane.leases.add({ priority: 'background', grantedAtMs: 0 });
    lane.enqueue(waiter('exit', 'urgent'));
    expect(lane.preemptionDueMs()).toBeUndefined();
  });
});
