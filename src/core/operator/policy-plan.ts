import { DIGITS, MAX_SEQUENCES, type Unit } from '../../terms.ts';
import { DEFAULT_EXCHANGE, MAX_NONCE, NO_POLICIES, type Policies } from '../accounts/policies.ts';
import { type AccountChange, DEFAULT_SEQUENCE, isOwnSequence, UNNAMED } from '../nonces/assignments.ts';
import { describeUnit } from '../nonces/sequence-clock.ts';
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
  /** Why accounts draw from their sequences, if that changes. */
  readonly accounts: ReadonlyMap<string, AccountChange>;
  /** The accounts that stay on another sequence than the policies say, as lines for the log. */
  readonly kept: readonly string[];
}

export interface PolicyProblem {
  /** The fact, then the fix. */
  readonly problem: string;
  /** The arguments of the `nonced state` that is the fix, or the last of the fixes, if one is. */
  readonly command?: string;
  /** The same problem of other accounts. */
  readonly others?: readonly PolicyProblem[];
}

/** Makes the `nonced state` command of its arguments. */
export type CommandOf = (args: string) => string;

/** Returns the problem in words, a line for each account that it concerns. */
export function describeProblem({ problem, command, others = [] }: PolicyProblem, commandOf: CommandOf): string[] {
  const first = command === undefined ? problem : `${problem}: ${commandOf(command)}`;
  return [first, ...others.flatMap((other) => describeProblem(other, commandOf))];
}

/** Returns the problem in one line: the first account, and how many others there are. */
export function summariseProblem(problem: PolicyProblem, commandOf: CommandOf): string {
  const [first = '', ...others] = describeProblem(problem, commandOf);
  const more = others.length === 1 ? '1 other account' : `${others.length} other accounts`;
  return others.length === 0 ? first : `${first}. So it is with ${more}, listed by: nonced serve --check-config`;
}

/**
 * Returns what must be written for `policies` to hold. A new sequence begins at the highest ceiling of its unit. An account
 * that has drawn is moved by no policies (I2): if they put it elsewhere, they are refused. The exceptions stay where they
 * are with a line for the log: accounts that an operator has placed, and those that an earlier version has let stay.
 */
export function planPolicies({ sequences, accounts }: Assigned, policies: Policies): PolicyPlan | PolicyProblem {
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
        command: `init --sequence ${name} --unit ${unit} --floor now`,
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
  const places = new Map<string, AccountChange>();
  const kept: string[] = [];
  const misplaced: PolicyProblem[] = [];
  for (const [account, { sequence: name, placed }] of accounts) {
    // A sequence of its own counts as placed: an operator has made it, and no configuration can name it.
    if (name === undefined || isOwnSequence(name)) continue;
    const other = policies.of(account).sequence;
    if (name === other) {
      // A file that is missing for a moment may say so too: it takes back nothing that an operator has decided.
      if (placed === 'unknown') places.set(account, { placed: undefined });
      continue;
    }
    const [from, to] = [all.get(name), all.get(other)];
    // Both names were checked against the state and the configuration. A miss would only leave the account as it is.
    if (from === undefined || to === undefined) continue;
    const misplacement = { account, from: { name, ...from }, to: { name: other, ...to } };
    if (placed === 'kept' || (placed === 'unknown' && mayHaveStayed(misplacement))) {
      if (placed === 'unknown') places.set(account, { placed: 'kept' });
      kept.push(stays(misplacement));
    } else {
      misplaced.push(refused(misplacement, policies, sequences.has(other)));
    }
  }
  const [first, ...others] = misplaced;
  return first === undefined ? { sequences: changed, accounts: places, kept } : { ...first, others };
}

