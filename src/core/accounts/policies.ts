import type { Unit } from '../../terms.ts';
import { DEFAULT_SEQUENCE } from '../nonces/assignments.ts';

/** The exchange of every account that is assigned to no other. */
export const DEFAULT_EXCHANGE = 'default';

/** The highest nonce of a sequence that nothing is said of: what most exchanges store it in is signed. */
export const MAX_NONCE = 2n ** 63n - 1n;

/** A leaky bucket: a call adds its cost, and may be made where that does not pass `max`. */
export interface Pacing {
  readonly max: number;
  readonly perSecond: number;
}

/** What an operator has configured for one account. */
export interface AccountPolicy {
  readonly exchange: string;
  /** Name of the sequence its nonces come from. */
  readonly sequence: string;
  /** Undefined: calls are let through as they come. */
  readonly pacing: Pacing | undefined;
}

/** A sequence that accounts are assigned to. */
export interface SequencePolicy {
  readonly unit: Unit;
  /** The highest nonce that the exchange takes. */
  readonly max: bigint;
}

/** What an operator has configured: everything that `--config` says. */
export interface Policies {
  /** By name, `default` among them only where something is said about it. */
  readonly sequences: ReadonlyMap<string, SequencePolicy>;
  /** Every account has a policy; one that nothing is said about has that of its exchange, or the default one. */
  of(account: string): AccountPolicy;
}

const DEFAULT_POLICY: AccountPolicy = {
  exchange: DEFAULT_EXCHANGE,
  sequence: DEFAULT_SEQUENCE,
  pacing: undefined,
};

/** What holds without a configuration. */
export const NO_POLICIES: Policies = { sequences: new Map(), of: () => DEFAULT_POLICY };
