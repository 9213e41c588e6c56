import { describe, expect, test } from 'vitest';
import type { Policies } from '../../../src/core/accounts/policies.ts';
import { ownSequenceOf } from '../../../src/core/nonces/assignments.ts';
import { nonceFloorAt } from '../../../src/core/nonces/sequence-clock.ts';
import {
  countOfOperators,
  describeProblem,
  type PolicyPlan,
  type PolicyProblem,
  planPolicies,
  startingState,
} from '../../../src/core/operator/policy-plan.ts';
import type { DurableAccount, DurableSequence } from '../../../src/core/ports.ts';
import type { Unit } from '../../../src/terms.ts';
import { BEGIN_MS, configured, stateWith } from '../configured.ts';
import { MAX_NONCE } from '../simulation.ts';

const NS_PER_MS = 1_000_000n;
const MINUTE_NS = 60_000n * NS_PER_MS;
const floorOf = (unit: Unit): bigint => nonceFloorAt(BEGIN_MS, unit);
const FLOOR_NS = floorOf('ns');

const at = (ceiling: bigint, unit: Unit = 'ns'): DurableSequence => ({ unit, ceiling, max: MAX_NONCE });

function outcomeOf(
  sequences: Record<string, DurableSequence>,
  accounts: Record<string, string | undefined>,
  policies: Policies,
): PolicyPlan | PolicyProblem {
  const drawn = Object.entries(accounts).map(([name, sequence]): [string, DurableAccount] => [
    name,
    { sequence, paused: false },
  ]);
  return planPolicies({ sequences: new Map(Object.entries(sequences)), accounts: new Map(drawn) }, policies, floorOf);
}

function planOf(...args: Parameters<typeof outcomeOf>): PolicyPlan {
  const plan = outcomeOf(...args);
  if ('problem' in plan) throw new Error(plan.problem);
  return plan;
}

function problemOf(...args: Parameters<typeof outcomeOf>): string {
  const plan = outcomeOf(...args);
  if (!('problem' in plan)) throw new Error('the policies were accepted');
  return describeProblem(plan, (init) => `nonced state init ${init} --state-dir DIR`);
}

const toAlt = (unit: Unit = 'ns'): Policies =>
  configured({ sequences: { alt: unit }, accounts: { MASTER: { sequence: 'alt' } } });

describe('a sequence', () => {
  test('that is new begins at the highest ceiling of its unit, the tokens’ apart', () => {
    const sequences = {
      default: at(FLOOR_NS),
      high: at(FLOOR_NS + 7n),
      low: at(5n),
      slow: at(99n, 'us'),
      '#tokens': at(FLOOR_NS + 1_000n, 'us'),
    };
    const plan = planOf(sequences, {}, configured({ sequences: { alt: 'ns', micro: 'us' } }));
    expect(plan.sequences).toEqual(
      new Map([
        ['alt', at(FLOOR_NS + 7n)],
        ['micro', at(99n, 'us')],
      ]),
    );
  });

  test('that is new, of a unit that no sequence of the state has, is refused with the command that makes it', () => {
    for (const unit of ['us', 'ms', 's', 'counter'] as const) {
      const sequences = { default: at(FLOOR_NS), '#tokens': at(FLOOR_NS, 'us') };
      expect(problemOf(sequences, {}, toAlt(unit))).toContain(
        `nonced state init --sequence alt --unit ${unit} --floor now --state-dir DIR`,
      );
    }
  });

  test('never changes its unit', () => {
    expect(problemOf({ default: at(FLOOR_NS) }, {}, configured({ sequences: { default: 'ms' } }))).toMatch(
      /sequences\.default\.unit is ms, but the state has the sequence in ns/,
    );
  });

  test('that is known as it is needs no change, and one of another max keeps its ceiling', () => {
    const sequences = { default: at(FLOOR_NS), alt: at(17n) };
    expect(planOf(sequences, {}, configured({ sequences: { default: 'ns', alt: 'ns' } })).sequences.size).toBe(0);
    const lower = configured({ sequences: { alt: { unit: 'ns', max: 1_000n } } });
    expect(planOf(sequences, {}, lower).sequences).toEqual(
      new Map([['alt', { unit: 'ns', ceiling: 17n, max: 1_000n }]]),
    );
  });

  test('that the configuration no longer names stays', () => {
    const plan = planOf({ default: at(FLOOR_NS), alt: at(FLOOR_NS) }, { MASTER: 'default' }, configured({}));
    expect(plan).toEqual({ sequences: new Map(), lifts: new Map(), accounts: new Map(), kept: [] });
  });

  test('is one of at most 64, those of the state among them, the daemon’s own apart', () => {
    const names = Array.from({ length: 62 }, (_, n) => `s${n}`);
    const sequences = { default: at(FLOOR_NS), '#tokens': at(1n, 'us') };
    const all = (extra: readonly string[]) =>
      configured({ sequences: Object.fromEntries([...names, ...extra].map((name) => [name, 'ns'])) });
    expect(planOf(sequences, {}, all(['last'])).sequences.size).toBe(63);
    expect(problemOf(sequences, {}, all(['last', 'over']))).toMatch(/more than 64/);
    expect(problemOf({ ...sequences, [ownSequenceOf('MASTER')]: at(1n) }, {}, all(['last']))).toMatch(/more than 64/);
    expect(countOfOperators(['#tokens', 'default', 'account:MASTER'])).toBe(2);
  });
});

