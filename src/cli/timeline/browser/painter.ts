/** What decides how the calls are drawn. */
interface Scene {
  readonly view: View;
  /** The kinds of calls that are left out. */
  readonly hidden: ReadonlySet<number>;
  /** The index of the call that has a frame. */
  readonly selected: number | undefined;
}

/** A mark and its place; with its label it reaches from `fromX` to `toX`. */
interface Placed {
  readonly mark: number;
  readonly x: number;
  readonly tier: number;
  readonly fromX: number;
  readonly toX: number;
  /** Undefined if there was no room for its label. */
  readonly textX: number | undefined;
}

class Painter {
  /** The marks of the last painting, where the pointer finds them. */
  placed: readonly Placed[] = [];
  readonly #ink: Ink;
  readonly #page: PageData;
  readonly #calls: Calls;
  readonly #layout: Layout;

  constructor(ink: Ink, page: PageData, calls: Calls, layout: Layout) {
    this.#ink = ink;
    this.#page = page;
    this.#calls = calls;
    this.#layout = layout;
  }

  paint(scene: Scene): void {
    const { widthPx, heightPx, namesPx, rowHeights } = this.#layout;
    this.#ink.resize(widthPx, heightPx);
    this.#ink.fill('card', 0, 0, widthPx, heightPx);
    const rows = this.#visibleRows();
    this.#ink.clipped(0, HEAD_PX, widthPx, heightPx - HEAD_PX, () => {
      for (const row of rows) {
        if (row % 2 === 1) this.#ink.fill('stripe', 0, this.#layout.rowTop(row), widthPx, at(rowHeights, row));
      }
      this.#ink.clipped(namesPx, HEAD_PX, widthPx, heightPx, () => {
        this.#paintGrid(scene.view, false);
        for (const span of this.#page.spans) this.#paintSpan(span, scene.view);
        this.#paintMarkLines(scene.view);
        for (const row of rows) this.#paintRow(row, scene);
      });
      for (const row of rows) this.#paintName(row);
    });
    this.#paintHead(scene.view);
  }

  #visibleRows(): number[] {
    const { rowHeights, heightPx } = this.#layout;
    const rows: number[] = [];
    rowHeights.forEach((height, row) => {
      const top = this.#layout.rowTop(row);
      if (top + height > HEAD_PX && top < heightPx) rows.push(row);
    });
    return rows;
  }

  #paintRow(row: number, scene: Scene): void {
    const { view, hidden } = scene;
    const { columns, beginMs } = this.#calls;
    const tracks = this.#calls.tracks[row] ?? [];
    tracks.forEach((track, number) => {
      const bad: number[] = [];
      let lastX = Number.NEGATIVE_INFINITY;
      track.within(view.fromMs, view.toMs, beginMs, (index) => {
        const kind = at(columns.kind, index);
        if (hidden.has(kind)) return;
        const endX = this.#layout.x(at(columns.end, index), view);
        if (kind >= this.#page.firstBadKind || index === scene.selected) bad.push(index);
        // With thousands of calls in a few pixels, a bar that would change nothing is not drawn.
        else if (endX - lastX >= 0.5) {
          this.#paintBar(index, row, number, scene);
          lastX = endX;
        }
      });
      // Above the others.
      bad.sort((a, b) => at(columns.kind, a) - at(columns.kind, b));
      let lastFlag = Number.NEGATIVE_INFINITY;
      let lastKind = -1;
      for (const index of bad) {
        const kind = at(columns.kind, index);
        const endX = this.#layout.x(at(columns.end, index), view);
        if (kind === lastKind && Math.abs(endX - lastFlag) < 0.5 && index !== scene.selected) continue;
        lastKind = kind;
        lastFlag = endX;
        this.#paintBar(index, row, number, scene);
      }
    });
  }

  #paintBar(index: number, row: number, track: number, { view, selected }: Scene): void {
    const { columns, kinds, heldFromMs, beginMs } = this.#calls;
    const { context } = this.#ink;
    const kind = kinds[at(columns.kind, index)] ?? 'unknown';
    const height = this.#layout.barPx(row);
    const top = this.#layout.barTop(row, track);
    // Only the visible part: a canvas cannot draw anything a million pixels long.
    const clampX = (ms: number) => Math.min(Math.max(this.#layout.x(ms, view), -50), this.#layout.widthPx + 50);
    const beginX = clampX(beginMs[index] ?? 0);
    const heldX = clampX(heldFromMs[index] ?? 0);
    const endX = clampX(at(columns.end, index));
    const colour = this.#ink.colour(`kind-${kind}`);
    if (heldX > beginX) {
      context.globalAlpha = 0.38;
      context.fillStyle = colour;
      context.fillRect(beginX, top + height * 0.3, heldX - beginX, height * 0.4);
      context.globalAlpha = 1;
    }
    if (kind === 'waiting') {
      context.setLineDash([3, 3]);
      context.strokeStyle = colour;
      context.strokeRect(beginX + 0.5, top + height * 0.3, Math.max(1, endX - beginX), height * 0.4);
      context.setLineDash([]);
    } else {
      const width = Math.max(NARROWEST_BAR_PX, endX - heldX);
      context.fillStyle = colour;
      if (width < 6) context.fillRect(heldX, top, width, height);
      else {
        this.#ink.box(heldX, top, width, height, 3);
        context.fill();
        if (kind === 'invalid-nonce') {
          context.fillStyle = this.#ink.hatch('on-bar', 0.35) ?? colour;
          context.fill();
        }
      }
      if (kind === 'held') this.#paintOpenEnd(heldX, endX, top, height);
      else if (at(columns.ending, index) > 0 && width >= 6) this.#ink.fill('ink', endX - 2, top - 1, 2.5, height + 2);
      this.#paintBarText(index, kind, heldX, width, top, height);
    }
    if (at(columns.kind, index) >= this.#page.firstBadKind && endX - heldX < 16)
      this.#paintFlag(colour, (heldX + endX) / 2, top);
    if (index !== selected) return;
    context.strokeStyle = this.#ink.colour('ink');
    context.lineWidth = 2;
    this.#ink.box(beginX - 2, top - 2, Math.max(4, endX - beginX + 4), height + 4, 4);
    context.stroke();
    context.lineWidth = 1;
  }

  /** Draws the end of a bar that goes on, as far as is known. */
  #paintOpenEnd(heldX: number, endX: number, top: number, height: number): void {
    const { context } = this.#ink;
    context.fillStyle = this.#ink.colour('kind-held');
    context.beginPath();
    context.moveTo(endX - 1, top);
    context.lineTo(endX + height / 2, top + height / 2);
    context.lineTo(endX - 1, top + height);
    context.fill();
    if (endX - heldX < 4) return;
    context.fillStyle = this.#ink.hatch('on-bar', 0.22) ?? '';
    context.fillRect(heldX, top, endX - heldX, height);
  }

  /** Draws a call that is too short to be visible but must be seen. */
  #paintFlag(colour: string, x: number, top: number): void {
    const { context } = this.#ink;
    context.fillStyle = colour;
    context.beginPath();
    context.moveTo(x - 4.5, top - 5);
    context.lineTo(x + 4.5, top - 5);
    context.lineTo(x, top + 2.5);
    context.closePath();
    context.fill();
    context.strokeStyle = this.#ink.colour('card');
    context.stroke();
  }

  #paintBarText(index: number, kind: string, x: number, width: number, top: number, height: number): void {
    if (width < 14 || height < 11) return;
    const { columns } = this.#calls;
    const { context } = this.#ink;
    const glyph = this.#page.glyphs[at(columns.kind, index)] ?? '';
    const nonce = columns.nonce[index];
    const holder = this.#page.texts[at(columns.holder, index)] ?? '';
    const first = Math.max(x, this.#layout.namesPx);
    const room = x + width - first - 8;
    context.font = MONO_FONT;
    const texts = [`${glyph} ${nonce} ${holder}`, `${glyph} ${nonce}`, `${glyph} ${holder}`, glyph];
    const text = texts
      .map((candidate) => candidate.trim())
      .filter((candidate) => nonce !== -1 || !candidate.includes('-1'))
      .find((candidate) => candidate !== '' && context.measureText(candidate).width <= room);
    if (text === undefined) return;
    context.fillStyle = this.#ink.colour(kind === 'unsettled' ? 'on-amber' : 'on-bar');
    context.fillText(text, first + 4, top + height / 2 + 0.5);
  }

  #paintName(row: number): void {
    const { namesPx } = this.#layout;
    const top = this.#layout.rowTop(row);
    const height = at(this.#layout.rowHeights, row);
    const { name = '', note = '' } = this.#page.rows[row] ?? {};
    const { context } = this.#ink;
    const middle = Math.min(top + height / 2, top + 34);
    context.fillStyle = this.#ink.colour('ink');
    context.font = BOLD_FONT;
    context.fillText(this.#ink.cut(name, namesPx - 22), 12, middle - 7);
    context.fillStyle = this.#ink.colour(note.includes('rejected') ? 'bad' : 'dim');
    context.font = SMALL_FONT;
    context.fillText(this.#ink.cut(note, namesPx - 22), 12, middle + 9);
    this.#ink.fill('line', 0, top + height - 0.5, this.#layout.widthPx, 1);
  }

  /** Draws lines at round times, or their labels. */
  #paintGrid(view: View, labels: boolean): void {
    const { context } = this.#ink;
    const step = tickStepMs(view, this.#layout.plotPx, 96);
    const { fromMs } = this.#page;
    context.font = FONT;
    context.fillStyle = this.#ink.colour(labels ? 'dim' : 'line');
    for (let ms = Math.ceil((fromMs + view.fromMs) / step) * step; ms <= fromMs + view.toMs; ms += step) {
      const x = this.#layout.x(ms - fromMs, view);
      if (labels) {
        const text = tickText(ms, step);
        const isWhole = x + context.measureText(text).width + 8 < this.#layout.widthPx;
        if (isWhole) context.fillText(text, x + 5, AXIS_PX / 2 + 1);
        context.fillRect(x, 6, 1, AXIS_PX - 10);
      } else context.fillRect(x, 0, 1, this.#layout.heightPx);
    }
  }

  /**
   * Draws a span over everything if nothing is known or no daemon ran, in a band above if it concerns all, or in its
   * row.
   */
  #paintSpan({ fromMs, toMs, kind, reach }: PageData['spans'][number], view: View): void {
    if (reach === REACH_NONE) return;
    const { context } = this.#ink;
    const x = this.#layout.x(fromMs - this.#page.fromMs, view);
    const width = Math.max(2, this.#layout.x(toMs - this.#page.fromMs, view) - x);
    const isWhole = reach === REACH_ALL && (kind === 'missing' || kind === 'down');
    const top = reach === REACH_ALL ? HEAD_PX : this.#layout.rowTop(reach);
    const height = reach === REACH_ALL ? this.#layout.heightPx : at(this.#layout.rowHeights, reach);
    const colour = `span-${kind}`;
    context.globalAlpha = isWhole || reach >= 0 ? 0.13 : 0.05;
    this.#ink.fill(colour, x, top, width, height);
    context.globalAlpha = 1;
    this.#ink.fill(colour, x, top, 1, height);
    if (reach === REACH_ALL && !isWhole) return;
    context.fillStyle = this.#ink.hatch(colour, 0.3) ?? '';
    context.fillRect(x, top, width, height);
    this.#paintSpanText(SPAN_NAMES[kind] ?? kind, x, width, top + 9);
  }

  #paintSpanText(text: string, x: number, width: number, middle: number): void {
    const { context } = this.#ink;
    const first = Math.max(x, this.#layout.namesPx);
    context.font = SMALL_FONT;
    // A letter or two would mean nothing.
    const cut = this.#ink.cut(text, x + width - first - 9);
    if (cut.length < Math.min(9, text.length)) return;
    context.fillStyle = this.#ink.colour('ink');
    context.fillText(cut, first + 5, middle);
  }

  /** Draws what concerns all rows, as bands at the lower edge of the head. */
  #paintBands(view: View): void {
    const { context } = this.#ink;
    for (const { kind, label, fromMs, toMs, reach } of this.#page.spans) {
      if (reach !== REACH_ALL || kind === 'missing' || kind === 'down') continue;
      const x = this.#layout.x(fromMs - this.#page.fromMs, view);
      const width = Math.max(3, this.#layout.x(toMs - this.#page.fromMs, view) - x);
      const top = HEAD_PX - BAND_PX;
      context.globalAlpha = 0.3;
      this.#ink.fill(`span-${kind}`, x, top, width, BAND_PX - 2);
      context.globalAlpha = 1;
      this.#paintSpanText(label, x, width, top + BAND_PX / 2 - 1);
    }
  }

  #paintMarkLines(view: View): void {
    const { context } = this.#ink;
    for (const { atMs, reach, kind, severity } of this.#page.marks) {
      if (reach === REACH_NONE) continue;
      const x = this.#layout.x(atMs - this.#page.fromMs, view);
      const top = reach >= 0 ? this.#layout.rowTop(reach) : HEAD_PX;
      const bottom = reach >= 0 ? top + at(this.#layout.rowHeights, reach) : this.#layout.heightPx;
      context.strokeStyle = this.#ink.colour(markColour(kind, severity));
      context.lineWidth = kind === 'started' ? 2 : 1;
      context.setLineDash(kind === 'started' ? [] : [4, 3]);
      context.beginPath();
      context.moveTo(Math.round(x) + 0.5, top);
      context.lineTo(Math.round(x) + 0.5, bottom);
      context.stroke();
    }
    context.setLineDash([]);
    context.lineWidth = 1;
  }

  #paintHead(view: View): void {
    const { widthPx, namesPx } = this.#layout;
    const { context } = this.#ink;
    this.#ink.fill('head', 0, 0, widthPx, HEAD_PX);
    this.#ink.fill('line', 0, HEAD_PX - 1, widthPx, 1);
    this.#ink.clipped(namesPx, 0, widthPx - namesPx, HEAD_PX, () => {
      this.#paintGrid(view, true);
      this.#paintBands(view);
      this.placed = this.#placeMarks(view);
      for (const placed of this.placed) this.#paintMark(placed);
      for (const placed of this.placed) this.#paintMarkLabel(placed);
    });
    context.fillStyle = this.#ink.colour('dim');
    context.font = SMALL_FONT;
    context.fillText('UTC', 12, AXIS_PX / 2 + 1);
    if (this.#page.marks.length > 0) context.fillText('events', 12, AXIS_PX + MARK_PX / 2);
  }

  /** Draws each label in the first tier with room. If none has room, the mark stands alone at the lower edge. */
  #placeMarks(view: View): Placed[] {
    const { context } = this.#ink;
    const freeFromX = new Array<number>(MARK_TIERS).fill(Number.NEGATIVE_INFINITY);
    context.font = SMALL_FONT;
    return this.#page.marks.flatMap(({ atMs, label }, mark): Placed[] => {
      const x = this.#layout.x(atMs - this.#page.fromMs, view);
      if (x < this.#layout.namesPx - 200 || x > this.#layout.widthPx) return [];
      const width = context.measureText(label).width;
      // To the left of its line if it would end beyond the edge.
      const isLeft = x + width + 14 > this.#layout.widthPx;
      const [fromX, toX] = isLeft ? [x - width - 14, x + 6] : [x - 6, x + width + 14];
      const tier = freeFromX.findIndex((freeX) => freeX <= fromX);
      if (tier < 0) return [{ mark, x, tier: MARK_TIERS, fromX: x - 6, toX: x + 6, textX: undefined }];
      freeFromX[tier] = toX;
      return [{ mark, x, tier, fromX, toX, textX: isLeft ? fromX + 6 : x + 8 }];
    });
  }

  #paintMark({ mark, x, tier }: Placed): void {
    const { context } = this.#ink;
    const { kind = '', severity = '' } = this.#page.marks[mark] ?? {};
    const y = AXIS_PX + MARK_PX * (tier + 0.5);
    context.fillStyle = this.#ink.colour(markColour(kind, severity));
    context.beginPath();
    if (kind === 'started') context.rect(x - 3.5, y - 3.5, 7, 7);
    else {
      context.moveTo(x, y - 4.5);
      context.lineTo(x + 4.5, y);
      context.lineTo(x, y + 4.5);
      context.lineTo(x - 4.5, y);
    }
    context.fill();
    context.fillRect(Math.round(x), y, 1, HEAD_PX - y);
  }

  /** Draws text over the lines of other marks, so that it is readable. */
  #paintMarkLabel({ mark, tier, fromX, toX, textX, x }: Placed): void {
    if (textX === undefined) return;
    const { context } = this.#ink;
    const y = AXIS_PX + MARK_PX * (tier + 0.5);
    const [left, right] = textX > x ? [textX - 2, toX - 4] : [fromX + 4, x - 5];
    this.#ink.fill('head', left, y - MARK_PX / 2 + 1, right - left, MARK_PX - 2);
    context.font = SMALL_FONT;
    context.fillStyle = this.#ink.colour('ink');
    context.fillText(this.#page.marks[mark]?.label ?? '', textX, y);
  }
}

function markColour(kind: string, severity: string): string {
  if (severity === 'error') return 'bad';
  if (severity === 'warn') return 'warn';
  return kind === 'started' ? 'ink' : 'dim';
}
