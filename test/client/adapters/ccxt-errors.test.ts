import { createRequire } from 'node:module';
import ccxt from 'ccxt';
import { expect, test } from 'vitest';
import { errorClassesOf, neverSent, outcomeOfError } from '../../../src/client/adapters/ccxt-errors.ts';
import { EXCHANGES } from '../../../src/client/adapters/ccxt-exchanges.ts';
import { ERROR_CODES, type ErrorCode, NoncedError, refusal } from '../../../src/errors.ts';
import type { Outcome } from '../../../src/terms.ts';
import { bench, type CcxtClass, json, REST } from '../../fixtures/ccxt-stub.ts';

const KRAKEN = REST['kraken'] as CcxtClass;
const NONCE = 1_795_364_912_801_000_000n;

const other = (code: string) => Object.assign(new Error(code), { code });

type Errors = Readonly<Record<string, new (message: string) => Error>>;
const ERRORS = ccxt as unknown as Errors;
const classes = errorClassesOf(new KRAKEN());

test.each([...EXCHANGES.keys()])("%s leads to ccxt's own error classes", (id) => {
  const found = errorClassesOf(new (REST[id] as CcxtClass)());
  for (const [name, errorClass] of Object.entries(found)) expect(errorClass).toBe(ERRORS[name]);
  expect(Object.keys(found)).toContain('RequestTimeout');
});

test('a class that is not of ccxt 4 is named', () => {
  expect(() => errorClassesOf({ httpExceptions: { 500: Error } })).toThrow('nonced-client/ccxt is for ccxt 4');
  const { '418': _, ...others } = new KRAKEN().httpExceptions;
  expect(() => errorClassesOf({ httpExceptions: others })).toThrow('has no DDoSProtection');
});

test("the errors are of the bot's copy of ccxt, also where that is the one for require()", async () => {
  const copy = createRequire(import.meta.url)('ccxt') as Errors & { kraken: CcxtClass };
  expect(copy['NetworkError']).not.toBe(ERRORS['NetworkError']);
  const { daemon, exchange } = await bench(copy.kraken, {}, { options: { maxRetriesOnFailure: 1 } });
  const answered = exchange.fetch2('Balance', 'private', 'POST', {});
  (await daemon.hear('acquire')).refuse('NOT_DURABLE');
  const failed = expect(answered).rejects.toThrow(copy['ExchangeNotAvailable']);
  // ccxt itself knows it, and tries again.
  (await daemon.hear('acquire')).refuse('NOT_DURABLE');
  await failed;
});

const REFUSALS: Readonly<Record<ErrorCode, readonly [name: string, retried: boolean]>> = {
  UNAVAILABLE: ['ExchangeNotAvailable', true],
  SHUTTING_DOWN: ['ExchangeNotAvailable', true],
  WAIT_TIMEOUT: ['ExchangeNotAvailable', true],
  NOT_DURABLE: ['ExchangeNotAvailable', true],
  LIMIT: ['ExchangeNotAvailable', true],
  EXCHANGE_DOWN: ['ExchangeNotAvailable', true],
  DRAINING: ['ExchangeNotAvailable', true],
  LEASE_LOST: ['ExchangeNotAvailable', true],
  PACED: ['RateLimitExceeded', true],
  QUARANTINED: ['AuthenticationError', false],
  PAUSED: ['AuthenticationError', false],
  BAD_REQUEST: ['ExchangeError', false],
  UNIT_MISMATCH: ['ExchangeError', false],
  KEY_MISMATCH: ['ExchangeError', false],
  NESTED_LANE: ['ExchangeError', false],
  TOO_LARGE: ['ExchangeError', false],
  UNKNOWN_METHOD: ['ExchangeError', false],
  FORBIDDEN: ['ExchangeError', false],
  CANCELLED: ['ExchangeError', false],
  UNSUPPORTED: ['ExchangeError', false],
};

test.each(ERROR_CODES)('%s says that nothing was sent, in a class that ccxt retries or not as it should', (code) => {
  const [name, retried] = REFUSALS[code];
  const cause = new NoncedError(refusal(code, 'the fact; the fix', 5_000));
  const error = neverSent(classes, 'kraken AddOrder', cause);
  expect(error.name).toBe(name);
  expect(error).toBeInstanceOf(ERRORS[name]);
  expect(error instanceof ccxt.OperationFailed).toBe(retried);
  expect(error.message).toBe('kraken AddOrder was not sent: the fact; the fix');
  expect(error.cause).toBe(cause);
});

test.each<ErrorCode>(['QUARANTINED', 'PAUSED', 'UNIT_MISMATCH', 'KEY_MISMATCH'])(
  'refused with %s, a call is not tried again and nothing goes out',
  async (code) => {
    const { daemon, exchange, transport } = await bench(KRAKEN, {}, { options: { maxRetriesOnFailure: 5 } });
    const answered = exchange.fetch2('Balance', 'private', 'POST', {});
    const failed = expect(answered).rejects.toMatchObject({ cause: { code, sent: false } });
    (await daemon.hear('acquire')).refuse(code);
    await failed;
    expect(daemon.methods()).toEqual([]);
    expect(transport.sent).toEqual([]);
  },
);

