import type { Exchange } from 'ccxt';
import { systemClock } from '../../clock.ts';
import { type NoncedExchangeOptions, noncedClass, type ObjectClass } from './ccxt-class.ts';

export type { NoncedExchangeOptions } from './ccxt-class.ts';

/** An exchange class of ccxt, with or without streams, or one derived from it. */
export type ExchangeClass = new (...args: never[]) => Exchange;

/**
 * The same class, whose private REST calls each wait for a lease of their account and are signed with the daemon's nonce.
 * Public calls do not touch the daemon. The class is instantiated once, with `{}`, to ask it what it is.
 *
 * Throws a NoncedError BAD_REQUEST for an exchange that wants no increasing nonces, and for a unit that it does not take.
 */
export function withNonced<C extends ExchangeClass>(base: C, options: NoncedExchangeOptions): C {
  return noncedClass(base as unknown as ObjectClass, options, systemClock()) as unknown as C;
}
