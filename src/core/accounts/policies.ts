import type { Unit } from '../../terms.ts';
import { DEFAULT_SEQUENCE } from '../nonces/assignments.ts';

/** The exchange of every account that is assigned to no other one. */
export const DEFAULT_EXCHANGE = 'default';

/** The default of a sequence's highest nonce: most exchanges store a nonce in a signed 64-bit integer. */
export const MAX_NONCE = 2n ** 63n - 1n;

/** A leaky bucket: a call adds its cost, and may be made if the bucket then holds no more than `max`. */
export interface Pacing {
  readonly max: number;
  readonly perSecond: number;
}

/** What an operator has configured for one account. */
export interface AccountPolicy {
  readonly exchange: string;
  /** The name of the sequence that its nonces come from. */
  readonly sequence: string;
  /** Undefined if calls are let through as they come. */
  readonly pacing: Pacing | undefined;
}

/** A sequence that accounts are assigned to. */
export interface SequencePolicy {
  readonly unit: Unit;
  /** The highest nonce that the exchange takes. */
  readonly max: bigint;
}

/** What an operator has configured with `--config`. */
export interface Policies {
  /** The sequences by name. `default` is among them only if it is configured. */
  readonly sequences: ReadonlyMap<string, SequencePolicy>;
  /** Returns the policy of an account. One that is not configured has the policy of its exchange, or the default one. */
  of(account: string): AccountPolicy;
}

const DEFAULT_POLICY: AccountPolicy = {
  exchange: DEFAULT_EXCHANGE,
  sequence: DEFAULT_SEQUENCE,
  pacing: undefined,
};

/** The policies without a configuration. */
export const NO_POLICIES: Policies = { sequences: new Map(), of: () => DEFAULT_POLICY };
