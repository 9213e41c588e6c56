import type { Clock } from '../../clock.ts';
import { NoncedError, refusal } from '../../errors.ts';
import { quote } from '../../protocol/quote.ts';
import type { Outcome, Unit } from '../../terms.ts';
import type { Nonced } from '../api.ts';
import { badRequest } from '../calls/options.ts';
import { fingerprintOf } from './fingerprint.ts';
import { termsOf } from './kraken.ts';

/** What an adapter for one of Kraken's SDKs is told, beside the SDK's class. */
export interface AdapterOptions {
  /** The connection to the daemon, one for the process: what `connect()` answered. */
  readonly client: Nonced;
  /** Label of the API key, the same in every bot. Left out: `key:` and the fingerprint of the key. */
  readonly account?: string | undefined;
  /** Unit of the nonces. Default `ns`, 19 digits; where the daemon counts in another, calls are refused with UNIT_MISMATCH. */
  readonly unit?: Unit | undefined;
  /** How long a call may wait for its lease. Default 15,000 for what changes orders, else 30,000. */
  readonly waitMs?: number | undefined;
}

const OPTIONS: readonly string[] = ['client', 'account', 'unit', 'waitMs'] satisfies (keyof AdapterOptions)[];

/** One private call through an SDK. */
export interface PrivateCall<T> {
  /** Its name in the URL: `AddOrder`. */
  readonly method: string;
  readonly publicKey: string;
  /** The SDK's own timeout. */
  readonly timeoutMs: number;
  /** Signs and sends, before it returns, with exactly these digits. */
  send(nonce: string): Promise<T>;
  /** What the SDK's result says about the nonce. Left out: `ok`. */
  outcomeOfResult?(result: T): Outcome;
  /** What an error of the SDK says about the nonce. */
  outcomeOfError(error: unknown): Outcome;
}

/** The body may take longer than the SDK's timeout, which ends at the headers or never; no call waits longer than this for it. */
const BODY_MS = 5_000;
/** So that the call ends by its own deadline, and not by the lease's, which comes up to a second before the lease is over. */
const SPARE_MS = 2_000;
const LONGEST_HOLD_MS = 590_000;

/** The private calls of one adapted class: each under a grant of its own, given back as soon as the call has ended. */
export class PrivateCalls {
  readonly #options: AdapterOptions;
  readonly #clock: Clock;

  /** Throws BAD_REQUEST for an option that is unknown, and where the client is missing. */
  constructor(options: AdapterOptions, clock: Clock) {
    checkAdapterOptions(options);
    this.#options = options;
    this.#clock = clock;
  }

  /**
   * Waits for the lease and makes the call, once. Settles as the SDK does. Rejects with a NoncedError where there is no
   * grant (`sent: false`), and with LEASE_LOST (`sent: 'unknown'`) where no answer has come 5 s after the SDK's timeout
   * or the lease was lost: the call may have arrived, or may still arrive.
   */
  make<T>(call: PrivateCall<T>): Promise<T> {
    const { client, account, unit = 'ns', waitMs } = this.#options;
    const holdMs = Math.min(call.timeoutMs + BODY_MS, LONGEST_HOLD_MS);
    return client.exclusive(
      {
        account,
        unit,
        waitMs,
        key: fingerprintOf(call.publicKey),
        label: call.method,
        ...termsOf(call.method),
        ttlMs: Math.ceil(holdMs) + SPARE_MS,
        outcome: (end) => {
          if (end.ok) return call.outcomeOfResult?.(end.value as T) ?? 'ok';
          // Of this file or of the lease: what became of the call is not known.
          return end.error instanceof NoncedError ? 'unsettled' : call.outcomeOfError(end.error);
        },
      },
      (grant) => this.#withinHold(holdMs, grant.signal, () => call.send(String(grant.nonce))),
    );
  }

  /** SDKs leave promises pending for ever when a body stalls, and cannot be told to stop. */
  #withinHold<T>(holdMs: number, signal: AbortSignal, send: () => Promise<T>): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const lost = () => failed(signal.reason);
      const timer = this.#clock.after(holdMs, () => failed(noAnswer(holdMs)));
      signal.addEventListener('abort', lost);
      const ended = () => {
        timer.cancel();
        signal.removeEventListener('abort', lost);
      };
      const failed = (error: unknown) => {
        ended();
        reject(error);
      };
      try {
        send().then((result) => {
          ended();
          resolve(result);
        }, failed);
      } catch (error) {
        failed(error);
      }
    });
  }
}

function noAnswer(holdMs: number): NoncedError {
  return new NoncedError(
    refusal(
      'LEASE_LOST',
      `the exchange sent no whole answer within ${holdMs} ms; look on the exchange whether the call arrived before it is made again`,
    ),
    { sent: 'unknown' },
  );
}

function checkAdapterOptions(options: AdapterOptions): void {
  // The types promise all of this; a bot in plain JavaScript does not.
  if (typeof options !== 'object' || options === null) {
    throw badRequest(`withNonced was given ${quote(options)}; call withNonced(SDK, { client })`);
  }
  const unknown = Object.keys(options).find((name) => !OPTIONS.includes(name));
  if (unknown !== undefined) {
    throw badRequest(`unknown option ${quote(unknown)}; withNonced takes ${OPTIONS.join(', ')}`);
  }
  if (typeof options.client?.exclusive !== 'function') {
    throw badRequest('withNonced was given no client; give it what connect() resolves to, after an await');
  }
}
