import { expect, test } from 'vitest';
import { processText } from '../src/process-text.ts';

test.each([
  [processText('grid-bot', 7), 'grid-bot (pid 7)'],
  [processText('grid-bot', 7, 'MASTER', 'close all'), 'grid-bot (pid 7, MASTER, close all)'],
  [processText('grid-bot', null, 'MASTER', undefined), 'grid-bot (MASTER)'],
  [processText(null, 7), 'unnamed (pid 7)'],
  [processText(undefined, undefined), 'unnamed'],
])('what is known of a process is printed: %s', (text, expected) => {
  expect(text).toBe(expected);
});
