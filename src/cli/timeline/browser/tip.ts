/** A box beside the pointer about a call, an event or a span. All texts are set as text, never as HTML. */
class Tip {
  readonly #box: HTMLElement;
  /** Stays until it is closed, so that its text can be copied. */
  isPinned = false;

  constructor(box: HTMLElement) {
    this.#box = box;
  }

  show(title: string, facts: readonly (readonly [string, string])[], x: number, y: number): void {
    const heading = document.createElement('strong');
    heading.textContent = title;
    const list = document.createElement('dl');
    for (const [name, value] of facts) {
      if (value === '') continue;
      const term = document.createElement('dt');
      term.textContent = name;
      const description = document.createElement('dd');
      description.textContent = value;
      list.append(term, description);
    }
    this.#box.replaceChildren(heading, list);
    this.#box.hidden = false;
    const { offsetWidth, offsetHeight } = this.#box;
    const left = x + 16 + offsetWidth < window.innerWidth ? x + 16 : x - 16 - offsetWidth;
    const top = y + 12 + offsetHeight < window.innerHeight ? y + 12 : y - 12 - offsetHeight;
    this.#box.style.left = `${Math.max(4, left)}px`;
    this.#box.style.top = `${Math.max(4, top)}px`;
  }

  pin(isPinned: boolean): void {
    this.isPinned = isPinned && !this.#box.hidden;
    this.#box.classList.toggle('pinned', this.isPinned);
  }

  hide(): void {
    this.pin(false);
    this.#box.hidden = true;
  }
}

/** Returns what the tip says about a call. */
function factsOf(index: number, page: PageData, calls: Calls): readonly (readonly [string, string])[] {
  const { columns, kinds } = calls;
  const text = (column: readonly number[]) => page.texts[at(column, index)] ?? '';
  const kind = kinds[at(columns.kind, index)] ?? '';
  const isOver = at(columns.ending, index) >= 0;
  const endMs = page.fromMs + at(columns.end, index);
  const [nonce, lastNonce] = [columns.nonce[index], columns.lastNonce[index]];
  const pid = at(columns.pid, index);
  return [
    ['holder', text(columns.holder)],
    ['pid', pid < 0 ? '' : String(pid)],
    ['label', text(columns.label)],
    ['priority', text(columns.priority)],
    ['nonce', nonce === -1 || nonce === undefined ? '' : lastNonce === -1 ? nonce : `${nonce} to ${lastNonce}`],
    ['waited', formatDuration(at(columns.waited, index))],
    ['held', kind === 'waiting' ? '' : formatDuration(at(columns.held, index))],
    ['granted', kind === 'waiting' ? '' : timeText(endMs - at(columns.held, index))],
    ['ended', isOver ? `${timeText(endMs)}, ${page.endings[at(columns.ending, index)]}` : 'under way'],
    ['outcome', isOver ? `${kind}${at(columns.late, index) === 1 ? ' (reported late)' : ''}` : ''],
  ];
}
