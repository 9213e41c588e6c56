// The one way to Kraken: every private call of the examples goes through `call`, and so through an exclusive call of
// nonced. No other file has a nonce.
import { createHash } from 'node:crypto';
import {
  type CallEnd,
  type ErrorCode,
  type Nonced,
  NoncedError,
  type Outcome,
  type Priority,
  type Unit,
} from 'nonced-client';
import { type ApiKey, type KrakenAnswer, NoAnswer, send } from './rest.ts';
import { mayHaveArrived, outcomeOf, termsOf } from './terms.ts';

/** How a call ended. Only a call that ended `unknown` may have been carried out without our knowing. */
export type CallResult<R = unknown> =
  | { readonly state: 'answered'; readonly result: R }
  /** Kraken said no. */
  | { readonly state: 'refused'; readonly why: string; readonly outcome: Outcome }
  /** There was no lease, so nothing was sent, and you may ask again. */
  | { readonly state: 'not-sent'; readonly why: string; readonly code: ErrorCode; readonly retryAfterMs?: number }
  | { readonly state: 'unknown'; readonly why: string };

export interface CallOptions {
  /** That of the method in terms.ts if left out. */
  readonly priority?: Priority | undefined;
  /** How long to wait for the lease. */
  readonly waitMs?: number | undefined;
  /** A lease that comes later than this is given back: the price has moved. */
  readonly maxAgeMs?: number | undefined;
  /** Ends the wait for the lease. A call that has begun is not cut off: its end would be unknown. */
  readonly signal?: AbortSignal | undefined;
  /** Called when the lease is granted, just before the call is sent. */
  readonly begins?: (() => void) | undefined;
}

export interface AccountOptions {
  readonly url: string;
  readonly unit: Unit;
  /** The time for one call, from the grant to the last byte of the answer. */
  readonly timeoutMs: number;
}

/** Thrown by `ask`. */
export class CallFailed extends Error {
  override readonly name = 'CallFailed';
  readonly result: Exclude<CallResult, { state: 'answered' }>;

  constructor(method: string, result: Exclude<CallResult, { state: 'answered' }>) {
    super(`${method}: ${result.state}: ${result.why}`);
    this.result = result;
  }
}

export class KrakenAccount {
  readonly name: string;
  readonly #nonced: Nonced;
  readonly #apiKey: ApiKey;
  readonly #fingerprint: string;
  readonly #options: AccountOptions;

  constructor(nonced: Nonced, apiKey: ApiKey, options: AccountOptions) {
    this.name = apiKey.account;
    this.#nonced = nonced;
    this.#apiKey = apiKey;
    // The fingerprint of the public key. By it the daemon notices one key under two labels, and never sees the key.
    this.#fingerprint = createHash('sha256').update(apiKey.key).digest('hex').slice(0, 16);
    this.#options = options;
  }

  /** Makes one private call under its lease, and never a second one. Whatever happens is in the result. */
  async call<R>(
    method: string,
    params: Readonly<Record<string, string>> = {},
    options: CallOptions = {},
  ): Promise<CallResult<R>> {
    const { priority, cost } = termsOf(method);
    const { url, unit, timeoutMs } = this.#options;
    try {
      const answer = await this.#nonced.exclusive(
        {
          account: this.name,
          key: this.#fingerprint,
          unit,
          priority: options.priority ?? priority,
          cost,
          label: method,
          // One deadline, not two: grant.signal aborts the call shortly before the lease ends.
          ttlMs: timeoutMs,
          waitMs: options.waitMs,
          maxAgeMs: options.maxAgeMs,
          signal: options.signal,
          outcome: outcomeOfCall,
        },
        (grant) => {
          options.begins?.();
          return send({ url, apiKey: this.#apiKey, method, params, nonce: grant.nonce, signal: grant.signal });
        },
      );
      return resultOf<R>(answer);
    } catch (error) {
      return failure(error);
    }
  }

  /** Makes a call and returns its answer. Rejects with CallFailed: a failed call is never an empty balance. */
  async ask<R>(method: string, params: Readonly<Record<string, string>> = {}, options: CallOptions = {}): Promise<R> {
    const result = await this.call<R>(method, params, options);
    if (result.state === 'answered') return result.result;
    throw new CallFailed(method, result);
  }
}

/** Returns how the call ended, for the daemon: by this it paces calls, and stops a key that is in trouble. */
function outcomeOfCall(end: CallEnd): Outcome {
  if (end.ok) return outcomeOf((end.value as KrakenAnswer).error);
  return end.error instanceof NoAnswer ? end.error.outcome : 'unknown';
}

function resultOf<R>({ error, result }: KrakenAnswer): CallResult<R> {
  // Texts that begin with W are warnings.
  const errors = error.filter((text) => text.startsWith('E'));
  if (errors.length === 0) return { state: 'answered', result: result as R };
  const why = errors.join(', ');
  return mayHaveArrived(errors) ? { state: 'unknown', why } : { state: 'refused', why, outcome: outcomeOf(errors) };
}

function failure(error: unknown): Exclude<CallResult, { state: 'answered' }> {
  if (error instanceof NoAnswer) return { state: 'unknown', why: error.message };
  if (!(error instanceof NoncedError)) throw error;
  // The lease was granted, and what was sent under it may have arrived.
  if (error.sent === 'unknown') return { state: 'unknown', why: 'no answer before the lease ended' };
  const { code, message: why, retryAfterMs } = error;
  return { state: 'not-sent', code, why, ...(retryAfterMs !== undefined && { retryAfterMs }) };
}
