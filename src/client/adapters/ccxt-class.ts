import { AsyncLocalStorage } from 'node:async_hooks';
import type { Clock } from '../../clock.ts';
import type { NoncedError } from '../../errors.ts';
import type { Unit } from '../../terms.ts';
import type { Nonced } from '../api.ts';
import { badRequest } from '../calls/options.ts';
import type { ExchangeAnswer } from '../exchanges/answers.ts';
import { callInTurn } from './ccxt-call.ts';
import { errorClassesOf } from './ccxt-errors.ts';
import { callTerms, harmsTwice, traitsOf, unitFor } from './ccxt-exchanges.ts';
import { draftIn, type Sign, type SignedRequest, Signing } from './ccxt-signing.ts';

export interface NoncedExchangeOptions {
  /** From `connect()`. The exchange never closes it. */
  readonly client: Nonced;
  /** Label of the API key. Left out, it is `key:` and the key's fingerprint. */
  readonly account?: string | undefined;
  /** The unit of the key's nonces, where the exchange takes several. It must be that of the daemon's sequence. */
  readonly unit?: Unit | undefined;
  /** How long a call may wait for its lease. Default 15,000 for orders and cancels, else 30,000. */
  readonly waitMs?: number | undefined;
}

/** What is heard of one call while ccxt works on it. */
interface Heard {
  answer: ExchangeAnswer | undefined;
}

/** So that an answer finds its call, with several under way. */
const hearing = new AsyncLocalStorage<Heard>();
/** Among the parameters of ccxt's `handleErrors` behind the status: reason, url, method, headers, body. */
const BODY_OF_ANSWER = 4;

/** ccxt's settings for a proxy; the exchange's own name or address is not asked for then. */
const PROXIES = [
  ...['proxyUrl', 'proxyUrlCallback', 'proxy_url', 'httpProxy', 'httpProxyCallback', 'http_proxy'],
  ...['httpsProxy', 'httpsProxyCallback', 'https_proxy', 'socksProxy', 'socksProxyCallback', 'socks_proxy'],
] as const;

type Fetch = (url: string, method?: string, headers?: unknown, body?: unknown) => Promise<unknown>;

/** What is used of an exchange object. */
interface ExchangeObject {
  readonly id: string;
  readonly apiKey?: unknown;
  readonly timeout?: unknown;
  readonly options?: Readonly<Record<string, unknown>>;
  readonly httpExceptions: Readonly<Record<string, unknown>>;
  describe(): { readonly id?: unknown };
  nonce(): number | string;
  /** Since ccxt 4.5. */
  incrementingNonce?(): number | string;
  handleErrors(status: number, ...rest: unknown[]): unknown;
  readonly [proxy: `${string}roxy${string}`]: unknown;
  sign(...args: Parameters<Sign>): SignedRequest;
  fetch(...args: Parameters<Fetch>): Promise<unknown>;
  fetch2(path: unknown, api?: unknown, method?: string, params?: object, ...rest: unknown[]): Promise<unknown>;
  checkRequiredCredentials(): unknown;
  authenticate?(...args: unknown[]): Promise<unknown>;
  setLastRequest?(request: SignedRequest): void;
}

export type ObjectClass = new (...args: unknown[]) => ExchangeObject;

/**
 * The class that `withNonced` answers. Throws BAD_REQUEST for an exchange that wants no increasing nonces, for a unit
 * that it does not take, and for an option that is none.
 */
