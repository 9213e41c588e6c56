import type { Clock } from '../../clock.ts';
import { NoncedError } from '../../errors.ts';
import { MAX_TEXT_BYTES, MAX_TTL_MS, type Unit } from '../../terms.ts';
import type { CallEnd, ExclusiveOptions, Grant, Nonced } from '../api.ts';
import type { ExchangeAnswer } from '../exchanges/answers.ts';
import { type ErrorClasses, neverAnswered, neverSent, outcomeOfError, wasNotAwaited } from './ccxt-errors.ts';
import type { Draft, SignedRequest } from './ccxt-signing.ts';
import type { CallTerms } from './kraken.ts';

/** A lease lasts longer than ccxt waits for the headers, and the whole answer has to come before it ends. */
const LEASE_GRACE_MS = 5_000;
const BODY_GRACE_MS = 3_000;
const USUAL_TIMEOUT_MS = 10_000;

const LEASE_OVER = 'its lease ended before the answer was whole';

export interface PrivateCall {
  readonly client: Nonced;
  readonly clock: Clock;
  readonly id: string;
  readonly classes: ErrorClasses;
  readonly account: string | undefined;
  readonly unit: Unit;
  readonly waitMs: number | undefined;
  readonly terms: CallTerms;
  readonly draft: Draft;
  /** ccxt's `timeout`, whatever a bot has put there. */
  readonly timeoutMs: unknown;
  /** Whether its requests go to a proxy first. */
  readonly isProxied: boolean;
  /** What came back, once something has. */
  readonly answer: () => ExchangeAnswer | undefined;
  readonly send: (request: SignedRequest) => Promise<unknown>;
}

/**
 * Makes one attempt of a private call under its lease. Settles as ccxt's `fetch` does, or rejects with a ccxt error that
 * says whether anything was sent.
 */
export async function callInTurn(call: PrivateCall): Promise<unknown> {
  const { client, clock, classes, id, draft } = call;
  const name = `${id} ${draft.path}`;
  const timeoutMs = waitOf(call.timeoutMs);
  let sent = false;
  const make = (grant: Grant): Promise<unknown> => {
    const request = draft.sign(grant.nonce, call.unit);
    sent = true;
    return within(clock, timeoutMs + BODY_GRACE_MS, grant.signal, call.send(request), (reason) =>
      neverAnswered(classes, name, reason),
    );
  };
  const outcome = (end: CallEnd) => {
    if (end.ok) return 'ok';
    if (!sent) return 'unused';
    // Of the lease, or of the time that is left: what became of the call is not known.
    if (end.error instanceof NoncedError || wasNotAwaited(end.error)) return 'unsettled';
    return outcomeOfError(classes, {
      exchange: id,
      answer: call.answer(),
      isProxied: call.isProxied,
      error: end.error,
    });
  };
  const options: ExclusiveOptions = {
    account: call.account,
    key: draft.key,
    unit: call.unit,
    waitMs: call.waitMs,
    ...call.terms,
    ttlMs: timeoutMs + LEASE_GRACE_MS,
    label: label(name),
    outcome,
  };
  try {
    return await client.exclusive(options, make);
  } catch (error) {
    if (!(error instanceof NoncedError)) throw error;
    throw sent ? neverAnswered(classes, name, LEASE_OVER, error) : neverSent(classes, name, unsent(error));
  }
}

/** Our own request was never begun, whatever became of the bot's lease around it. */
function unsent(error: NoncedError): NoncedError {
  return error.sent === false ? error : new NoncedError(error, { cause: error });
}

/** Settles as `answer` does, or rejects when it takes too long or the lease is over: ccxt waits for a body for ever. */
function within(
  clock: Clock,
  limitMs: number,
  signal: AbortSignal,
  answer: Promise<unknown>,
  giveUp: (reason: string) => Error,
): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const lost = () => reject(giveUp(LEASE_OVER));
    const timer = clock.after(limitMs, () => reject(giveUp(`no whole answer in ${limitMs} ms`)));
    const done = () => {
      timer.cancel();
      signal.removeEventListener('abort', lost);
    };
    signal.addEventListener('abort', lost);
    answer.finally(done).then(resolve, reject);
    if (signal.aborted) lost();
  });
}

function waitOf(timeoutMs: unknown): number {
  const usable = typeof timeoutMs === 'number' && timeoutMs >= 0 ? Math.ceil(timeoutMs) : USUAL_TIMEOUT_MS;
  // The lease may last no longer than the daemon allows, and the answer has to come before its end.
  return Math.min(usable, MAX_TTL_MS - LEASE_GRACE_MS);
}

function label(name: string): string {
  return name.replaceAll(/[^\x20-\x7e]/g, '?').slice(0, MAX_TEXT_BYTES);
}
