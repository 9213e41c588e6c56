import { expect, test } from 'vitest';
import { CallTally } from '../../../src/core/record/call-tally.ts';

test('counts the calls in a row that were released without an outcome, and a call that says one ends the row', () => {
  const tally = new CallTally();
  for (let calls = 0; calls < 3; calls += 1) tally.add('released', 'unknown', 0);
  // Their holders could not say anything.
  for (const ending of ['expired', 'preempted', 'disconnected', 'lost'] as const) tally.add(ending, 'unknown', 0);
  expect(tally.silentInARow).toBe(3);
  for (const outcome of ['ok', 'invalid-nonce', 'unused', 'unsettled'] as const) {
    tally.add('released', 'unknown', 0);
    tally.add('released', outcome, 0);
    expect(tally.silentInARow).toBe(0);
  }
});
