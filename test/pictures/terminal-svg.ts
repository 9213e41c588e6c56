/** A screen as a terminal shows it, as a picture. */

interface Style {
  readonly bold: boolean;
  readonly dim: boolean;
  readonly colour: 'plain' | 'red' | 'yellow' | 'cyan';
}

/** Text of one style that stands at a column. */
interface Run {
  readonly column: number;
  readonly text: string;
  readonly style: Style;
}

const PLAIN: Style = { bold: false, dim: false, colour: 'plain' };
/** On a ground of its own, so that it can be read on a light page and on a dark one. */
const GROUND = '#1b1f24';
const COLOURS: Readonly<Record<Style['colour'] | 'dim', string>> = {
  plain: '#d0d7de',
  dim: '#8c959f',
  red: '#ff7b72',
  yellow: '#d9a441',
  cyan: '#56b3c4',
};
const CELL_WIDTH = 8;
const LINE_HEIGHT = 18;
const FONT_SIZE = 13;
/** From the top of a line to where its letters stand. */
const BASE_LINE = 13;
const MARGIN = 16;
const BARS = '▁▂▃▄▅▆▇█';

/** The picture of `lines` with their escape sequences, as `tmux capture-pane -e` has them, and what it shows. */
export function svgOf(lines: readonly string[], columns: number, title: string): string {
  const width = columns * CELL_WIDTH + 2 * MARGIN;
  const height = lines.length * LINE_HEIGHT + 2 * MARGIN;
  const drawn = runsOf(lines).flatMap((runs, row) => runs.map((run) => drawnRun(run, row)));
  return `${[
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img">`,
    `<title>${escaped(title)}</title>`,
    `<rect width="${width}" height="${height}" rx="8" fill="${GROUND}"/>`,
    `<g font-family="ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace" font-size="${FONT_SIZE}" xml:space="preserve">`,
    ...drawn,
    '</g>',
    '</svg>',
  ].join('\n')}\n`;
}

/** Of each line. A style goes on over the end of its line. */
function runsOf(lines: readonly string[]): Run[][] {
  let style = PLAIN;
  return lines.map((line) => {
    const runs: Run[] = [];
    let column = 0;
    // biome-ignore lint/suspicious/noControlCharactersInRegex: colours are made of these
    for (const [, codes, text = ''] of line.matchAll(/\u001b\[([\d;]*)m|([^\u001b]+)/g)) {
      if (codes !== undefined) style = codes.split(';').reduce(styled, style);
      // Words with more than a blank between them are runs of their own.
      for (const match of text.matchAll(/\S+(?: \S+)*/g)) {
        runs.push({ column: column + match.index, text: match[0], style });
      }
      column += text.length;
    }
    return runs;
  });
}

function styled(style: Style, code: string): Style {
  switch (Number(code)) {
    case 0:
      return PLAIN;
    case 1:
      return { ...style, bold: true };
    case 2:
      return { ...style, dim: true };
    case 22:
      return { ...style, bold: false, dim: false };
    case 39:
      return { ...style, colour: 'plain' };
    case 49:
      return style;
    case 31:
      return { ...style, colour: 'red' };
    case 33:
      return { ...style, colour: 'yellow' };
    case 36:
      return { ...style, colour: 'cyan' };
    default:
      throw new Error(`a style that is not drawn: ${code}`);
  }
}

function drawnRun({ column, text, style }: Run, row: number): string {
  const x = MARGIN + column * CELL_WIDTH;
  const top = MARGIN + row * LINE_HEIGHT;
  if ([...text].every((character) => BARS.includes(character))) return bars([...text], x, top, style);
  const weight = style.bold ? ' font-weight="bold"' : '';
  // The columns stay where they are in any font.
  const length = `textLength="${text.length * CELL_WIDTH}" lengthAdjust="spacingAndGlyphs"`;
  return `<text x="${x}" y="${top + BASE_LINE}" fill="${fill(style)}"${weight} ${length}>${escaped(text)}</text>`;
}

/** Drawn and not written: fonts differ in them more than in anything else. */
function bars(characters: readonly string[], x: number, top: number, style: Style): string {
  const height = LINE_HEIGHT - 4;
  const path = characters.map((character, index) => {
    const high = (height * (BARS.indexOf(character) + 1)) / BARS.length;
    return `M${x + index * CELL_WIDTH} ${top + height + 1}v${-high}h${CELL_WIDTH - 1}v${high}z`;
  });
  return `<path fill="${fill(style)}" d="${path.join('')}"/>`;
}

function fill({ dim, colour }: Style): string {
  return COLOURS[dim ? 'dim' : colour];
}

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}
