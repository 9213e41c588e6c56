/**
 * What an exchange's answer says about the nonce, the call rate and the exchange itself: by its words first, then by its
 * HTTP status. An exchange that answers is not down, whatever it refuses; and what never left the process says nothing
 * about the exchange. All adapters use this one table.
 */
import type { Outcome } from '../../terms.ts';

/** Undefined: an answer that says nothing about the nonce, the rate or the exchange. */
type Told = Outcome | undefined;
type Rule = readonly [words: RegExp, told: Told];

/**
 * Kraken's errors, the worst first: of several errors in one answer, it is the one to hear about. No other exchange has
 * words of this form.
 */
export const KRAKEN_OUTCOMES: readonly Rule[] = [
  [/\bEGeneral:\s*Temporary lockout/, 'locked-out'],
  [/\bEAPI:\s*Invalid nonce/, 'invalid-nonce'],
  // Not `EOrder:Rate limit exceeded`: that is the limiter of one pair, and the key's counter has room.
  [
    /\bE(API|Auth):\s*Rate limit exceeded|\bE(General|Auth):\s*Too many requests|\bEService:\s*Throttled/,
    'rate-limited',
  ],
  [/\bEService:\s*(Unavailable|Busy)/, 'unavailable'],
  // Kraken gave up waiting for its own engine. Other errors of EService are a market's, not the exchange's.
  [/\bEService:\s*(Deadline elapsed|Timeout)/, 'unsettled'],
  // Refused before the nonce was looked at, or broken inside: no word on whether nonces and exchange are well.
  [/\bEAPI:\s*Invalid (key|signature)|\bEAuth:|\bE(General|Database):\s*Internal error/, 'unknown'],
];

const code = (field: string, ...codes: readonly string[]): RegExp =>
  new RegExp(`"${field}":\\s*"?(${codes.join('|')})"?\\s*[,}\\]]`);

