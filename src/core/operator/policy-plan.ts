import { MAX_SEQUENCES, type Unit } from '../../terms.ts';
import type { Policies } from '../accounts/policies.ts';
import { type AccountChange, ownSequenceOf, UNNAMED } from '../nonces/assignments.ts';
import { describeUnit, nonceSpanMs } from '../nonces/sequence-clock.ts';
import type { DurableAccount, DurableSequence, DurableState } from '../ports.ts';

/** What the state has that concerns the policies. */
export interface Assigned {
  readonly sequences: ReadonlyMap<string, DurableSequence>;
  readonly accounts: ReadonlyMap<string, DurableAccount>;
}

/** What the state must become for other policies to hold. */
export interface PolicyPlan {
  /** The sequences to make, or to give another `max`. */
  readonly sequences: ReadonlyMap<string, DurableSequence>;
  /** Where the sequences that accounts move to must go on, at least. */
  readonly lifts: ReadonlyMap<string, bigint>;
  readonly accounts: ReadonlyMap<string, AccountChange>;
  /** The accounts that stay, because the move would lead them down or others far up, as lines for the log. */
  readonly kept: readonly string[];
}

export interface PolicyProblem {
  /** The fact, then the fix. */
  readonly problem: string;
  /** The arguments of the `nonced state init` that is the fix, if it is one. */
  readonly init?: string;
}

/** Returns the problem in words. `command` makes the `nonced state init` of its arguments. */
export function describeProblem({ problem, init }: PolicyProblem, command: (init: string) => string): string {
  return init === undefined ? problem : `${problem}: ${command(init)}`;
}

/**
 * The move of an account lifts a sequence no further ahead of the clock than this, because the other accounts that draw
 * from it would pay.
 */
const LONGEST_LIFT_MS = 60_000;

/**
 * Returns what must be written for `policies` to hold. `floorOf` is the clock in a unit. An account that has drawn before
 * moves to another sequence only if the next nonce there is higher than all that it has had (I2), at the cost of a small
 * lift. Otherwise it stays. A new sequence begins at the highest ceiling of its unit.
 */
export function planPolicies(
  { sequences, accounts }: Assigned,
  policies: Policies,
  floorOf: (unit: Unit) => bigint,
): PolicyPlan | PolicyProblem {
  const all = new Map(sequences);
  const changed = new Map<string, DurableSequence>();
  for (const [name, { unit, max }] of policies.sequences) {
    const known = all.get(name);
    if (known !== undefined && known.unit !== unit) {
      return {
        problem:
          `sequences.${name}.unit is ${unit}, but the state has the sequence in ${describeUnit(known.unit)}, and a unit ` +
          'never changes, because a key that has seen longer nonces takes no shorter ones. Configure the unit that it ' +
          'has, or use another name',
      };
    }
    if (known?.max === max) continue;
    const ceiling = known?.ceiling ?? highestCeiling(sequences, unit);
    if (ceiling === undefined) {
      return {
        problem:
          `sequences.${name} is new, and the state has no sequence in ${unit} that it could go on from. Stop the daemon, ` +
          'and make the sequence above all nonces that its keys have seen',
        init: `--sequence ${name} --unit ${unit} --floor now`,
      };
    }
    const sequence = { unit, ceiling, max };
    all.set(name, sequence);
    changed.set(name, sequence);
  }
  if (countOfOperators(all.keys()) > MAX_SEQUENCES) {
    return {
      problem:
        `the configuration and the state have more than ${MAX_SEQUENCES} sequences together, and a sequence is never ` +
        'deleted; use those that the state has',
    };
  }
  const lifts = new Map<string, bigint>();
  const moves = new Map<string, AccountChange>();
  const kept: string[] = [];
  for (const [account, { sequence: from }] of accounts) {
    // The unnamed accounts stay: it is not known which of them the new policies mean.
    if (account === UNNAMED) continue;
    const to = policies.of(account).sequence;
    if (from === undefined || from === to || from === ownSequenceOf(account)) continue;
    const [had, target] = [all.get(from), all.get(to)];
    // Both names were checked against the state and the configuration. A miss would only leave the account as it is.
    if (had === undefined || target === undefined) continue;
    const floor = floorOf(target.unit);
    const next = target.ceiling > floor ? target.ceiling : floor;
    const liftMs = had.ceiling <= next ? 0 : (nonceSpanMs(had.ceiling - floor, target.unit) ?? Infinity);
    if (liftMs > LONGEST_LIFT_MS) {
      kept.push(
        `account ${account} stays on sequence ${from}, in ${describeUnit(had.unit)}: its key has seen higher nonces than ` +
          `sequence ${to}, in ${describeUnit(target.unit)}, would give it`,
      );
      continue;
    }
    lifts.set(to, had.ceiling > (lifts.get(to) ?? 0n) ? had.ceiling : (lifts.get(to) ?? 0n));
    moves.set(account, { sequence: to });
  }
  return { sequences: changed, lifts, accounts: moves, kept };
}

/** Returns the state with which a daemon starts under `policies`. Its first write makes that state durable. */
export function startingState(
  state: DurableState,
  policies: Policies,
  floorOf: (unit: Unit) => bigint,
): { readonly state: DurableState; readonly kept: readonly string[] } | PolicyProblem {
  const sequences = new Map(Object.entries(state.sequences));
  const plan = planPolicies({ sequences, accounts: state.accounts }, policies, floorOf);
  if ('problem' in plan) return plan;
  for (const [name, sequence] of plan.sequences) sequences.set(name, sequence);
  for (const [name, lift] of plan.lifts) {
    const sequence = sequences.get(name);
    if (sequence !== undefined && sequence.ceiling < lift) sequences.set(name, { ...sequence, ceiling: lift });
  }
  const accounts = new Map(state.accounts);
  for (const [name, change] of plan.accounts) {
    accounts.set(name, { sequence: undefined, paused: false, ...accounts.get(name), ...change });
  }
  return { state: { ...state, sequences: Object.fromEntries(sequences), accounts }, kept: plan.kept };
}

/** Returns how many of the sequences are an operator's, and not the daemon's own. */
export function countOfOperators(names: Iterable<string>): number {
  let count = 0;
  for (const name of names) if (!name.startsWith('#')) count += 1;
  return count;
}

function highestCeiling(sequences: ReadonlyMap<string, DurableSequence>, unit: Unit): bigint | undefined {
  let highest: bigint | undefined;
  for (const [name, sequence] of sequences) {
    // The sequence of the tokens has no nonces of any account.
    if (sequence.unit !== unit || name.startsWith('#')) continue;
    if (highest === undefined || sequence.ceiling > highest) highest = sequence.ceiling;
  }
  return highest;
}
