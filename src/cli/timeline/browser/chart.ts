/** How far the pointer may move during a click. */
const CLICK_PX = 4;
const ZOOM_STEP = 1.5;
const MOVE_SHARE = 0.25;
/** How far from a bar the pointer may be. */
const NEAR_PX = 3;

class Chart {
  readonly #page: PageData;
  readonly #calls: Calls;
  readonly #layout: Layout;
  readonly #view: View;
  readonly #inks: readonly Ink[];
  readonly #painter: Painter;
  readonly #pointer: Pointer;
  readonly #tip: Tip;
  readonly #plot: HTMLElement;
  readonly #canvas: HTMLCanvasElement;
  readonly #shown: HTMLElement;
  readonly #hidden = new Set<number>();
  /** The calls to look at, in the order of their ends. */
  readonly #toLookAt: readonly number[];
  #selected: number | undefined;
  #asked: 'nothing' | 'pointer' | 'all' = 'nothing';

  constructor(page: PageData) {
    this.#page = page;
    this.#calls = new Calls(page);
    this.#layout = new Layout(page.rows);
    this.#view = new View(page.toMs - page.fromMs);
    this.#plot = element('plot');
    this.#shown = element('shown');
    this.#canvas = element<HTMLCanvasElement>('canvas');
    this.#tip = new Tip(element('tip'));
    const [ink, pointerInk] = [new Ink(this.#canvas), new Ink(element<HTMLCanvasElement>('pointer'))];
    this.#inks = [ink, pointerInk];
    this.#painter = new Painter(ink, page, this.#calls, this.#layout);
    this.#pointer = new Pointer(pointerInk, this.#layout, page.fromMs);
    const { columns } = this.#calls;
    const found = columns.toLookAt.flatMap((flag, index) => (flag === 1 ? [index] : []));
    this.#toLookAt = found.sort((a, b) => at(columns.end, a) - at(columns.end, b));
  }

  start(): void {
    element('stage').style.height = `${HEAD_PX + this.#layout.rowsPx}px`;
    new ResizeObserver(() => this.#resize()).observe(this.#plot);
    this.#resize();
    this.#plot.addEventListener('scroll', () => {
      this.#layout.scrollPx = this.#plot.scrollTop;
      this.#repaint('all');
    });
    this.#plot.addEventListener('wheel', (event) => this.#wheel(event), { passive: false });
    this.#plot.addEventListener('keydown', (event) => this.#key(event));
    this.#canvas.addEventListener('pointermove', (event) => this.#pointed(event.offsetX, event.offsetY, event));
    this.#canvas.addEventListener('pointerleave', () => this.#pointerLeft());
    this.#canvas.addEventListener('pointerdown', (event) => this.#pressed(event));
    this.#canvas.addEventListener('dblclick', () => this.#show(() => this.#view.all()));
    window.addEventListener('keydown', (event) => {
      if (event.key === 'Escape') this.#deselect();
    });
    window.matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => {
      for (const ink of this.#inks) ink.forgetColours();
      this.#repaint('all');
    });
    for (const button of document.querySelectorAll<HTMLElement>('button[data-do]')) {
      button.addEventListener('click', () => this.#do(button.dataset['do'] ?? ''));
    }
    for (const button of document.querySelectorAll<HTMLElement>('button[data-kind]')) {
      button.addEventListener('click', () => this.#toggle(button));
    }
    this.#linkTables();
  }

  #do(what: string): void {
    const view = this.#view;
    const middleMs = (view.fromMs + view.toMs) / 2;
    const actions: Readonly<Record<string, () => void>> = {
      in: () => this.#show(() => view.zoom(1 / ZOOM_STEP, middleMs)),
      out: () => this.#show(() => view.zoom(ZOOM_STEP, middleMs)),
      all: () => this.#show(() => view.all()),
      left: () => this.#show(() => view.move(-view.lengthMs * MOVE_SHARE)),
      right: () => this.#show(() => view.move(view.lengthMs * MOVE_SHARE)),
      next: () => this.#step(1),
      previous: () => this.#step(-1),
    };
    actions[what]?.();
  }

  #key(event: KeyboardEvent): void {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const what: Readonly<Record<string, string>> = {
      '+': 'in',
      '=': 'in',
      '-': 'out',
      '0': 'all',
      ArrowLeft: 'left',
      ArrowRight: 'right',
      n: 'next',
      p: 'previous',
    };
    const found = what[event.key];
    if (found === undefined) return;
    event.preventDefault();
    this.#do(found);
  }