/** What the exchanges say by codes, or in words that mean something else elsewhere. By ccxt's id, in ccxt 4. */
const BY_EXCHANGE: Readonly<Record<string, readonly Rule[]>> = {
  kraken: KRAKEN_OUTCOMES,
  // It refuses with HTTP 500 too, and a list that begins with "error".
  bitfinex: [
    [/^\s*\["error",\s*"?10114\b/, 'invalid-nonce'],
    [/^\s*\["error",\s*"?11010\b|ERR_RATE_?LIMIT/, 'rate-limited'],
    [/^\s*\["error",\s*"?20060\b|temporarily_unavailable/, 'unavailable'],
    [/^\s*\["error",/, undefined],
  ],
  // 0201 means a bad nonce or bad credentials; it says no more.
  bitso: [[code('code', '104', '0201'), 'invalid-nonce']],
  gemini: [
    [/"reason":\s*"(Invalid|Bad)Nonce"/, 'invalid-nonce'],
    [/"reason":\s*"RateLimit(ed)?"/, 'rate-limited'],
    [/"reason":\s*"Maintenance"|undergoing maintenance|investigating technical issues/, 'unavailable'],
  ],
  // It says "Too many requests." of a nonce that is not higher than the last one. Its limits of call rates are hundreds of
  // calls a second, which calls one at a time do not reach.
  whitebit: [
    [/"Too many requests\.?"/i, 'invalid-nonce'],
    [/"Nonce not provided|Invalid nonceWindow/, undefined],
    [code('status', '503'), 'unavailable'],
  ],
  btcbox: [
    [code('code', '106'), 'invalid-nonce'],
    [code('code', '402'), 'rate-limited'],
  ],
  coinone: [
    [code('error_code', '131'), 'invalid-nonce'],
    [code('error_code', '405'), 'unavailable'],
  ],
  mercado: [
    [code('status_code', '203'), 'invalid-nonce'],
    [code('status_code', '429', '430'), 'rate-limited'],
    [code('status', '503'), 'unavailable'],
  ],
  p2b: [
    [code('errorCode', '1016'), 'invalid-nonce'],
    // A nonce that is missing or malformed has nothing to do with the order of calls.
    [code('errorCode', '1004', '1006', '1012'), undefined],
    [code('errorCode', '1013'), 'rate-limited'],
    [code('errorCode', '4001'), 'unavailable'],
  ],
  bitbank: [[code('code', '20004'), 'invalid-nonce']],
};

/** What all other refusals say in words. */
const ANYWHERE: readonly Rule[] = [
  [/nonce/i, 'invalid-nonce'],
  [/rate.?limit|too many requests|too frequent|throttl/i, 'rate-limited'],
];

/** An answer that an exchange has given to a call, or something in front of it. */
export interface ExchangeAnswer {
  readonly status: number;
  readonly body: string;
}

/**
 * Returns how a call ended that was refused with this answer. Undefined if the exchange is alive and the refusal is about
 * something else; then the nonce may have been looked at or not.
 */
export function outcomeOfRefusal(exchange: string, { status, body }: ExchangeAnswer): Outcome | undefined {
  // A page for people is not the exchange's answer, and the scripts in it have nonces of their own.
  if (!body.trimStart().startsWith('<')) {
    const rules = BY_EXCHANGE[exchange] ?? [];
    const rule = rules.find(([words]) => words.test(body)) ?? generalRule(exchange, body);
    if (rule !== undefined) return rule[1];
  }
  return outcomeOfStatus(status);
}

function generalRule(exchange: string, body: string): Rule | undefined {
  // All of Kraken's words are known, and its other errors are answers of a living exchange that took the nonce.
  if (exchange === 'kraken') return /"error":\s*\[\s*"/.test(body) ? [/^/, 'ok'] : undefined;
  return ANYWHERE.find(([words]) => words.test(body));
}

/** Returns how a call ended that was answered with this HTTP status and with no words that are known. */
export function outcomeOfStatus(status: number): Outcome | undefined {
  switch (status) {
    // A gateway that has stopped waiting: the call may have arrived.
    case 408:
    case 504:
    case 524:
      return 'unsettled';
    case 418:
    case 420:
    case 429:
      return 'rate-limited';
    default:
      // 407 and 511 are a proxy's, and 400, 403, 404, 409 and the like are answers.
      return status >= 500 && status !== 511 ? 'unavailable' : undefined;
  }
}

/**
 * Returns how a call ended that Kraken answered with these errors. None, a mere warning (`W…`), and an error that is not
 * about the nonce, the rate or the service, are answers of a living exchange that took the nonce: `ok`.
 */
export function outcomeOfKrakenErrors(errors: readonly string[]): Outcome {
  const real = errors.filter((error) => error.startsWith('E'));
  const worst = KRAKEN_OUTCOMES.find(([words]) => real.some((error) => words.test(error)));
  return worst?.[1] ?? 'ok';
}

/** Returns Kraken's list of errors if this is an answer of Kraken's with errors in it. */
export function krakenErrorsIn(answer: unknown): readonly string[] | undefined {
  if (typeof answer !== 'object' || answer === null || !('error' in answer)) return undefined;
  const { error } = answer;
  if (!Array.isArray(error) || error.length === 0) return undefined;
  return error.every((one) => typeof one === 'string' && /^[EW][A-Za-z]+:/.test(one)) ? error : undefined;
}

/** Words for a low nonce that mean nothing else, whatever exchange says them. */
export const LOW_NONCE =
  /\binvalid nonce\b|\bnonce:? (is )?(too )?(small|low)\b|\bnonce must be (higher|greater|bigger|incremented|increasing)|\bnonce (is )?not (bigger|greater|higher|incremented)|out-of-sequence nonce|\bInvalidNonce\b/i;

/** How far into the causes of an error is looked. */
const DEPTH = 4;
/** An answer of an exchange is short, and its refusals shorter still. */
const LONGEST_TEXT = 4_096;

/**
 * Returns how a call ended that threw this, if its words are unmistakably those of an exchange. Everything else says
 * nothing: a bot's own mistakes are thrown here too.
 */
export function outcomeOfThrown(thrown: unknown): Outcome {
  const texts = textsOf(thrown, DEPTH);
  const rule = KRAKEN_OUTCOMES.find(([words]) => texts.some((text) => words.test(text)));
  if (rule?.[1] !== undefined) return rule[1];
  // Another refusal of Kraken's: it took the nonce.
  if (texts.some((text) => /\bE(General|Order|Query|Funding|Trade|Service):\s*[A-Z]/.test(text))) return 'ok';
  return texts.some((text) => LOW_NONCE.test(text)) ? 'invalid-nonce' : 'unknown';
}

function textsOf(thrown: unknown, depth: number): string[] {
  if (typeof thrown === 'string') return [thrown.slice(0, LONGEST_TEXT)];
  if (typeof thrown !== 'object' || thrown === null || depth === 0) return [];
  if (Array.isArray(thrown)) return thrown.slice(0, 10).flatMap((one) => textsOf(one, depth - 1));
  const { name, message, error, errors, body, data, response, cause } = thrown as Readonly<Record<string, unknown>>;
  // ccxt has a class for it, which names itself.
  const named = name === 'InvalidNonce' ? ['InvalidNonce'] : [];
  return [...named, ...[message, error, errors, body, data, response, cause].flatMap((one) => textsOf(one, depth - 1))];
}

/** Codes for a request that was never sent: bad input, no name, no trust, no descriptor. */
const NEVER_LEFT =
  /^(ERR_INVALID_|ERR_UNESCAPED_CHARACTERS|ERR_TLS_CERT|ERR_SSL_WRONG_VERSION_NUMBER|ERR_SOCKET_BAD_PORT|UND_ERR_INVALID_ARG|ENOTFOUND|EAI_|EADDRNOTAVAIL|EACCES|EPERM|EMFILE|ENFILE|CERT_|UNABLE_TO_|DEPTH_ZERO_|SELF_SIGNED_|HOSTNAME_MISMATCH)/;
/** Codes for a connection that never came about, because nothing listens at the other end or no route leads there. */
const UNREACHABLE: ReadonlySet<string> = new Set([
  'ECONNREFUSED',
  'EHOSTUNREACH',
  'EHOSTDOWN',
  'ENETUNREACH',
  'ENETDOWN',
]);

/**
 * Returns how a call ended that failed with this code of the system or of the HTTP library, instead of an answer. Behind
 * a proxy it is the proxy that is not there.
 */
export function outcomeOfTransportCode(systemCode: string, isProxied = false): Outcome {
  if (NEVER_LEFT.test(systemCode)) return 'unused';
  if (UNREACHABLE.has(systemCode)) return isProxied ? 'unused' : 'unavailable';
  return 'unsettled';
}