export function noncedClass(Base: ObjectClass, options: NoncedExchangeOptions, clock: Clock): ObjectClass {
  checkOptions(Base, options);
  const { client, account, waitMs } = options;
  const sample = new Base({});
  const id = String(sample.describe().id);
  const traits = traitsOf(id);
  const unit = unitFor(id, traits, options.unit);
  const classes = errorClassesOf(sample);
  refuseOwnNonce(Base);

  class NoncedExchange extends Base {
    constructor(...args: unknown[]) {
      super(...args);
      if (this.nonce !== NoncedExchange.prototype.nonce || Object.hasOwn(this, 'incrementingNonce')) throw ownNonce();
      // On the object itself, so around all that derived classes do: nothing may be signed or sent in another way.
      let { sign, fetch } = this;
      const signing = new Signing({
        sign: (...args) => sign.apply(this, [...args]),
        checkCredentials: () => this.checkRequiredCredentials(),
        apiKey: () => String(this.apiKey),
        needsNone: (api) => api === traits.randomNonces,
        nonceElsewhere: () => {
          if (traits.nonceNumbersMessages) return Number(super.nonce());
          throw badRequest('nonce() was called outside of sign(), where there is no lease; use client.nonce()');
        },
      });
      const signDraft: Sign = (...args) => signing.sign(...args);
      const makeNonce = () => signing.nonce();
      const fetchInTurn: Fetch = (url, method, headers, body) => {
        const draft = draftIn(headers);
        // Its signature asked for no nonce: a public call.
        if (draft === undefined) return fetch.call(this, url, method, headers, body);
        const send = (request: SignedRequest) => {
          // What a bot reads there should be what was sent, not the draft.
          this.setLastRequest?.(request);
          return hearing.run(heard, () => fetch.call(this, request.url, request.method, request.headers, request.body));
        };
        const terms = callTerms(id, traits, draft.method, draft.path);
        const heard: Heard = { answer: undefined };
        return callInTurn({
          client,
          clock,
          id,
          classes,
          account,
          unit,
          waitMs,
          terms,
          draft,
          timeoutMs: this.timeout,
          isProxied: PROXIES.some((name) => Boolean(this[name])),
          answer: () => heard.answer,
          send,
        });
      };
      replace(this, 'sign', signDraft, (own) => {
        sign = own;
      });
      replace(this, 'fetch', fetchInTurn, (own) => {
        fetch = own;
      });
      const refuse = () => {
        throw ownNonce();
      };
      replace(this, 'nonce', makeNonce, refuse);
      if (this.incrementingNonce !== undefined) replace(this, 'incrementingNonce', makeNonce, refuse);
    }

    override nonce(): number | string {
      throw badRequest('nonce() was called before the exchange was made; call it from sign()');
    }

    /** Every answer comes through here, whatever ccxt makes of it. */
    override handleErrors(status: number, ...rest: unknown[]): unknown {
      const body = rest[BODY_OF_ANSWER];
      const heard = hearing.getStore();
      if (heard !== undefined) heard.answer = { status, body: typeof body === 'string' ? body : '' };
      return super.handleErrors(status, ...rest);
    }

    override fetch2(
      path: unknown,
      api?: unknown,
      method = 'GET',
      params: object = {},
      ...rest: unknown[]
    ): Promise<unknown> {
      const once = harmsTwice(traits, method, String(path)) && isRetriedByAll(this.options, String(path), params);
      return super.fetch2(path, api, method, once ? { ...params, maxRetriesOnFailure: 0 } : params, ...rest);
    }
  }
  if (traits.streamsSign && Base.prototype.authenticate !== undefined) refuseStreams(NoncedExchange, id);
  return NoncedExchange;
}

/**
 * Whether ccxt would repeat the call because of an option for all calls. One for this very method, or given with the
 * call, is a decision about it.
 */
function isRetriedByAll(options: ExchangeObject['options'], path: string, params: object): boolean {
  if (options === undefined || !(Number(options['maxRetriesOnFailure']) > 0)) return false;
  const own = options[path];
  return (
    !('maxRetriesOnFailure' in params) && !(typeof own === 'object' && own !== null && 'maxRetriesOnFailure' in own)
  );
}

/** Puts `value` in place of a method, for good; what a bot assigns to it later is told to `assigned`. */
function replace<K extends 'sign' | 'fetch' | 'nonce' | 'incrementingNonce'>(
  exchange: ExchangeObject,
  name: K,
  value: ExchangeObject[K],
  assigned: (own: ExchangeObject[K]) => void,
): void {
  Object.defineProperty(exchange, name, { get: () => value, set: assigned, configurable: false });
}

function ownNonce(): NoncedError {
  return badRequest('the exchange was given a nonce() of its own; leave it out, the daemon makes the nonces');
}

/**
 * Throws BAD_REQUEST for a class derived from ccxt's that makes nonces. ccxt's own class is the one that signs, right above
 * its base class; what is below it is the bot's, or has streams.
 */
function refuseOwnNonce(base: ObjectClass): void {
  let below: object[] = [];
  let makesNonces = false;
  for (let at: object | null = base.prototype; at !== null; at = Object.getPrototypeOf(at)) {
    // The base class of all exchanges.
    if (Object.hasOwn(at, 'fetch2')) break;
    if (Object.hasOwn(at, 'sign')) {
      makesNonces = below.some((one) => Object.hasOwn(one, 'nonce') || Object.hasOwn(one, 'incrementingNonce'));
    }
    below = [...below, at];
  }
  if (makesNonces) throw ownNonce();
}

/** They would sign with a clock, on the same key: the next call under a lease would be rejected. */
function refuseStreams(made: ObjectClass, id: string): void {
  const message = `${id}'s private streams sign with nonces of their own; use REST, or a key of their own for them without withNonced`;
  Object.defineProperty(made.prototype, 'authenticate', {
    value: async () => {
      throw badRequest(message);
    },
    configurable: true,
    writable: true,
  });
}

const OPTIONS: readonly string[] = ['client', 'account', 'unit', 'waitMs'] satisfies (keyof NoncedExchangeOptions)[];

function checkOptions(base: unknown, options: NoncedExchangeOptions): void {
  if (typeof base !== 'function') throw badRequest('withNonced was given no class; give one, such as ccxt.kraken');
  const unknown = Object.keys(options ?? {}).find((name) => !OPTIONS.includes(name));
  if (unknown !== undefined) throw badRequest(`withNonced has no option ${unknown}; it takes ${OPTIONS.join(', ')}`);
  if (typeof options?.client?.exclusive !== 'function') {
    throw badRequest('withNonced was given no client; give it what `await connect()` answers');
  }
  const { account } = options;
  if (account !== undefined && typeof account !== 'string') throw badRequest('account is no string; give a label');
}
