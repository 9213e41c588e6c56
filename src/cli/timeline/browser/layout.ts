/** Where everything is, in CSS pixels. Rows scroll below the head; names stand to the left of the bars. */

const AXIS_PX = 26;
const MARK_PX = 17;
const MARK_TIERS = 3;
const BAND_PX = 18;
const HEAD_PX = AXIS_PX + MARK_PX * MARK_TIERS + BAND_PX;
const ROW_PADDING_PX = 7;
const SHORTEST_ROW_PX = 40;
const BAR_GAP_PX = 3;
/** Anything shorter than a pixel would be invisible. */
const NARROWEST_BAR_PX = 1.5;
const RIGHT_PX = 14;

class Layout {
  readonly rowTops: readonly number[];
  readonly rowHeights: readonly number[];
  readonly rowsPx: number;
  /** The visible size. */
  widthPx = 0;
  heightPx = 0;
  scrollPx = 0;
  readonly #rows: PageData['rows'];

  constructor(rows: PageData['rows']) {
    this.#rows = rows;
    this.rowHeights = rows.map(({ tracks }, row) =>
      Math.max(SHORTEST_ROW_PX, 2 * ROW_PADDING_PX + tracks * this.trackPx(row)),
    );
    const tops: number[] = [];
    let top = 0;
    for (const height of this.rowHeights) {
      tops.push(top);
      top += height;
    }
    this.rowTops = tops;
    this.rowsPx = top;
  }

  get namesPx(): number {
    return this.widthPx < 700 ? 104 : 184;
  }

  /** The width of the bars. */
  get plotPx(): number {
    return Math.max(1, this.widthPx - this.namesPx - RIGHT_PX);
  }

  /** The height of a track, which is less if many lie below each other. */
  trackPx(row: number): number {
    const tracks = this.#rows[row]?.tracks ?? 1;
    return tracks > 8 ? 11 : tracks > 5 ? 13 : tracks > 3 ? 16 : 20;
  }

  /** The distance from the top of the canvas. */
  rowTop(row: number): number {
    return HEAD_PX + at(this.rowTops, row) - this.scrollPx;
  }

  barTop(row: number, track: number): number {
    const tracks = this.#rows[row]?.tracks ?? 1;
    const free = at(this.rowHeights, row) - tracks * this.trackPx(row);
    return this.rowTop(row) + free / 2 + track * this.trackPx(row) + BAR_GAP_PX / 2;
  }

  barPx(row: number): number {
    return this.trackPx(row) - BAR_GAP_PX;
  }

  rowAt(y: number): number | undefined {
    if (y < HEAD_PX) return undefined;
    const found = this.rowTops.findLastIndex((_, row) => this.rowTop(row) <= y);
    return found >= 0 && y < this.rowTop(found) + at(this.rowHeights, found) ? found : undefined;
  }

  trackAt(row: number, y: number): number | undefined {
    const tracks = this.#rows[row]?.tracks ?? 1;
    const track = Math.floor((y - this.barTop(row, 0) + BAR_GAP_PX / 2) / this.trackPx(row));
    return track >= 0 && track < tracks ? track : undefined;
  }

  x(ms: number, view: View): number {
    return this.namesPx + ((ms - view.fromMs) / view.lengthMs) * this.plotPx;
  }

  ms(x: number, view: View): number {
    return view.fromMs + ((x - this.namesPx) / this.plotPx) * view.lengthMs;
  }
}
