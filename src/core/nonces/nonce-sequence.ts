import type { Unit } from '../../terms.ts';
import type { DurableSequence, Nonce } from '../ports.ts';

/** How far ahead of the clock the ceiling is put, in each unit that follows the clock: 5 s. */
const RESERVE: Readonly<Record<Unit, bigint>> = {
  ns: 5_000_000_000n,
  us: 5_000_000n,
  ms: 5_000n,
  s: 5n,
  counter: 0n,
};

/** The largest margin: how many nonces one write gives a sequence that is ahead of its clock, or has no clock. */
const MOST_MARGIN: Readonly<Record<Unit, bigint>> = { ns: 65_536n, us: 65_536n, ms: 65_536n, s: 64n, counter: 1_024n };

export type Taken =
  | { readonly kind: 'taken'; readonly nonce: Nonce }
  /** The ceiling must be raised first; nothing has changed. */
  | { readonly kind: 'needs-ceiling' }
  /** The draw would pass the sequence's `max`; nothing has changed. */
  | { readonly kind: 'exhausted' };

/** A ceiling that is being made durable. */
export interface Proposal {
  readonly ceiling: bigint;
  /** When this has been drawn, half of the reserve is gone. */
  readonly halfway: bigint;
}

const NEEDS_CEILING: Taken = { kind: 'needs-ceiling' };
const EXHAUSTED: Taken = { kind: 'exhausted' };

const max = (a: bigint, b: bigint): bigint => (a > b ? a : b);
const min = (a: bigint, b: bigint): bigint => (a < b ? a : b);

/** A strictly increasing series of nonces below a ceiling that is already durable. */
export class NonceSequence {
  readonly name: string;
  readonly unit: Unit;
  #max: bigint;
  #last: bigint;
  #ceiling: bigint;
  /** All that is handed out lies below this: the ceiling, or `max` + 1 if that is lower. */
  #end: bigint;
  #halfway: bigint;
  #issued = 0;
  #wanted = 0;
  #drawnSinceRaise = false;

  /** Begins at the durable ceiling: whatever lies below it may have been handed out before a crash (I2). */
  constructor(name: string, durable: DurableSequence) {
    this.name = name;
    this.unit = durable.unit;
    this.#max = durable.max;
    this.#ceiling = durable.ceiling;
    this.#end = min(durable.ceiling, durable.max + 1n);
    this.#last = durable.ceiling - 1n;
    this.#halfway = this.#last;
  }

  /** The highest nonce that may be handed out. */
  get max(): bigint {
    return this.#max;
  }

  get last(): bigint {
    return this.#last;
  }

  get ceiling(): bigint {
    return this.#ceiling;
  }

  /** How many nonces this process has handed out. */
  get issued(): number {
    return this.#issued;
  }

  /** Whether half of the reserve is gone, or a request waits for more. */
  get wantsRaise(): boolean {
    if (this.#ceiling > this.#max) return false;
    return this.#wanted > 0 || (this.#drawnSinceRaise && this.#last >= this.#halfway);
  }

  /** Whether a write that is made anyway should raise this sequence too. */
  get drawnSinceRaise(): boolean {
    return this.#drawnSinceRaise || this.#wanted > 0;
  }

  /**
   * Draws `count` consecutive nonces and returns the first: `floor` (the clock in the sequence's unit), or one more than
   * the last nonce if that is higher. With `sparing` (the ceiling cannot be raised at the moment) it goes without the clock
   * if that would pass the ceiling.
   */
  take(floor: bigint, count: number, sparing: boolean): Taken {
    const span = BigInt(count);
    let first = max(this.#last + 1n, floor);
    if (first + span > this.#end) {
      if (first + span - 1n > this.#max) return EXHAUSTED;
      // I1: only what lies below a durable ceiling is handed out.
      first = this.#last + 1n;
      if (!sparing || first + span > this.#end) {
        this.#wanted = Math.max(this.#wanted, count);
        return NEEDS_CEILING;
      }
    }
    this.#last = first + span - 1n;
    this.#issued += count;
    this.#drawnSinceRaise = true;
    return { kind: 'taken', nonce: first as Nonce };
  }

  /** Whether time alone has moved the place where the ceiling belongs. A start then raises it with its first write. */
  outdated(floor: bigint): boolean {
    return this.unit !== 'counter' && floor + RESERVE[this.unit] > this.#ceiling;
  }

  /**
   * Returns where to put the ceiling next. The margin grows with what this process has used, so that a crash skips at most
   * the time of a reserve and twice what was used, and a loop of crashes does not add up reserves (I10). `lifted` is the
   * lowest nonce that an operator wants to come next.
   */
  propose(floor: bigint, lifted: bigint): Proposal {
    const last = max(this.#last, lifted - 1n);
    const margin = min(MOST_MARGIN[this.unit], 2n * BigInt(this.#issued) + 1n);
    const base = max(last, floor);
    // What waiting requests need comes on top: a thousand nonces in `s` are more than the reserve.
    const target = BigInt(this.#wanted) + max(floor + RESERVE[this.unit], last + margin + 1n);
    // Never lowered (I10), never past max.
    const ceiling = max(this.#ceiling, min(target, this.#max + 1n));
    return { ceiling, halfway: base + (ceiling - base) / 2n };
  }

  /** Takes over a ceiling that has become durable. */
  adopt(proposal: Proposal): void {
    this.#ceiling = max(this.#ceiling, proposal.ceiling);
    this.#end = min(this.#ceiling, this.#max + 1n);
    this.#halfway = proposal.halfway;
    this.#wanted = 0;
    this.#drawnSinceRaise = false;
  }

  /** Makes the next nonce at least `next`. What lies between is never handed out. */
  lift(next: bigint): void {
    if (next - 1n <= this.#last) return;
    this.#last = next - 1n;
    this.#drawnSinceRaise = true;
  }

  /** Sets the highest nonce that the exchange takes, as an operator has configured it. */
  limit(highest: bigint): void {
    this.#max = highest;
    this.#end = min(this.#ceiling, highest + 1n);
  }

  durable(ceiling: bigint): DurableSequence {
    return { unit: this.unit, ceiling, max: this.#max };
  }
}
