import { cut } from '../terminal/width.ts';
import type { Space } from './space.ts';
import { SORTS } from './view.ts';

const KEYS: readonly (readonly [string, string])[] = [
  ['q, ctrl-c', 'quit'],
  ['s', `sort by the next of ${SORTS.join(', ')}`],
  ['r', 'sort the other way round'],
  ['/', 'show the accounts with this in their names; escape: all'],
  ['up, down', 'select an account, or scroll its calls (also k, j, page up, down)'],
  ['enter', "show the selected account's last calls; escape: go back"],
  ['space', 'pause the display; the counting goes on'],
];

const MEANINGS: readonly (readonly [string, string])[] = [
  ['calls/s', 'calls that ended, in the last 10 seconds'],
  ['wait, hold', 'how long calls waited and lasted, in the last minute'],
  ['bars', 'calls a second, 5 seconds each; a blank means not known'],
  ['rejected', 'rejected nonces since the daemon started'],
  ['lead', 'how far the last nonce is ahead of the clock; usually below zero'],
];

/** Explains the keys and the figures. */
export function helpPage({ columns, paint, glyphs }: Space): string[] {
  const lines = (rows: typeof KEYS) =>
    rows.map(([what, text]) => cut(`  ${what.padEnd(12)}${text}`, columns, glyphs.cut));
  return [paint('dim', 'KEYS'), ...lines(KEYS), '', paint('dim', 'FIGURES'), ...lines(MEANINGS)];
}
