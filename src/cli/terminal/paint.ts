// A terminal that knows it shows nothing between the two, so a frame never appears half painted; others ignore it.
const BEGIN_FRAME = '\u001b[?2026h';
const END_FRAME = '\u001b[?2026l';
/** A line that is too long ends at the edge instead of going on in the next row. */
const NO_WRAP = '\u001b[?7l';
const WRAP = '\u001b[?7h';
const ERASE_REST_OF_LINE = '\u001b[K';
const ERASE_BELOW = '\u001b[J';

const startOf = (row: number): string => `\u001b[${row + 1};1H`;

/**
 * Returns what to write so that a terminal shows `lines` from its first row on and nothing below them; it needs one row
 * more, on which the cursor rests. `shown` is what the terminal shows now, or undefined if that is not known. A line
 * that stays is not written again, and nothing scrolls: no row is reached by a line break. Each frame leaves the
 * terminal's modes as they were, whatever ends the program.
 */
export function framePainted(lines: readonly string[], shown: readonly string[] | undefined): string {
  const changed = lines.map((line, row) => (line === shown?.[row] ? '' : startOf(row) + line + ERASE_REST_OF_LINE));
  const painted = changed.join('');
  const isShorter = shown === undefined || lines.length < shown.length;
  if (painted === '' && !isShorter) return '';
  const rest = startOf(lines.length) + (isShorter ? ERASE_BELOW : '');
  return BEGIN_FRAME + NO_WRAP + painted + rest + WRAP + END_FRAME;
}

/** Puts right what a frame that was broken off halfway may have left: modes, colours, and a hidden cursor. */
export const RESTORE = `${END_FRAME}${WRAP}\u001b[m\u001b[?25h`;
