import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Nonce, Token } from '../../../src/core/ports.ts';
import { type EndedCall, REMEMBERED_CALLS, RecentCalls } from '../../../src/core/record/recent-calls.ts';

function call(token: number, over: Partial<EndedCall> = {}): EndedCall {
  return {
    account: 'A',
    lane: 'default',
    exclusive: true,
    holder: 'bot',
    pid: 1,
    label: undefined,
    priority: 'normal',
    token: token as Token,
    nonce: BigInt(token) as Nonce,
    lastNonce: BigInt(token) as Nonce,
    alsoFor: undefined,
    waitedMs: 0,
    grantedAtMs: token,
    endedAtMs: token + 1,
    ended: 'expired',
    ownClock: false,
    outcome: 'unknown',
    toldAtMs: token + 1,
    late: false,
    ...over,
  };
}

const tokensOf = (calls: readonly EndedCall[]): number[] => calls.map(({ token }) => token);
const T = (token: number): Token => token as Token;

function remembered(calls: readonly EndedCall[], capacity?: number): RecentCalls {
  const ended = new RecentCalls(capacity);
  for (const each of calls) ended.add(each);
  return ended;
}

describe('the calls that are remembered', () => {
  test('are those of the account that was asked for, the latest to end first', () => {
    const ended = remembered([call(1), call(5, { account: 'B' }), call(3), call(2)]);
    expect(tokensOf(ended.of('A'))).toEqual([2, 3, 1]);
    expect(tokensOf(ended.of('B'))).toEqual([5]);
    expect(ended.of('C')).toEqual([]);
  });

  test('are the last thousand, over all accounts', () => {
    const ended = remembered(Array.from({ length: REMEMBERED_CALLS + 7 }, (_, n) => call(n + 1)));
    const tokens = tokensOf(ended.of('A'));
    expect(tokens).toHaveLength(1_000);
    expect(tokens[0]).toBe(1_007);
    expect(tokens.at(-1)).toBe(8);
  });

  test('are always the last ones that were added, at any capacity', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 9 }), fc.nat(30), (capacity, count) => {
        const calls = Array.from({ length: count }, (_, n) => call(n + 1));
        expect(tokensOf(remembered(calls, capacity).of('A'))).toEqual(tokensOf(calls).reverse().slice(0, capacity));
      }),
    );
  });
});

describe('the call before', () => {
  test('is the one granted before it in its lane, of any account and whenever it ended', () => {
    const ended = remembered([
      call(2, { account: 'B' }),
      call(7),
      call(4, { account: 'C' }),
      call(5, { lane: 'other' }),
      call(1),
    ]);
    expect(ended.before(call(6))?.token).toBe(4);
    expect(ended.before(call(4))?.token).toBe(2);
    expect(ended.before(call(1))).toBeUndefined();
  });

  test('is one of the same account if the lane was not exclusive', () => {
    const ended = remembered([call(2), call(4, { account: 'C' })]);
    expect(ended.before(call(6, { exclusive: false }))?.token).toBe(2);
  });
});

describe('an outcome that is told late', () => {
  const owner = {};

  test('is kept with its call, with the time it was told at', () => {
    const ended = new RecentCalls();
    ended.add(call(1), owner);
    ended.add(call(2));
    expect(ended.tellLate(T(1), owner, 'invalid-nonce', 99)).toMatchObject({ token: 1, account: 'A' });
    expect(ended.of('A')[1]).toMatchObject({ outcome: 'invalid-nonce', toldAtMs: 99, late: true, endedAtMs: 2 });
    expect(ended.of('A')[0]).toMatchObject({ outcome: 'unknown', late: false });
  });

  test('I5: is refused from any client but the holder of the lease, and if the holder is not known', () => {
    const ended = new RecentCalls();
    ended.add(call(1), owner);
    ended.add(call(2));
    expect(ended.tellLate(T(1), {}, 'ok', 9)).toBeUndefined();
    expect(ended.tellLate(T(2), owner, 'ok', 9)).toBeUndefined();
    expect(ended.tellLate(T(3), owner, 'ok', 9)).toBeUndefined();
    expect(ended.of('A').map(({ outcome }) => outcome)).toEqual(['unknown', 'unknown']);
  });

  test('counts once: the first word holds', () => {
    const ended = new RecentCalls();
    ended.add(call(1), owner);
    expect(ended.tellLate(T(1), owner, 'invalid-nonce', 5)).toBeDefined();
    expect(ended.tellLate(T(1), owner, 'ok', 6)).toBeUndefined();
    expect(ended.of('A')[0]).toMatchObject({ outcome: 'invalid-nonce', toldAtMs: 5 });
  });

  test('counts as none if it is unknown, and a later one counts', () => {
    const ended = new RecentCalls();
    ended.add(call(1), owner);
    expect(ended.tellLate(T(1), owner, 'unknown', 5)).toMatchObject({ late: false, toldAtMs: 2 });
    expect(ended.tellLate(T(1), owner, 'ok', 6)).toMatchObject({ outcome: 'ok', late: true });
  });

  test('is refused once the owner is gone, and others are still heard', () => {
    const other = {};
    const ended = new RecentCalls();
    ended.add(call(1), owner);
    ended.add(call(2), other);
    ended.add(call(3), owner);
    ended.forget(owner);
    expect(ended.tellLate(T(1), owner, 'ok', 9)).toBeUndefined();
    expect(ended.tellLate(T(3), owner, 'ok', 9)).toBeUndefined();
    expect(ended.tellLate(T(2), other, 'ok', 9)).toBeDefined();
  });

  test('is refused once the call has been overwritten', () => {
    const ended = new RecentCalls(2);
    ended.add(call(1), owner);
    ended.add(call(2), owner);
    ended.add(call(3));
    expect(ended.tellLate(T(1), owner, 'ok', 9)).toBeUndefined();
    expect(ended.tellLate(T(2), owner, 'ok', 9)).toBeDefined();
    ended.add(call(4));
    ended.add(call(5), owner);
    expect(ended.tellLate(T(5), owner, 'ok', 9)).toBeDefined();
  });
});