/** Returns the state with which a daemon starts under `policies`. Its first write makes that state durable. */
export function startingState(
  state: DurableState,
  policies: Policies,
): { readonly state: DurableState; readonly kept: readonly string[] } | PolicyProblem {
  const sequences = new Map(Object.entries(state.sequences));
  const plan = planPolicies({ sequences, accounts: state.accounts }, policies);
  if ('problem' in plan) return plan;
  for (const [name, sequence] of plan.sequences) sequences.set(name, sequence);
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

interface Place extends DurableSequence {
  readonly name: string;
}

/** An account that draws from one sequence, while the policies put it on another. */
interface Misplacement {
  readonly account: string;
  readonly from: Place;
  readonly to: Place;
}

/**
 * Whether the account may have stayed on its sequence under the same configuration in an earlier version, which moved an
 * account only up. With more digits on the other side it would have been moved, so the configuration is another one now,
 * or is missing.
 */
function mayHaveStayed({ account, from, to }: Misplacement): boolean {
  return account === UNNAMED || !isLonger(to.unit, from.unit);
}

/** Whether the nonces of a unit have more digits than those of another. Those of a counter have any number. */
export function isLonger(unit: Unit, other: Unit): boolean {
  return unit !== 'counter' && other !== 'counter' && DIGITS[unit] > DIGITS[other];
}

function stays({ account, from, to }: Misplacement): string {
  const place = `${from.name}, in ${describeUnit(from.unit)}, although the configuration says sequence ${to.name}, in ${describeUnit(to.unit)}`;
  if (account === UNNAMED) return `the accounts that are too many to be named stay on sequence ${place}`;
  return `account ${account} stays on sequence ${place}`;
}

function refused({ account, from, to }: Misplacement, policies: Policies, isKnown: boolean): PolicyProblem {
  const says = policies === NO_POLICIES ? 'there is no configuration, which means' : 'the configuration says';
  const fact =
    `${nameOf(account)} ${account === UNNAMED ? 'draw' : 'draws'} from sequence ${from.name}, in ${describeUnit(from.unit)}, ` +
    `but ${says} sequence ${to.name}, in ${describeUnit(to.unit)}, and no configuration moves an account that has drawn. ` +
    `${policies === NO_POLICIES ? 'If the file was forgotten (--config) or is lost, bring it back. ' : ''}` +
    `For it to stay, the file needs ${linesThatKeep(account, from, policies)}`;
  if (account === UNNAMED) return { problem: fact };
  // A sequence that only the configuration names is not made while the configuration is refused.
  return isKnown
    ? { problem: `${fact}. To move it, stop the daemon, then`, command: `move ${account} --to ${to.name}` }
    : {
        problem: `${fact}. To move it, stop the daemon, make the sequence, and move the account with nonced state move`,
        command: `init --sequence ${to.name} --unit ${to.unit} --floor ${to.unit === 'counter' ? 'NUMBER' : 'now'}`,
      };
}

/** Returns what the configuration must say for an account to stay, as it is written there. */
function linesThatKeep(account: string, { name, unit, max }: Place, policies: Policies): string {
  const { exchange, pacing } = policies.of(account);
  // One entry alone holds for an account, so this one must say what the other said.
  const entry = {
    ...(exchange === DEFAULT_EXCHANGE ? {} : { exchange }),
    sequence: name,
    ...(pacing === undefined ? {} : { pacing }),
  };
  const accounts = `"accounts": {${JSON.stringify(account)}: ${spaced(entry)}}`;
  if (name === DEFAULT_SEQUENCE || policies.sequences.has(name)) return accounts;
  const sequence = { unit, ...(max === MAX_NONCE ? {} : { max: String(max) }) };
  return `"sequences": {${JSON.stringify(name)}: ${spaced(sequence)}}, ${accounts}`;
}

const spaced = (value: object): string =>
  JSON.stringify(value, undefined, 1).replaceAll(/\n\s*/g, ' ').replaceAll('{ ', '{').replaceAll(' }', '}');

const nameOf = (account: string): string =>
  account === UNNAMED ? 'the accounts that are too many to be named' : `account ${account}`;

function highestCeiling(sequences: ReadonlyMap<string, DurableSequence>, unit: Unit): bigint | undefined {
  let highest: bigint | undefined;
  for (const [name, sequence] of sequences) {
    // The sequence of the tokens has no nonces of any account.
    if (sequence.unit !== unit || name.startsWith('#')) continue;
    if (highest === undefined || sequence.ceiling > highest) highest = sequence.ceiling;
  }
  return highest;
}
