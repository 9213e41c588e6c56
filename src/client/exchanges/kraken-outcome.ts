import { NoncedError, systemErrorCode } from '../../errors.ts';
import type { Outcome } from '../../terms.ts';
import type { CallEnd } from '../api.ts';
import {
  krakenErrorsIn,
  outcomeOfKrakenErrors,
  outcomeOfStatus,
  outcomeOfThrown,
  outcomeOfTransportCode,
} from './answers.ts';

/**
 * The `outcome` of an `exclusive` around one call of Kraken's REST API. It knows Kraken's errors, in an answer that was
 * returned as in an error that was thrown, HTTP statuses (`status`, `statusCode`), timeouts, and the codes of Node's
 * sockets and of fetch.
 */
export function krakenOutcome(end: CallEnd): Outcome {
  if (end.ok) return outcomeOfValue(end.value);
  const { error } = end;
  if (error instanceof NoncedError) return error.sent === false ? 'unknown' : 'unsettled';
  const told = outcomeOfThrown(error);
  if (told !== 'unknown') return told;
  const status = statusOf(error);
  if (status !== undefined) return outcomeOfStatus(status) ?? 'unknown';
  if (error instanceof Error && /^(Abort|Timeout)Error$/.test(error.name)) return 'unsettled';
  const code = systemErrorCode(error) ?? systemErrorCode((error as { cause?: unknown } | null)?.cause);
  return code === undefined ? 'unknown' : outcomeOfTransportCode(code);
}

/** Returns how a call ended that returned this: an answer with Kraken's errors in it is no success. */
export function outcomeOfValue(value: unknown): Outcome {
  const errors = krakenErrorsIn(value);
  return errors === undefined ? 'ok' : outcomeOfKrakenErrors(errors);
}

function statusOf(error: unknown): number | undefined {
  if (typeof error !== 'object' || error === null) return undefined;
  const { status, statusCode, response } = error as Readonly<Record<string, unknown>>;
  const own = [status, statusCode].find((one) => typeof one === 'number');
  if (own !== undefined) return own as number;
  return response === undefined ? undefined : statusOf(response);
}
