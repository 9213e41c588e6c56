import { stripVTControlCharacters } from 'node:util';
import stringWidth from 'string-width';

/** How many places the terminal gives a text, without escape sequences. */
export function widthOf(text: string): number {
  // Nearly every text is of these, and the bars are what is longest.
  return /^[\x20-\x7e▁-█…]*$/.test(text) ? text.length : stringWidth(text);
}

/**
 * Text of a bot as it may be shown: no escape sequence, nothing that moves the cursor or turns the direction of writing.
 * The protocol lets none of it through; whoever shows it on a terminal does not rely on that.
 */
export function harmless(text: string): string {
  return stripVTControlCharacters(text).replaceAll(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu, '?');
}

const graphemes = new Intl.Segmenter(undefined, { granularity: 'grapheme' });

/** As much of the text as `width` places take; what was cut off is told by `mark`, of one place. */
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
