import type { Priority } from '../../terms.ts';
import { PRIORITIES } from '../../terms.ts';
import { AccountQueue, type Queued, type Timetable } from './account-queue.ts';
import { type Deadline, DeadlineQueue } from './deadline-queue.ts';

/** A waiter that has waited longer counts as aged: now and then one is granted ahead of its priority. */
export const AGED_MS = 5_000;
/** At most one grant in this many goes to an aged waiter ahead of its priority. */
export const AGED_SHARE = 8;
/** An urgent waiter ends a background lease that has been held for this long. */
export const PREEMPT_AFTER_MS = 3_000;

/** What a lane must know of a lease. */
export interface Held {
  readonly priority: Priority;
  readonly grantedAtMs: number;
}

/** The waiters of one priority. */
class Rank<W> {
  /** The queues that are not parked, by arrival. */
  readonly ready = new DeadlineQueue<AccountQueue<W>>();
  readonly queues = new Map<object, AccountQueue<W>>();
}

/**
 * What is exclusive: at most one lease (for a while after a switch of the policy, several), and the waiters for it. It
 * decides which waiter is next, and grants nothing itself.
 */
export class Lane<W extends Queued<W>, L extends Held> implements Deadline {
  readonly kind = 'lane';
  readonly name: string;
  /** False under the policy `off`: a waiter is granted at once, unless it must wait for a ceiling or its pace. */
  readonly exclusive: boolean;
  readonly leases = new Set<L>();
  /** When a background lease may be preempted. This is the broker's deadline for the lane. */
  dueMs = 0;
  heapIndex = -1;
  readonly #timetable: Timetable<W>;
  readonly #ranks = ranks<W>();
  #waiting = 0;
  #passedOver = 0;

  constructor(name: string, exclusive: boolean, timetable: Timetable<W>) {
    this.name = name;
    this.exclusive = exclusive;
    this.#timetable = timetable;
  }

  /** I4: a grant may be made only while the lane is free. */
  get isFree(): boolean {
    return !this.exclusive || this.leases.size === 0;
  }

  get waiting(): number {
    return this.#waiting;
  }

