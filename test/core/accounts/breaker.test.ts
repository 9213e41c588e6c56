import { describe, expect, test } from 'vitest';
import { Breaker } from '../../../src/core/accounts/breaker.ts';
import type { Outcome } from '../../../src/terms.ts';

const MINUTE_MS = 60_000;
const NOW_MS = 5_000_000;

/** Calls that are granted and end at `nowMs`, one after the other. */
function told(breaker: Breaker, outcomes: readonly Outcome[], nowMs = NOW_MS): boolean[] {
  return outcomes.map((outcome) => breaker.ended(outcome, nowMs, nowMs));
}

const times = (count: number, outcome: Outcome): Outcome[] => new Array<Outcome>(count).fill(outcome);

function opened(trouble: 'invalid-nonce' | 'locked-out' = 'invalid-nonce'): Breaker {
  const breaker = new Breaker();
  told(breaker, trouble === 'locked-out' ? ['locked-out'] : times(3, 'invalid-nonce'));
  return breaker;
}

describe('a breaker opens', () => {
  test('at the third rejected nonce in a row, and not at the second', () => {
    const breaker = new Breaker();
    expect(told(breaker, times(2, 'invalid-nonce'))).toEqual([false, false]);
    expect(breaker.isOpen).toBe(false);
    expect(told(breaker, ['invalid-nonce'])).toEqual([true]);
    expect([breaker.isOpen, breaker.trouble, breaker.inARow]).toEqual([true, 'invalid-nonce', 3]);
  });

  test('not if an accepted call lies between them', () => {
    const breaker = new Breaker();
    told(breaker, ['invalid-nonce', 'invalid-nonce', 'ok', 'invalid-nonce', 'invalid-nonce']);
    expect(breaker.isOpen).toBe(false);
    expect(breaker.inARow).toBe(2);
  });

  test('calls that prove nothing about nonces do not end a row of rejected ones', () => {
    for (const between of ['unknown', 'unused', 'unsettled', 'unavailable', 'rate-limited'] as const) {
      const breaker = new Breaker();
      told(breaker, ['invalid-nonce', between, 'invalid-nonce', between, 'invalid-nonce']);
      expect(breaker.isOpen).toBe(true);
    }
  });

  test('at the fifth among the last twenty, and not at the fourth', () => {
    const breaker = new Breaker();
    const spread: Outcome[] = [];
    for (let rejected = 0; rejected < 5; rejected += 1) spread.push('invalid-nonce', 'ok', 'ok', 'ok');
    const changes = told(breaker, spread);
    expect(changes.indexOf(true)).toBe(16);
  });

  test('not at the fifth if the first of them lies twenty calls back', () => {
    const breaker = new Breaker();
    const four = [0, 1, 2, 3].flatMap((): Outcome[] => ['invalid-nonce', 'ok', 'ok', 'ok']);
    told(breaker, [...four, ...times(4, 'ok'), 'invalid-nonce']);
    expect(breaker.isOpen).toBe(false);
    const other = new Breaker();
    told(other, [...four, ...times(3, 'ok'), 'invalid-nonce']);
    expect(other.isOpen).toBe(true);
  });

  test('at one lockout', () => {
    const breaker = opened('locked-out');
    expect(breaker.trouble).toBe('locked-out');
  });

  test('never by anything else, and outcomes that prove nothing do not count', () => {
    const breaker = new Breaker();
    for (const outcome of ['unsettled', 'unavailable', 'rate-limited', 'ok', 'unknown', 'unused'] as const) {
      expect(told(breaker, times(30, outcome))).not.toContain(true);
    }
    expect(breaker.isOpen).toBe(false);
    expect(breaker.isPristine).toBe(true);
  });

  test('an accepted call ends a row even if the rejected ones have left the last twenty', () => {
    const breaker = new Breaker();
    told(breaker, ['invalid-nonce', ...times(20, 'unsettled'), 'ok']);
    expect(breaker.inARow).toBe(0);
    told(breaker, ['invalid-nonce', 'invalid-nonce']);
    expect(breaker.isOpen).toBe(false);
  });

  test('a breaker with a row that is not over is not one that can be forgotten', () => {
    const breaker = new Breaker();
    told(breaker, ['invalid-nonce', ...times(20, 'unsettled')]);
    expect(breaker.isPristine).toBe(breaker.inARow === 0);
  });
});

