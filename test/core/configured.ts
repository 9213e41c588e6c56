import {
  type AccountPolicy,
  DEFAULT_EXCHANGE,
  type Pacing,
  type Policies,
  type SequencePolicy,
} from '../../src/core/accounts/policies.ts';
import { DEFAULT_SEQUENCE } from '../../src/core/nonces/assignments.ts';
import { nonceFloorAt } from '../../src/core/nonces/sequence-clock.ts';
import type { DurableAccount, DurableSequence, DurableState } from '../../src/core/ports.ts';
import type { Unit } from '../../src/terms.ts';
import { freshState, MAX_NONCE } from './simulation.ts';

/** What an operator might have written, with everything left out that does not matter. */
export interface Configuration {
  readonly sequences?: Readonly<Record<string, Unit | SequencePolicy>>;
  readonly accounts?: Readonly<Record<string, Partial<AccountPolicy>>>;
  /** Of all accounts that `accounts` does not name. */
  readonly others?: Partial<AccountPolicy>;
}

export function configured({ sequences = {}, accounts = {}, others = {} }: Configuration): Policies {
  const base: AccountPolicy = { exchange: DEFAULT_EXCHANGE, sequence: DEFAULT_SEQUENCE, pacing: undefined };
  return {
    sequences: new Map(
      Object.entries(sequences).map(([name, each]) => [
        name,
        typeof each === 'string' ? { unit: each, max: MAX_NONCE } : each,
      ]),
    ),
    of: (account) => ({ ...base, ...(accounts[account] ?? others) }),
  };
}

/** All accounts have the same bucket. */
export const pacedBy = (max: number, perSecond: number): Policies =>
  configured({ others: { pacing: { max, perSecond } } });

/** One account is paced, and no other. */
export const pacing = (account: string, of: Pacing): Policies =>
  configured({ accounts: { [account]: { pacing: of } } });

export interface Stateful {
  readonly sequences?: Readonly<Record<string, Unit | DurableSequence>>;
  readonly accounts?: Readonly<Record<string, string | DurableAccount>>;
  readonly exclusive?: DurableState['exclusive'];
}

/** When `Machine` begins. */
export const BEGIN_MS = Date.UTC(2026, 5, 1);

/** A state of a machine that begins now, in which only `accounts` have ever drawn. */
export function stateWith({ sequences = {}, accounts = {}, exclusive = 'global' }: Stateful = {}): DurableState {
  const fresh = freshState(BEGIN_MS, 'ns', exclusive);
  const added = Object.entries(sequences).map(([name, each]) => [
    name,
    typeof each === 'string' ? { unit: each, ceiling: nonceFloorAt(BEGIN_MS, each), max: MAX_NONCE } : each,
  ]);
  return {
    ...fresh,
    sequences: { ...fresh.sequences, ...Object.fromEntries(added) },
    accounts: new Map(
      Object.entries(accounts).map(([name, each]) => [
        name,
        typeof each === 'string' ? { sequence: each, paused: false } : each,
      ]),
    ),
  };
}
