import fc from 'fast-check';
import { expect, test } from 'vitest';
import { foreignWaits } from '../../../src/cli/status/foreign-waits.ts';
import type { EndedCallRecord } from '../../../src/protocol/messages.ts';
import { endedOf } from './statuses.ts';

/** Calls that were made one after the other: each is granted when the one before it ends. */
function oneAfterAnother(calls: readonly Partial<EndedCallRecord>[]): EndedCallRecord[] {
  let agoMs = 0;
  return [...calls].reverse().map((call) => {
    const ended = endedOf({ ...call, agoMs });
    agoMs += ended.heldMs;
    return ended;
  });
}

test('what waited for a call of its own account waited for no other', () => {
  const calls = oneAfterAnother([{ heldMs: 100 }, { heldMs: 100, waitedMs: 100 }, { heldMs: 100, waitedMs: 200 }]);
  expect(foreignWaits(calls)).toEqual({ calls: 3, accounts: 1, waitedMs: 300, foreignMs: 0 });
});

test('of a wait only the part counts during which another account’s call held the lane', () => {
  const calls = oneAfterAnother([
    { account: 'A', heldMs: 100 },
    { account: 'B', heldMs: 40, waitedMs: 60 },
    // Asked while A was held for another 30 ms, then came B, of its own account.
    { account: 'B', heldMs: 10, waitedMs: 70 },
  ]);
  expect(foreignWaits(calls)).toEqual({ calls: 3, accounts: 2, waitedMs: 130, foreignMs: 60 + 30 });
});

test('a wait for a pace is not for another account: nothing held the lane', () => {
  const calls = [
    endedOf({ account: 'A', heldMs: 100, agoMs: 5_000 }),
    endedOf({ account: 'B', heldMs: 100, waitedMs: 2_000, agoMs: 0 }),
  ];
  expect(foreignWaits(calls)).toMatchObject({ waitedMs: 2_000, foreignMs: 0 });
});

test('another lane, and a lane that was not exclusive, hold up no call', () => {
  const calls = [
    endedOf({ account: 'A', lane: 'kraken', heldMs: 100, agoMs: 100 }),
    endedOf({ account: 'B', lane: 'bitfinex', heldMs: 100, waitedMs: 100, agoMs: 0 }),
    endedOf({ account: 'C', lane: 'bitfinex', exclusive: false, heldMs: 100, agoMs: 100 }),
  ];
  expect(foreignWaits(calls)).toEqual({ calls: 2, accounts: 2, waitedMs: 100, foreignMs: 0 });
});

test('of no calls it is nothing', () => {
  expect(foreignWaits([])).toEqual({ calls: 0, accounts: 0, waitedMs: 0, foreignMs: 0 });
});

/** Every wait against every call. */
function naively(calls: readonly EndedCallRecord[]): number {
  let foreignMs = 0;
  for (const waiter of calls) {
    const grantedAgoMs = waiter.agoMs + waiter.heldMs;
    const askedAgoMs = grantedAgoMs + waiter.waitedMs;
    for (const holder of calls) {
      if (holder.lane !== waiter.lane || holder.account === waiter.account) continue;
      const overlap = Math.min(askedAgoMs, holder.agoMs + holder.heldMs) - Math.max(grantedAgoMs, holder.agoMs);
      foreignMs += Math.max(0, overlap);
    }
  }
  return foreignMs;
}

test('it is what comparing every wait with every call finds, also where calls overlap by a rounded millisecond or more', () => {
  const call = fc.record({
    account: fc.constantFrom('A', 'B', 'C'),
    lane: fc.constantFrom('x', 'y'),
    waitedMs: fc.nat({ max: 50 }),
    heldMs: fc.nat({ max: 30 }),
    agoMs: fc.nat({ max: 200 }),
  });
  fc.assert(
    fc.property(fc.array(call, { maxLength: 40 }), (parts) => {
      const calls = parts.map(endedOf);
      expect(foreignWaits(calls).foreignMs).toBe(naively(calls));
    }),
  );
});
