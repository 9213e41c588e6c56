/** The calls for searching: by row and track, and there by time. Times are in milliseconds after the beginning. */
class Calls {
  readonly columns: PageData['calls'];
  readonly count: number;
  readonly kinds: readonly string[];
  readonly beginMs: Float64Array;
  readonly heldFromMs: Float64Array;
  /** The tracks of each row, and the calls of each track by the beginning of their waits. */
  readonly tracks: readonly (readonly Track[])[];

  constructor({ calls, rows, kinds }: PageData) {
    this.columns = calls;
    this.count = calls.row.length;
    this.kinds = kinds;
    this.beginMs = new Float64Array(this.count);
    this.heldFromMs = new Float64Array(this.count);
    const tracks = rows.map((row) => Array.from({ length: row.tracks }, () => new Track()));
    for (let index = 0; index < this.count; index += 1) {
      const heldFrom = at(calls.end, index) - at(calls.held, index);
      this.heldFromMs[index] = heldFrom;
      this.beginMs[index] = heldFrom - at(calls.waited, index);
      tracks[at(calls.row, index)]?.[at(calls.track, index)]?.add(index, at(calls.end, index));
    }
    this.tracks = tracks;
  }

  /** Returns the worst call of a track that was under way in a stretch of time; of several, the shortest. */
  worstIn(track: Track, fromMs: number, toMs: number, hidden: ReadonlySet<number>): number | undefined {
    let worst: number | undefined;
    track.within(fromMs, toMs, this.beginMs, (index) => {
      if (hidden.has(at(this.columns.kind, index)) || at(this.columns.end, index) < fromMs) return;
      if (worst === undefined || this.#rank(index) > this.#rank(worst)) worst = index;
    });
    return worst;
  }

  #rank(index: number): number {
    return at(this.columns.kind, index) - at(this.columns.held, index) / 1e12;
  }
}

/** Calls in one line. They overlap only if too many were under way at once. */
class Track {
  readonly indices: number[] = [];
  /** When all up to each index had ended. It only grows, so it can be searched. */
  readonly #endedByMs: number[] = [];

  add(index: number, endMs: number): void {
    this.indices.push(index);
    this.#endedByMs.push(Math.max(endMs, this.#endedByMs.at(-1) ?? Number.NEGATIVE_INFINITY));
  }

  /** Visits, in order, the calls that may reach into a stretch of time. */
  within(fromMs: number, toMs: number, beginMs: Float64Array, visit: (index: number) => void): void {
    let low = 0;
    let high = this.indices.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (at(this.#endedByMs, middle) < fromMs) low = middle + 1;
      else high = middle;
    }
    for (let place = low; place < this.indices.length; place += 1) {
      const index = at(this.indices, place);
      if ((beginMs[index] ?? 0) > toMs) return;
      visit(index);
    }
  }
}

/** Returns an element that is known to be there. */
function at(numbers: readonly number[], index: number): number {
  return numbers[index] ?? 0;
}
