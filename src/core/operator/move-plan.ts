import type { Unit } from '../../terms.ts';
import { UNNAMED } from '../nonces/assignments.ts';
import { describeUnit, nonceSpanMs } from '../nonces/sequence-clock.ts';
import type { DurableSequence, DurableState } from '../ports.ts';
import { isLonger, type PolicyProblem } from './policy-plan.ts';

/** An account's move to another sequence, as an operator has asked for it. */
export interface Move {
  readonly from: DurableSequence & { readonly name: string };
  readonly to: DurableSequence & { readonly name: string };
  /** The lowest nonce that the account can get next. It is above all that its key has had (I2). */
  readonly next: bigint;
  /** How far ahead of the clock the other sequence must be raised for that; undefined if it need not be. */
  readonly raisedMs: number | undefined;
  /** With which the next daemon starts. */
  readonly state: DurableState;
}

/** Returns what the move of an account comes to, or why it is refused. `floorOf` is the clock in a unit. */
export function planMove(
  state: DurableState,
  account: string,
  name: string,
  floorOf: (unit: Unit) => bigint,
): Move | PolicyProblem {
  const sequences = new Map(Object.entries(state.sequences));
  const durable = state.accounts.get(account);
  const from = sequences.get(durable?.sequence ?? '');
  if (account === UNNAMED || durable?.sequence === undefined || from === undefined) {
    return {
      problem:
        `account ${account} has never drawn here under that name, so the configuration alone says where it draws. Check ` +
        'the label; these have drawn',
      command: 'inspect --json',
    };
  }
  const to = name.startsWith('#') ? undefined : sequences.get(name);
  if (to === undefined) {
    return {
      problem: `there is no sequence ${name}; make it first, with the unit that the key is to have`,
      command: `init --sequence ${name} --unit UNIT --floor now`,
    };
  }
  if (isLonger(from.unit, to.unit) || (to.unit === 'counter' && from.unit !== 'counter')) {
    return {
      problem:
        `account ${account} draws in ${describeUnit(from.unit)}, and its key rejects the shorter nonces of sequence ${name}, in ` +
        `${describeUnit(to.unit)}, for good. Make a new API key, and give it a label of its own`,
    };
  }
  // Not by the clock, which may be wrong now and right when the daemon starts.
  const next = from.ceiling > to.ceiling ? from.ceiling : to.ceiling;
  const floor = floorOf(to.unit);
  if (next > to.max) {
    return {
      problem: `account ${account} would go on at ${next}, above the highest nonce of sequence ${name}, ${to.max}`,
    };
  }
  sequences.set(name, { ...to, ceiling: next });
  const accounts = new Map(state.accounts).set(account, { ...durable, sequence: name, placed: 'kept' });
  return {
    from: { name: durable.sequence, ...from },
    to: { name, ...to },
    next,
    raisedMs: next > to.ceiling && next > floor ? (nonceSpanMs(next - floor, to.unit) ?? 0) : undefined,
    state: { ...state, sequences: Object.fromEntries(sequences), accounts },
  };
}
