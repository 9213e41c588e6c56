import stringWidth from 'string-width';
import { expect, test } from 'vitest';
import { cut, harmless, widthOf } from '../../../src/cli/terminal/width.ts';
import { ASCII, sparkline, UNICODE } from '../../../src/cli/top/glyphs.ts';
import { everyNth, isLong } from '../../fixtures/effort.ts';

test('each character of Unicode takes as many places as string-width says', () => {
  const isText = (character: string) => !/[\p{Unassigned}\p{Surrogate}\p{Private_Use}]/u.test(character);
  let count = 0;
  const blocks = Array.from({ length: 0x110000 / 64 }, (_, n) => 64 * n);
  for (const first of everyNth(blocks, 4)) {
    const block = Array.from({ length: 64 }, (_, n) => String.fromCodePoint(first + n)).filter(isText);
    count += block.length;
    // None takes more than two places: if the block takes twice its number in both, they agree about each of its characters.
    const text = block.join('\n');
    if (stringWidth(text) === 2 * block.length && widthOf(text) === 2 * block.length) continue;
    for (const character of block) {
      const name = `U+${character.codePointAt(0)?.toString(16)}`;
      expect([name, widthOf(character)]).toEqual([name, stringWidth(character)]);
    }
  }
  expect(count).toBeGreaterThan(isLong ? 140_000 : 30_000);
}, 60_000);

test.each([
  ['', 0],
  ['balance', 7],
  ['▁▂█…', 4],
  ['\u001b[31mred\u001b[0m', 3],
  ['日本語', 6],
  ['葛\u{e0100}', 2],
  ['é', 1],
  ['e\u0301', 1],
  ['Z\u0351\u036b\u0343', 1],
  ['a\ufe0f', 1],
  ['\ufe0f', 0],
  ['a\u200db', 2],
  // Hangul: composed, of two and of three parts, with a part too many, and parts alone.
  ['한국어', 6],
  ['\u1100\u1161', 2],
  ['\u1112\u1161\u11ab', 2],
  ['\uac00\u11a8', 2],
  ['\u1100\u1100\u1161', 4],
  ['\u1161', 1],
  // Marks that take a place of their own, and such as do not.
  ['நி', 2],
  ['ไทย', 3],
  ['か\u3099', 2],
  ['ｶﾞ', 2],
  // Emoji: by themselves, by a variation selector, with a skin colour, flags, keycaps, tags, and joined ones.
  ['🚀', 2],
  ['❤', 1],
  ['❤\ufe0f', 2],
  ['⌚\ufe0e', 2],
  ['👍🏽', 2],
  ['☝🏻', 2],
  ['🇩🇪', 2],
  ['🇩', 1],
  ['🇩🇪🇫', 3],
  ['1\ufe0f\u20e3', 2],
  ['#\u20e3', 2],
  ['1\ufe0f', 1],
  ['🏴\u{e0067}\u{e0062}\u{e0065}\u{e006e}\u{e0067}\u{e007f}', 2],
  ['👩\u200d🚀', 2],
  ['👨\u200d👩\u200d👧\u200d👦', 2],
  ['🏳\ufe0f\u200d🌈', 2],
  ['👩🏽\u200d🤝\u200d👨🏿', 2],
  ['👁\u200d🗨', 2],
])('%s takes %i places, as string-width says too', (text, width) => {
  expect([widthOf(text), stringWidth(text)]).toEqual([width, width]);
});

test.each([
  ['two consonants that a font may draw as one', 'क्ष', 2, 1],
  ['a consonant that is written on the next one', 'ൎക', 2, 1],
  ['a vowel that a font composes with its consonant', 'กำ', 2, 1],
  ['a skin colour after a letter', 'a🏻', 3, 1],
  ['a joiner with nothing to join', '♥\ufe0f\u200d', 2, 1],
  ['a vowel too many, which is drawn over the syllable', '\u1100\u1161\u1161', 2, 3],
  ['half a pair, for which U+FFFD is written', '\ud83d', 1, 0],
])('%s: there string-width does not count as terminals do', (_what, text, width, theirs) => {
  expect([widthOf(text), stringWidth(text)]).toEqual([width, theirs]);
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
