import { expect, test } from 'vitest';
import type { WitnessedCall } from '../../src/rehearsal/exchange-witness.ts';
import { repeatedOrders } from '../../src/rehearsal/orders.ts';
import { called, ordered } from './witnessed.ts';

const ID = 'cl_ord_id mine';
const LOST: Partial<WitnessedCall> = { fault: 'hang', abandoned: true };
const times = (calls: readonly WitnessedCall[]) => repeatedOrders(calls).map(({ arrivedAtMs }) => arrivedAtMs);

test('orders that differ, or that are the same without an id while every answer came, are not repeated', () => {
  expect(times([ordered(0, ID), ordered(100, 'cl_ord_id other')])).toEqual([]);
  expect(times([ordered(0, undefined), ordered(100, undefined)])).toEqual([]);
  expect(times([ordered(0, 'userref 7'), ordered(100, 'userref 7')])).toEqual([]);
});

test('an id that is placed twice is repeated, looks or no looks, but not on another account', () => {
  expect(times([ordered(0, ID), called(50, { method: 'OpenOrders' }), ordered(100, ID)])).toEqual([100]);
  expect(times([ordered(0, ID), ordered(100, ID, { account: 'USER:alice' })])).toEqual([]);
  expect(times([ordered(0, ID, { verdict: 'rate-limited' }), ordered(100, ID)])).toEqual([]);
});

test.each(['hang', 'reset', 'reset-body', 'stall-body', 'status', 'unavailable', 'busy'] as const)(
  'after an answer lost to %s the same order may be sent only after a look that was answered',
  (fault) => {
    const first = ordered(0, undefined, { fault, verdict: 'faulted' });
    const look = (call: Partial<WitnessedCall> = {}) => called(50, { method: 'OpenOrders', ...call });
    expect(times([first, ordered(100, undefined)])).toEqual([100]);
    expect(times([first, look(), ordered(100, undefined)])).toEqual([]);
    expect(times([first, look({ verdict: 'invalid-nonce' }), ordered(100, undefined)])).toEqual([100]);
    expect(times([first, look({ fault: 'status' }), ordered(100, undefined)])).toEqual([100]);
    expect(times([first, look({ account: 'USER:alice' }), ordered(100, undefined)])).toEqual([100]);
    expect(times([first, look({ completedAtMs: 110 }), ordered(100, undefined)])).toEqual([100]);
    const tooEarly = look();
    const later = ordered(60, undefined, { fault, verdict: 'faulted' });
    expect(times([tooEarly, later, ordered(100, undefined)])).toEqual([100]);
  },
);

test('one lost answer makes one repeated order, unless the next is lost as well', () => {
  expect(times([ordered(0, undefined, LOST), ordered(100, undefined), ordered(200, undefined)])).toEqual([100]);
  const lostAgain = ordered(100, undefined, LOST);
  expect(times([ordered(0, undefined, LOST), lostAgain, ordered(200, undefined)])).toEqual([100, 200]);
});
