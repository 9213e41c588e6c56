import { describe, expect, test } from 'vitest';
import { fingerprintOf } from '../../../src/client/adapters/fingerprint.ts';
import { termsOf } from '../../../src/client/adapters/kraken.ts';
import { outcomeOfKrakenErrors, outcomeOfStatus } from '../../../src/client/exchanges/answers.ts';

describe('terms of a call', () => {
  test.each([
    'AddOrder',
    'AddOrderBatch',
    'AmendOrder',
    'EditOrder',
    'CancelOrder',
    'CancelOrderBatch',
    'CancelAll',
    'CancelAllOrdersAfter',
  ])('%s changes orders: it goes first and does not count', (method) => {
    expect(termsOf(method)).toEqual({ priority: 'urgent', cost: 0 });
  });

  test.each(['Ledgers', 'QueryLedgers', 'TradesHistory'])('%s reads the past: it waits and counts double', (method) => {
    expect(termsOf(method)).toEqual({ priority: 'background', cost: 2 });
  });

  test.each(['Balance', 'BalanceEx', 'TradeBalance', 'ClosedOrders', 'QueryTrades', 'AddExport'])(
    '%s is polled: it waits and counts once',
    (method) => {
      expect(termsOf(method)).toEqual({ priority: 'background', cost: 1 });
    },
  );

  test.each(['OpenOrders', 'QueryOrders', 'GetWebSocketsToken', 'Withdraw', 'Staking/Assets', 'NewMethod'])(
    '%s is like any other call',
    (method) => {
      expect(termsOf(method)).toEqual({ priority: 'normal', cost: 1 });
    },
  );

  test('a method that is called like a member of every object has the terms of any other', () => {
    for (const method of ['constructor', '__proto__', 'toString', '']) {
      expect(termsOf(method)).toEqual({ priority: 'normal', cost: 1 });
    }
  });
});

describe('outcome of an answer', () => {
  test.each([
    ['EAPI:Invalid nonce', 'invalid-nonce'],
    ['EAPI:Rate limit exceeded', 'rate-limited'],
    ['EAuth:Rate limit exceeded', 'rate-limited'],
    ['EAuth:Too many requests', 'rate-limited'],
    ['EGeneral:Too many requests', 'rate-limited'],
    ['EService: Throttled: 1792345678', 'rate-limited'],
    ['EService:Throttled', 'rate-limited'],
    ['EGeneral:Temporary lockout', 'locked-out'],
    ['EService:Unavailable', 'unavailable'],
    ['EService: Unavailable', 'unavailable'],
    ['EService:Busy', 'unavailable'],
    ['EService:Deadline elapsed', 'unsettled'],
    ['EService:Timeout', 'unsettled'],
    ['EAPI:Invalid key', 'unknown'],
    ['EAPI:Invalid signature', 'unknown'],
    ['EAuth:Account temporary disabled', 'unknown'],
    ['EGeneral:Internal error', 'unknown'],
    ['EGeneral:Internal error:1a2b3c', 'unknown'],
  ])('%s is %s', (error, outcome) => {
    expect(outcomeOfKrakenErrors([error])).toBe(outcome);
  });

  test.each([
    'EOrder:Rate limit exceeded',
    'EOrder:Insufficient funds',
    'EOrder:Unknown order',
    'EGeneral:Permission denied',
    'EGeneral:Invalid arguments:nonce',
    'EQuery:Unknown asset pair',
    'EService:Market in cancel_only mode',
    'EService:Market in post_only mode',
    'WOrder:EAPI:Invalid nonce',
  ])('%s is an answer of a living exchange that took the nonce', (error) => {
    expect(outcomeOfKrakenErrors([error])).toBe('ok');
  });

  test('no error at all is ok', () => {
    expect(outcomeOfKrakenErrors([])).toBe('ok');
  });

  test('of several errors the worst one counts, at whichever position', () => {
    expect(outcomeOfKrakenErrors(['EOrder:Insufficient funds', 'EAPI:Invalid nonce'])).toBe('invalid-nonce');
    expect(outcomeOfKrakenErrors(['EAPI:Invalid nonce', 'EGeneral:Temporary lockout'])).toBe('locked-out');
    expect(outcomeOfKrakenErrors(['EGeneral:Internal error', 'EService:Unavailable'])).toBe('unavailable');
  });

  test('a page of a proxy instead of an answer: 5xx is the exchange away, 429 too many calls, the rest says nothing', () => {
    expect([500, 502, 503, 520, 521, 530].map(outcomeOfStatus)).toEqual(Array(6).fill('unavailable'));
    // A gateway that has stopped waiting.
    expect([408, 504, 524].map(outcomeOfStatus)).toEqual(Array(3).fill('unsettled'));
    expect([418, 420, 429].map(outcomeOfStatus)).toEqual(Array(3).fill('rate-limited'));
    // A proxy that wants credentials is not the exchange.
    expect([301, 400, 401, 403, 404, 407, 409, 511].map(outcomeOfStatus)).toEqual(Array(8).fill(undefined));
  });
});

test('the fingerprint of a key is 16 hex digits that do not hold the key', () => {
  // sha256('abc') begins so, as FIPS 180 has it.
  expect(fingerprintOf('abc')).toBe('ba7816bf8f01cfea');
});
