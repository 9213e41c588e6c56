import type { Deadline } from './deadline-queue.ts';
import type { Priority } from './ports.ts';

/** A waiter of this age counts as aged: now and then one is granted ahead of its priority. */
export const AGED_MS = 5_000;
/** At most one grant of so many goes to an aged waiter ahead of its priority. */
export const AGED_SHARE = 8;
/** An urgent waiter ends a background lease that has been held for longer. */
export const PREEMPT_AFTER_MS = 3_000;

const BY_URGENCY: readonly Priority[] = ['urgent', 'normal', 'background'];

/** What a lane must know of a waiter; `previous`, `next` and `queue` belong to the lane. */
export interface Queued<W> {
  readonly priority: Priority;
  /** Grows with each arrival, over all lanes. */
  readonly arrival: number;
  readonly sinceMs: number;
  previous: W | undefined;
  next: W | undefined;
  queue: WaiterQueue<W> | undefined;
}

/** What a lane must know of a lease. */
export interface Held {
  readonly priority: Priority;
  readonly grantedAtMs: number;
}

/** First come, first served; adding, taking the first and removing any one cost the same whatever the length. */
class WaiterQueue<W> {
  first: W | undefined;
  last: W | undefined;
  length = 0;
}

/**
 * What is exclusive: at most one lease, but for a moment after a switch of the policy, and those who wait for it.
 * It decides who is next and grants nothing itself.
 */
export class Lane<W extends Queued<W>, L extends Held> implements Deadline {
  readonly kind = 'lane';
  readonly name: string;
  /** False under the policy `off`: everybody is granted at once, and waits at most for a ceiling. */
  readonly exclusive: boolean;
  readonly leases = new Set<L>();
  /** When a background lease may be preempted: the broker's deadline for this lane. */
  dueMs = 0;
  heapIndex = -1;
  readonly #queues: Readonly<Record<Priority, WaiterQueue<W>>> = {
    urgent: new WaiterQueue(),
    normal: new WaiterQueue(),
    background: new WaiterQueue(),
  };
  #passedOver = 0;

  constructor(name: string, exclusive: boolean) {
    this.name = name;
    this.exclusive = exclusive;
  }

  /** I4: a grant may be made only here. */
  get isFree(): boolean {
    return !this.exclusive || this.leases.size === 0;
  }

  get waiting(): number {
    const { urgent, normal, background } = this.#queues;
    return urgent.length + normal.length + background.length;
  }

  get hasUrgentWaiter(): boolean {
    return this.#queues.urgent.length > 0;
  }

  /** Who has waited longest, whatever its priority. */
  get oldest(): W | undefined {
    let oldest: W | undefined;
    for (const priority of BY_URGENCY) {
      const { first } = this.#queues[priority];
      if (first !== undefined && (oldest === undefined || first.arrival < oldest.arrival)) oldest = first;
    }
    return oldest;
  }

  /** All who wait, in no particular order. */
  *waiters(): Iterable<W> {
    for (const priority of BY_URGENCY) {
      for (let waiter = this.#queues[priority].first; waiter !== undefined; waiter = waiter.next) yield waiter;
    }
  }

  enqueue(waiter: W): void {
    const queue = this.#queues[waiter.priority];
    waiter.queue = queue;
    waiter.previous = queue.last;
    waiter.next = undefined;
    if (queue.last === undefined) queue.first = waiter;
    else queue.last.next = waiter;
    queue.last = waiter;
    queue.length += 1;
  }

  /** Takes a waiter out of its queue; harmless when it is in none. */
  remove(waiter: W): void {
    const { queue } = waiter;
    if (queue === undefined) return;
    if (waiter.previous === undefined) queue.first = waiter.next;
    else waiter.previous.next = waiter.next;
    if (waiter.next === undefined) queue.last = waiter.previous;
    else waiter.next.previous = waiter.previous;
    queue.length -= 1;
    waiter.queue = undefined;
    waiter.previous = undefined;
    waiter.next = undefined;
  }

  /**
   * I6: who is granted next. By priority and then by arrival; but once seven grants have passed over an aged waiter,
   * the eighth is for the one that has waited longest. A hang alone makes nobody go ahead of an urgent waiter.
   */
  choose(nowMs: number): W | undefined {
    const { urgent, normal, background } = this.#queues;
    const byPriority = urgent.first ?? normal.first ?? background.first;
    if (byPriority === undefined) return undefined;
    const oldest = this.oldest;
    if (oldest === undefined || oldest === byPriority || nowMs - oldest.sinceMs <= AGED_MS) return byPriority;
    return this.#passedOver >= AGED_SHARE - 1 ? oldest : byPriority;
  }

  /** Tells that `waiter`, as chosen, is being granted: it leaves the queue, and the share of the aged is counted. */
  granted(waiter: W, nowMs: number): void {
    const oldest = this.oldest;
    this.remove(waiter);
    // Nobody is aged: the count begins anew, so that a cancel after a hang is not the eighth.
    if (oldest === undefined || nowMs - oldest.sinceMs <= AGED_MS) this.#passedOver = 0;
    else if (oldest !== waiter) this.#passedOver += 1;
    else if (this.#passedOver >= AGED_SHARE - 1) this.#passedOver = 0;
  }

  /** When an urgent waiter may end a background lease of this lane; undefined where there is nothing to end. */
  preemptionDueMs(): number | undefined {
    if (!this.exclusive || !this.hasUrgentWaiter) return undefined;
    let dueMs: number | undefined;
    for (const lease of this.leases) {
      if (lease.priority !== 'background') return undefined;
      const at = lease.grantedAtMs + PREEMPT_AFTER_MS;
      if (dueMs === undefined || at > dueMs) dueMs = at;
    }
    return dueMs;
  }
}
