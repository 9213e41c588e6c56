import { describe, expect, test } from 'vitest';
import { nonceFloorAt } from '../../../src/core/nonces/sequence-clock.ts';
import { type Move, planMove } from '../../../src/core/operator/move-plan.ts';
import { planPolicies, summariseProblem } from '../../../src/core/operator/policy-plan.ts';
import type { DurableSequence } from '../../../src/core/ports.ts';
import type { Unit } from '../../../src/terms.ts';
import { BEGIN_MS, configured, stateWith } from '../configured.ts';
import { MAX_NONCE } from '../simulation.ts';

const floorOf = (unit: Unit): bigint => nonceFloorAt(BEGIN_MS, unit);
const NS = floorOf('ns');
const MINUTE_NS = 60_000_000_000n;
const at = (ceiling: bigint, unit: Unit = 'ns', max = MAX_NONCE): DurableSequence => ({ unit, ceiling, max });

const state = stateWith({
  sequences: {
    far: at(NS + MINUTE_NS),
    old: at(floorOf('ms') + 5n, 'ms'),
    few: at(10n, 'counter'),
    small: at(NS, 'ns', NS + 7n),
  },
  accounts: { ns: 'default', far: 'far', OLD: 'old', counts: 'few', '*': 'default' },
});

const planOf = (account: string, to: string) => planMove(state, account, to, floorOf);

function moveOf(account: string, to: string): Move {
  const plan = planOf(account, to);
  if ('problem' in plan) throw new Error(plan.problem);
  return plan;
}

function refusalOf(account: string, to: string): string {
  const plan = planOf(account, to);
  if (!('problem' in plan)) throw new Error('the move was planned');
  return summariseProblem(plan, (args) => `nonced state ${args}`);
}

describe('a move that an operator has asked for', () => {
  test('to more digits goes on at the clock, and raises nothing', () => {
    const { next, raisedMs, state: after } = moveOf('OLD', 'default');
    expect([next, raisedMs]).toEqual([NS, undefined]);
    expect(after.sequences).toEqual(state.sequences);
    expect(after.accounts.get('OLD')).toEqual({ sequence: 'default', paused: false, placed: 'kept' });
  });

  test('I2: to a sequence that is behind raises that one above all that the key has had', () => {
    const { next, raisedMs, state: after } = moveOf('far', 'default');
    expect([next, Math.round(raisedMs ?? 0)]).toEqual([NS + MINUTE_NS, 60_000]);
    expect(after.sequences['default']?.ceiling).toBe(NS + MINUTE_NS);
    expect(after.sequences['far']).toEqual(state.sequences['far']);
  });

  test('I2: raises it also by a clock that is years ahead, for the daemon may start by one that is right', () => {
    const plan = planMove(state, 'far', 'default', (unit) => nonceFloorAt(2 * BEGIN_MS, unit));
    if ('problem' in plan) throw new Error(plan.problem);
    expect(plan).toMatchObject({ next: NS + MINUTE_NS, raisedMs: undefined });
    expect(plan.state.sequences['default']?.ceiling).toBe(NS + MINUTE_NS);
  });

  test('to one that is ahead goes on there', () => {
    expect(moveOf('ns', 'far')).toMatchObject({ next: NS + MINUTE_NS, raisedMs: undefined });
    expect(moveOf('counts', 'default')).toMatchObject({ next: NS, raisedMs: undefined });
  });

  test('to where it is only keeps it there', () => {
    const { state: after } = moveOf('OLD', 'old');
    expect(after.accounts.get('OLD')).toEqual({ sequence: 'old', paused: false, placed: 'kept' });
    expect(after.sequences).toEqual(state.sequences);
  });

  test('is not taken back by any configuration', () => {
    const { state: after } = moveOf('OLD', 'default');
    const assigned = { sequences: new Map(Object.entries(after.sequences)), accounts: after.accounts };
    const policies = configured({ accounts: { OLD: { sequence: 'old' }, far: { sequence: 'far' } }, others: {} });
    const accounts = new Map([...after.accounts].filter(([name]) => name === 'OLD'));
    expect(planPolicies({ ...assigned, accounts }, policies)).toMatchObject({ kept: [expect.stringContaining('OLD')] });
  });

  test.each([
    ['ns', 'old', 'rejects the shorter nonces'],
    ['ns', 'few', 'rejects the shorter nonces'],
    ['ns', 'none', 'nonced state init --sequence none --unit UNIT --floor now'],
    ['ns', '#tokens', 'there is no sequence #tokens'],
    ['TYPO', 'far', 'has never drawn here'],
    ['*', 'far', 'has never drawn here'],
    ['far', 'small', 'above the highest nonce of sequence small'],
  ])('of %s to %s is refused: it %s', (account, to, why) => {
    expect(refusalOf(account, to)).toContain(why);
  });
});
