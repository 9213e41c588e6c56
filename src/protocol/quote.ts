/**
 * What must not reach a terminal or a log from outside: control characters (C0, DEL, C1), line and paragraph
 * separators, bidirectional controls, halves of surrogate pairs, and what a decoder puts in place of invalid UTF-8.
 */
export const UNPRINTABLE = /[\p{Cc}\p{Zl}\p{Zp}\p{Bidi_Control}\p{Cs}\ufffd]/u;
const EVERY_UNPRINTABLE = new RegExp(UNPRINTABLE, 'gu');

const QUOTED_CHARACTERS = 40;

/** Returns a value from outside as a message may quote it: on one line, always short, safe to print. */
export function quote(value: unknown): string {
  if (typeof value === 'string') {
    // Cut first, so that the work is bounded too. A surrogate pair that is cut in two becomes a '?'.
    const cut = value.slice(0, QUOTED_CHARACTERS).replaceAll(EVERY_UNPRINTABLE, '?');
    return value.length > QUOTED_CHARACTERS ? `'${cut}…'` : `'${cut}'`;
  }
  if (Object.is(value, -0)) return '-0';
  if (Array.isArray(value)) return 'a list';
  if (ArrayBuffer.isView(value)) return 'binary';
  if (typeof value === 'object' && value !== null) return 'a map';
  return String(value).slice(0, QUOTED_CHARACTERS);
}