  /** The waiter that has waited longest, parked or not, whatever its priority. Looks at every queue. */
  get oldest(): W | undefined {
    let oldest: W | undefined;
    for (const first of this.#firsts()) if (oldest === undefined || first.arrival < oldest.arrival) oldest = first;
    return oldest;
  }

  /** Returns the first waiter of each account and priority, in the order of their arrival. Looks at every queue. */
  heads(): W[] {
    return [...this.#firsts()].sort((a, b) => a.arrival - b.arrival);
  }

  /** All waiters, in no particular order. They may be removed meanwhile. */
  *waiters(): Iterable<W> {
    for (const { queues } of Object.values(this.#ranks)) {
      for (const queue of [...queues.values()]) {
        let waiter: W | undefined = queue.first;
        while (waiter !== undefined) {
          const { next }: W = waiter;
          yield waiter;
          waiter = next;
        }
      }
    }
  }

  /** Adds a waiter, which must have come after all that wait already. */
  enqueue(waiter: W): void {
    const { ready, queues } = this.#ranks[waiter.priority];
    const queue = queues.get(waiter.account);
    this.#waiting += 1;
    waiter.next = undefined;
    if (queue === undefined) {
      const added = new AccountQueue(waiter);
      waiter.queue = added;
      waiter.previous = undefined;
      queues.set(waiter.account, added);
      ready.reschedule(added, waiter.arrival);
      return;
    }
    waiter.queue = queue;
    waiter.previous = queue.last;
    queue.last.next = waiter;
    queue.last = waiter;
  }

  /** Whether the waiter has neither been granted nor removed. */
  has(waiter: W): boolean {
    return waiter.queue !== undefined;
  }

  /** Removes a waiter. Harmless if it is in no queue. */
  remove(waiter: W): void {
    const { queue, previous, next } = waiter;
    if (queue === undefined) return;
    this.#waiting -= 1;
    waiter.queue = undefined;
    waiter.previous = undefined;
    waiter.next = undefined;
    if (next !== undefined) next.previous = previous;
    else if (previous !== undefined) queue.last = previous;
    if (previous !== undefined) previous.next = next;
    else if (next !== undefined) this.#lead(queue, next);
    else this.#forget(queue, waiter);
  }

  /**
   * Parks the chosen waiter's queue until `untilMs` on the monotonic clock, or until `unpark` if that is infinite. Other
   * queues pass it meanwhile. Waiters of its own account and priority do not.
   */
  park(waiter: W, untilMs: number): void {
    const { queue } = waiter;
    if (queue === undefined || queue.parked) return;
    this.#ranks[waiter.priority].ready.remove(queue);
    queue.parked = true;
    if (untilMs < Number.POSITIVE_INFINITY) this.#timetable.reschedule(queue, untilMs);
  }

  /** Makes the queue ready again, in its old place. */
  unpark(queue: AccountQueue<W>): void {
    if (!queue.parked) return;
    this.#timetable.remove(queue);
    queue.parked = false;
    this.#ranks[queue.first.priority].ready.reschedule(queue, queue.first.arrival);
  }

  /** Makes the parked queues of an account ready again. */
  unparkAll(account: object): void {
    for (const { queues } of Object.values(this.#ranks)) {
      const queue = queues.get(account);
      if (queue !== undefined) this.unpark(queue);
    }
  }

  /** Removes all waiters and returns them. */
  drain(): W[] {
    const waiters = [...this.waiters()];
    for (const waiter of waiters) this.remove(waiter);
    return waiters;
  }

  /**
   * I6: returns the waiter to grant next, by priority and then by arrival. Once seven grants have passed over an aged
   * waiter, the eighth is for the one that has waited longest. A hang alone puts no waiter ahead of an urgent one.
   */
  choose(nowMs: number): W | undefined {
    const byPriority = this.#mostUrgent();
    if (byPriority === undefined) return undefined;
    const oldest = this.#oldestReady();
    if (oldest === undefined || oldest === byPriority || nowMs - oldest.sinceMs <= AGED_MS) return byPriority;
    return this.#passedOver >= AGED_SHARE - 1 ? oldest : byPriority;
  }

  /** The first urgent waiter that is not parked. */
  get urgent(): W | undefined {
    return this.#firstOf('urgent');
  }

  #mostUrgent(): W | undefined {
    for (const priority of PRIORITIES) {
      const first = this.#firstOf(priority);
      if (first !== undefined) return first;
    }
    return undefined;
  }

  /** Removes `waiter`, which was chosen and is being granted, and counts the share of the aged. */
  granted(waiter: W, nowMs: number): void {
    const oldest = this.#oldestReady();
    this.remove(waiter);
    // No waiter is aged: the count starts again, so that an urgent cancel after a hang does not become the eighth.
    if (oldest === undefined || nowMs - oldest.sinceMs <= AGED_MS) this.#passedOver = 0;
    else if (oldest !== waiter) this.#passedOver += 1;
    else if (this.#passedOver >= AGED_SHARE - 1) this.#passedOver = 0;
  }

  /** Returns when an urgent waiter may end the background leases of this lane, if there is anything to end. */
  preemptionDueMs(): number | undefined {
    if (!this.exclusive || this.urgent === undefined) return undefined;
    let dueMs: number | undefined;
    for (const lease of this.leases) {
      if (lease.priority !== 'background') return undefined;
      const at = lease.grantedAtMs + PREEMPT_AFTER_MS;
      if (dueMs === undefined || at > dueMs) dueMs = at;
    }
    return dueMs;
  }

  *#firsts(): Iterable<W> {
    for (const { queues } of Object.values(this.#ranks)) for (const { first } of queues.values()) yield first;
  }

  #firstOf(priority: Priority): W | undefined {
    return this.#ranks[priority].ready.peek()?.first;
  }

  #oldestReady(): W | undefined {
    let oldest: W | undefined;
    for (const priority of PRIORITIES) {
      const first = this.#firstOf(priority);
      if (first !== undefined && (oldest === undefined || first.arrival < oldest.arrival)) oldest = first;
    }
    return oldest;
  }

  /** Makes another waiter the first of its queue. What the one before was parked for may not hold for it. */
  #lead(queue: AccountQueue<W>, first: W): void {
    queue.first = first;
    if (queue.parked) this.unpark(queue);
    else this.#ranks[first.priority].ready.reschedule(queue, first.arrival);
  }

  #forget(queue: AccountQueue<W>, { account, priority }: W): void {
    const { ready, queues } = this.#ranks[priority];
    if (queue.parked) this.#timetable.remove(queue);
    else ready.remove(queue);
    queue.parked = false;
    queues.delete(account);
  }
}

function ranks<W>(): Readonly<Record<Priority, Rank<W>>> {
  return Object.fromEntries(PRIORITIES.map((priority) => [priority, new Rank<W>()])) as Record<Priority, Rank<W>>;
}