describe('I2: an account that has drawn', () => {
  test('moves to a sequence that is ahead of its own, which is not lifted past where it would go on', () => {
    const sequences = { default: at(FLOOR_NS + 10n), alt: at(FLOOR_NS + MINUTE_NS) };
    const plan = planOf(sequences, { MASTER: 'default' }, toAlt());
    expect(plan.accounts).toEqual(new Map([['MASTER', { sequence: 'alt' }]]));
    expect(plan.lifts.get('alt') ?? 0n).toBeLessThanOrEqual(FLOOR_NS + MINUTE_NS);
  });

  test('moves to one that is behind by lifting that one to all it may have had', () => {
    const sequences = { default: at(FLOOR_NS + 5_000n * NS_PER_MS), alt: at(12n) };
    const plan = planOf(sequences, { MASTER: 'default' }, toAlt());
    expect(plan.lifts).toEqual(new Map([['alt', FLOOR_NS + 5_000n * NS_PER_MS]]));
    expect(plan.kept).toEqual([]);
  });

  test('moves if that lifts the other by a minute past the clock, and stays if by more', () => {
    const moved = planOf({ default: at(FLOOR_NS + MINUTE_NS), alt: at(12n) }, { MASTER: 'default' }, toAlt());
    expect([...moved.accounts.keys()]).toEqual(['MASTER']);
    // A double does not hold a nanosecond of sixty seconds and a floor: compared with a millisecond more.
    const far = at(FLOOR_NS + MINUTE_NS + NS_PER_MS);
    const kept = planOf({ default: far, alt: at(12n) }, { MASTER: 'default' }, toAlt());
    expect([kept.accounts.size, kept.lifts.size]).toEqual([0, 0]);
    expect(kept.kept).toHaveLength(1);
    expect(kept.kept[0]).toContain('account MASTER stays on sequence default');
  });

  test('stays if the other has shorter nonces, and moves if it has longer ones', () => {
    for (const shorter of ['us', 'ms', 's', 'counter'] as const) {
      const sequences = { default: at(FLOOR_NS), alt: at(floorOf(shorter), shorter) };
      const kept = planOf(sequences, { MASTER: 'default' }, toAlt(shorter));
      expect([kept.accounts.size, kept.lifts.size, kept.kept.length]).toEqual([0, 0, 1]);
      const longer = planOf(
        { default: at(FLOOR_NS), old: at(floorOf(shorter), shorter) },
        { MASTER: 'old' },
        configured({}),
      );
      expect(longer.accounts).toEqual(new Map([['MASTER', { sequence: 'default' }]]));
      expect(longer.lifts.get('default') ?? 0n).toBeLessThan(FLOOR_NS);
    }
  });

  test('moves between counters only upwards', () => {
    const sequences = { default: at(FLOOR_NS), few: at(10n, 'counter'), many: at(5_000n, 'counter') };
    const up = configured({ accounts: { A: { sequence: 'many' } } });
    expect(planOf(sequences, { A: 'few' }, up).accounts.size).toBe(1);
    const down = configured({ accounts: { A: { sequence: 'few' } } });
    expect(planOf(sequences, { A: 'many' }, down)).toMatchObject({ kept: [expect.stringContaining('account A')] });
  });

  test('that has a sequence of its own stays there, even if the configuration names another', () => {
    const own = ownSequenceOf('MASTER');
    const sequences = { default: at(FLOOR_NS), alt: at(FLOOR_NS + 9n), [own]: at(FLOOR_NS) };
    expect(planOf(sequences, { MASTER: own }, toAlt())).toMatchObject({ kept: [], accounts: new Map() });
    // The own sequence of another account does not count.
    expect(planOf(sequences, { 'USER:alice': own }, configured({})).accounts.size).toBe(1);
  });

  test('is lifted for together with others: the target goes on above the highest that any of them has had', () => {
    const sequences = { a: at(FLOOR_NS + 30n), b: at(FLOOR_NS + 90n), c: at(FLOOR_NS + 60n), alt: at(1n) };
    const accounts = { A: { sequence: 'alt' }, B: { sequence: 'alt' }, C: { sequence: 'alt' } };
    const plan = planOf(sequences, { A: 'a', B: 'b', C: 'c' }, configured({ accounts }));
    expect(plan.lifts).toEqual(new Map([['alt', FLOOR_NS + 90n]]));
  });

  test('swaps with another: both are above all they have had', () => {
    const sequences = { a: at(FLOOR_NS + 30n), b: at(FLOOR_NS + 90n) };
    const accounts = { A: { sequence: 'b' }, B: { sequence: 'a' } };
    const plan = planOf(sequences, { A: 'a', B: 'b' }, configured({ accounts }));
    expect(plan.lifts.get('a')).toBe(FLOOR_NS + 90n);
    expect(plan.lifts.get('b') ?? 0n).toBeGreaterThanOrEqual(FLOOR_NS + 30n);
  });

  test('and one that has not goes where the configuration sends it', () => {
    const plan = planOf(
      { default: at(FLOOR_NS), micro: at(1n, 'us') },
      { MASTER: undefined },
      configured({ accounts: { MASTER: { sequence: 'micro' } } }),
    );
    expect([plan.accounts.size, plan.kept.length]).toEqual([0, 0]);
  });
});

