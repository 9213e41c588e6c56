import type { Priority } from '../../terms.ts';
import type { Deadline } from './deadline-queue.ts';

/** What a lane must know of a waiter. `previous`, `next` and `queue` belong to the lane. */
export interface Queued<W> {
  readonly account: object;
  readonly priority: Priority;
  /** Grows with each arrival, over all lanes. */
  readonly arrival: number;
  readonly sinceMs: number;
  previous: W | undefined;
  next: W | undefined;
  queue: AccountQueue<W> | undefined;
}

/**
 * The waiters of one account and priority in a lane, first come, first served. Adding one, taking the first and removing
 * any one cost the same, whatever the length. The queue is ready, with its first waiter's arrival as its place, or parked
 * until something outside the lane lets that waiter pass. It does not lose its place by being parked.
 */
export class AccountQueue<W> implements Deadline {
  readonly kind = 'parked';
  first: W;
  last: W;
  parked = false;
  /** While it is ready, the arrival of its first waiter. While it is parked, when to look at it again. */
  dueMs = 0;
  heapIndex = -1;

  constructor(only: W) {
    this.first = only;
    this.last = only;
  }
}

/** What keeps parked queues until their time. */
export interface Timetable<W> {
  reschedule(queue: AccountQueue<W>, dueMs: number): void;
  remove(queue: AccountQueue<W>): void;
}