  /** Zooms with Ctrl or two fingers, moves sideways or with Shift, and otherwise scrolls the rows. */
  #wheel(event: WheelEvent): void {
    const sideways = event.shiftKey && event.deltaX === 0 ? event.deltaY : event.deltaX;
    if (event.ctrlKey || event.metaKey) {
      const atMs = this.#layout.ms(Math.max(this.#layout.namesPx, event.offsetX), this.#view);
      this.#show(() => this.#view.zoom(Math.exp(Math.max(-60, Math.min(60, event.deltaY)) / 200), atMs));
    } else if (Math.abs(sideways) > Math.abs(event.shiftKey ? 0 : event.deltaY)) {
      this.#show(() => this.#view.move((sideways / this.#layout.plotPx) * this.#view.lengthMs));
    } else return;
    event.preventDefault();
  }

  /** Follows a press to its release: a click keeps the tip open, a drag selects a stretch of time. */
  #pressed(down: PointerEvent): void {
    if (down.button !== 0 || down.offsetX < this.#layout.namesPx) return;
    this.#canvas.setPointerCapture(down.pointerId);
    const fromX = down.offsetX;
    const dragged = (event: PointerEvent) => {
      const isDrag = this.#pointer.selection !== undefined || Math.abs(event.offsetX - fromX) > CLICK_PX;
      if (!isDrag) return;
      const toX = Math.min(Math.max(event.offsetX, this.#layout.namesPx), this.#layout.widthPx);
      this.#pointer.selection = { fromX, toX };
      this.#tip.hide();
      this.#repaint('pointer');
    };
    const done = new AbortController();
    const { signal } = done;
    this.#canvas.addEventListener('pointermove', dragged, { signal });
    this.#canvas.addEventListener('pointercancel', () => this.#released(done, undefined), { signal });
    this.#canvas.addEventListener('pointerup', (event) => this.#released(done, event), { signal });
  }

  #released(done: AbortController, event: PointerEvent | undefined): void {
    done.abort();
    const { selection } = this.#pointer;
    this.#pointer.selection = undefined;
    if (event !== undefined && selection !== undefined) {
      const fromX = Math.min(selection.fromX, selection.toX);
      const toX = Math.max(selection.fromX, selection.toX);
      const [fromMs, toMs] = [this.#layout.ms(fromX, this.#view), this.#layout.ms(toX, this.#view)];
      this.#show(() => this.#view.show(fromMs, toMs));
    } else if (event !== undefined) {
      this.#tip.pin(false);
      this.#selected = this.#callAt(event.offsetX, event.offsetY);
      this.#pointed(event.offsetX, event.offsetY, event);
      this.#tip.pin(true);
      this.#plot.focus({ preventScroll: true });
    }
    this.#repaint('all');
  }

  #pointed(x: number, y: number, { clientX, clientY }: { readonly clientX: number; readonly clientY: number }): void {
    this.#pointer.x = x;
    this.#repaint('pointer');
    if (this.#tip.isPinned || this.#pointer.selection !== undefined) return;
    const index = this.#callAt(x, y);
    if (index !== undefined) this.#tell(index, clientX, clientY);
    else if (!this.#tellMarks(x, y, clientX, clientY) && !this.#tellSpans(x, y, clientX, clientY)) this.#tip.hide();
  }

  #pointerLeft(): void {
    this.#pointer.x = undefined;
    if (!this.#tip.isPinned) this.#tip.hide();
    this.#repaint('pointer');
  }

  #callAt(x: number, y: number): number | undefined {
    const row = this.#layout.rowAt(y);
    const track = row === undefined ? undefined : this.#layout.trackAt(row, y);
    const found = this.#calls.tracks[row ?? -1]?.[track ?? -1];
    if (found === undefined || x < this.#layout.namesPx) return undefined;
    const [fromMs, toMs] = [this.#layout.ms(x - NEAR_PX, this.#view), this.#layout.ms(x + NEAR_PX, this.#view)];
    return this.#calls.worstIn(found, fromMs, toMs, this.#hidden);
  }

  #tell(index: number, x: number, y: number): void {
    const account = this.#page.texts[at(this.#calls.columns.account, index)] ?? '';
    const kind = at(this.#calls.columns.kind, index);
    this.#tip.show(`${this.#page.glyphs[kind]} ${account}`.trim(), factsOf(index, this.#page, this.#calls), x, y);
  }

  #tellMarks(x: number, y: number, clientX: number, clientY: number): boolean {
    if (y < AXIS_PX || y > HEAD_PX) return false;
    const tier = Math.floor((y - AXIS_PX) / MARK_PX);
    const found = this.#painter.placed.find((placed) => placed.tier === tier && x >= placed.fromX && x <= placed.toX);
    const mark = this.#page.marks[found?.mark ?? -1];
    if (mark === undefined) return false;
    const severity = ['info', 'debug'].includes(mark.severity) ? '' : mark.severity;
    this.#tip.show(
      mark.label,
      [
        ['at', timeText(mark.atMs)],
        ['', mark.text],
        ['severity', severity],
      ],
      clientX,
      clientY,
    );
    return true;
  }

  #tellSpans(x: number, y: number, clientX: number, clientY: number): boolean {
    const row = this.#layout.rowAt(y);
    if (row === undefined || x < this.#layout.namesPx) return false;
    const atMs = this.#page.fromMs + this.#layout.ms(x, this.#view);
    const spans = this.#page.spans.filter(
      ({ fromMs, toMs, reach }) => fromMs <= atMs && atMs <= toMs && (reach === REACH_ALL || reach === row),
    );
    const [span] = spans;
    if (span === undefined) return false;
    const facts = spans.map(
      ({ label, fromMs, toMs }) =>
        [formatDuration(toMs - fromMs), `${label}\n${timeText(fromMs)} – ${timeText(toMs)}`] as const,
    );
    this.#tip.show(SPAN_NAMES[span.kind] ?? span.kind, facts, clientX, clientY);
    return true;
  }

  /** Goes to the next call to look at, or to the previous one. */
  #step(direction: 1 | -1): void {
    const shown = this.#toLookAt.filter((index) => !this.#hidden.has(at(this.#calls.columns.kind, index)));
    const place = this.#selected === undefined ? -1 : shown.indexOf(this.#selected);
    const next = place < 0 ? (direction === 1 ? 0 : shown.length - 1) : place + direction;
    const index = shown[(next + shown.length) % Math.max(1, shown.length)];
    if (index !== undefined) this.#select(index);
  }

  /** Brings a call into view and shows its tip. */
  #select(index: number): void {
    const { columns, beginMs } = this.#calls;
    const [row, track, endMs] = [at(columns.row, index), at(columns.track, index), at(columns.end, index)];
    const fromMs = beginMs[index] ?? 0;
    this.#selected = index;
    // Keep the zoom, unless the call would not fit, or would be a mere stroke.
    const lengthMs = Math.min(Math.max(endMs - fromMs, 200) * 8, this.#view.wholeMs);
    const isSeen = fromMs >= this.#view.fromMs && endMs <= this.#view.toMs;
    if (!isSeen || this.#view.lengthMs > lengthMs) {
      this.#view.show((fromMs + endMs) / 2 - lengthMs / 2, (fromMs + endMs) / 2 + lengthMs / 2);
    }
    const top = at(this.#layout.rowTops, row);
    const bottom = top + at(this.#layout.rowHeights, row);
    const roomPx = this.#layout.heightPx - HEAD_PX;
    if (top < this.#layout.scrollPx || bottom > this.#layout.scrollPx + roomPx) {
      this.#plot.scrollTop = Math.max(0, top - roomPx / 2);
      this.#layout.scrollPx = this.#plot.scrollTop;
    }
    this.#repaint('all');
    this.#plot.scrollIntoView({ block: 'nearest' });
    const box = this.#canvas.getBoundingClientRect();
    const x = box.left + Math.min(this.#layout.widthPx - 40, this.#layout.x(endMs, this.#view));
    this.#tip.pin(false);
    this.#tell(index, x, box.top + this.#layout.barTop(row, track) + this.#layout.barPx(row));
    this.#tip.pin(true);
  }

  #deselect(): void {
    this.#selected = undefined;
    this.#tip.hide();
    this.#repaint('all');
  }

  #toggle(button: HTMLElement): void {
    const kind = this.#page.kinds.indexOf(button.dataset['kind'] ?? '');
    if (!this.#hidden.delete(kind)) this.#hidden.add(kind);
    button.setAttribute('aria-pressed', String(!this.#hidden.has(kind)));
    this.#repaint('all');
  }

  /** Lets a line of a table lead to its place in the picture. */
  #linkTables(): void {
    for (const line of document.querySelectorAll<HTMLTableRowElement>('tr[data-at]')) {
      const cell = line.cells[0];
      if (cell === undefined) continue;
      const endMs = Number(line.dataset['at']) - this.#page.fromMs;
      const key = line.dataset['call'];
      const button = document.createElement('button');
      button.textContent = cell.textContent || 'show';
      button.title = 'Show it in the picture';
      button.addEventListener('click', () => {
        if (key !== undefined) this.#select(Number(key));
        else {
          this.#plot.scrollIntoView({ block: 'nearest' });
          this.#show(() => this.#view.show(endMs - this.#view.wholeMs / 40, endMs + this.#view.wholeMs / 40));
        }
      });
      cell.replaceChildren(button);
    }
  }

  #show(change: () => void): void {
    change();
    if (!this.#tip.isPinned) this.#tip.hide();
    this.#repaint('all');
  }

  #resize(): void {
    const { clientWidth, clientHeight } = this.#plot;
    this.#layout.widthPx = clientWidth;
    this.#layout.heightPx = Math.min(clientHeight, HEAD_PX + this.#layout.rowsPx);
    for (const canvas of this.#plot.querySelectorAll('canvas')) canvas.style.height = `${this.#layout.heightPx}px`;
    this.#repaint('all');
  }

  /** Repaints with the next frame, however often it is called until then. */
  #repaint(what: 'pointer' | 'all'): void {
    const isUnderWay = this.#asked !== 'nothing';
    if (this.#asked !== 'all') this.#asked = what;
    if (isUnderWay) return;
    requestAnimationFrame(() => {
      if (this.#asked === 'all') {
        this.#painter.paint({ view: this.#view, hidden: this.#hidden, selected: this.#selected });
        this.#shown.textContent = this.#shownText();
      }
      this.#pointer.paint(this.#view);
      this.#asked = 'nothing';
    });
  }

  #shownText(): string {
    const { fromMs, toMs, isWhole } = this.#view;
    if (isWhole) return 'everything';
    const [from, to] = [timeText(this.#page.fromMs + fromMs), timeText(this.#page.fromMs + toMs)];
    return `${from} – ${to} (${formatDuration(toMs - fromMs)})`;
  }
}

function element<T extends HTMLElement>(id: string): T {
  const found = document.getElementById(id);
  if (found === null) throw new Error(`the page has no ${id}`);
  return found as T;
}

new Chart(JSON.parse(element('data').textContent ?? '') as PageData).start();
