/** A part of what a ring holds, and where to read on. */
export interface Page<T> {
  readonly items: readonly { readonly serial: number; readonly item: T }[];
  /** The serial number of the last item that was looked at. The next page begins after it. */
  readonly lastSerial: number;
  /** How many items came after the serial that was asked for and were overwritten before they were read. */
  readonly missed: number;
}

/** The last items that were added, each with a serial number from 1 on. Adding one overwrites the oldest. */
export class Ring<T> {
  readonly #items: (T | undefined)[];
  #added = 0;

  constructor(capacity: number) {
    this.#items = new Array<T | undefined>(capacity).fill(undefined);
  }

  get capacity(): number {
    return this.#items.length;
  }

  /** Where the next item goes. */
  get nextIndex(): number {
    return this.#added % this.#items.length;
  }

  add(item: T): void {
    this.#items[this.nextIndex] = item;
    this.#added += 1;
  }

  /** All items that are remembered, the latest first. */
  *latestFirst(): Iterable<T> {
    for (let serial = this.#added; serial > this.#oldest(); serial -= 1) {
      const item = this.#at(serial);
      if (item !== undefined) yield item;
    }
  }

  /** The items by place and not by age. */
  get places(): readonly (T | undefined)[] {
    return this.#items;
  }

  /** Returns the next `limit` items after serial number `after` that are `wanted`; without `after`, the last ones. */
  after(after: number | undefined, limit: number, wanted: (item: T) => boolean = () => true): Page<T> {
    const oldest = this.#oldest();
    const items: { serial: number; item: T }[] = [];
    if (after === undefined) {
      for (let serial = this.#added; serial > oldest && items.length < limit; serial -= 1) {
        const item = this.#at(serial);
        if (item !== undefined && wanted(item)) items.push({ serial, item });
      }
      return { items: items.reverse(), lastSerial: this.#added, missed: 0 };
    }
    let serial = Math.max(after, oldest);
    while (serial < this.#added && items.length < limit) {
      serial += 1;
      const item = this.#at(serial);
      if (item !== undefined && wanted(item)) items.push({ serial, item });
    }
    // A serial from before a restart is ahead of ours. The reader goes on from here.
    return { items, lastSerial: Math.min(serial, this.#added), missed: Math.max(0, oldest - after) };
  }

  /** Returns the serial number before the oldest item that is remembered. */
  #oldest(): number {
    return Math.max(0, this.#added - this.#items.length);
  }

  #at(serial: number): T | undefined {
    return this.#items[(serial - 1) % this.#items.length];
  }
}
