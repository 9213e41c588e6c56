import type { Unit } from '../../terms.ts';
import type { NonceSequence } from '../nonces/nonce-sequence.ts';
import type { Nonce } from '../ports.ts';
import type { CallTally } from '../record/call-tally.ts';
import type { Breaker } from './breaker.ts';
import type { Exchange } from './exchange.ts';
import type { LeakyBucket } from './pacing.ts';

/** What the broker knows of an account while it is in use. */
export interface Account {
  readonly name: string;
  sequence: NonceSequence;
  /** Whether it is durable that it draws from its sequence. */
  enlisted: boolean;
  exchange: Exchange;
  /** Undefined if its calls are let through as they come. */
  bucket: LeakyBucket | undefined;
  readonly breaker: Breaker;
  paused: boolean;
  /** Fingerprint of its API key, if a client has given it. */
  key: string | undefined;
  /** Fingerprints of some of the keys that it had before. */
  formerKeys: readonly string[];
  grants: number;
  nonces: number;
  waiting: number;
  leases: number;
  usedAtMs: number;
  /** When one of its calls was last accepted. */
  okAtMs: number | undefined;
  readonly tally: CallTally;
  /** Nonces that were drawn without a lease. */
  bare: { readonly count: number; readonly last: Nonce } | undefined;
  /** Requests that were refused because their clients use another unit, and the last such unit. */
  refusedUnits: { readonly count: number; readonly unit: Unit } | undefined;
  /** When an operator last raised its sequence. */
  advancedAtMs: number | undefined;
}
