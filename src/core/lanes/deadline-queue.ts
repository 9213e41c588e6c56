/** Something that is due at a time. `heapIndex` belongs to the queue, and is -1 outside it. */
export interface Deadline {
  dueMs: number;
  heapIndex: number;
}

/**
 * A binary heap of deadlines, soonest first. Adding and removing cost O(log n), and next to nothing in the common case
 * that deadlines are added in the order in which they fall due.
 */
export class DeadlineQueue<T extends Deadline> {
  readonly #heap: T[] = [];
  #announce: ((dueMs: number) => void) | undefined;

  get size(): number {
    return this.#heap.length;
  }

  /** Returns the soonest without removing it. */
  peek(): T | undefined {
    return this.#heap[0];
  }

  /**
   * Calls `announce` with the soonest deadline: now, and whenever an item that was added or moved is the soonest. So a
   * timer for the soonest time that was announced is never late.
   */
  announceTo(announce: (dueMs: number) => void): void {
    this.#announce = announce;
    const soonest = this.peek();
    if (soonest !== undefined) announce(soonest.dueMs);
  }

  /** Adds `item`, which must be in no queue. */
  add(item: T): void {
    this.#heap.push(item);
    this.#siftUp(item, this.#heap.length - 1);
    if (item.heapIndex === 0) this.#announce?.(item.dueMs);
  }

  /** Removes `item`. Harmless if it is not in the queue. */
  remove(item: T): void {
    const index = item.heapIndex;
    if (index < 0) return;
    item.heapIndex = -1;
    const last = this.#heap.pop();
    if (last === undefined || last === item) return;
    this.#siftUp(last, index);
    this.#siftDown(last, last.heapIndex);
  }

  /** Moves `item` to `dueMs`, or adds it if it is not in the queue. */
  reschedule(item: T, dueMs: number): void {
    item.dueMs = dueMs;
    if (item.heapIndex < 0) {
      this.add(item);
      return;
    }
    this.#siftUp(item, item.heapIndex);
    this.#siftDown(item, item.heapIndex);
    if (item.heapIndex === 0) this.#announce?.(dueMs);
  }

  #place(item: T, index: number): void {
    this.#heap[index] = item;
    item.heapIndex = index;
  }

  #siftUp(item: T, from: number): void {
    let index = from;
    while (index > 0) {
      const parent = this.#heap[(index - 1) >> 1];
      if (parent === undefined || parent.dueMs <= item.dueMs) break;
      this.#place(parent, index);
      index = (index - 1) >> 1;
    }
    this.#place(item, index);
  }

  #siftDown(item: T, from: number): void {
    let index = from;
    for (;;) {
      let child = 2 * index + 1;
      let sooner = this.#heap[child];
      const right = this.#heap[child + 1];
      if (sooner === undefined) break;
      if (right !== undefined && right.dueMs < sooner.dueMs) {
        sooner = right;
        child += 1;
      }
      if (sooner.dueMs >= item.dueMs) break;
      this.#place(sooner, index);
      index = child;
    }
    this.#place(item, index);
  }
}