describe('an open breaker', () => {
  test('lets a probe through after 1, 2, 4, 8 and then every 15 minutes, and nothing else in between', () => {
    const breaker = opened();
    let nowMs = NOW_MS;
    for (const minutes of [1, 2, 4, 8, 15, 15, 15]) {
      const dueMs = nowMs + minutes * MINUTE_MS;
      expect(breaker.refuses('normal', nowMs)?.retryAfterMs).toBe(minutes * MINUTE_MS);
      expect(breaker.refuses('background', dueMs - 1)).toEqual({
        trouble: 'invalid-nonce',
        inARow: 3,
        retryAfterMs: 1,
      });
      expect(breaker.refuses('normal', dueMs)).toBeUndefined();
      expect(breaker.passed('normal', dueMs)).toBeDefined();
      // The probe is used up.
      expect(breaker.refuses('normal', dueMs)).toBeDefined();
      nowMs = dueMs;
    }
  });

  test('a probe that comes late begins the next wait when it begins', () => {
    const breaker = opened();
    const lateMs = NOW_MS + 50 * MINUTE_MS;
    breaker.passed('normal', lateMs);
    expect(breaker.refuses('normal', lateMs)?.retryAfterMs).toBe(2 * MINUTE_MS);
  });

  test('after a lockout the probes are 15 minutes apart from the first one on', () => {
    const breaker = opened('locked-out');
    let nowMs = NOW_MS;
    for (let probe = 0; probe < 3; probe += 1) {
      expect(breaker.refuses('normal', nowMs)?.retryAfterMs).toBe(15 * MINUTE_MS);
      nowMs += 15 * MINUTE_MS;
      breaker.passed('normal', nowMs);
    }
  });

  test('an urgent call passes at once and then once in ten seconds, and is not a probe before its time', () => {
    const breaker = opened();
    expect(breaker.refuses('urgent', NOW_MS)).toBeUndefined();
    expect(breaker.passed('urgent', NOW_MS)).toBeDefined();
    expect(breaker.refuses('urgent', NOW_MS + 9_999)?.retryAfterMs).toBe(1);
    expect(breaker.refuses('urgent', NOW_MS + 10_000)).toBeUndefined();
    breaker.passed('urgent', NOW_MS + 10_000);
    expect(breaker.refuses('normal', NOW_MS + 10_000)?.retryAfterMs).toBe(50_000);
  });

  test('an urgent call at the time of the probe is the probe', () => {
    const breaker = opened();
    breaker.passed('urgent', NOW_MS + MINUTE_MS);
    expect(breaker.refuses('normal', NOW_MS + MINUTE_MS)?.retryAfterMs).toBe(2 * MINUTE_MS);
    expect(breaker.refuses('urgent', NOW_MS + MINUTE_MS)?.retryAfterMs).toBe(10_000);
  });

  test('after a lockout an urgent call passes no sooner than others, and it uses the probe up', () => {
    const breaker = opened('locked-out');
    expect(breaker.refuses('urgent', NOW_MS + 15 * MINUTE_MS - 1)?.retryAfterMs).toBe(1);
    const dueMs = NOW_MS + 15 * MINUTE_MS;
    expect(breaker.refuses('urgent', dueMs)).toBeUndefined();
    breaker.passed('urgent', dueMs);
    expect(breaker.refuses('urgent', dueMs + 10_000)).toBeDefined();
  });

  test('closes by an accepted call that began since it opened, and remembers nothing then', () => {
    const breaker = opened();
    expect(breaker.ended('ok', NOW_MS + MINUTE_MS, NOW_MS + MINUTE_MS + 5)).toBe(true);
    expect([breaker.isOpen, breaker.isPristine, breaker.inARow]).toEqual([false, true, 0]);
    told(breaker, times(2, 'invalid-nonce'), NOW_MS + 2 * MINUTE_MS);
    expect(breaker.isOpen).toBe(false);
  });

  test('is not closed by an accepted call from before it opened', () => {
    const breaker = opened();
    expect(breaker.ended('ok', NOW_MS - 1, NOW_MS + 5)).toBe(false);
    expect(breaker.refuses('normal', NOW_MS + 5)).toBeDefined();
  });

  test('is closed by nothing but that and an operator', () => {
    const breaker = opened();
    for (const outcome of ['unknown', 'unused', 'unsettled', 'unavailable', 'rate-limited', 'invalid-nonce'] as const) {
      told(breaker, times(30, outcome), NOW_MS + 1);
    }
    expect(breaker.isOpen).toBe(true);
    breaker.close();
    expect([breaker.isOpen, breaker.isPristine]).toEqual([false, true]);
    expect(breaker.refuses('normal', NOW_MS)).toBeUndefined();
  });

  test('a probe whose nonce is rejected too does not make the wait any shorter', () => {
    const breaker = opened();
    const probeMs = NOW_MS + MINUTE_MS;
    breaker.passed('normal', probeMs);
    expect(breaker.ended('invalid-nonce', probeMs, probeMs + 300)).toBe(false);
    expect(breaker.refuses('normal', probeMs)?.retryAfterMs).toBe(2 * MINUTE_MS);
    expect(breaker.refuses('normal', probeMs)?.inARow).toBe(4);
  });

  test('a lockout while it is open makes it wait 15 minutes from then, for urgent calls too', () => {
    const breaker = opened();
    const probeMs = NOW_MS + MINUTE_MS;
    breaker.passed('normal', probeMs);
    expect(breaker.ended('locked-out', probeMs, probeMs + 300)).toBe(true);
    expect(breaker.refuses('urgent', probeMs + 300)).toEqual({
      trouble: 'locked-out',
      inARow: 3,
      retryAfterMs: 15 * MINUTE_MS,
    });
  });

  test('rejected nonces after a lockout do not make it a lesser one', () => {
    const breaker = opened('locked-out');
    told(breaker, times(5, 'invalid-nonce'), NOW_MS + 1_000);
    expect(breaker.trouble).toBe('locked-out');
    expect(breaker.refuses('urgent', NOW_MS + 20_000)).toBeDefined();
  });

  test('goes on from what was noted of it', () => {
    const breaker = opened();
    breaker.passed('normal', NOW_MS + MINUTE_MS);
    breaker.passed('urgent', NOW_MS + MINUTE_MS);
    const again = new Breaker(breaker.noted());
    for (const nowMs of [NOW_MS + MINUTE_MS, NOW_MS + 2 * MINUTE_MS, NOW_MS + 3 * MINUTE_MS]) {
      expect(again.refuses('normal', nowMs)).toEqual(breaker.refuses('normal', nowMs));
      expect(again.refuses('urgent', nowMs)).toEqual(breaker.refuses('urgent', nowMs));
    }
    const row = new Breaker();
    told(row, times(2, 'invalid-nonce'));
    const rowAgain = new Breaker(row.noted());
    expect(told(rowAgain, ['invalid-nonce'])).toEqual([true]);
  });
});

