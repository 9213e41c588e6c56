import type { Unit } from '../../terms.ts';
import { DIGITS } from '../../terms.ts';
import { badRequest } from '../calls/options.ts';
import { fingerprintOf } from './fingerprint.ts';

/** What ccxt hands from `sign` to `fetch`. */
export interface SignedRequest {
  url: string;
  method: string;
  headers?: Readonly<Record<PropertyKey, unknown>> | undefined;
  body?: unknown;
}

export type SignArguments = readonly [path: unknown, api?: unknown, method?: string, ...rest: unknown[]];
export type Sign = (...args: SignArguments) => SignedRequest;

/** Marks the headers of a draft. A symbol, for it survives being copied and is never sent. */
const DRAFT = Symbol('nonced draft');

/** Shorter texts stand in requests by accident. */
const SHORTEST_KEY = 8;

/** No exchange takes it twice, and those that count upwards not even once. */
const NO_NONCE = 0n;

/** A private call as ccxt signed it before it had a nonce: enough to tell what it is, and to sign it again. */
export class Draft {
  readonly path: string;
  readonly method: string;
  /** Fingerprint of the API key it is for. */
  readonly key: string;
  readonly #again: (nonce: bigint) => SignedRequest;
  readonly #keyNow: () => string;

  constructor([path, , method = 'GET']: SignArguments, keyNow: () => string, again: (nonce: bigint) => SignedRequest) {
    this.path = String(path);
    this.method = method;
    this.key = keyNow();
    this.#again = again;
    this.#keyNow = keyNow;
  }

  /** Throws BAD_REQUEST for a nonce that is not of `unit`, and where the key is another by now: nothing may be sent. */
  sign(nonce: bigint, unit: Unit): SignedRequest {
    // Within an `exclusive` of the bot's the unit is not looked at, and too many digits are taken once and for ever.
    if (unit !== 'counter' && String(nonce).length !== DIGITS[unit]) {
      throw badRequest(
        `the lease around this call came with the nonce ${nonce}, which is not in ${unit}; make this call outside it`,
      );
    }
    if (this.#keyNow() !== this.key) {
      throw badRequest('apiKey was changed while the call waited for its lease; use an exchange object for each key');
    }
    const request = this.#again(nonce);
    // A nonce that comes from somewhere else would be sent without an order among the others.
    if (!bears(request, String(nonce))) {
      throw badRequest(
        `the signed request for ${this.path} does not bear the nonce ${nonce} that it was granted, so it was not sent; ` +
          'this version of ccxt, or a sign() of your own, makes nonces in another way',
      );
    }
    return request;
  }
}

/** Whether the digits stand in the request by themselves, as they are or in base64. */
function bears(request: SignedRequest, digits: string): boolean {
  const alone = new RegExp(`(?<!\\d)${digits}(?!\\d)`);
  return [...textsIn(request)].some((text) => alone.test(text));
}

/** All that a request says: its URL, body and headers, and what they hide in base64. */
function* textsIn({ url, body, headers = {} }: SignedRequest): Iterable<string> {
  for (const value of [url, body, ...Object.values(headers)]) {
    if (typeof value !== 'string') continue;
    yield value;
    // Gemini's and Coinone's payloads.
    if (/^[A-Za-z0-9+/]+={0,2}$/.test(value)) yield Buffer.from(value, 'base64').toString('latin1');
  }
}

/** The draft that a request's headers bear, if it needs a nonce. */
export function draftIn(headers: unknown): Draft | undefined {
  if (typeof headers !== 'object' || headers === null || !(DRAFT in headers)) return undefined;
  return headers[DRAFT] instanceof Draft ? headers[DRAFT] : undefined;
}

export interface SigningPorts {
  /** The exchange's own, together with what a bot has put around it. */
  readonly sign: Sign;
  /** Throws ccxt's AuthenticationError where a credential is missing. */
  readonly checkCredentials: () => void;
  readonly apiKey: () => string;
  /** Whether calls of this part of the API are signed, but need no nonce that grows. */
  readonly needsNone: (api: string) => boolean;
  /** What `nonce()` answers when no request is being signed. */
  readonly nonceElsewhere: () => number;
}

/**
 * One exchange object's `sign` and `nonce`. Signing is synchronous from its first to its last step, so that no two calls
 * can get each other's nonce.
 */
export class Signing {
  readonly #ports: SigningPorts;
  #under: { readonly nonce: bigint; asked: boolean } | undefined;

  constructor(ports: SigningPorts) {
    this.#ports = ports;
  }

  /** In place of ccxt's: a request that needs a nonce gets none yet, and is marked. */
  sign(...args: SignArguments): SignedRequest {
    const { request, asked } = this.#with(NO_NONCE, args);
    if (!asked) {
      this.#refuseAnotherNonce(request, args);
      return request;
    }
    this.#ports.checkCredentials();
    const keyNow = () => fingerprintOf(this.#ports.apiKey());
    const draft = new Draft(args, keyNow, (nonce) => this.#with(nonce, args).request);
    return { ...request, headers: { ...request.headers, [DRAFT]: draft } };
  }

  /**
   * In place of ccxt's: the nonce of the request that is being signed, a number where it can be one and digits where
   * not, as some exchanges write it into JSON.
   */
  nonce(): number | string {
    if (this.#under === undefined) return this.#ports.nonceElsewhere();
    this.#under.asked = true;
    const { nonce } = this.#under;
    return nonce <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(nonce) : String(nonce);
  }

  /** A request with the key in it, for which no nonce was asked, has one of its own or needs none. */
  #refuseAnotherNonce(request: SignedRequest, [path, api]: SignArguments): void {
    const { apiKey, needsNone } = this.#ports;
    const key = apiKey();
    if (key.length < SHORTEST_KEY || needsNone(String(api))) return;
    if (![...textsIn(request)].some((text) => text.includes(key))) return;
    throw badRequest(
      `${String(path)} was signed without asking for a nonce, so it was not sent; this version of ccxt, or a sign() of your ` +
        'own, makes nonces in another way',
    );
  }

  #with(nonce: bigint, args: SignArguments): { readonly request: SignedRequest; readonly asked: boolean } {
    const outer = this.#under;
    const under = { nonce, asked: false };
    this.#under = under;
    try {
      const request = this.#ports.sign(...args);
      return { request, asked: under.asked };
    } finally {
      this.#under = outer;
    }
  }
}
