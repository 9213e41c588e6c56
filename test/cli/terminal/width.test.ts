import { expect, test } from 'vitest';
import { cut, harmless, widthOf } from '../../../src/cli/terminal/width.ts';
import { ASCII, sparkline, UNICODE } from '../../../src/cli/top/glyphs.ts';

test.each([
  ['balance', 7],
  ['日本', 4],
  ['é', 1],
  ['👩‍🚀', 2],
  ['▁▂█…', 4],
])('%s takes %i places', (text, width) => {
  expect(widthOf(text)).toBe(width);
});

test.each([
  ['plain, with blanks', 'plain, with blanks'],
  ['\u001b[31mred\u001b[0m', 'red'],
  ['\u001b]0;title\u0007x', 'x'],
  ['\u001b[2J\u001b[H', ''],
  ['a\u0000b\u0007c\nd\re\tf', 'a?b?c?d?e?f'],
  ['\u009b31mred', 'red'],
  ['a\u202eb\u2066c\u200fd', 'a?b?c?d'],
  ['line\u2028separator', 'line?separator'],
  ['half a \ud83d pair', 'half a ? pair'],
  ['日本 é 👩', '日本 é 👩'],
])('%j is shown as %j', (text, shown) => {
  expect(harmless(text)).toBe(shown);
});

test('nothing that a bot may be called moves the cursor', () => {
  const codes = [...Array(0x300).keys(), ...Array.from({ length: 0x80 }, (_, n) => 0x2000 + n)];
  for (const code of codes) {
    const shown = harmless(`a${String.fromCodePoint(code)}[31mb`);
    // biome-ignore lint/suspicious/noControlCharactersInRegex: that is what is looked for
    expect(shown, code.toString(16)).not.toMatch(/[\u0000-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2066-\u2069]/);
  }
});

test.each([
  ['balance', 7, 'balance'],
  ['balance', 6, 'balan…'],
  ['balance', 1, '…'],
  ['balance', 0, ''],
  ['日本語', 6, '日本語'],
  ['日本語', 5, '日本…'],
  ['日本語', 4, '日…'],
  ['e\u0301e\u0301e\u0301', 2, 'e\u0301…'],
])('%s in %i places is %s', (text, width, shown) => {
  expect(cut(text, width, '…')).toBe(shown);
  expect(widthOf(cut(text, width, '…'))).toBeLessThanOrEqual(width);
});

test('a sparkline has the highest bar for the highest value, the lowest for nothing, a blank for what is not known', () => {
  expect(sparkline([undefined, 0, 1, 50, 100], UNICODE)).toBe(' ▁▂▅█');
  expect(sparkline([undefined, 0, 1, 50, 100], ASCII)).toBe(' _.=#');
  expect(sparkline([0, 0], UNICODE)).toBe('▁▁');
  expect(sparkline([undefined], UNICODE)).toBe(' ');
});
