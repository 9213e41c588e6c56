// Kraken's private REST API: how a call is signed and sent, but not when. It never sends a call twice.
import { createHash, createHmac } from 'node:crypto';
import type { Outcome } from 'nonced-client';

export interface ApiKey {
  /** The label for nonced and the output. It must be the same in every program that uses the key. */
  readonly account: string;
  readonly key: string;
  readonly secret: string;
}

export interface KrakenAnswer {
  readonly error: readonly string[];
  readonly result?: unknown;
}

/** Thrown if no answer of Kraken came back: it is unknown whether the call was carried out. */
export class NoAnswer extends Error {
  override readonly name = 'NoAnswer';
  /** The outcome to release the lease with. */
  readonly outcome: Outcome;

  constructor(outcome: Outcome, message: string, options?: ErrorOptions) {
    super(message, options);
    this.outcome = outcome;
  }
}

export interface SignedCall {
  readonly url: string;
  readonly apiKey: ApiKey;
  readonly method: string;
  readonly params: Readonly<Record<string, string>>;
  readonly nonce: bigint;
  /** Ends the call, even while its answer is being read. */
  readonly signal: AbortSignal;
}

/** Makes the call. Rejects with NoAnswer. An error from Kraken is an answer. */
export async function send({ url, apiKey, method, params, nonce, signal }: SignedCall): Promise<KrakenAnswer> {
  const path = `/0/private/${method}`;
  // As a string of digits: 19 of them do not fit into a number.
  const body = new URLSearchParams({ ...params, nonce: String(nonce) }).toString();
  let status: number;
  let text: string;
  try {
    const response = await fetch(new URL(path, url), {
      method: 'POST',
      headers: {
        'Content-Type': 'application/x-www-form-urlencoded',
        'API-Key': apiKey.key,
        'API-Sign': signature(path, String(nonce), body, apiKey.secret),
      },
      body,
      signal,
    });
    status = response.status;
    text = await response.text();
  } catch (cause) {
    if (signal.aborted) throw new NoAnswer('unsettled', 'no answer in time', { cause });
    throw new NoAnswer('unsettled', `no answer: ${reasonOf(cause)}`, { cause });
  }
  const answer = parse(text);
  if (answer !== undefined) return answer;
  // A page of a proxy in front of Kraken, which may have passed the call on.
  const outcome = status >= 500 ? 'unavailable' : status === 429 ? 'rate-limited' : 'unknown';
  throw new NoAnswer(outcome, `HTTP ${status} without an answer of Kraken`);
}

function signature(path: string, nonce: string, body: string, secret: string): string {
  const digest = createHash('sha256')
    .update(nonce + body)
    .digest();
  return createHmac('sha512', Buffer.from(secret, 'base64')).update(path).update(digest).digest('base64');
}

function parse(text: string): KrakenAnswer | undefined {
  try {
    const answer = JSON.parse(text) as Partial<KrakenAnswer> | null;
    return Array.isArray(answer?.error) ? (answer as KrakenAnswer) : undefined;
  } catch {
    return undefined;
  }
}

/** Returns the reason for a failed fetch: `fetch failed` says nothing, but its cause does. */
function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause instanceof Error ? error.cause.message || error.message : error.message;
}
