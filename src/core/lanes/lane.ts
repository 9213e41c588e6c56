import type { Priority } from '../../terms.ts';
import { PRIORITIES } from '../../terms.ts';
import { type Deadline, DeadlineQueue } from './deadline-queue.ts';

/** A waiter of this age counts as aged: now and then one is granted ahead of its priority. */
export const AGED_MS = 5_000;
/** At most one grant of so many goes to an aged waiter ahead of its priority. */
export const AGED_SHARE = 8;
/** An urgent waiter ends a background lease that has been held for longer. */
export const PREEMPT_AFTER_MS = 3_000;

/** What a lane must know of a waiter; `previous`, `next` and `queue` belong to the lane. */
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

/** What a lane must know of a lease. */
export interface Held {
  readonly priority: Priority;
  readonly grantedAtMs: number;
}

/**
 * Those of one account and priority who wait in a lane, first come, first served: adding, taking the first and removing
 * any one cost the same whatever the length. It takes part in its lane's turns by its first waiter's arrival, or is
 * parked until something outside the lane lets that one pass; and then keeps its place.
 */
export class AccountQueue<W> implements Deadline {
  readonly kind = 'parked';
  first: W;
  last: W;
  parked = false;
  /** Among the lane's turns the first one's arrival; while parked, when it is to be looked at again. */
  dueMs = 0;
  heapIndex = -1;

  constructor(only: W) {
    this.first = only;
    this.last = only;
  }
}

/** Where parked queues wait for their time. */
export interface Timetable<W> {
  reschedule(queue: AccountQueue<W>, dueMs: number): void;
  remove(queue: AccountQueue<W>): void;
}

/** The waiters of one priority. */
class Turns<W> {
  readonly ready = new DeadlineQueue<AccountQueue<W>>();
  readonly queues = new Map<object, AccountQueue<W>>();
}

/**
 * What is exclusive: at most one lease, but for a moment after a switch of the policy, and those who wait for it.
 * It decides who is next and grants nothing itself.
 */
export class Lane<W extends Queued<W>, L extends Held> implements Deadline {
  readonly kind = 'lane';
  readonly name: string;
  /** False under the policy `off`: everybody is granted at once, and waits at most for a ceiling or his pace. */
  readonly exclusive: boolean;
  readonly leases = new Set<L>();
  /** When a background lease may be preempted: the broker's deadline for this lane. */
  dueMs = 0;
  heapIndex = -1;
  readonly #timetable: Timetable<W>;
  readonly #turns: Readonly<Record<Priority, Turns<W>>> = {
    urgent: new Turns(),
    normal: new Turns(),
    background: new Turns(),
  };
  #waiting = 0;
  #passedOver = 0;

  constructor(name: string, exclusive: boolean, timetable: Timetable<W>) {
    this.name = name;
    this.exclusive = exclusive;
    this.#timetable = timetable;
  }

  /** I4: a grant may be made only here. */
  get isFree(): boolean {
    return !this.exclusive || this.leases.size === 0;
  }

  get waiting(): number {
    return this.#waiting;
  }

  /** Who has waited longest, parked or not, whatever its priority. Looks at every queue. */
  get oldest(): W | undefined {
    let oldest: W | undefined;
    for (const first of this.#firsts()) if (oldest === undefined || first.arrival < oldest.arrival) oldest = first;
    return oldest;
  }

  /** The first to come of each account and priority, the longest waiter first. Looks at every queue. */
  heads(): W[] {
    return [...this.#firsts()].sort((a, b) => a.arrival - b.arrival);
  }

  /** All who wait, in no particular order. They may be removed meanwhile. */
  *waiters(): Iterable<W> {
    for (const { queues } of Object.values(this.#turns)) {
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

  /** Adds a waiter, who must have come after all who wait already. */
  enqueue(waiter: W): void {
    const { ready, queues } = this.#turns[waiter.priority];
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

  /** Takes a waiter out of its queue; harmless when it is in none. */
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
   * Takes the chosen waiter's queue out of the turns until `untilMs` on the monotonic clock, or until `unpark` where that
   * is infinite. Others pass it over meanwhile; nobody of its own account and priority does.
   */
  park(waiter: W, untilMs: number): void {
    const { queue } = waiter;
    if (queue === undefined || queue.parked) return;
    this.#turns[waiter.priority].ready.remove(queue);
    queue.parked = true;
    if (untilMs < Number.POSITIVE_INFINITY) this.#timetable.reschedule(queue, untilMs);
  }

  /** The queue takes part in the turns again, in its old place. */
  unpark(queue: AccountQueue<W>): void {
    if (!queue.parked) return;
    this.#timetable.remove(queue);
    queue.parked = false;
    this.#turns[queue.first.priority].ready.reschedule(queue, queue.first.arrival);
  }

  /** Empties the lane and answers who waited in it. */
  drain(): W[] {
    const waiters = [...this.waiters()];
    for (const waiter of waiters) this.remove(waiter);
    return waiters;
  }

  /**
   * I6: who is granted next. By priority and then by arrival; but once seven grants have passed over an aged waiter,
   * the eighth is for the one that has waited longest. A hang alone makes nobody go ahead of an urgent waiter.
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

  /** Tells that `waiter`, as chosen, is being granted: it leaves the queue, and the share of the aged is counted. */
  granted(waiter: W, nowMs: number): void {
    const oldest = this.#oldestReady();
    this.remove(waiter);
    // Nobody is aged: the count begins anew, so that a cancel after a hang is not the eighth.
    if (oldest === undefined || nowMs - oldest.sinceMs <= AGED_MS) this.#passedOver = 0;
    else if (oldest !== waiter) this.#passedOver += 1;
    else if (this.#passedOver >= AGED_SHARE - 1) this.#passedOver = 0;
  }

  /** When an urgent waiter may end a background lease of this lane; undefined where there is nothing to end. */
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
    for (const { queues } of Object.values(this.#turns)) for (const { first } of queues.values()) yield first;
  }

  #firstOf(priority: Priority): W | undefined {
    return this.#turns[priority].ready.peek()?.first;
  }

  #oldestReady(): W | undefined {
    let oldest: W | undefined;
    for (const priority of PRIORITIES) {
      const first = this.#firstOf(priority);
      if (first !== undefined && (oldest === undefined || first.arrival < oldest.arrival)) oldest = first;
    }
    return oldest;
  }

  /** Another waiter is the first of its queue: what its predecessor was parked for may not hold for it. */
  #lead(queue: AccountQueue<W>, first: W): void {
    queue.first = first;
    if (queue.parked) this.unpark(queue);
    else this.#turns[first.priority].ready.reschedule(queue, first.arrival);
  }

  #forget(queue: AccountQueue<W>, { account, priority }: W): void {
    const { ready, queues } = this.#turns[priority];
    if (queue.parked) this.#timetable.remove(queue);
    else ready.remove(queue);
    queue.parked = false;
    queues.delete(account);
  }
}
