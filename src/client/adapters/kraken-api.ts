import { systemClock } from '../../clock.ts';
import { systemErrorCode } from '../../errors.ts';
import type { Outcome } from '../../terms.ts';
import { badRequest } from '../calls/options.ts';
import { outcomeOfKrakenErrors, outcomeOfStatus, outcomeOfTransportCode } from '../exchanges/answers.ts';
import { type AdapterOptions, PrivateCalls } from './private-calls.ts';

export type { AdapterOptions } from './private-calls.ts';

/** What an answer is to the SDK: Kraken's whole body. Nobody checks that the result is what the caller says it is. */
export interface KrakenResponse<Result = unknown> {
  readonly error: readonly string[];
  readonly result: Result;
}

export type KrakenCallback<Result = unknown> = (error: Error | null, response: KrakenResponse<Result> | null) => void;
export type KrakenParams = Readonly<Record<string, unknown>>;

/** A client of the SDK, which has no types of its own. */
export interface KrakenClient {
  readonly config: {
    readonly key?: string | undefined;
    readonly secret?: string | undefined;
    readonly timeout?: unknown;
  };
  api<Result = unknown>(
    method: string,
    params?: KrakenParams | KrakenCallback<Result> | null,
    callback?: KrakenCallback<Result>,
  ): Promise<KrakenResponse<Result>>;
  publicMethod<Result = unknown>(
    method: string,
    params?: KrakenParams | KrakenCallback<Result> | null,
    callback?: KrakenCallback<Result>,
  ): Promise<KrakenResponse<Result>>;
  privateMethod<Result = unknown>(
    method: string,
    params?: KrakenParams | KrakenCallback<Result> | null,
    callback?: KrakenCallback<Result>,
  ): Promise<KrakenResponse<Result>>;
}

/** The class that kraken-api 1 exports. Without a key and a secret it makes public calls only. */
export type KrakenClientClass = new (key?: string, secret?: string, options?: string | object) => KrakenClient;

const DEFAULT_TIMEOUT_MS = 5_000;

/**
 * The class of kraken-api 1, to be used as before, with private calls made one at a time under a nonce of the daemon;
 * a `nonce` among the parameters is not looked at. Public calls are left as they are. Throws BAD_REQUEST for wrong
 * options. Private calls reject as the SDK's do, and with NoncedErrors; a callback is called once, with the same.
 */
export function withNonced<SDK extends new (...made: never[]) => KrakenClient>(
  KrakenClient: SDK,
  options: AdapterOptions,
): SDK {
  if (typeof KrakenClient !== 'function') {
    throw badRequest("withNonced was given no class; give it kraken-api's: import KrakenClient from 'kraken-api'");
  }
  const calls = new PrivateCalls(options, systemClock());
  // A class of the bot's own may ask for other arguments; here they are only passed on.
  const Base = KrakenClient as unknown as KrakenClientClass;

  class NoncedKrakenClient extends Base {
    override privateMethod<Result = unknown>(
      method: string,
      params?: KrakenParams | KrakenCallback<Result> | null,
      callback?: KrakenCallback<Result>,
    ): Promise<KrakenResponse<Result>> {
      const response = this.#call<Result>(method, typeof params === 'function' ? {} : (params ?? {}));
      const told = typeof params === 'function' ? params : callback;
      if (typeof told === 'function') {
        response.then(
          (answer) => told(null, answer),
          (error: Error) => told(error, null),
        );
      }
      return response;
    }

    async #call<Result>(method: string, params: KrakenParams): Promise<KrakenResponse<Result>> {
      const { key, secret, timeout } = this.config;
      if (typeof key !== 'string' || typeof secret !== 'string' || key === '' || secret === '') {
        throw badRequest(`${method} needs an API key; make the client with a key and its secret`);
      }
      // The SDK writes into what it is given, and the caller may while the call waits.
      const copy = { ...params };
      return calls.make({
        method,
        publicKey: key,
        timeoutMs: typeof timeout === 'number' ? timeout : DEFAULT_TIMEOUT_MS,
        // The SDK signs and sends the nonce as the text it is given, and makes none where there is one.
        send: (nonce) => super.privateMethod<Result>(method, { ...copy, nonce }),
        outcomeOfError: outcomeOfSdkError,
      });
    }
  }
  return NoncedKrakenClient as unknown as SDK;
}

function outcomeOfSdkError(error: unknown): Outcome {
  if (!(error instanceof Error)) return 'unknown';
  const status = (error as { response?: { statusCode?: unknown } }).response?.statusCode;
  if (error.name === 'HTTPError' && typeof status === 'number') return outcomeOfStatus(status) ?? 'unknown';
  const code = systemErrorCode(error);
  if (code !== undefined) return outcomeOfTransportCode(code);
  // A page of a proxy with status 200.
  if (error.name === 'SyntaxError') return 'unavailable';
  // Kraken's errors, joined, each without the E it began with.
  if (error.name === 'Error') return outcomeOfKrakenErrors(error.message.split(', ').map((text) => `E${text}`));
  return 'unknown';
}
