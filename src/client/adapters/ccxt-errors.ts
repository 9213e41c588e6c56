import { type ErrorCode, type NoncedError, systemErrorCode } from '../../errors.ts';
import type { Outcome } from '../../terms.ts';
import { outcomeOfErrors } from './kraken.ts';

type ErrorClass = new (message: string) => Error;

const NAMES = [
  'AuthenticationError',
  'DDoSProtection',
  'ExchangeError',
  'ExchangeNotAvailable',
  'NetworkError',
  'RateLimitExceeded',
  'RequestTimeout',
] as const;
type ErrorName = (typeof NAMES)[number];

/** ccxt's own classes, of the very copy of ccxt that the exchange is from. */
export type ErrorClasses = Readonly<Record<ErrorName, ErrorClass>>;

/**
 * Finds ccxt's error classes by way of an exchange. Imported, they could be those of a second copy of ccxt (CommonJS
 * beside modules): neither the bot's `instanceof` nor ccxt's own would know them.
 */
export function errorClassesOf(exchange: { readonly httpExceptions: Readonly<Record<string, unknown>> }): ErrorClasses {
  const found = new Map<string, ErrorClass>();
  for (const value of Object.values(exchange.httpExceptions)) {
    for (let at = value; typeof at === 'function' && at.prototype instanceof Error; at = Object.getPrototypeOf(at)) {
      const errorClass = at as ErrorClass;
      // ccxt names each error after its class; a bundler may have renamed the class itself.
      found.set(new errorClass('').name, errorClass);
    }
  }
  const missing = NAMES.filter((name) => !found.has(name));
  if (missing.length > 0) throw new Error(`this ccxt has no ${missing.join(', ')}; nonced-client/ccxt is for ccxt 4`);
  return Object.fromEntries(found) as unknown as ErrorClasses;
}

/** What a refusal is called in ccxt. ccxt's `maxRetriesOnFailure` repeats the first two kinds and no others. */
const CLASS_OF: Readonly<Record<ErrorCode, ErrorName>> = {
  UNAVAILABLE: 'ExchangeNotAvailable',
  SHUTTING_DOWN: 'ExchangeNotAvailable',
  WAIT_TIMEOUT: 'ExchangeNotAvailable',
  NOT_DURABLE: 'ExchangeNotAvailable',
  LIMIT: 'ExchangeNotAvailable',
  EXCHANGE_DOWN: 'ExchangeNotAvailable',
  DRAINING: 'ExchangeNotAvailable',
  LEASE_LOST: 'ExchangeNotAvailable',
  PACED: 'RateLimitExceeded',
  QUARANTINED: 'AuthenticationError',
  PAUSED: 'AuthenticationError',
  BAD_REQUEST: 'ExchangeError',
  UNIT_MISMATCH: 'ExchangeError',
  KEY_MISMATCH: 'ExchangeError',
  NESTED_LANE: 'ExchangeError',
  TOO_LARGE: 'ExchangeError',
  UNKNOWN_METHOD: 'ExchangeError',
  FORBIDDEN: 'ExchangeError',
  CANCELLED: 'ExchangeError',
  UNSUPPORTED: 'ExchangeError',
};

/** A call that was never sent. Its `cause` is the refusal. */
export function neverSent(classes: ErrorClasses, call: string, cause: NoncedError): Error {
  return because(new classes[CLASS_OF[cause.code]](`${call} was not sent: ${cause.message}`), cause);
}

/** A call that was sent, or may have been, and that is not waited for any more. */
export function neverAnswered(classes: ErrorClasses, call: string, reason: string, cause?: NoncedError): Error {
  const message = `${call} may have been carried out: ${reason}; look on the exchange before you send it again`;
  return because(new classes.RequestTimeout(message), cause);
}

function because(error: Error, cause: NoncedError | undefined): Error {
  if (cause !== undefined) {
    Object.defineProperty(error, 'cause', { value: cause, configurable: true, writable: true, enumerable: false });
  }
  return error;
}

/** How a call ended that was sent and that ccxt rejected with `error`. */
export function outcomeOfError(id: string, classes: ErrorClasses, error: unknown): Outcome {
  if (!(error instanceof Error)) return 'unknown';
  const answered = id === 'kraken' ? krakenErrors(error.message) : undefined;
  if (answered !== undefined) return outcomeOfErrors(answered);
  const is = (name: ErrorName) => error instanceof classes[name];
  if (error.name === 'InvalidNonce' || (is('ExchangeError') && speaksOfNonce(error.message))) return 'invalid-nonce';
  if (is('RateLimitExceeded') || is('DDoSProtection')) return 'rate-limited';
  if (is('ExchangeNotAvailable')) return 'unavailable';
  // A timeout, or a connection that broke.
  if (is('NetworkError')) return 'unsettled';
  // A wrong key is refused before anybody looks at the nonce, and a bare ExchangeError may be anything.
  if (is('AuthenticationError') || error.name === 'ExchangeError') return 'unknown';
  if (is('ExchangeError')) return 'ok';
  // ccxt lets through what breaks an answer off after its headers: undici's error, or fetch's with that as its cause.
  return (systemErrorCode(error) ?? systemErrorCode(error.cause)) === undefined ? 'unknown' : 'unsettled';
}

/** Kraken's list of errors, out of a message of ccxt's, which ends with the answer's body. */
function krakenErrors(message: string): readonly string[] | undefined {
  const start = message.indexOf('{');
  if (start < 0) return undefined;
  try {
    const { error } = JSON.parse(message.slice(start)) as { error?: unknown };
    if (!Array.isArray(error) || error.length === 0) return undefined;
    return error.filter((entry) => typeof entry === 'string');
  } catch {
    return undefined;
  }
}

/** Half of the exchanges have no class for it in ccxt. The URL may hold the nonce itself, and says nothing. */
function speaksOfNonce(message: string): boolean {
  return /nonce/i.test(message.replaceAll(/https?:\S+/g, ''));
}
