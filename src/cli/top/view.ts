/** What is shown and how, and what the keys do to it. */
export type Page =
  | { readonly kind: 'overview' }
  /** The last calls of one account, from the one at `offset` on. */
  | { readonly kind: 'account'; readonly account: string; readonly offset: number }
  | { readonly kind: 'help'; readonly before: Page };

export const SORTS = ['name', 'calls', 'waiting', 'wait', 'hold', 'rejected'] as const;
export type Sort = (typeof SORTS)[number];

export interface View {
  readonly page: Page;
  readonly sort: Sort;
  readonly reversed: boolean;
  /** Only accounts with this in their names are shown. */
  readonly filter: string;
  /** The filter as it was, while another one is typed. */
  readonly filterBefore: string | undefined;
  readonly selected: string | undefined;
  /** Whether the display is paused. */
  readonly paused: boolean;
}

/** A key, as node:readline reports it. */
export interface Key {
  /** `return`, `up`, `a`; undefined for text that is not a key. */
  readonly name: string | undefined;
  /** The text that it types. */
  readonly text: string | undefined;
  readonly ctrl: boolean;
}

export const FIRST_VIEW: View = {
  page: { kind: 'overview' },
  sort: 'name',
  reversed: false,
  filter: '',
  filterBefore: undefined,
  selected: undefined,
  paused: false,
};

const PAGE_ROWS = 10;
const MOST_FILTER = 64;

/** What the keys move in: the accounts in the order of the list, and how many calls one has. */
export interface Listed {
  readonly accounts: readonly string[];
  readonly calls: number;
}

/** Returns the view after a key, or `quit`. */
export function press(view: View, key: Key, listed: Listed): View | 'quit' {
  if (key.ctrl && key.name === 'c') return 'quit';
  if (view.filterBefore !== undefined) return typed(view, view.filterBefore, key);
  const { page } = view;
  switch (key.name) {
    case 'q':
      return 'quit';
    case 'space':
      return { ...view, paused: !view.paused };
    case 'h':
      return { ...view, page: page.kind === 'help' ? page.before : { kind: 'help', before: page } };
    case 's':
      return { ...view, sort: SORTS[(SORTS.indexOf(view.sort) + 1) % SORTS.length] ?? 'name' };
    case 'r':
      return { ...view, reversed: !view.reversed };
    case 'escape':
    case 'backspace':
    case 'left':
      if (page.kind === 'overview') return { ...view, filter: '' };
      return { ...view, page: page.kind === 'help' ? page.before : { kind: 'overview' } };
    case 'up':
    case 'k':
      return moved(view, -1, listed);
    case 'down':
    case 'j':
      return moved(view, 1, listed);
    case 'pageup':
      return moved(view, -PAGE_ROWS, listed);
    case 'pagedown':
      return moved(view, PAGE_ROWS, listed);
    case 'return':
    case 'right': {
      const account = view.selected ?? listed.accounts[0];
      if (page.kind !== 'overview' || account === undefined) return view;
      // Its calls must be read first: a paused display has none of them.
      return { ...view, paused: false, selected: account, page: { kind: 'account', account, offset: 0 } };
    }
  }
  if (key.text === '?') return press(view, { ...key, name: 'h', text: 'h' }, listed);
  if (key.text === '/' && page.kind === 'overview') return { ...view, filterBefore: view.filter };
  return view;
}

function typed(view: View, before: string, { name, text, ctrl }: Key): View {
  const { filter } = view;
  if (name === 'return') return { ...view, filterBefore: undefined };
  if (name === 'escape') return { ...view, filter: before, filterBefore: undefined };
  if (name === 'backspace') return { ...view, filter: filter.slice(0, -1) };
  if (ctrl && name === 'u') return { ...view, filter: '' };
  // Labels of accounts consist of these.
  if (ctrl || text === undefined || !/^[\w.:@-]$/.test(text)) return view;
  return { ...view, filter: (filter + text).slice(0, MOST_FILTER) };
}

function moved(view: View, by: number, { accounts, calls }: Listed): View {
  const { page, selected } = view;
  const within = (index: number, count: number) => Math.max(0, Math.min(index, count - 1));
  if (page.kind === 'account') return { ...view, page: { ...page, offset: within(page.offset + by, calls) } };
  if (page.kind === 'help' || accounts.length === 0) return view;
  const at = selected === undefined ? -1 : accounts.indexOf(selected);
  return { ...view, selected: accounts[at < 0 ? 0 : within(at + by, accounts.length)] };
}
