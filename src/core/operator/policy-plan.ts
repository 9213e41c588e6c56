import { MAX_SEQUENCES, type Unit } from '../../terms.ts';
import type { Policies } from '../accounts/policies.ts';
import { type AccountChange, ownSequenceOf, UNNAMED } from '../nonces/assignments.ts';
import { describeUnit, nonceSpanMs } from '../nonces/sequence-clock.ts';
import type { DurableAccount, DurableSequence, DurableState } from '../ports.ts';

/** What is durable and concerns the policies. */
export interface Assigned {
  readonly sequences: ReadonlyMap<string, DurableSequence>;
  readonly accounts: ReadonlyMap<string, DurableAccount>;
}

/** What the state must become for other policies to hold. */
export interface PolicyPlan {
  /** Sequences to make, or to give another `max`. */
  readonly sequences: ReadonlyMap<string, DurableSequence>;
  /** Sequences that an account moves to go on at least here. */
  readonly lifts: ReadonlyMap<string, bigint>;
  readonly accounts: ReadonlyMap<string, AccountChange>;
  /** Accounts that stay where they are, as the move would lead them down or others far up. For the log. */
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

/** No sequence is lifted further ahead of the clock by the move of an account: the others that draw from it would pay. */
const LONGEST_LIFT_MS = 60_000;
/**
 * What must be written for `policies` to hold. `floorOf` is the clock in a unit. An account that has drawn before moves
 * to another sequence only where that one's next nonce is higher than all it has had (I2), at the cost of a small lift;
 * otherwise it stays. A new sequence begins at the highest ceiling of its unit.
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
          `sequences.${name}.unit says ${unit}, but the state has it in ${describeUnit(known.unit)}, and a unit never ` +
          'changes: a key that has seen the longer nonces takes no shorter ones. Say the unit it has, or use another name',
      };
    }
    if (known?.max === max) continue;
    const ceiling = known?.ceiling ?? highestCeiling(sequences, unit);
    if (ceiling === undefined) {
      return {
        problem:
          `sequences.${name} is new, and the state has no sequence in ${unit} that it could go on from; make it first, ` +
          'above all its keys have seen, while the daemon is stopped',
        init: `--sequence ${name} --unit ${unit} --floor now`,
      };
    }
    const sequence = { unit, ceiling, max };
    all.set(name, sequence);
    changed.set(name, sequence);
  }
  if (countOfOperators(all.keys()) > MAX_SEQUENCES) {
    return {
      problem: `sequences would come to more than ${MAX_SEQUENCES}, with those of the state; none is ever deleted`,
    };
  }
  const lifts = new Map<string, bigint>();
  const moves = new Map<string, AccountChange>();
  const kept: string[] = [];
  for (const [account, { sequence: from }] of accounts) {
    // Those who are not told apart stay: nobody knows which of them the new policies mean.
    if (account === UNNAMED) continue;
    const to = policies.of(account).sequence;
    if (from === undefined || from === to || from === ownSequenceOf(account)) continue;
    const [had, target] = [all.get(from), all.get(to)];
    // Both names are checked against the state and the configuration before; a miss would only leave the account as it is.
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

/** The state with which a daemon starts under `policies`; its first write makes that durable. */
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

/** How many of the sequences are an operator's, and not the daemon's own. */
export function countOfOperators(names: Iterable<string>): number {
  let count = 0;
  for (const name of names) if (!name.startsWith('#')) count += 1;
  return count;
}

function highestCeiling(sequences: ReadonlyMap<string, DurableSequence>, unit: Unit): bigint | undefined {
  let highest: bigint | undefined;
  for (const [name, sequence] of sequences) {
    // The tokens' own sequence is nobody's nonces.
    if (sequence.unit !== unit || name.startsWith('#')) continue;
    if (highest === undefined || sequence.ceiling > highest) highest = sequence.ceiling;
  }
  return highest;
}
