import { type ErrorCode, type NoncedError, systemErrorCode } from '../../errors.ts';
import type { Outcome } from '../../terms.ts';
import {
  type ExchangeAnswer,
  outcomeOfRefusal,
  outcomeOfThrown,
  outcomeOfTransportCode,
} from '../exchanges/answers.ts';

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
  const error = because(new classes.RequestTimeout(message), cause);
  notAwaited.add(error);
  return error;
}

const notAwaited = new WeakSet<Error>();

/** Whether the error is `neverAnswered`. */
export const wasNotAwaited = (error: unknown): boolean => error instanceof Error && notAwaited.has(error);

function because(error: Error, cause: NoncedError | undefined): Error {
  if (cause !== undefined) {
    Object.defineProperty(error, 'cause', { value: cause, configurable: true, writable: true, enumerable: false });
  }
  return error;
}

/** What is known of a call that was sent and that ccxt rejected. */
export interface FailedCall {
  /** ccxt's id of the exchange. */
  readonly exchange: string;
  /** What came back; undefined if nothing did, or if the bot has a `handleErrors` of its own that keeps it. */
  readonly answer: ExchangeAnswer | undefined;
  readonly isProxied: boolean;
  readonly error: unknown;
}

/** Returns how a call ended that was sent and that ccxt rejected. */
export function outcomeOfError(classes: ErrorClasses, { exchange, answer, isProxied, error }: FailedCall): Outcome {
  if (!(error instanceof Error)) return 'unknown';
  const is = (name: ErrorName) => error instanceof classes[name];
  if (answer !== undefined) {
    const told = outcomeOfRefusal(exchange, answer);
    if (told !== undefined) return told;
    // An exchange that answers is not down: ccxt says ExchangeNotAvailable of HTTP 400, 403, 404 and 409, too. And a wrong
    // key is refused before anything looks at the nonce, and a bare ExchangeError may be anything.
    if (error.name === 'OnMaintenance') return 'unavailable';
    const isBare = error.name === 'ExchangeError';
    return is('ExchangeError') && !isBare && !is('AuthenticationError') ? 'ok' : 'unknown';
  }
  // ccxt lets through what breaks an answer off after its headers: undici's error, or fetch's with that as its cause.
  const code = systemErrorCode(error) ?? systemErrorCode(error.cause) ?? CODE_IN_TEXT.exec(error.message)?.[1];
  if (code !== undefined) return outcomeOfTransportCode(code, isProxied);
  // ccxt's own for proxies that exclude each other, and what is thrown before anything is sent, has no code.
  if (error.name === 'InvalidProxySettings') return 'unused';
  if (is('RequestTimeout')) return 'unsettled';
  // What cannot even be begun, such as a URL that is none, is a failed fetch without a reason.
  if (error.name === 'NetworkError' && !/fetch failed$/.test(error.message)) return 'unsettled';
  return outcomeOfThrown(error);
}

/** ccxt puts undici's message into its own, and drops the code. */
const CODE_IN_TEXT = /fetch failed: .*?\b(E[A-Z_]{4,}|UND_ERR_[A-Z_]+|CERT_[A-Z_]+)\b/;
