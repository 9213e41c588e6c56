import type { Table } from './report.ts';

const BEGIN = '<!-- measured -->';
const END = '<!-- /measured -->';

/** For a terminal. */
export function asText({ title, columns, rows }: Table): string {
  const widths = columns.map((_, column) => Math.max(...[columns, ...rows].map((row) => width(row[column]))));
  const line = (row: readonly string[]) =>
    row
      .map((cell, column) => pad(cell, widths[column] ?? 0, column === 0 ? 'end' : 'start'))
      .join('  ')
      .trimEnd();
  return [title, ...(isHeadless(columns) ? [] : [line(columns)]), ...rows.map(line)].join('\n');
}

export function asMarkdown({ title, columns, rows }: Table): string {
  const line = (row: readonly string[]) => `| ${row.join(' | ')} |`;
  const rule = columns.map((_, column) => (column === 0 ? '---' : '--:'));
  return [`### ${title}`, '', line(columns), line(rule), ...rows.map(line)].join('\n');
}

/** The document with what is between its two marks replaced, or, without them, what would stand there. */
export function withMeasured(document: string | undefined, measured: string): string {
  const section = `${BEGIN}\n\n${measured}\n\n${END}`;
  const [before, rest] = document?.split(BEGIN) ?? [];
  const after = rest?.split(END)[1];
  return after === undefined ? `${section}\n` : `${before}${section}${after}`;
}

function isHeadless(columns: readonly string[]): boolean {
  return columns.every((column) => column === '');
}

/** All we print is one column wide. */
function width(cell = ''): number {
  return [...cell].length;
}

function pad(cell: string, to: number, where: 'start' | 'end'): string {
  const spaces = ' '.repeat(to - width(cell));
  return where === 'start' ? spaces + cell : cell + spaces;
}
