import { ERROR_CODES, type ErrorCode, type Refusal } from '../errors.ts';
import type { WireError } from './messages.ts';

const CODES: ReadonlySet<unknown> = new Set(ERROR_CODES);

/** Returns a refusal as it is sent. */
export function errorToWire(refusal: Refusal): WireError {
  const { code, message, retryAfterMs } = refusal;
  return retryAfterMs === undefined ? { code, message, sent: false } : { code, message, sent: false, retryAfterMs };
}

/**
 * Reads an error as a daemon sent it, perhaps a newer one. An unknown code becomes BAD_REQUEST, which the client does
 * not retry by itself; its name goes in front of the message.
 */
export function errorFromWire(error: unknown): WireError {
  const { code, message, retryAfterMs } = (typeof error === 'object' && error !== null ? error : {}) as {
    readonly [K in keyof Refusal]?: unknown;
  };
  const text = [message, error].find((candidate) => typeof candidate === 'string') ?? 'the daemon gave no reason';
  if (!isErrorCode(code)) {
    return errorToWire({ code: 'BAD_REQUEST', message: typeof code === 'string' ? `${code}: ${text}` : text });
  }
  return isDuration(retryAfterMs)
    ? errorToWire({ code, message: text, retryAfterMs })
    : errorToWire({ code, message: text });
}

function isErrorCode(code: unknown): code is ErrorCode {
  return CODES.has(code);
}

function isDuration(ms: unknown): ms is number {
  return typeof ms === 'number' && Number.isFinite(ms) && ms >= 0;
}
