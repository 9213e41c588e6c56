import { systemClock } from '../../clock.ts';
import { systemErrorCode } from '../../errors.ts';
import type { Outcome } from '../../terms.ts';
import { badRequest } from '../calls/options.ts';
import { outcomeOfKrakenErrors, outcomeOfStatus, outcomeOfTransportCode } from '../exchanges/answers.ts';
import { type AdapterOptions, PrivateCalls } from './private-calls.ts';

export type { AdapterOptions } from './private-calls.ts';

/** What is used of an instance of the SDK's `Kraken`. */
interface KrakenInstance {
  timeout: number;
  request(
    endpoint: string,
    options?: Record<string, unknown> | null,
    type?: 'public' | 'private',
    encoding?: 'utf8' | 'binary',
  ): Promise<unknown>;
}

interface KrakenSettings {
  readonly key?: string;
  readonly secret?: string;
  readonly gennonce?: () => number;
}

/** What is used of the SDK's class `Kraken`, of version 2. */
export interface KrakenClass {
  new (settings?: KrakenSettings): KrakenInstance;
  readonly RESTAPIError: ErrorClass<{ readonly body: unknown }>;
  readonly HTTPRequestError: ErrorClass<{ readonly statusCode?: number | undefined }>;
  readonly JSONParseError: ErrorClass<object>;
  readonly TimeoutError: ErrorClass<object>;
}

type ErrorClass<Fields> = abstract new (...fields: never) => Error & Fields;

/**
 * The class `Kraken` of node-kraken-api 2, to be used as before, with private calls made one at a time under a nonce of
 * the daemon. Public calls and the WebSocket are left as they are. Throws BAD_REQUEST for wrong options; its constructor
 * does for a `gennonce`. Private calls reject as the SDK's do, and with NoncedErrors.
 */
export function withNonced<SDK extends KrakenClass>(Kraken: SDK, options: AdapterOptions): SDK {
  if (typeof Kraken !== 'function') {
    throw badRequest(
      "withNonced was given no class; give it node-kraken-api's: import { Kraken } from 'node-kraken-api'",
    );
  }
  const calls = new PrivateCalls(options, systemClock());
  const Base: KrakenClass = Kraken;

  class NoncedKraken extends Base {
    readonly #publicKey: string | undefined;
    /** Set for as long as a private request is being signed, which takes no `await`: calls cannot mix up their nonces. */
    #granted: string | undefined;

    constructor(settings: KrakenSettings = {}) {
      if (settings.gennonce !== undefined) {
        throw badRequest('gennonce would be a second source of nonces for one key; leave it out');
      }
      // The SDK writes the nonce into a form and a hash, as text both times; 19 digits would not survive a number.
      // For public requests it asks too, and sends what it gets; they are not signed, and Kraken does not look at it.
      const gennonce = (): string => this.#granted ?? '0';
      super({ ...settings, gennonce: gennonce as unknown as () => number });
      this.#publicKey = settings.secret ? settings.key : undefined;
    }

    override request(
      endpoint: string,
      params?: Record<string, unknown> | null,
      type?: 'public' | 'private',
      encoding?: 'utf8' | 'binary',
    ): Promise<unknown> {
      // Without a key the SDK refuses private requests by itself: nothing to draw a nonce for.
      if (type !== 'private' || !this.#publicKey) return super.request(endpoint, params, type, encoding);
      // What the caller changes in it while the call waits must not be sent.
      const copy = params && { ...params };
      return calls.make({
        method: endpoint,
        publicKey: this.#publicKey,
        timeoutMs: this.timeout,
        send: (nonce) => {
          this.#granted = nonce;
          try {
            return super.request(endpoint, copy, type, encoding);
          } finally {
            this.#granted = undefined;
          }
        },
        outcomeOfResult: (result) => (encoding === 'binary' ? outcomeOfKrakenErrors(errorsIn(result)) : 'ok'),
        outcomeOfError: (error) => outcomeOfSdkError(error, Base),
      });
    }
  }
  return NoncedKraken as unknown as SDK;
}

function outcomeOfSdkError(error: unknown, sdk: KrakenClass): Outcome {
  if (error instanceof sdk.RESTAPIError) return outcomeOfKrakenErrors(errorList(error.body));
  if (error instanceof sdk.HTTPRequestError) return outcomeOfStatus(error.statusCode ?? 0) ?? 'unknown';
  if (error instanceof sdk.TimeoutError) return 'unsettled';
  // A page of a proxy with status 200.
  if (error instanceof sdk.JSONParseError) return 'unavailable';
  const code = systemErrorCode(error);
  return code === undefined ? 'unknown' : outcomeOfTransportCode(code);
}

/** The SDK takes whatever comes for the file that was asked for, a refusal of Kraken's too. */
function errorsIn(file: unknown): readonly string[] {
  const BRACE = 0x7b;
  if (!(file instanceof Uint8Array) || file[0] !== BRACE) return [];
  try {
    return errorList(JSON.parse(Buffer.from(file).toString()));
  } catch {
    return [];
  }
}

function errorList(body: unknown): readonly string[] {
  const errors = (body as { error?: unknown } | null)?.error;
  return Array.isArray(errors) ? errors.map(String) : [];
}
