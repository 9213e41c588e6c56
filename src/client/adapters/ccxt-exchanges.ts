import type { Unit } from '../../terms.ts';
import { badRequest } from '../calls/options.ts';
import { type CallTerms, termsOf } from './kraken.ts';

/** What the adapter knows of an exchange that takes a call only if its nonce is higher than the last one's. */
export interface ExchangeTraits {
  /** The units its nonces may have, the usual one first. Others are refused: too many digits are taken once and for ever. */
  readonly units: readonly [Unit, ...Unit[]];
  /** Matches `METHOD path` of the calls that make, change or cancel orders. */
  readonly orders: RegExp;
  /** Its private streams sign with a clock of their own, on the same key, behind the daemon's back. */
  readonly streamsSign?: boolean;
  /** ccxt numbers its stream messages with `nonce()` too, which has nothing to do with the key. */
  readonly nonceNumbersMessages?: boolean;
  /** The part of its API that wants random nonces. */
  readonly randomNonces?: string;
}

/** By ccxt's id. A map, for a class may be called `constructor`. */
export const EXCHANGES: ReadonlyMap<string, ExchangeTraits> = new Map<string, ExchangeTraits>([
  // An unsigned 64-bit integer.
  ['kraken', { units: ['ns', 'us', 'ms', 's', 'counter'], orders: /^POST (Add|Amend|Edit|Cancel).*Order|CancelAll/ }],
  // At most 2^53 - 1.
  ['bitfinex', { units: ['ms', 'us', 's', 'counter'], orders: /auth\/w\/(order|funding\/offer)\//, streamsSign: true }],
  // 14 to 19 digits are read as another scheme.
  ['bitso', { units: ['ms'], orders: /^(POST|PATCH|DELETE) orders/ }],
  // At most 2^63 - 1.
  ['coincheck', { units: ['ms', 'us', 'ns', 's', 'counter'], orders: /^(POST|DELETE) exchange\/orders/ }],
  ['gemini', { units: ['ms', 's'], orders: /\/order(\/(new|cancel|batch)|$)|heartbeat/, streamsSign: true }],
  ['whitebit', { units: ['ms'], orders: /^POST order\/(?!kill-switch\/status)/, nonceNumbersMessages: true }],
  ['bit2c', { units: ['ms'], orders: /^POST Order\/(Add(Stop)?Order|CancelOrder)/ }],
  ['btcbox', { units: ['ms'], orders: /trade_(add|cancel)/ }],
  ['coinmate', { units: ['ms'], orders: /^POST (buy|sell|replaceBy|cancel)/ }],
  ['coinspot', { units: ['s'], orders: /my\/(buy|sell|swap)(?!\/now\/coinlist)/ }],
  ['coinone', { units: ['s'], orders: /order\/(limit(_buy|_sell)?$|cancel)/, randomNonces: 'v2_1Private' }],
  ['independentreserve', { units: ['s'], orders: /^POST (Place|Cancel)/ }],
  ['mercado', { units: ['s'], orders: /^POST (place_|cancel_order)/ }],
  ['p2b', { units: ['s'], orders: /order\/(new|cancel)$/ }],
  ['paymium', { units: ['s'], orders: /^(POST|DELETE) user\/orders/ }],
]);

const AS_IT_IS = (id: string): string => `use ccxt.${id} as it is`;
/** Its own nonces are in order if only one call is under way at a time. */
const ONE_AT_A_TIME = (id: string): string =>
  `make its private calls inside nonced.exclusive, with ccxt.${id} as it is: one call at a time keeps its own nonces in order`;

/** Why exchanges that a user is likely to ask for are not in the list, and what to use instead. */
const REASONS: ReadonlyMap<string, readonly [reason: string, instead: (id: string) => string]> = new Map([
  ['krakenfutures', ['Kraken Futures takes calls without a nonce, and ccxt sends none', AS_IT_IS]],
  ...['coinbase', 'coinbaseexchange', 'coinbaseinternational'].map(
    (id): [string, readonly [string, (id: string) => string]] => [
      id,
      ['Coinbase takes the nonce for the time of day, which need not grow', AS_IT_IS],
    ],
  ),
  ['exmo', ['EXMO wants nonces that grow, but the adapter does not know it', ONE_AT_A_TIME]],
  ['btcalpha', ['BTC-Alpha wants nonces that grow, but the adapter does not know it', ONE_AT_A_TIME]],
  ['kuna', ['Kuna wants nonces that grow, but the adapter does not know it', ONE_AT_A_TIME]],
  [
    'yobit',
    ['YoBit wants nonces that grow and are at most 2147483646, which no unit of the clock keeps', ONE_AT_A_TIME],
  ],
  ['zaif', ['zaif wants seconds with decimals, which ccxt makes itself', ONE_AT_A_TIME]],
  [
    'bitbank',
    [
      'bitbank needs no growing nonces: ccxt 4.5 signs with the time and a window (`authMethod: timeWindow`). With ' +
        'ccxt 4.4, or `authMethod: nonce`, its nonces must grow: then call it inside nonced.exclusive',
      AS_IT_IS,
    ],
  ],
]);

/** Throws BAD_REQUEST, with the reason, for an exchange that has no use for the daemon or that the adapter does not know. */
export function traitsOf(id: string): ExchangeTraits {
  const traits = EXCHANGES.get(id);
  if (traits !== undefined) return traits;
  const [reason, instead] = REASONS.get(id) ?? [
    `${id} is not known to want increasing nonces: in ccxt it signs with the time, or with none`,
    AS_IT_IS,
  ];
  throw badRequest(`${reason}; ${instead(id)}. withNonced is for ${[...EXCHANGES.keys()].join(', ')}`);
}

/** The unit to sign with. Throws BAD_REQUEST for one that the exchange must never be sent. */
export function unitFor(id: string, { units }: ExchangeTraits, asked: Unit | undefined): Unit {
  const [usual] = units;
  if (asked === undefined) return usual;
  if (units.includes(asked)) return asked;
  throw badRequest(`${id} takes nonces in ${units.join(', ')}, not in ${asked}; leave unit out for ${usual}`);
}

const READS_PAST = /^user$|balance|wallets?$|hist|ledger|trades|transactions|movements|GetAccounts|get_account_info/i;

/** How urgent a private call is and what it costs; `path` is ccxt's template, before values are put in. */
export function callTerms(id: string, { orders }: ExchangeTraits, method: string, path: string): CallTerms {
  if (id === 'kraken') return termsOf(path);
  if (orders.test(`${method} ${path}`)) return { priority: 'urgent', cost: 1 };
  return { priority: READS_PAST.test(path) ? 'background' : 'normal', cost: 1 };
}

const CANCELS = /cancel|kill-switch|heartbeat/i;
const MOVES_MONEY = /withdraw|transfer|send|\bpay|payment|allocate|stake|convert|execute|voucher|borrow|apply/i;
const LOOKS_UP = /status|info|method|address|list|fee|hist|balance|deposits|GetDigital|GetFiat|\/r\/|\bro\//i;

/** Whether making a call twice does something twice: an order is placed again, money is sent again. */
export function harmsTwice({ orders }: ExchangeTraits, method: string, path: string): boolean {
  if (method === 'GET' || method === 'DELETE' || CANCELS.test(path)) return false;
  return orders.test(`${method} ${path}`) || (MOVES_MONEY.test(path) && !LOOKS_UP.test(path));
}
