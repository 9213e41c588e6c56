import { expect, test } from 'vitest';
import { framePainted, RESTORE } from '../../../src/cli/terminal/paint.ts';

/** What a terminal of four rows does with what is written to it, as far as frames need it. */
class Paper {
  readonly rows = ['old', 'old', 'old', 'old'];
  readonly modes = new Map([['?25', 'l']]);
  cursor = { row: 0, column: 0 };
  scrolled = 0;

  write(text: string): this {
    // biome-ignore lint/suspicious/noControlCharactersInRegex: frames are made of these
    for (const [piece, , parameters = '', command] of text.matchAll(/(\u001b\[([\d;?]*)([A-Za-z]))|[^\u001b]/g)) {
      const { row, column } = this.cursor;
      const line = this.rows[row] ?? '';
      if (command === 'h' || command === 'l') this.modes.set(parameters, command);
      else if (command === 'H') {
        const [toRow = 1, toColumn = 1] = parameters.split(';').map(Number);
        this.cursor = { row: Math.min(toRow, this.rows.length) - 1, column: toColumn - 1 };
      } else if (command === 'K') this.rows[row] = line.slice(0, column);
      else if (command === 'J') {
        this.rows[row] = line.slice(0, column);
        this.rows.fill('', row + 1);
      } else if (piece === '\n') this.scrolled += 1;
      else if (command === undefined) {
        this.rows[row] = line.slice(0, column).padEnd(column) + piece + line.slice(column + 1);
        this.cursor = { row, column: column + 1 };
      }
    }
    return this;
  }
}

test('a frame takes the place of all that the terminal showed, and the cursor rests below it', () => {
  const paper = new Paper().write(framePainted(['one', 'a'], undefined));
  expect(paper).toMatchObject({ rows: ['one', 'a', '', ''], cursor: { row: 2, column: 0 }, scrolled: 0 });
});

test('only the lines that have changed are written again', () => {
  const shown = ['one', 'two', 'three'];
  const painted = framePainted(['one', '2', 'three'], shown);
  expect(painted).not.toMatch(/one|three/);
  const paper = new Paper().write(framePainted(shown, undefined)).write(painted);
  expect(paper).toMatchObject({ rows: ['one', '2', 'three', ''], cursor: { row: 3, column: 0 } });
  expect(framePainted(shown, [...shown])).toBe('');
});

test('lines that are no longer there are erased, and new ones are added', () => {
  const paper = new Paper().write(framePainted(['one', 'two', 'three'], undefined));
  paper.write(framePainted(['one'], ['one', 'two', 'three']));
  expect(paper.rows).toEqual(['one', '', '', '']);
  paper.write(framePainted(['one', 'two'], ['one']));
  expect(paper.rows).toEqual(['one', 'two', '', '']);
  paper.write(framePainted([], ['one', 'two']));
  expect(paper.rows).toEqual(['', '', '', '']);
});

test('a frame is shown in one piece, does not wrap, and leaves the modes of the terminal as they were', () => {
  const painted = framePainted(['one'], undefined);
  expect(painted).toMatch(/^\S\[\?2026h\S\[\?7l.*one.*\S\[\?7h\S\[\?2026l$/);
  expect(Object.fromEntries(new Paper().write(painted).modes)).toEqual({ '?2026': 'l', '?7': 'h', '?25': 'l' });
});

test('a frame that was broken off halfway leaves nothing that cannot be put right', () => {
  const painted = framePainted(['one', 'two'], undefined);
  for (let end = 0; end < painted.length; end += 1) {
    const modes = new Paper().write(painted.slice(0, end)).write(RESTORE).modes;
    expect(Object.fromEntries(modes)).toEqual({ '?2026': 'l', '?7': 'h', '?25': 'h' });
  }
});
