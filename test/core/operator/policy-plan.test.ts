import { describe, expect, test } from 'vitest';
import { NO_POLICIES, type Policies } from '../../../src/core/accounts/policies.ts';
import { ownSequenceOf } from '../../../src/core/nonces/assignments.ts';
import { nonceFloorAt } from '../../../src/core/nonces/sequence-clock.ts';
import {
  countOfOperators,
  describeProblem,
  type PolicyPlan,
  type PolicyProblem,
  planPolicies,
  startingState,
  summariseProblem,
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
  accounts: Record<string, string | DurableAccount | undefined>,
  policies: Policies,
): PolicyPlan | PolicyProblem {
  const drawn = Object.entries(accounts).map(([name, each]): [string, DurableAccount] => [
    name,
    typeof each === 'object' ? each : { sequence: each, paused: false },
  ]);
  return planPolicies({ sequences: new Map(Object.entries(sequences)), accounts: new Map(drawn) }, policies);
}

function planOf(...args: Parameters<typeof outcomeOf>): PolicyPlan {
  const plan = outcomeOf(...args);
  if ('problem' in plan) throw new Error(plan.problem);
  return plan;
}

function problemOf(...args: Parameters<typeof outcomeOf>): string {
  const plan = outcomeOf(...args);
  if (!('problem' in plan)) throw new Error('the policies were accepted');
  return describeProblem(plan, (args) => `nonced state ${args} --state-dir DIR`).join('\n');
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
    expect(plan).toEqual({ sequences: new Map(), accounts: new Map(), kept: [] });
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
  const sequences = { default: at(FLOOR_NS), near: at(FLOOR_NS), far: at(FLOOR_NS + MINUTE_NS), old: at(9n, 'ms') };
  const counters = { few: at(10n, 'counter'), many: at(5_000n, 'counter') };
  const all = { ...sequences, ...counters };
  const names = Object.keys(all);
  const pairs = names.flatMap((from) => names.filter((to) => to !== from).map((to) => [from, to] as const));

  test.each(pairs)('on %s is not moved to %s: the configuration is refused, with both ways out', (from, to) => {
    const problem = problemOf(all, { MASTER: from }, configured({ accounts: { MASTER: { sequence: to } } }));
    expect(problem).toContain(`account MASTER draws from sequence ${from}, in `);
    expect(problem).toContain(`the configuration says sequence ${to}, in `);
    expect(problem).toContain(`"accounts": {"MASTER": {"sequence": "${from}"}}`);
    expect(problem).toContain(`nonced state move MASTER --to ${to} --state-dir DIR`);
  });

  test('is not moved by a configuration that is missing', () => {
    const problem = problemOf(sequences, { OLD: 'old' }, NO_POLICIES);
    expect(problem).toContain('there is no configuration, which means sequence default, in ns (19 digits)');
    expect(problem).toContain('"sequences": {"old": {"unit": "ms"}}, "accounts": {"OLD": {"sequence": "old"}}');
  });

  test('stays by an entry that keeps its exchange and pacing, and the highest nonce of its sequence', () => {
    const small = { ...at(9n, 'ms'), max: 2n ** 53n - 1n };
    const entry = { exchange: 'bitfinex', sequence: 'default', pacing: { max: 10, perSecond: 1 } };
    const problem = problemOf({ ...sequences, old: small }, { OLD: 'old' }, configured({ accounts: { OLD: entry } }));
    expect(problem).toContain('"sequences": {"old": {"unit": "ms", "max": "9007199254740991"}}');
    expect(problem).toContain(
      '{"OLD": {"exchange": "bitfinex", "sequence": "old", "pacing": {"max": 10, "perSecond": 1}}}',
    );
  });

  test('has to wait for its sequence if only the refused configuration names that', () => {
    expect(problemOf({ default: at(FLOOR_NS) }, { MASTER: 'default' }, toAlt())).toContain(
      'nonced state init --sequence alt --unit ns --floor now --state-dir DIR',
    );
  });

  test('is named with all others, a line each', () => {
    const policies = configured({ others: { sequence: 'far' } });
    const problem = outcomeOf(sequences, { A: 'default', B: 'far', C: 'near' }, policies) as PolicyProblem;
    const lines = describeProblem(problem, (args) => `nonced state ${args}`);
    expect(lines.map((line) => line.split(' draws')[0])).toEqual(['account A', 'account C']);
    expect(summariseProblem(problem, (args) => args)).toContain('So it is with 1 other account');
  });

  test('keeps a sequence of its own, whatever the configuration says', () => {
    const own = ownSequenceOf('MASTER');
    const plan = planOf({ ...sequences, alt: at(1n), [own]: at(FLOOR_NS) }, { MASTER: own }, toAlt());
    expect(plan).toMatchObject({ kept: [], accounts: new Map() });
  });

  test('stays with a word to the log if an operator has placed it', () => {
    const kept = { sequence: 'old', paused: false, placed: 'kept' } as const;
    const plan = planOf(sequences, { OLD: kept }, NO_POLICIES);
    expect(plan.kept).toEqual([
      'account OLD stays on sequence old, in ms (13 digits), although the configuration says sequence default, in ns (19 digits)',
    ]);
    expect(plan.accounts.size).toBe(0);
  });

  test('stays placed by an operator also while the configuration says the same, as one that is missing for a moment does', () => {
    const account = { sequence: 'default', paused: true, placed: 'kept' } as const;
    expect(planOf(sequences, { MASTER: account }, NO_POLICIES)).toMatchObject({ kept: [], accounts: new Map() });
  });

  test('that never has goes wherever it is sent', () => {
    const plan = planOf(
      { default: at(FLOOR_NS), micro: at(1n, 'us') },
      { MASTER: undefined },
      configured({ accounts: { MASTER: { sequence: 'micro' } } }),
    );
    expect([plan.accounts.size, plan.kept.length]).toEqual([0, 0]);
  });

  test('as one of too many stays where they are: they are refused together', () => {
    const problem = problemOf(sequences, { '*': 'default' }, configured({ others: { sequence: 'far' } }));
    expect(problem).toContain('the accounts that are too many to be named draw from sequence default');
    expect(problem).toContain('"accounts": {"*": {"sequence": "default"}}');
    expect(problem).not.toContain('state move');
  });

  describe('in a state that an earlier version wrote', () => {
    const unknown = (sequence: string) => ({ sequence, paused: false, placed: 'unknown' }) as const;

    test('stays, for good, where that version may have let it stay', () => {
      for (const [from, to] of [
        ['default', 'old'],
        ['far', 'near'],
        ['near', 'far'],
        ['many', 'few'],
        ['few', 'default'],
      ] as const) {
        const plan = planOf(all, { A: unknown(from) }, configured({ accounts: { A: { sequence: to } } }));
        expect(plan.accounts).toEqual(new Map([['A', { placed: 'kept' }]]));
        expect(plan.kept).toHaveLength(1);
      }
      expect(planOf(all, { '*': unknown('default') }, configured({ others: { sequence: 'far' } })).kept).toHaveLength(
        1,
      );
    });

    test('is placed by the configuration if that says where it is', () => {
      const plan = planOf(all, { A: unknown('near') }, configured({ others: { sequence: 'near' } }));
      expect(plan).toMatchObject({ kept: [], accounts: new Map([['A', { placed: undefined }]]) });
    });

    test('is refused where that version would have moved it: the configuration was lost or edited', () => {
      expect(problemOf(sequences, { OLD: unknown('old') }, NO_POLICIES)).toContain(
        'nonced state move OLD --to default',
      );
    });
  });
});

describe('startingState', () => {
  test('makes the sequences, and leaves everything else as it is', () => {
    const state = stateWith({
      accounts: { MASTER: { sequence: 'default', paused: true, placed: 'kept' }, 'USER:alice': 'default' },
      exclusive: 'account',
    });
    const started = startingState(state, toAlt());
    if ('problem' in started) throw new Error(started.problem);
    expect(started.kept).toHaveLength(1);
    expect(started.state).toEqual({
      ...state,
      sequences: { ...state.sequences, alt: at(FLOOR_NS) },
      accounts: new Map([
        ['MASTER', { sequence: 'default', paused: true, placed: 'kept' }],
        ['USER:alice', { sequence: 'default', paused: false }],
      ]),
    });
  });

  test('answers what is wrong and makes nothing of it', () => {
    expect(startingState(stateWith(), toAlt('ms'))).toHaveProperty('problem');
  });
});
