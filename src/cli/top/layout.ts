import { cut } from '../terminal/width.ts';
import { accountPage } from './account-page.ts';
import { header, notices } from './header.ts';
import { helpPage } from './help-page.ts';
import { overviewPage } from './overview-page.ts';
import type { Snapshot } from './snapshot.ts';
import type { Space } from './space.ts';
import type { View } from './view.ts';

const LEAST_COLUMNS = 40;
const LEAST_ROWS = 12;

/** Returns the lines of the screen: at most as many as there are rows, none longer than there are columns. */
export function linesOf(snapshot: Snapshot, view: View, space: Space): string[] {
  const { columns, rows, glyphs } = space;
  if (columns < LEAST_COLUMNS || rows < LEAST_ROWS) {
    return [cut(`${columns}x${rows} is too small; it needs ${LEAST_COLUMNS}x${LEAST_ROWS}`, columns, glyphs.cut)];
  }
  const top = [...header(snapshot, view, space), ...notices(snapshot, space), ''];
  const left = { ...space, rows: rows - top.length - 1 };
  const page = pageOf(snapshot, view, left).slice(0, left.rows);
  const blank = new Array<string>(left.rows - page.length).fill('');
  return [...top, ...page, ...blank, footer(view, space)];
}

function pageOf(snapshot: Snapshot, view: View, space: Space): string[] {
  const { page } = view;
  switch (page.kind) {
    case 'overview':
      return overviewPage(snapshot, view, space);
    case 'account':
      return accountPage(snapshot, page, space);
    case 'help':
      return helpPage(space);
  }
}

function footer({ page, sort, reversed, filter, filterBefore }: View, { columns, paint, glyphs }: Space): string {
  if (filterBefore !== undefined) {
    return cut(`filter accounts by: ${filter}_   (enter: keep, escape: cancel)`, columns, glyphs.cut);
  }
  const keys: Readonly<Record<typeof page.kind, readonly string[]>> = {
    overview: [
      'q quit',
      'h help',
      `s sort: ${sort}${reversed ? ', reversed' : ''}`,
      filter === '' ? '/ filter' : `/ filter: ${filter}`,
      'space pause',
      `${glyphs.upDown} enter: calls`,
    ],
    account: ['q quit', 'h help', 'escape back', 'space pause', `${glyphs.upDown} scroll`],
    help: ['q quit', 'escape back'],
  };
  return paint('dim', cut(keys[page.kind].join('   '), columns, glyphs.cut));
}