describe('startingState', () => {
  test('makes the sequences, lifts them and moves the accounts, and leaves everything else as it is', () => {
    const state = stateWith({
      accounts: { MASTER: { sequence: 'default', paused: true }, 'USER:alice': 'default' },
      exclusive: 'account',
    });
    const started = startingState(state, toAlt(), floorOf);
    if ('problem' in started) throw new Error(started.problem);
    expect(started.kept).toEqual([]);
    expect(started.state).toEqual({
      ...state,
      sequences: { ...state.sequences, alt: at(FLOOR_NS) },
      accounts: new Map([
        ['MASTER', { sequence: 'alt', paused: true }],
        ['USER:alice', { sequence: 'default', paused: false }],
      ]),
    });
  });

  test('I10: never lowers a sequence', () => {
    const high = FLOOR_NS + 30_000n * NS_PER_MS;
    const state = stateWith({ sequences: { alt: at(high) }, accounts: { MASTER: 'default' } });
    const started = startingState(state, toAlt(), floorOf);
    if ('problem' in started) throw new Error(started.problem);
    expect(started.state.sequences['alt']?.ceiling).toBe(high);
  });

  test('returns what is wrong and changes nothing', () => {
    expect(startingState(stateWith(), toAlt('ms'), floorOf)).toHaveProperty('problem');
  });
});
