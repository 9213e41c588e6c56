const NUMBER = /^-?\d+$/;
/** No column is cut shorter than this. */
const LEAST_CELL = 6;

/**
 * Returns lines of columns, each as wide as its widest cell; the first row is the heading. If a line would be wider
 * than `width`, the widest columns are cut, but never one with numbers in it: a number that is cut is another number.
 */
export function tableOf(rows: readonly (readonly string[])[], width = Number.POSITIVE_INFINITY): string[] {
  const widths = cutWithin(rows, naturalWidths(rows), width);
  return rows.map((cells) =>
    cells
      .map((cell, column) => cut(cell, widths[column] ?? 0).padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd(),
  );
}

/** Returns the same, but first leaves out columns from the right, down to `least` of them. */
export function tableWithin(rows: readonly (readonly string[])[], width: number, least: number): string[] {
  const widths = naturalWidths(rows);
  let columns = widths.length;
  while (columns > least && totalOf(widths.slice(0, columns)) > width) columns -= 1;
  return tableOf(
    rows.map((cells) => cells.slice(0, columns)),
    width,
  );
}

function naturalWidths(rows: readonly (readonly string[])[]): number[] {
  return (rows[0] ?? []).map((_, column) => Math.max(...rows.map((cells) => cells[column]?.length ?? 0)));
}

const totalOf = (widths: readonly number[]) => widths.reduce((sum, each) => sum + each + 2, -2);

function cutWithin(rows: readonly (readonly string[])[], widths: number[], width: number): number[] {
  const isCuttable = widths.map((_, column) => !rows.slice(1).some((cells) => NUMBER.test(cells[column] ?? '')));
  for (let over = totalOf(widths) - width; over > 0; over--) {
    const widest = widths.reduce((found, each, column) => {
      return isCuttable[column] && each > Math.max(LEAST_CELL, widths[found] ?? 0) ? column : found;
    }, -1);
    if (widest < 0) break;
    widths[widest] = (widths[widest] ?? 0) - 1;
  }
  return widths;
}

/** Returns the text, or as much of it as fits and an ellipsis. */
function cut(text: string, width: number): string {
  return text.length <= width ? text : `${text.slice(0, Math.max(0, width - 1))}…`;
}

/**
 * Returns the text in lines of at most `width`, broken between words. The first begins with `lead`, the others with
 * `indent`.
 */
export function wrapped(text: string, width: number, lead = '', indent = lead): string[] {
  const lines: string[] = [];
  let line = lead;
  for (const word of text.split(' ')) {
    const isFirst = line === lead || line === indent;
    if (!isFirst && line.length + 1 + word.length > width) {
      lines.push(line);
      line = indent + word;
    } else {
      line += isFirst ? word : ` ${word}`;
    }
  }
  return [...lines, line];
}