test('a closed breaker refuses nothing and has no probes', () => {
  const breaker = new Breaker();
  told(breaker, times(2, 'invalid-nonce'));
  expect(breaker.refuses('background', NOW_MS)).toBeUndefined();
  expect(breaker.passed('urgent', NOW_MS)).toBeUndefined();
});

test('a probe of which nothing was sent is taken back, unless another has been made since', () => {
  const breaker = opened();
  const dueMs = NOW_MS + MINUTE_MS;
  const probe = breaker.passed('normal', dueMs);
  if (probe === undefined) throw new Error('no probe');
  breaker.ended('unsettled', dueMs, dueMs);
  breaker.takeBack(probe);
  expect(breaker.refuses('normal', dueMs)).toBeUndefined();
  // And the next one is due as if this had been the first.
  breaker.passed('normal', dueMs);
  expect(breaker.refuses('normal', dueMs)?.retryAfterMs).toBe(2 * MINUTE_MS);
  breaker.passed('normal', dueMs + 2 * MINUTE_MS);
  breaker.takeBack(probe);
  expect(breaker.refuses('normal', dueMs + 2 * MINUTE_MS)).toBeDefined();
  const urgent = breaker.passed('urgent', dueMs + 2 * MINUTE_MS);
  expect(breaker.refuses('urgent', dueMs + 2 * MINUTE_MS)).toBeDefined();
  if (urgent !== undefined) breaker.takeBack(urgent);
  expect(breaker.refuses('urgent', dueMs + 2 * MINUTE_MS)).toBeUndefined();
  breaker.close();
  breaker.takeBack(probe);
  expect(breaker.isPristine).toBe(true);
});
