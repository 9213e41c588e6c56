import { describe, expect, test } from 'vitest';
import { Exchange } from '../../../src/core/accounts/exchange.ts';
import type { Outcome } from '../../../src/terms.ts';

const NOW_MS = 7_000_000;

function told(exchange: Exchange, ...outcomes: Outcome[]): boolean[] {
  return outcomes.map((outcome) => exchange.ended(outcome, NOW_MS));
}

function down(): Exchange {
  const exchange = new Exchange('default');
  told(exchange, 'unsettled', 'unavailable', 'unsettled');
  return exchange;
}

describe('an exchange', () => {
  test('counts as down at the third call in a row without an answer, and not at the second', () => {
    const exchange = new Exchange('default');
    expect(told(exchange, 'unavailable', 'unsettled')).toEqual([false, false]);
    expect([exchange.downSinceMs, exchange.refuses('normal', NOW_MS)]).toEqual([undefined, undefined]);
    expect(told(exchange, 'unavailable')).toEqual([true]);
    expect(exchange.downSinceMs).toBe(NOW_MS);
  });

  test('whatever answer lies between them ends the row', () => {
    for (const answer of ['ok', 'invalid-nonce', 'rate-limited', 'locked-out'] as const) {
      const exchange = new Exchange('default');
      told(exchange, 'unsettled', 'unsettled', answer, 'unsettled', 'unsettled');
      expect(exchange.downSinceMs).toBeUndefined();
    }
  });

  test('what says nothing does not end the row and does not lengthen it', () => {
    const exchange = new Exchange('default');
    told(exchange, 'unsettled', 'unknown', 'unsettled', 'unused', 'unknown', 'unused');
    expect(exchange.downSinceMs).toBeUndefined();
    expect(told(exchange, 'unsettled')).toEqual([true]);
  });

  test('that is down lets one call through every five seconds, and urgent ones always', () => {
    const exchange = down();
    expect(exchange.refuses('normal', NOW_MS)).toBe(5_000);
    expect(exchange.refuses('background', NOW_MS + 4_999)).toBe(1);
    expect(exchange.refuses('urgent', NOW_MS)).toBeUndefined();
    const probeMs = NOW_MS + 5_000;
    expect(exchange.passed('urgent', probeMs)).toBe(false);
    expect(exchange.refuses('background', probeMs)).toBeUndefined();
    expect(exchange.passed('background', probeMs)).toBe(true);
    expect(exchange.refuses('normal', probeMs)).toBe(5_000);
    expect(exchange.refuses('normal', probeMs + 5_000)).toBeUndefined();
  });

  test('is back by an accepted call and by nothing else, and needs three more to be down again', () => {
    const exchange = down();
    const nothing = told(exchange, 'unknown', 'unused', 'rate-limited', 'invalid-nonce', 'locked-out', 'unavailable');
    expect(nothing).not.toContain(true);
    expect(exchange.downSinceMs).toBe(NOW_MS);
    expect(told(exchange, 'ok')).toEqual([true]);
    expect([exchange.downSinceMs, exchange.refuses('normal', NOW_MS)]).toEqual([undefined, undefined]);
    expect(told(exchange, 'unsettled', 'unsettled')).toEqual([false, false]);
    expect(told(exchange, 'unsettled')).toEqual([true]);
  });

  test('that answers has no probes', () => {
    expect(new Exchange('default').passed('normal', NOW_MS)).toBe(false);
  });
});
