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

test("the errors are of the bot's copy of ccxt, even if that is the one for require()", async () => {
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

const PATHS: Readonly<Record<string, readonly [path: string, method: string, api?: string | readonly string[]]>> = {
  bitfinex: ['auth/r/wallets', 'POST'],
  bitso: ['balance', 'GET'],
  gemini: ['v1/balances', 'POST'],
  bit2c: ['Account/Balance', 'GET'],
  btcbox: ['balance', 'POST'],
  coincheck: ['accounts/balance', 'GET'],
  coinmate: ['balances', 'POST'],
  whitebit: ['trade-account/balance', 'POST', ['v4', 'private']],
  coinspot: ['my/balances', 'POST'],
  coinone: ['account/balance/', 'POST', 'v2Private'],
  independentreserve: ['GetAccounts', 'POST'],
  mercado: ['get_account_info', 'POST'],
  p2b: ['account/balances', 'POST'],
  paymium: ['user', 'GET'],
};

test('every exchange has its refusals here', () => {
  expect(Object.keys(PATHS).sort()).toEqual([...EXCHANGES.keys()].filter((id) => id !== 'kraken').sort());
});

test.each<[id: string, status: number, answer: object | string, Outcome]>([
  ['bitfinex', 500, ['error', 10114, 'nonce: small'], 'invalid-nonce'],
  ['bitfinex', 500, ['error', 11010, 'ratelimit: error'], 'rate-limited'],
  ['bitfinex', 429, { error: 'ERR_RATE_LIMIT' }, 'rate-limited'],
  ['bitfinex', 500, ['error', 20060, 'maintenance'], 'unavailable'],
  ['bitfinex', 503, { code: 503, error: 'temporarily_unavailable', error_description: 'Sorry' }, 'unavailable'],
  ['bitfinex', 500, ['error', 10100, 'apikey: invalid'], 'unknown'],
  ['bitfinex', 500, ['error', 10001, 'Invalid order: not enough exchange balance'], 'ok'],
  ['bitso', 400, { success: false, error: { code: '104', message: 'Cannot perform request' } }, 'invalid-nonce'],
  [
    'bitso',
    401,
    { success: false, error: { code: '0201', message: 'Invalid Nonce or Invalid Credentials' } },
    'invalid-nonce',
  ],
  ['bitso', 420, { success: false, error: { code: '0200', message: 'Too many requests' } }, 'rate-limited'],
  ['bitso', 400, { success: false, error: { code: '0304', message: 'The field is invalid' } }, 'ok'],
  ['gemini', 400, { result: 'error', reason: 'InvalidNonce', message: 'too small' }, 'invalid-nonce'],
  [
    'gemini',
    400,
    { result: 'error', reason: 'BadNonce', message: 'Out-of-sequence nonce <1> precedes <2>' },
    'invalid-nonce',
  ],
  [
    'gemini',
    400,
    { result: 'error', reason: 'InvalidNonce', message: "Nonce '1' is not within 30 seconds" },
    'invalid-nonce',
  ],
  ['gemini', 429, { result: 'error', reason: 'RateLimit', message: 'slower' }, 'rate-limited'],
  ['gemini', 503, { result: 'error', reason: 'Maintenance', message: 'down' }, 'unavailable'],
  ['gemini', 406, { result: 'error', reason: 'InsufficientFunds', message: 'none' }, 'ok'],
  ['gemini', 400, { result: 'error', reason: 'InvalidApiKey', message: 'no' }, 'unknown'],
  // Its word for a nonce that is not higher than the last one.
  ['whitebit', 429, { code: 10, message: 'Too many requests.' }, 'invalid-nonce'],
  [
    'whitebit',
    422,
    { code: 1, message: 'Your nonce is more than 5 seconds lesser than the current nonce' },
    'invalid-nonce',
  ],
  ['whitebit', 429, '', 'rate-limited'],
  ['whitebit', 422, { code: 9, message: 'Nonce not provided.' }, 'unknown'],
  ['whitebit', 200, { response: null, status: 503, errors: { message: [''] } }, 'unavailable'],
  ['whitebit', 401, { code: 10, message: 'Unauthorized request.' }, 'unknown'],
  [
    'bit2c',
    200,
    { error: 'Please provide valid nonce in Request Nonce (1) is not bigger than last nonce (1).' },
    'invalid-nonce',
  ],
  ['bit2c', 200, { error: 'Please provide valid APIkey' }, 'unknown'],
  ['bit2c', 200, { Error: 'No order found.' }, 'ok'],
  ['btcbox', 200, { result: false, code: '106' }, 'invalid-nonce'],
  ['btcbox', 200, { result: false, code: '402' }, 'rate-limited'],
  ['btcbox', 200, { result: false, code: '200' }, 'ok'],
  ['coincheck', 401, { success: false, error: 'Nonce must be incremented' }, 'invalid-nonce'],
  ['coincheck', 401, { success: false, error: 'invalid authentication' }, 'unknown'],
  ['coinmate', 200, { error: true, errorMessage: 'Access denied: bad nonce' }, 'invalid-nonce'],
  ['coinmate', 200, { error: true, errorMessage: 'TOO MANY REQUESTS' }, 'rate-limited'],
  ['coinmate', 200, { error: true, errorMessage: 'Not enough account balance available' }, 'ok'],
  ['coinmate', 200, { error: true, errorMessage: 'Access denied.' }, 'unknown'],
  ['coinspot', 400, { status: 'error', message: 'Invalid nonce' }, 'invalid-nonce'],
  ['coinspot', 401, { status: 'error', message: 'Invalid API Key' }, 'unknown'],
  ['coinone', 200, { result: 'error', error_code: '131', error_msg: 'Bad value' }, 'invalid-nonce'],
  ['coinone', 200, { result: 'error', error_code: '405', error_msg: 'Server error' }, 'unavailable'],
  ['coinone', 200, { result: 'error', error_code: '104', error_msg: 'Order id is not exist' }, 'ok'],
  // HTTP 400, of which ccxt says ExchangeNotAvailable.
  ['independentreserve', 400, { Message: 'Nonce must be greater than the previous one' }, 'invalid-nonce'],
  ['independentreserve', 400, { Message: 'Invalid parameter' }, 'unknown'],
  ['independentreserve', 429, { Message: 'Throttled' }, 'rate-limited'],
  ['mercado', 200, { status_code: 203, error_message: 'Valor do *tapi_nonce* inválido' }, 'invalid-nonce'],
  ['mercado', 200, { status_code: 429, error_message: 'Limite' }, 'rate-limited'],
  ['mercado', 503, { status: 503, message: 'Maintenancing, try again later', result: null }, 'unavailable'],
  ['p2b', 422, { success: false, errorCode: 1016, message: 'Not unique nonce.', result: [] }, 'invalid-nonce'],
  ['p2b', 422, { success: false, errorCode: 1012, message: 'Invalid nonce.', result: [] }, 'unknown'],
  ['p2b', 429, { success: false, errorCode: 1013, message: 'Too many requests.', result: [] }, 'rate-limited'],
  [
    'p2b',
    200,
    { success: false, errorCode: 4001, message: 'Service temporary unavailable.', result: [] },
    'unavailable',
  ],
  ['p2b', 422, { success: false, errorCode: 2040, message: 'Insufficient balance.', result: [] }, 'ok'],
  ['paymium', 401, { errors: ['Invalid nonce'] }, 'invalid-nonce'],
  ['paymium', 401, { errors: ['Unauthorized'] }, 'unknown'],
  // A page in front of the exchange, whose scripts have nonces of their own.
  ['coinspot', 403, '<html><script nonce="5">Attention Required!</script>', 'unknown'],
  ['gemini', 503, '<html><script nonce="5">', 'unavailable'],
])('%s answering %i %j is reported as %s', async (id, status, answer, outcome) => {
  const { daemon, exchange, grant, transport } = await bench(REST[id] as CcxtClass);
  transport.answer = () => (typeof answer === 'string' ? new Response(answer, { status }) : json(answer, status));
  const [path, method, api = 'private'] = PATHS[id] ?? ['', ''];
  const ended = exchange.fetch2(path, api, method, {}).catch((error: unknown) => error);
  await grant(EXCHANGES.get(id)?.units[0] === 's' ? 1_795_364_912n : 1_795_364_912_801n);
  const error = await ended;
  expect(error).toBeInstanceOf(ccxt.BaseError);
  expect((await daemon.hear('release')).params['outcome']).toBe(outcome);
});

test('an answer finds its call, with several under way', async () => {
  const { daemon, make, grant, transport } = await bench(KRAKEN);
  const answers: ((response: Response) => void)[] = [];
  transport.answer = () => new Promise((resolve) => answers.push(resolve));
  const exchange = make();
  const calls = [0, 1].map(() => exchange.fetch2('Balance', 'private', 'POST', {}).catch(() => {}));
  await grant(NONCE);
  await grant(NONCE + 1n);
  await transport.arrived(2);
  answers[1]?.(json({ error: ['EAPI:Invalid nonce'] }));
  expect((await daemon.hear('release')).params).toMatchObject({ token: 2n, outcome: 'invalid-nonce' });
  answers[0]?.(json({ error: ['EGeneral:Temporary lockout'] }));
  expect((await daemon.hear('release')).params).toMatchObject({ token: 1n, outcome: 'locked-out' });
  await Promise.all(calls);
});

const answered = (status: number, body = '{"oops":1}') => ({ status, body });

test.each<[name: string, status: number, Outcome]>([
  ['InsufficientFunds', 200, 'ok'],
  ['OrderNotFound', 404, 'ok'],
  ['AuthenticationError', 401, 'unknown'],
  ['PermissionDenied', 403, 'unknown'],
  ['ExchangeError', 400, 'unknown'],
  // An exchange that answers is not down.
  ['ExchangeNotAvailable', 400, 'unknown'],
  ['ExchangeNotAvailable', 403, 'unknown'],
  ['ExchangeNotAvailable', 404, 'unknown'],
  ['ExchangeNotAvailable', 409, 'unknown'],
  ['ExchangeNotAvailable', 503, 'unavailable'],
  ['OnMaintenance', 200, 'unavailable'],
  ['DDoSProtection', 429, 'rate-limited'],
  ['RequestTimeout', 504, 'unsettled'],
  ['BadResponse', 200, 'unknown'],
])('elsewhere %s with status %i is reported as %s', (name, status, outcome) => {
  const error = new (ERRORS[name] as Errors[string])('mercado POST');
  const call = { exchange: 'mercado', answer: answered(status), isProxied: false, error };
  expect(outcomeOfError(classes, call)).toBe(outcome);
});

const unanswered = (error: unknown, isProxied = false) =>
  outcomeOfError(classes, { exchange: 'kraken', answer: undefined, isProxied, error });

// These are what ccxt 4.5 throws, word for word.
test.each<[what: string, name: string, message: string, code: string | undefined, Outcome, proxied: Outcome]>([
  ['no name', 'NetworkError', 'fetch failed: getaddrinfo ENOTFOUND nowhere.invalid', undefined, 'unused', 'unused'],
  ['no DNS', 'NetworkError', 'fetch failed: getaddrinfo EAI_AGAIN api.kraken.com', undefined, 'unused', 'unused'],
  [
    'nothing listens',
    'NetworkError',
    'fetch failed: connect ECONNREFUSED 127.0.0.1:9',
    undefined,
    'unavailable',
    'unused',
  ],
  ['a newline in the key', 'InvalidArgumentError', 'invalid API-Key header', 'UND_ERR_INVALID_ARG', 'unused', 'unused'],
  ['a wrong scheme', 'InvalidArgumentError', 'Invalid URL protocol', 'UND_ERR_INVALID_ARG', 'unused', 'unused'],
  ['a proxy that is none', 'TypeError', 'Invalid URL', 'ERR_INVALID_URL', 'unused', 'unused'],
  ['a certificate', 'Error', 'self-signed certificate', 'DEPTH_ZERO_SELF_SIGNED_CERT', 'unused', 'unused'],
  ['two proxies', 'InvalidProxySettings', 'conflicting proxy settings', undefined, 'unused', 'unused'],
  [
    'a URL that is none',
    'NetworkError',
    'kraken POST not a url/0/private/Balance fetch failed',
    undefined,
    'unknown',
    'unknown',
  ],
  ['a reset', 'NetworkError', 'fetch failed: read ECONNRESET', undefined, 'unsettled', 'unsettled'],
  ['a closed socket', 'NetworkError', 'fetch failed: other side closed', undefined, 'unsettled', 'unsettled'],
  ['a timeout', 'RequestTimeout', 'timed out', undefined, 'unsettled', 'unsettled'],
  [
    'words without an answer',
    'ExchangeError',
    'kraken {"error":["EAPI:Invalid nonce"]}',
    undefined,
    'invalid-nonce',
    'invalid-nonce',
  ],
  [
    'a mistake of the bot',
    'TypeError',
    "Cannot read properties of undefined (reading 'nonce')",
    undefined,
    'unknown',
    'unknown',
  ],
])('%s is reported as what it is', (_, name, message, code, outcome, proxied) => {
  const ErrorClass = ERRORS[name] ?? Error;
  const error = Object.assign(new ErrorClass(message), code === undefined ? {} : { code });
  error.name = name;
  expect([unanswered(error), unanswered(error, true)]).toEqual([outcome, proxied]);
});

test('what is no error says nothing about the exchange', () => {
  expect(unanswered('a string')).toBe('unknown');
});
