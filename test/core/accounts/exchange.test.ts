import { describe, expect, test } from 'vitest';
import { type Caller, Exchange, type ExchangeChange } from '../../../src/core/accounts/exchange.ts';
import type { Outcome } from '../../../src/terms.ts';

const NOW_MS = 7_000_000;
const A: Caller = { name: 'a', pid: 1 };
const B: Caller = { name: 'b', pid: 2 };
const C: Caller = { name: 'c', pid: 3 };

function told(exchange: Exchange, caller: Caller, ...outcomes: Outcome[]): (ExchangeChange['kind'] | undefined)[] {
  return outcomes.map((outcome) => exchange.ended(caller, outcome, NOW_MS)?.kind);
}

function down(): Exchange {
  const exchange = new Exchange('default');
  told(exchange, A, 'unsettled', 'unavailable');
  told(exchange, B, 'unsettled');
  return exchange;
}

describe('an exchange', () => {
  test('counts as down at the third call in a row without an answer, if they are of two processes', () => {
    const exchange = new Exchange('default');
    expect(told(exchange, A, 'unavailable', 'unsettled')).toEqual([undefined, undefined]);
    expect([exchange.downSinceMs, exchange.refuses(A, 'normal', NOW_MS)]).toEqual([undefined, undefined]);
    expect(told(exchange, B, 'unavailable')).toEqual(['down']);
    expect(exchange.downSinceMs).toBe(NOW_MS);
    expect(exchange.refuses(C, 'normal', NOW_MS)).toEqual({ retryAfterMs: 5_000, only: undefined });
  });

  test('any answer between them ends the row', () => {
    for (const answer of ['ok', 'invalid-nonce', 'rate-limited', 'locked-out'] as const) {
      const exchange = new Exchange('default');
      told(exchange, A, 'unsettled', 'unsettled');
      told(exchange, C, answer);
      expect(told(exchange, B, 'unsettled', 'unsettled')).toEqual([undefined, undefined]);
    }
  });

  test('what says nothing does not end the row and does not lengthen it', () => {
    const exchange = new Exchange('default');
    told(exchange, A, 'unsettled', 'unknown', 'unsettled', 'unused', 'unknown', 'unused');
    expect(exchange.downSinceMs).toBeUndefined();
    expect(told(exchange, B, 'unknown', 'unused', 'unsettled')).toEqual([undefined, undefined, 'down']);
  });

  test('that is down lets one call through every five seconds, and urgent ones always', () => {
    const exchange = down();
    expect(exchange.refuses(A, 'normal', NOW_MS)?.retryAfterMs).toBe(5_000);
    expect(exchange.refuses(A, 'background', NOW_MS + 4_999)?.retryAfterMs).toBe(1);
    expect(exchange.refuses(A, 'urgent', NOW_MS)).toBeUndefined();
    const probeMs = NOW_MS + 5_000;
    expect(exchange.passed(A, 'urgent', probeMs)).toBeUndefined();
    expect(exchange.refuses(B, 'background', probeMs)).toBeUndefined();
    expect(exchange.passed(B, 'background', probeMs)).toBeDefined();
    expect(exchange.refuses(A, 'normal', probeMs)?.retryAfterMs).toBe(5_000);
    expect(exchange.refuses(A, 'normal', probeMs + 5_000)).toBeUndefined();
  });

  test('that is down: the process of the last probe lets others go first, because it may be the broken one', () => {
    const exchange = down();
    const probeMs = NOW_MS + 5_000;
    exchange.passed(A, 'normal', probeMs);
    exchange.ended(A, 'unavailable', probeMs);
    expect(exchange.refuses(A, 'normal', probeMs + 5_000)?.retryAfterMs).toBe(5_000);
    expect(exchange.refuses(B, 'normal', probeMs + 5_000)).toBeUndefined();
    expect(exchange.refuses(A, 'normal', probeMs + 10_000)).toBeUndefined();
  });

  test('is back by an accepted call and by nothing else, and needs three more to be down again', () => {
    const exchange = down();
    const nothing = told(
      exchange,
      A,
      'unknown',
      'unused',
      'rate-limited',
      'invalid-nonce',
      'locked-out',
      'unavailable',
    );
    expect(nothing.every((change) => change === undefined)).toBe(true);
    expect(exchange.downSinceMs).toBe(NOW_MS);
    expect(told(exchange, C, 'ok')).toEqual(['up']);
    expect([exchange.downSinceMs, exchange.refuses(A, 'normal', NOW_MS)]).toEqual([undefined, undefined]);
    expect(told(exchange, A, 'unsettled', 'unsettled')).toEqual([undefined, undefined]);
    expect(told(exchange, B, 'unsettled')).toEqual(['down']);
  });

  test('that answers has no probes', () => {
    expect(new Exchange('default').passed(A, 'normal', NOW_MS)).toBeUndefined();
  });

  test('a probe of which nothing was sent is taken back: the next call is the probe, also of the same process', () => {
    const exchange = down();
    const probeMs = NOW_MS + 5_000;
    const probe = exchange.passed(A, 'normal', probeMs);
    if (probe === undefined) throw new Error('no probe');
    exchange.takeBack(probe, probeMs + 10);
    expect(exchange.refuses(A, 'normal', probeMs + 10)).toBeUndefined();
    // Not if another has been made since.
    exchange.passed(B, 'normal', probeMs + 20);
    exchange.takeBack(probe, probeMs + 30);
    expect(exchange.refuses(A, 'normal', probeMs + 30)?.retryAfterMs).toBe(4_990);
  });
});

