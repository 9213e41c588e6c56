import { expect, test } from 'vitest';
import { formatDuration } from '../src/durations.ts';

test.each([
  [0, '0 ms'],
  [0.2, '1 ms'],
  [849.1, '850 ms'],
  [999.4, '1.0 s'],
  [4_240, '4.2 s'],
  [59_940, '59.9 s'],
  [59_951, '1 min 0 s'],
  [185_999, '3 min 5 s'],
  [3_599_999, '59 min 59 s'],
  [7_800_000, '2 h 10 min'],
  [47.9 * 3_600_000, '47 h 54 min'],
  [76 * 3_600_000, '3 d 4 h'],
  [-129, '-129 ms'],
])('%d ms is printed as %s', (ms, text) => {
  expect(formatDuration(ms)).toBe(text);
});