test.each<[status: number, answer: object | string, Outcome]>([
  [200, { error: [], result: {} }, 'ok'],
  [200, { error: ['EAPI:Invalid nonce'] }, 'invalid-nonce'],
  [200, { error: ['EAPI:Rate limit exceeded'] }, 'rate-limited'],
  [200, { error: ['EGeneral:Temporary lockout'] }, 'locked-out'],
  [200, { error: ['EService:Unavailable'] }, 'unavailable'],
  [200, { error: ['EService:Busy'] }, 'unavailable'],
  [200, { error: ['EOrder:Insufficient funds'] }, 'ok'],
  [200, { error: ['EAPI:Invalid key'] }, 'unknown'],
  [502, '<html>', 'unavailable'],
  [503, '', 'unavailable'],
  [520, '<html>', 'unavailable'],
  [429, '', 'rate-limited'],
  [504, '', 'unsettled'],
])("Kraken's answer %i %j is reported as %s", async (status, answer, outcome) => {
  const { daemon, exchange, grant, transport } = await bench(KRAKEN);
  transport.answer = () => (typeof answer === 'string' ? new Response(answer, { status }) : json(answer, status));
  const ended = exchange.fetch2('AddOrder', 'private', 'POST', {}).catch(() => {});
  await grant(NONCE);
  await ended;
  expect((await daemon.hear('release')).params['outcome']).toBe(outcome);
});

test('a connection that breaks, and an answer that is cut off, are reported as unsettled', async () => {
  const { daemon, exchange, grant, transport } = await bench(KRAKEN);
  transport.answer = () => Promise.reject(other('ECONNRESET'));
  const broken = exchange.fetch2('AddOrder', 'private', 'POST', {});
  const failed = expect(broken).rejects.toThrow(ccxt.NetworkError);
  await grant(NONCE);
  await failed;
  expect((await daemon.hear('release')).params['outcome']).toBe('unsettled');
  transport.answer = () =>
    new Response(
      new ReadableStream({
        start: (body) => body.error(Object.assign(new TypeError('terminated'), { cause: other('UND_ERR_SOCKET') })),
      }),
    );
  const cut = exchange.fetch2('AddOrder', 'private', 'POST', {});
  const ended = expect(cut).rejects.toThrow('terminated');
  await grant(NONCE);
  await ended;
  expect((await daemon.hear('release')).params['outcome']).toBe('unsettled');
});

test.each<[id: string, status: number, answer: object, Outcome]>([
  ['bitfinex', 500, ['error', 10114, 'nonce: small'], 'invalid-nonce'],
  ['bitso', 400, { success: false, error: { code: '104', message: 'Cannot perform request' } }, 'invalid-nonce'],
  ['gemini', 400, { result: 'error', reason: 'InvalidNonce', message: 'Nonce too small' }, 'invalid-nonce'],
  [
    'bit2c',
    200,
    { error: 'Please provide valid nonce in Request Nonce (1) is not bigger than last nonce (1).' },
    'invalid-nonce',
  ],
  ['btcbox', 200, { result: false, code: '106' }, 'invalid-nonce'],
  ['coincheck', 401, { success: false, error: 'Nonce must be incremented' }, 'invalid-nonce'],
  ['coinmate', 200, { error: true, errorMessage: 'Access denied: bad nonce' }, 'invalid-nonce'],
  ['bitfinex', 500, ['error', 11010, 'ratelimit: error'], 'rate-limited'],
])('%s answering %i %j is reported as %s', async (id, status, answer, outcome) => {
  const { daemon, exchange, grant, transport } = await bench(REST[id] as CcxtClass);
  transport.answer = () => json(answer, status);
  const paths: Readonly<Record<string, readonly [string, string]>> = {
    bitfinex: ['auth/r/wallets', 'POST'],
    bitso: ['balance', 'GET'],
    gemini: ['v1/balances', 'POST'],
    bit2c: ['Account/Balance', 'GET'],
    btcbox: ['balance', 'POST'],
    coincheck: ['accounts/balance', 'GET'],
    coinmate: ['balances', 'POST'],
  };
  const [path, method] = paths[id] ?? ['', ''];
  const ended = exchange.fetch2(path, 'private', method, {}).catch((error: unknown) => error);
  await grant(1_795_364_912_801n);
  const error = await ended;
  expect(error).toBeInstanceOf(ccxt.BaseError);
  expect((await daemon.hear('release')).params['outcome']).toBe(outcome);
});

test.each<[name: string, message: string, Outcome]>([
  ['InsufficientFunds', 'not enough', 'ok'],
  ['OrderNotFound', 'no such order', 'ok'],
  ['AuthenticationError', 'bad key', 'unknown'],
  ['PermissionDenied', 'not allowed', 'unknown'],
  ['PermissionDenied', 'Nonce is too low', 'invalid-nonce'],
  ['ExchangeError', 'anything', 'unknown'],
  ['ExchangeError', 'GET https://bit2c.co.il/Account/Balance?nonce=5 400 Bad Request', 'unknown'],
  ['OnMaintenance', 'until noon', 'unavailable'],
  ['DDoSProtection', 'slower', 'rate-limited'],
  ['RequestTimeout', 'timed out', 'unsettled'],
  ['NetworkError', 'fetch failed', 'unsettled'],
  ['BadResponse', 'no JSON', 'unknown'],
])('elsewhere %s (%s) is reported as %s', (name, message, outcome) => {
  const ErrorClass = ERRORS[name] as Errors[string];
  expect(outcomeOfError('mercado', classes, new ErrorClass(message))).toBe(outcome);
});

test('an error that is not from ccxt says nothing about the exchange', () => {
  expect(outcomeOfError('kraken', classes, new TypeError('{"error":"broken"'))).toBe('unknown');
  expect(outcomeOfError('kraken', classes, 'a string')).toBe('unknown');
});
