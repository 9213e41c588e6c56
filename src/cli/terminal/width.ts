import { stripVTControlCharacters } from 'node:util';

/** What takes two places besides emoji: East Asian Wide and Fullwidth of Unicode 17, for which there is no \p{…}. */
const WIDE_RANGES =
  '1100-115f 2329-232a 2630-2637 268a-268f 2e80-2e99 2e9b-2ef3 2f00-2fd5 2ff0-303e 3041-3096 3099-30ff 3105-312f ' +
  '3131-318e 3190-31e5 31ef-321e 3220-3247 3250-a48c a490-a4c6 a960-a97c ac00-d7a3 f900-faff fe10-fe19 fe30-fe52 ' +
  'fe54-fe66 fe68-fe6b ff01-ff60 ffe0-ffe6 16fe0-16fe4 16ff0-16ff6 17000-18cd5 18cff-18d1e 18d80-18df2 1aff0-1aff3 ' +
  '1aff5-1affb 1affd-1affe 1b000-1b122 1b132-1b132 1b150-1b152 1b155-1b155 1b164-1b167 1b170-1b2fb 1d300-1d356 ' +
  '1d360-1d376 1f200-1f202 1f210-1f23b 1f240-1f248 1f260-1f265 20000-2fffd 30000-3fffd';
const WIDE = new RegExp(
  `[${WIDE_RANGES.replaceAll(/\w+/g, '\\u{$&}').replaceAll(' ', '')}]|(?!\\p{Regional_Indicator})\\p{Emoji_Presentation}`,
  'u',
);

/** What takes no place of its own. */
const MARK = /[\p{Mn}\p{Me}\p{Cc}\p{Cf}\p{Default_Ignorable_Code_Point}]/u;
/** Vowels and final consonants of Hangul, which are drawn into the syllable before them. */
const JAMO = /[\u1160-\u11ff\ud7b0-\ud7fb]/;

/**
 * Several characters that are one emoji: a keycap, a sign shown as an emoji, one with a skin colour, and joined ones.
 */
const EMOJI_SEQUENCE =
  /^(?:[\d#*]\ufe0f?\u20e3|(?=\p{Emoji})\p{ExtPict}(?:\ufe0f|\p{EMod})|\p{ExtPict}[\ufe0f\p{EMod}]*\u200d\p{ExtPict})/u;

const graphemes = new Intl.Segmenter(undefined, { granularity: 'grapheme' });

/** Returns how many places a text takes on a terminal. Escape sequences take none. */
export function widthOf(text: string): number {
  // Nearly every text is of these, and the bars are what is longest.
  if (/^[\x20-\x7e▁-█…]*$/.test(text)) return text.length;
  let width = 0;
  for (const { segment } of graphemes.segment(stripVTControlCharacters(text))) width += widthOfGrapheme(segment);
  return width;
}

/**
 * Adds up the places of the characters: a terminal gives each of them its own, even if a font draws several as one
 * letter. Emoji are the exception.
 */
function widthOfGrapheme(grapheme: string): number {
  if (EMOJI_SEQUENCE.test(grapheme)) return 2;
  let width = 0;
  for (const character of grapheme) {
    if (MARK.test(character) || (width > 0 && JAMO.test(character))) continue;
    width += WIDE.test(character) ? 2 : 1;
  }
  return width;
}

/**
 * Returns a bot's text as it may be shown: without escape sequences, and without anything that moves the cursor or
 * turns the direction of writing. The protocol lets none of that through; a terminal does not rely on it.
 */
export function harmless(text: string): string {
  return stripVTControlCharacters(text).replaceAll(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu, '?');
}

/** Returns as much of the text as fits into `width` places. If some is cut off, it ends with `mark`, of one place. */
export function cut(text: string, width: number, mark: string): string {
  if (widthOf(text) <= width) return text;
  if (width < 1) return '';
  let kept = '';
  let left = width - 1;
  for (const { segment } of graphemes.segment(text)) {
    left -= widthOf(segment);
    if (left < 0) break;
    kept += segment;
  }
  return kept + mark;
}
