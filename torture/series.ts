import type { DrawnEntry } from './history.ts';

/** A draw, and the process that made it. */
export type Draw = DrawnEntry & { readonly who: string };

/** Consecutive numbers of one sequence. */
interface Span {
  readonly draw: Draw;
  readonly first: bigint;
  readonly last: bigint;
}

export interface Clash {
  readonly invariant: string;
  readonly what: string;
  readonly draws: readonly Draw[];
}

/** Everything that was seen of one sequence: nonces, or tokens. */
export class Series {
  readonly #name: string;
  /** In the order of their numbers. They overlap only if a number was handed out twice. */
  readonly #spans: Span[] = [];
  /** In the order of their coming, each with the highest that had come by then. */
  readonly #received: { readonly t: number; readonly highest: Span }[] = [];
  /** The nonces of grants, in the order of their tokens. */
  readonly #grants: { readonly token: bigint; readonly span: Span }[] = [];
  readonly #epochs = new Map<number, { lowest: Span; highest: Span }>();

  constructor(name: string) {
    this.#name = name;
  }

  /** The highest number that has come so far. */
  get highest(): { readonly draw: Draw; readonly last: bigint } | undefined {
    return this.#received.at(-1)?.highest;
  }

  /** Takes in a draw, in the order of their coming. Returns what is wrong with it. */
  add(draw: Draw, first: bigint, last: bigint): Clash | undefined {
    const span = { draw, first, last };
    return this.#repeated(span) ?? this.#overtaken(span) ?? this.#ofAnEarlierEpoch(span) ?? this.#outOfTurn(span);
  }

  #clash(invariant: string, what: string, ...spans: readonly Span[]): Clash {
    return { invariant, what: `${this.#name}: ${what}`, draws: spans.map(({ draw }) => draw) };
  }

  /** I2: no number is handed out twice. */
  #repeated(span: Span): Clash | undefined {
    const at = placeOf(this.#spans, (other) => other.first <= span.first);
    const [below, above] = [this.#spans[at - 1], this.#spans[at]];
    this.#spans.splice(at, 0, span);
    for (const other of [below, above]) {
      if (other === undefined || other.first > span.last || span.first > other.last) continue;
      const twice = other.first > span.first ? other.first : span.first;
      return this.#clash('I2', `${twice} was handed out twice`, other, span);
    }
    return undefined;
  }

  /** I2: a number that is asked for after another one has come is greater. */
  #overtaken(span: Span): Clash | undefined {
    const before = this.#received[placeOf(this.#received, ({ t }) => t < span.draw.asked) - 1]?.highest;
    const at = placeOf(this.#received, ({ t }) => t <= span.draw.t);
    const highest = this.#received[at - 1]?.highest;
    this.#received.splice(at, 0, {
      t: span.draw.t,
      highest: highest === undefined || highest.last < span.last ? span : highest,
    });
    if (before === undefined || before.last < span.first) return undefined;
    return this.#clash('I2', `${span.first} was asked for after ${before.last} had come`, before, span);
  }

  /** I1, I2: a daemon gives only numbers above all that its predecessors gave. */
  #ofAnEarlierEpoch(span: Span): Clash | undefined {
    const { epoch } = span.draw;
    // A grant whose answer was lost was drawn by the daemon before, and its client found it again.
    if (this.#name === 'tokens' && span.draw.askedOf !== epoch) return undefined;
    const own = this.#epochs.get(epoch);
    if (own === undefined) this.#epochs.set(epoch, { lowest: span, highest: span });
    else {
      if (span.first < own.lowest.first) own.lowest = span;
      if (span.last > own.highest.last) own.highest = span;
    }
    for (const [other, { lowest, highest }] of this.#epochs) {
      if (other < epoch && highest.last >= span.first) {
        return this.#clash(
          'I2',
          `epoch ${epoch} gave ${span.first}, epoch ${other} had given ${highest.last}`,
          highest,
          span,
        );
      }
      if (other > epoch && lowest.first <= span.last) {
        return this.#clash('I2', `epoch ${epoch} gave ${span.last}, epoch ${other} gave ${lowest.first}`, span, lowest);
      }
      // No entry is so late.
      if (other < epoch - 50) this.#epochs.delete(other);
    }
    return undefined;
  }

  /** I3: nonces of grants are in the order of the grants. */
  #outOfTurn(span: Span): Clash | undefined {
    const { kind, token, askedOf, epoch } = span.draw;
    // A grant that was found again after a restart drew its nonce only then.
    if (kind !== 'grant' || token === undefined || askedOf !== epoch || this.#name === 'tokens') return undefined;
    const grant = { token: BigInt(token), span };
    const at = placeOf(this.#grants, (other) => other.token <= grant.token);
    const [before, after] = [this.#grants[at - 1], this.#grants[at]];
    this.#grants.splice(at, 0, grant);
    const [earlier, later] =
      before !== undefined && before.span.last >= span.first
        ? [before.span, span]
        : after !== undefined && after.span.first <= span.last
          ? [span, after.span]
          : [];
    if (earlier === undefined || later === undefined) return undefined;
    return this.#clash(
      'I3',
      `${later.first} of a later grant is below ${earlier.last} of an earlier one`,
      earlier,
      later,
    );
  }
}

/** Returns how many of `sorted` are before the place. It is searched from the end, where it nearly always is. */
function placeOf<T>(sorted: readonly T[], isBefore: (one: T) => boolean): number {
  let at = sorted.length;
  for (let steps = 0; at > 0; at -= 1, steps += 1) {
    const one = sorted[at - 1];
    if (one !== undefined && isBefore(one)) return at;
    if (steps > 64) return placeByHalves(sorted, at - 1, isBefore);
  }
  return 0;
}

function placeByHalves<T>(sorted: readonly T[], end: number, isBefore: (one: T) => boolean): number {
  let [low, high] = [0, end];
  while (low < high) {
    const middle = (low + high) >>> 1;
    const one = sorted[middle];
    if (one !== undefined && isBefore(one)) low = middle + 1;
    else high = middle;
  }
  return low;
}