describe('a process that alone gets no answer', () => {
  function heldBack(): Exchange {
    const exchange = new Exchange('default');
    expect(told(exchange, A, 'unavailable', 'unavailable', 'unavailable')).toEqual([undefined, undefined, 'held-back']);
    return exchange;
  }

  test('is held back after three calls in a row, and the others go on', () => {
    const exchange = heldBack();
    expect(exchange.downSinceMs).toBeUndefined();
    expect(exchange.refuses(A, 'normal', NOW_MS)).toEqual({ retryAfterMs: 5_000, only: A });
    expect(exchange.refuses(A, 'urgent', NOW_MS)).toBeUndefined();
    expect(exchange.refuses(B, 'normal', NOW_MS)).toBeUndefined();
    expect([exchange.isDoubted(A, NOW_MS), exchange.isDoubted(B, NOW_MS)]).toEqual([true, false]);
    expect(exchange.heldBack(NOW_MS)).toEqual([{ caller: A, sinceMs: NOW_MS }]);
  });

  test('has a probe of its own five seconds after the end of the last one, and is let through once one is accepted', () => {
    const exchange = heldBack();
    expect(exchange.refuses(A, 'normal', NOW_MS + 5_000)).toBeUndefined();
    expect(exchange.passed(A, 'normal', NOW_MS + 5_000)).toBeDefined();
    expect(exchange.passed(B, 'normal', NOW_MS + 5_000)).toBeUndefined();
    expect(exchange.refuses(A, 'normal', NOW_MS + 6_000)?.retryAfterMs).toBe(4_000);
    expect(exchange.ended(A, 'unsettled', NOW_MS + 9_000)).toBeUndefined();
    expect(exchange.refuses(A, 'normal', NOW_MS + 10_000)?.retryAfterMs).toBe(4_000);
    expect(exchange.ended(A, 'rate-limited', NOW_MS + 15_000)).toBeUndefined();
    expect(exchange.ended(A, 'ok', NOW_MS + 15_000)).toEqual({ kind: 'let-through', caller: A });
    expect(exchange.refuses(A, 'normal', NOW_MS + 15_000)).toBeUndefined();
    expect(exchange.heldBack(NOW_MS + 15_000)).toEqual([]);
  });

  test('does not take the exchange down with one slow call of another, but with two', () => {
    const exchange = heldBack();
    expect(told(exchange, B, 'unsettled')).toEqual([undefined]);
    told(exchange, A, 'unavailable', 'unavailable');
    expect(exchange.downSinceMs).toBeUndefined();
    expect(told(exchange, B, 'unsettled')).toEqual(['down']);
    expect(exchange.heldBack(NOW_MS)).toEqual([]);
  });

  test('however long it is broken, healthy ones beside it are never refused', () => {
    const exchange = heldBack();
    for (let at = NOW_MS; at < NOW_MS + 600_000; at += 1_000) {
      if (exchange.refuses(A, 'normal', at) === undefined) {
        exchange.passed(A, 'normal', at);
        exchange.ended(A, 'unavailable', at);
      }
      expect(exchange.refuses(B, 'normal', at)).toBeUndefined();
      // One call in ten of the healthy one is slow, too.
      exchange.ended(B, at % 10_000 === 0 ? 'unsettled' : 'ok', at);
    }
    expect(exchange.downSinceMs).toBeUndefined();
  });

  test('calls without an answer over a minute ago do not count', () => {
    const exchange = new Exchange('default');
    told(exchange, A, 'unsettled', 'unsettled');
    expect(exchange.ended(B, 'unsettled', NOW_MS + 60_001)).toBeUndefined();
    const held = heldBack();
    expect(held.refuses(A, 'normal', NOW_MS + 4_000)).toBeDefined();
    expect([held.isDoubted(A, NOW_MS + 60_000), held.isDoubted(A, NOW_MS + 60_001)]).toEqual([true, false]);
    expect(held.heldBack(NOW_MS + 60_001)).toEqual([]);
  });

  test('a probe of which nothing was sent is taken back', () => {
    const exchange = heldBack();
    const probe = exchange.passed(A, 'normal', NOW_MS + 5_000);
    if (probe === undefined) throw new Error('no probe');
    exchange.takeBack(probe, NOW_MS + 5_001);
    expect(exchange.refuses(A, 'normal', NOW_MS + 5_001)).toBeUndefined();
  });

  test('is its pid with its name; without a pid its name; without both its connection', () => {
    const same = (one: Caller, other: Caller) => {
      const exchange = new Exchange('default');
      told(exchange, one, 'unsettled', 'unsettled');
      return told(exchange, other, 'unsettled')[0] === 'held-back';
    };
    expect(same({ name: 'a', pid: 1 }, { name: 'a', pid: 1 })).toBe(true);
    // In two containers.
    expect(same({ name: 'a', pid: 1 }, { name: 'b', pid: 1 })).toBe(false);
    expect(same({ name: 'a', pid: 1 }, { name: 'a', pid: 2 })).toBe(false);
    expect(same({ name: 'a', pid: undefined }, { name: 'a', pid: undefined })).toBe(true);
    expect(same({ name: undefined, pid: undefined }, { name: undefined, pid: undefined })).toBe(false);
    const connection = { name: undefined, pid: undefined };
    expect(same(connection, connection)).toBe(true);
  });
});
