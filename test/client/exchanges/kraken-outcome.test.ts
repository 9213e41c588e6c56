import { describe, expect, test } from 'vitest';
import type { CallEnd } from '../../../src/client/api.ts';
import { outcomeOfThrown, outcomeOfTransportCode } from '../../../src/client/exchanges/answers.ts';
import { krakenOutcome } from '../../../src/client/exchanges/kraken-outcome.ts';
import { NoncedError, refusal } from '../../../src/errors.ts';
import type { Outcome } from '../../../src/terms.ts';
import { FakeDaemon } from '../fake-daemon.ts';

const threw = (error: unknown): CallEnd => ({ ok: false, error });
const coded = (code: string) => Object.assign(new Error('failed'), { code });

describe('krakenOutcome', () => {
  test.each<[what: string, end: CallEnd, Outcome]>([
    ['a result', { ok: true, value: { error: [], result: {} } }, 'ok'],
    ['nothing at all', { ok: true, value: undefined }, 'ok'],
    ['an answer that was returned', { ok: true, value: { error: ['EAPI:Invalid nonce'] } }, 'invalid-nonce'],
    ['one with a mere refusal', { ok: true, value: { error: ['EOrder:Insufficient funds'] } }, 'ok'],
    ['a result of another kind', { ok: true, value: { error: ['nonce'] } }, 'ok'],
    ['an error with its words', threw(new Error('EGeneral:Temporary lockout')), 'locked-out'],
    ['an error with a list', threw(Object.assign(new Error('x'), { errors: ['EAPI:Invalid nonce'] })), 'invalid-nonce'],
    ['an answer that was thrown', threw({ error: ['EService:Unavailable'] }), 'unavailable'],
    [
      "a library's body",
      threw({ response: { status: 200, data: { error: ['EAPI:Rate limit exceeded'] } } }),
      'rate-limited',
    ],
    ['a refusal that was thrown', threw(new Error('Kraken says EOrder:Unknown order')), 'ok'],
    ['a status', threw(Object.assign(new Error('HTTP 503'), { status: 503 })), 'unavailable'],
    ["a library's status", threw({ response: { statusCode: 429 } }), 'rate-limited'],
    ['an answer about something else', threw(Object.assign(new Error('HTTP 403'), { status: 403 })), 'unknown'],
    ['a timeout', threw(new DOMException('timed out', 'TimeoutError')), 'unsettled'],
    ['a reset', threw(coded('ECONNRESET')), 'unsettled'],
    ["fetch's cause", threw(new TypeError('fetch failed', { cause: coded('ENOTFOUND') })), 'unused'],
    ['nothing listens', threw(coded('ECONNREFUSED')), 'unavailable'],
    ['a lost lease', threw(new NoncedError(refusal('LEASE_LOST', 'x'), { sent: 'unknown' })), 'unsettled'],
    ['a mistake of the bot', threw(new TypeError("Cannot read properties of undefined (reading 'nonce')")), 'unknown'],
    ['nothing', threw(undefined), 'unknown'],
  ])('reads %s', (_, end, outcome) => {
    expect(krakenOutcome(end)).toBe(outcome);
  });
});

describe('without an outcome of its own, an exclusive tells', () => {
  async function told(fn: () => unknown, outcome?: (end: CallEnd) => Outcome | undefined): Promise<unknown> {
    const daemon = new FakeDaemon();
    const client = await daemon.connect();
    const call = client.exclusive({ outcome }, async () => fn()).catch(() => {});
    (await daemon.hear('acquire')).grant({ token: 1n, nonce: 5n, ttlMs: 15_000 });
    await call;
    return (await daemon.hear('release')).params['outcome'];
  }
  const fails = (error: unknown) => () => {
    throw error;
  };

  test.each<[what: string, fn: () => unknown, Outcome]>([
    ["Kraken's words that were thrown", fails(new Error('EAPI:Invalid nonce')), 'invalid-nonce'],
    ["Kraken's answer that was returned", () => ({ error: ['EAPI:Invalid nonce'] }), 'invalid-nonce'],
    ['words deep in a cause', fails(new Error('call failed', { cause: new Error('invalid nonce') })), 'invalid-nonce'],
    ["ccxt's class", fails(Object.assign(new Error('bitfinex 10114'), { name: 'InvalidNonce' })), 'invalid-nonce'],
    ["Bitfinex's words", fails(new Error('["error",10114,"nonce: small"]')), 'invalid-nonce'],
    ["Independent Reserve's", fails(new Error('Nonce must be greater than the last')), 'invalid-nonce'],
    ['a refusal of ours within it', fails(new NoncedError(refusal('BAD_REQUEST', 'invalid nonce'))), 'unknown'],
    // They may be of a database, or of a price feed.
    ['nothing of a code', fails(coded('ECONNREFUSED')), 'unknown'],
    ['nothing of a status', fails(Object.assign(new Error('HTTP 503'), { status: 503 })), 'unknown'],
    ['nothing of a mistake', fails(new ReferenceError('nonce is not defined')), 'unknown'],
    ['nothing of a long text', fails(new Error(`${'x'.repeat(5_000)} EAPI:Invalid nonce`)), 'unknown'],
  ])('%s', async (_, fn, outcome) => {
    expect(await told(fn)).toBe(outcome);
    // A hook that answers undefined leaves it to this.
    expect(await told(fn, () => undefined)).toBe(outcome);
    expect(await told(fn, () => 'rate-limited')).toBe('rate-limited');
  });

  test('also if the error refers to itself', () => {
    const error: { cause?: unknown } = new Error('x');
    error.cause = error;
    expect(outcomeOfThrown(error)).toBe('unknown');
  });
});

test.each<[code: string, Outcome, proxied: Outcome]>([
  ...['ENOTFOUND', 'EAI_AGAIN', 'ERR_INVALID_URL', 'ERR_INVALID_CHAR', 'UND_ERR_INVALID_ARG', 'EMFILE'].map(
    (code): [string, Outcome, Outcome] => [code, 'unused', 'unused'],
  ),
  ...['CERT_HAS_EXPIRED', 'ERR_TLS_CERT_ALTNAME_INVALID', 'UNABLE_TO_GET_ISSUER_CERT_LOCALLY'].map(
    (code): [string, Outcome, Outcome] => [code, 'unused', 'unused'],
  ),
  ['ECONNREFUSED', 'unavailable', 'unused'],
  ['EHOSTUNREACH', 'unavailable', 'unused'],
  ['ENETUNREACH', 'unavailable', 'unused'],
  ...['ECONNRESET', 'ETIMEDOUT', 'EPIPE', 'UND_ERR_HEADERS_TIMEOUT', 'UND_ERR_SOCKET'].map(
    (code): [string, Outcome, Outcome] => [code, 'unsettled', 'unsettled'],
  ),
])('%s is %s, and behind a proxy %s', (code, outcome, proxied) => {
  expect([outcomeOfTransportCode(code), outcomeOfTransportCode(code, true)]).toEqual([outcome, proxied]);
});
