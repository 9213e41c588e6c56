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
  /** It is durable that it draws from its sequence. */
  enlisted: boolean;
  exchange: Exchange;
  /** Undefined where its calls are let through as they come. */
  bucket: LeakyBucket | undefined;
  readonly breaker: Breaker;
  paused: boolean;
  /** Fingerprint of its API key, where a client has told it. */
  key: string | undefined;
  /** Those it had before, some of them. */
  formerKeys: readonly string[];
  grants: number;
  nonces: number;
  waiting: number;
  leases: number;
  usedAtMs: number;
  /** When a call of it was last accepted. */
  okAtMs: number | undefined;
  readonly tally: CallTally;
  /** Nonces drawn without the exclusive right to a call. */
  bare: { readonly count: number; readonly last: Nonce } | undefined;
  /** Requests that were refused as their clients sign in another unit, and the last such unit. */
  refusedUnits: { readonly count: number; readonly unit: Unit } | undefined;
  /** When an operator last raised its sequence. */
  advancedAtMs: number | undefined;
}
