import { cut, harmless, widthOf } from '../terminal/width.ts';
import type { Glyphs } from './glyphs.ts';

/** A column of a table of `Item`s. A column whose cells are all empty is left out. */
export interface Column<Item> {
  readonly title: string;
  readonly cell: (item: Item) => string;
  readonly align?: 'right';
  /** If the table is too wide, the column with the highest rank is left out first; rank 0 stays. */
  readonly rank: number;
  /** The least width, even if the cells are narrower, so that the table does not move with every figure. */
  readonly usually?: number;
  /** Its cells may be cut to this width. */
  readonly atLeast?: number;
}

/** A cell with its width, which is measured once: nothing else here takes as long. */
interface Cell {
  readonly text: string;
  readonly width: number;
}

interface Fitted<Item> {
  readonly column: Column<Item>;
  readonly title: Cell;
  readonly cells: readonly Cell[];
  width: number;
}

const GAP = '  ';

/** Returns the heading and a line for each item, none wider than `width`, and harmless whatever the cells contain. */
export function tableLines<Item>(
  columns: readonly Column<Item>[],
  items: readonly Item[],
  width: number,
  glyphs: Glyphs,
): { readonly heading: string; readonly rows: readonly string[] } {
  const measured = columns
    .map((column) => ({
      column,
      title: cellOf(column.title),
      cells: items.map((item) => cellOf(harmless(column.cell(item)))),
    }))
    .filter(({ cells }) => cells.length === 0 || cells.some(({ text }) => text !== ''))
    .map((one) => ({
      ...one,
      width: Math.max(one.title.width, one.column.usually ?? 0, ...one.cells.map((cell) => cell.width)),
    }));
  const fitted = narrowed(measured, width);
  const line = (cellIn: (column: Fitted<Item>) => Cell | undefined) =>
    fitted
      .map((one) => placed(cellIn(one), one, glyphs))
      .join(GAP)
      .trimEnd();
  return { heading: line(({ title }) => title), rows: items.map((_, index) => line(({ cells }) => cells[index])) };
}

function cellOf(text: string): Cell {
  return { text, width: widthOf(text) };
}

function placed<Item>(cell: Cell | undefined, { column, width }: Fitted<Item>, glyphs: Glyphs): string {
  if (cell === undefined) return '';
  const { text, width: taken } = cell.width > width ? cellOf(cut(cell.text, width, glyphs.cut)) : cell;
  const blanks = ' '.repeat(width - taken);
  return column.align === 'right' ? blanks + text : text + blanks;
}

/** Leaves out columns, the least important first, and then narrows those that may be cut, the widest first. */
function narrowed<Item>(all: readonly Fitted<Item>[], width: number): readonly Fitted<Item>[] {
  let kept = all;
  const least = () => sum(kept.map(({ column, width }) => Math.min(width, column.atLeast ?? width)));
  while (least() > width) {
    const rank = Math.max(...kept.map(({ column }) => column.rank));
    if (rank === 0) break;
    kept = kept.filter(({ column }) => column.rank !== rank);
  }
  for (let excess = sum(kept.map((one) => one.width)) - width; excess > 0; excess -= 1) {
    const widest = kept
      .filter((one) => one.width > (one.column.atLeast ?? one.width))
      .sort((a, b) => b.width - a.width)[0];
    if (widest === undefined) break;
    widest.width -= 1;
  }
  return kept;
}

/** Returns the width of columns side by side. */
function sum(widths: readonly number[]): number {
  return widths.reduce((total, width) => total + width, GAP.length * Math.max(0, widths.length - 1));
}
