import { chmodSync, mkdirSync, readFileSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { beforeEach, describe, expect, test } from 'vitest';
import type { AccountPolicy, Pacing } from '../../../src/core/accounts/policies.ts';
import { nonceFloorAt } from '../../../src/core/nonces/sequence-clock.ts';
import { checkPolicyFile, readPolicyFile } from '../../../src/daemon/configuration/policy-file.ts';
import { PRESETS } from '../../../src/daemon/configuration/policy-schema.ts';
import { EXIT } from '../../../src/errors.ts';
import { RELEASED_MS } from '../../../src/version.ts';
import { anyText } from '../../fixtures/any-text.ts';
import { shareOf } from '../../fixtures/effort.ts';
import { asNobody, refusalOf, run, scratchDirectory, skipUnlessRoot } from '../../store/scratch.ts';

let file: string;
beforeEach(() => {
  file = join(scratchDirectory(), 'config.json');
});

function configure(configuration: unknown): void {
  writeFileSync(file, typeof configuration === 'string' ? configuration : JSON.stringify(configuration));
}

function policies(configuration: unknown) {
  configure(configuration);
  return readPolicyFile(file);
}

/** All that is wrong, without the name of the file that each line begins with. */
function problems(configuration: unknown): string[] {
  configure(configuration);
  const lines = checkPolicyFile(file);
  for (const line of lines) {
    expect(line.startsWith(`${file}: `), line).toBe(true);
    expect(line).not.toMatch(/[\p{Cc}\p{Zl}\p{Zp}]/u);
  }
  if (lines.length > 0) {
    const { exitCode, message } = refusalOf(() => readPolicyFile(file));
    expect(exitCode).toBe(EXIT.config);
    expect(message).toBe(
      lines.length === 1
        ? lines[0]
        : `${lines[0]}; and ${lines.length - 1} more, listed by: nonced serve --config ${file} --check-config`,
    );
  } else {
    expect(() => readPolicyFile(file)).not.toThrow();
  }
  return lines.map((line) => line.slice(file.length + 2));
}

const DEFAULT: AccountPolicy = { exchange: 'default', sequence: 'default', pacing: undefined };
const PRO: Pacing = { max: 20, perSecond: 1 };
const BITFINEX = { unit: 'us', max: 2n ** 53n - 1n };

/** Kraken for some, Bitfinex for others: the example of the contract. */
const EXAMPLE = {
  sequences: { bitfinex: { unit: 'us', max: '9007199254740991' }, 'old-ms': { unit: 'ms' } },
  exchanges: {
    default: { pacing: 'kraken-pro' },
    bitfinex: { sequence: 'bitfinex', pacing: { max: 10, perSecond: 1 } },
  },
  accounts: {
    MASTER: { pacing: 'kraken-starter' },
    'USER:*': { pacing: { max: 15, perSecond: 0.33 } },
    'BFX:*': { exchange: 'bitfinex' },
    OLD: { sequence: 'old-ms', pacing: 'none' },
  },
};

describe('a configuration', () => {
  test('that says nothing leaves every account as it is without one', () => {
    for (const nothing of [{}, { sequences: {}, exchanges: {}, accounts: {} }, { exchanges: { default: {} } }]) {
      const configured = policies(nothing);
      expect([...configured.sequences]).toEqual([]);
      expect(configured.of('MASTER')).toEqual(DEFAULT);
    }
  });

  test('says of each account its exchange, sequence and pacing, from the account or else its exchange', () => {
    const configured = policies(EXAMPLE);
    expect(configured.of('MASTER')).toEqual({ ...DEFAULT, pacing: { max: 15, perSecond: 0.33 } });
    expect(configured.of('USER:alice')).toEqual({ ...DEFAULT, pacing: { max: 15, perSecond: 0.33 } });
    expect(configured.of('BFX:1')).toEqual({
      exchange: 'bitfinex',
      sequence: 'bitfinex',
      pacing: { max: 10, perSecond: 1 },
    });
    expect(configured.of('OLD')).toEqual({ exchange: 'default', sequence: 'old-ms', pacing: undefined });
    expect(configured.of('anybody')).toEqual({ ...DEFAULT, pacing: PRO });
    expect([...configured.sequences]).toEqual([
      ['bitfinex', BITFINEX],
      ['old-ms', { unit: 'ms', max: 2n ** 63n - 1n }],
    ]);
  });

  test('gives an account a sequence other than its exchange’s', () => {
    const { sequences, exchanges } = EXAMPLE;
    const accounts = {
      A: { exchange: 'bitfinex', sequence: 'default' },
      B: { exchange: 'default', sequence: 'bitfinex' },
    };
    const configured = policies({ sequences, exchanges, accounts });
    expect(configured.of('A')).toMatchObject({ exchange: 'bitfinex', sequence: 'default' });
    expect(configured.of('B')).toMatchObject({ exchange: 'default', sequence: 'bitfinex' });
  });

  test('knows the call counters of Kraken by tier', () => {
    expect(PRESETS).toEqual({
      'kraken-starter': { max: 15, perSecond: 0.33 },
      'kraken-intermediate': { max: 20, perSecond: 0.5 },
      'kraken-pro': { max: 20, perSecond: 1 },
    });
    for (const [preset, pacing] of Object.entries(PRESETS)) {
      expect(policies({ accounts: { A: { pacing: preset } } }).of('A').pacing).toEqual(pacing);
    }
  });

  test('takes the highest nonce as digits, or as a number that JSON keeps exactly', () => {
    for (const [max, expected] of [
      ['18446744073709551615', 2n ** 64n - 1n],
      ['9223372036854775807', 2n ** 63n - 1n],
      [9007199254740991, 2n ** 53n - 1n],
      ['1', 1n],
    ] as const) {
      const { sequences } = policies({ sequences: { a: { unit: 'counter', max } } });
      expect(sequences.get('a')).toEqual({ unit: 'counter', max: expected });
    }
  });

  test('may have a comment in every object', () => {
    const $comment = 'why';
    const configured = policies({
      $comment,
      sequences: { $comment, a: { $comment, unit: 'ms' } },
      exchanges: { $comment, default: { $comment, pacing: { $comment, max: 5, perSecond: 1 } } },
      accounts: { $comment, A: { $comment } },
    });
    expect([...configured.sequences.keys()]).toEqual(['a']);
    expect(configured.of('$comment')).toEqual({ ...DEFAULT, pacing: { max: 5, perSecond: 1 } });
    expect(problems({ $comment: ['a'], accounts: { $comment: {}, A: { $comment: 1 } } })).toEqual([
      '$comment: a comment must be a text in quotes',
      'accounts.$comment: a comment must be a text in quotes',
      'accounts.A.$comment: a comment must be a text in quotes',
    ]);
  });

  test('is read again each time', () => {
    expect(policies({ accounts: { A: { pacing: 'kraken-pro' } } }).of('A').pacing).toEqual(PRO);
    expect(policies({}).of('A')).toEqual(DEFAULT);
  });

  test('that ships as an example is one', () => {
    const path = 'systemd/config.example.json';
    expect(checkPolicyFile(path)).toEqual([]);
    expect(readPolicyFile(path).of('BFX:main')).toMatchObject({ exchange: 'bitfinex', sequence: 'bitfinex' });
  });

  test('that the documentation shows is one', () => {
    const shown = [...readFileSync('docs/configuration.md', 'utf8').matchAll(/```json\n([\s\S]*?)```/g)];
    expect(shown.length).toBeGreaterThan(0);
    for (const [, text = ''] of shown) expect(problems(text), text).toEqual([]);
  });
});

describe('an account', () => {
  const pacedBy = (max: number) => ({ pacing: { max, perSecond: 1 } });

  test('is named exactly, else by the longest of the prefixes it begins with', () => {
    const configured = policies({
      accounts: {
        '*': pacedBy(1),
        'U*': pacedBy(2),
        'USER:*': pacedBy(3),
        'USER:alice*': pacedBy(4),
        'USER:a': pacedBy(5),
      },
    });
    const max = (account: string) => configured.of(account).pacing?.max;
    expect(max('MASTER')).toBe(1);
    expect(max('U')).toBe(2);
    expect(max('USER')).toBe(2);
    expect(max('USER:')).toBe(3);
    expect(max('USER:bob')).toBe(3);
    expect(max('USER:al')).toBe(3);
    expect(max('USER:alice')).toBe(4);
    expect(max('USER:alice2')).toBe(4);
    expect(max('USER:a')).toBe(5);
    expect(max('user:a')).toBe(1);
  });

  test('has an exact name and a prefix of the same letters apart', () => {
    const configured = policies({ accounts: { 'A*': pacedBy(1), A: pacedBy(2) } });
    expect(configured.of('A').pacing?.max).toBe(2);
    expect(configured.of('AA').pacing?.max).toBe(1);
  });

  test('takes from its own entry and its exchange, not from shorter prefixes', () => {
    const configured = policies({
      sequences: { ms: { unit: 'ms' } },
      accounts: { 'USER:*': { sequence: 'ms', ...pacedBy(3) }, 'USER:alice': {} },
    });
    expect(configured.of('USER:alice')).toEqual(DEFAULT);
  });

  test('of the names that every object has is one like any other', () => {
    const names = ['constructor', '__proto__', 'toString', 'hasOwnProperty', 'prototype'];
    expect(policies({}).of('constructor')).toEqual(DEFAULT);
    const configured = policies(`{"accounts": {${names.map((name) => `"${name}": {"pacing": "kraken-pro"}`).join()}}}`);
    for (const name of names) expect(configured.of(name).pacing, name).toEqual(PRO);
    const exchanges = JSON.parse('{"constructor": {"pacing": "kraken-pro"}}') as unknown;
    expect(policies({ exchanges, accounts: { A: { exchange: 'constructor' } } }).of('A').pacing).toEqual(PRO);
  });

  test('has the policy that a plain reading of the file finds, for any file', () => {
    const letters = fc
      .array(fc.constantFrom('A', 'B', ':'), { minLength: 1, maxLength: 4 })
      .map((some) => some.join(''));
    const pacing = fc.oneof(
      fc.constantFrom('none', ...Object.keys(PRESETS)),
      fc.record({ max: fc.integer({ min: 1, max: 50 }), perSecond: fc.constantFrom(0.33, 1, 7) }),
    );
    const said = { sequence: fc.constantFrom('default', 's1', 's2'), pacing };
    const configuration = fc.record({
      sequences: fc.constant({ s1: { unit: 'ns' }, s2: { unit: 'ms' } }),
      exchanges: fc.record(
        { default: fc.record(said, { requiredKeys: [] }), other: fc.record(said, { requiredKeys: [] }) },
        { requiredKeys: ['other'] },
      ),
      accounts: fc.dictionary(
        fc.oneof(
          letters,
          letters.map((prefix) => `${prefix}*`),
          fc.constant('*'),
        ),
        fc.record({ exchange: fc.constantFrom('default', 'other'), ...said }, { requiredKeys: [] }),
        { maxKeys: 12, noNullPrototype: true },
      ),
    });
    type Said = { exchange?: 'default' | 'other'; sequence?: string; pacing?: unknown };
    const plainly = (accounts: Record<string, Said>, exchanges: { default?: Said; other?: Said }, account: string) => {
      const patterns = Object.keys(accounts).filter(
        (pattern) => pattern === account || (pattern.endsWith('*') && account.startsWith(pattern.slice(0, -1))),
      );
      const best = patterns.includes(account) ? account : patterns.sort((a, b) => b.length - a.length)[0];
      const entry = best === undefined ? {} : (accounts[best] ?? {});
      const exchange = entry.exchange ?? 'default';
      const merged = { sequence: 'default', pacing: 'none', ...exchanges[exchange], ...entry };
      const paced = merged.pacing === 'none' ? undefined : merged.pacing;
      return {
        exchange,
        sequence: merged.sequence,
        pacing: typeof paced === 'string' ? PRESETS[paced as keyof typeof PRESETS] : paced,
      };
    };
    fc.assert(
      fc.property(configuration, fc.array(letters, { minLength: 5 }), (one, names) => {
        const configured = policies(one);
        for (const name of names) expect(configured.of(name), name).toEqual(plainly(one.accounts, one.exchanges, name));
      }),
      { numRuns: shareOf(1_000) },
    );
  }, 30_000);
});

describe('a mistake', () => {
  const pacing = (value: unknown) => ({ accounts: { A: { pacing: value } } });
  const sequence = (value: unknown) => ({ sequences: { a: value } });
  const noPacing = (value: string) =>
    `accounts.A.pacing: ${value} is not a pacing; give {"max": 15, "perSecond": 0.33}, a preset (kraken-starter, kraken-intermediate, kraken-pro), or "none"`;
  const noMax = (value: string) =>
    `sequences.a.max: ${value} is not a highest nonce; give digits in quotes, 1 to 18446744073709551615, or a whole number up to 9007199254740991 (JSON does not keep a larger one exactly)`;
  const noAccount = (path: string, name: string) =>
    `accounts${path}: ${name} is not a name for an account; use 1 to 64 of A-Z a-z 0-9 . _ : @ -, with a star at the end for all that begin with it; * alone is for every account`;
  const noName = (path: string, name: string, what: string) =>
    `${path}: ${name} is not a name for ${what}; use 1 to 64 of A-Z a-z 0-9 . _ -`;

  test.each<[unknown, string]>([
    [[], 'is a list, but must be an object {…}'],
    ['null', 'is null, but must be an object {…}'],
    ['"x"', "is 'x', but must be an object {…}"],
    [{ account: {} }, "account: unknown key; did you mean 'accounts'?"],
    [{ $schema: 'x' }, "$schema: unknown key; use one of 'sequences', 'exchanges', 'accounts'"],
    ['{"toString": {}}', "toString: unknown key; use one of 'sequences', 'exchanges', 'accounts'"],
    ['{"__proto__": {}}', "__proto__: unknown key; use one of 'sequences', 'exchanges', 'accounts'"],
    [{ accounts: [] }, 'accounts: is a list, but must be an object {…}'],
    [{ accounts: { A: 'kraken-pro' } }, "accounts.A: is 'kraken-pro', but must be an object {…}"],
    [{ accounts: { A: null } }, 'accounts.A: is null, but must be an object {…}'],

    [{ accounts: { '': {} } }, noAccount('[""]', "''")],
    [{ accounts: { 'USER:*x': {} } }, noAccount('["USER:*x"]', "'USER:*x'")],
    [{ accounts: { '**': {} } }, noAccount('["**"]', "'**'")],
    [{ accounts: { 'a b': {} } }, noAccount('["a b"]', "'a b'")],
    [{ accounts: { 'a\nb': {} } }, noAccount("['a?b']", "'a?b'")],
    [{ accounts: { 'ä*': {} } }, noAccount("['ä*']", "'ä*'")],
    [{ accounts: { ['A'.repeat(65)]: {} } }, noAccount(`.${'A'.repeat(65)}`, `'${'A'.repeat(40)}…'`)],
    [{ accounts: { A: { prefix: 1 } } }, "accounts.A.prefix: unknown key; use one of 'exchange', 'sequence', 'pacing'"],
    [
      '{"accounts": {"A": {"constructor": 1}}}',
      "accounts.A.constructor: unknown key; use one of 'exchange', 'sequence', 'pacing'",
    ],
    [{ accounts: { 'U:*': { exchang: 'x' } } }, `accounts["U:*"].exchang: unknown key; did you mean 'exchange'?`],
    [
      { exchanges: { bitfinex: {} }, accounts: { A: { exchange: 'bitfinx' } } },
      "accounts.A.exchange: there is no exchange 'bitfinx' under exchanges; did you mean 'bitfinex'?",
    ],
    [
      { exchanges: { bitfinex2: {}, bitfinex: {} }, accounts: { A: { exchange: 'bitfinx' } } },
      "accounts.A.exchange: there is no exchange 'bitfinx' under exchanges; did you mean 'bitfinex'?",
    ],
    [
      { exchanges: { bitfinex: {}, gemini: {} }, accounts: { A: { exchange: 'kraken' } } },
      "accounts.A.exchange: there is no exchange 'kraken' under exchanges; use one of 'default', 'bitfinex', 'gemini'",
    ],
    [
      { accounts: { A: { exchange: 'constructor' } } },
      "accounts.A.exchange: there is no exchange 'constructor' under exchanges; use one of 'default'",
    ],
    [
      { accounts: { A: { exchange: 5 } } },
      "accounts.A.exchange: 5 is not a name; give one of those under exchanges, such as 'default'",
    ],
    [
      { accounts: { A: { sequence: 'ms' } } },
      "accounts.A.sequence: there is no sequence 'ms' under sequences; use one of 'default'",
    ],
    [
      { accounts: { A: { sequence: null } } },
      "accounts.A.sequence: null is not a name; give one of those under sequences, such as 'default'",
    ],
    [
      { sequences: { 'old-ms': { unit: 'ms' } }, exchanges: { x: { sequence: 'old_ms' } } },
      "exchanges.x.sequence: there is no sequence 'old_ms' under sequences; did you mean 'old-ms'?",
    ],
    [{ exchanges: { x: { exchange: 'x' } } }, "exchanges.x.exchange: unknown key; use one of 'sequence', 'pacing'"],
    [{ exchanges: { 'a:b': {} } }, noName('exchanges["a:b"]', "'a:b'", 'an exchange')],
    [{ exchanges: { 'a*': {} } }, noName('exchanges["a*"]', "'a*'", 'an exchange')],

    [{ sequences: { '#token': { unit: 'us' } } }, noName('sequences["#token"]', "'#token'", 'a sequence')],
    ['{"sequences": {"__proto__": {"unit": "us"}}}', noName('sequences.__proto__', "'__proto__'", 'a sequence')],
    [sequence({}), 'sequences.a.unit: is missing; give the one that its keys have had so far: ns, us, ms, s, counter'],
    [sequence({ unit: 'usec' }), "sequences.a.unit: 'usec' is not a unit; use ns, us, ms, s, counter"],
    [sequence({ unit: 6 }), 'sequences.a.unit: 6 is not a unit; use ns, us, ms, s, counter'],
    [sequence({ unit: 'us', maximum: '1' }), "sequences.a.maximum: unknown key; use one of 'unit', 'max'"],
    [sequence({ unit: 'us', max: '18446744073709551616' }), noMax("'18446744073709551616'")],
    [sequence({ unit: 'us', max: '0' }), noMax("'0'")],
    [sequence({ unit: 'us', max: '-5' }), noMax("'-5'")],
    [sequence({ unit: 'us', max: '0x10' }), noMax("'0x10'")],
    [sequence({ unit: 'us', max: '9e15' }), noMax("'9e15'")],
    [sequence({ unit: 'us', max: '1'.repeat(1000) }), noMax(`'${'1'.repeat(40)}…'`)],
    [sequence({ unit: 'us', max: 1.5 }), noMax('1.5')],
    [sequence({ unit: 'us', max: 0 }), noMax('0')],
    ['{"sequences": {"a": {"unit": "us", "max": 9007199254740993}}}', noMax('9007199254740992')],
    [sequence({ unit: 'us', max: null }), noMax('null')],
    [
      sequence({ unit: 'ns', max: '9007199254740991' }),
      `sequences.a.max: 9007199254740991 is below every nonce in ns (now ${nonceFloorAt(RELEASED_MS, 'ns')}); use the unit of its keys, or a higher max`,
    ],

    [pacing(null), noPacing('null')],
    [pacing(false), noPacing('false')],
    [pacing(15), noPacing('15')],
    [pacing([]), noPacing('a list')],
    [pacing('kraken_pro'), "accounts.A.pacing: 'kraken_pro' is not a preset; did you mean 'kraken-pro'?"],
    [
      pacing('bitfinex'),
      "accounts.A.pacing: 'bitfinex' is not a preset; use one of 'kraken-starter', 'kraken-intermediate', 'kraken-pro', 'none'",
    ],
    [
      pacing('toString'),
      "accounts.A.pacing: 'toString' is not a preset; use one of 'kraken-starter', 'kraken-intermediate', 'kraken-pro', 'none'",
    ],
    [pacing({ max: 5 }), 'accounts.A.pacing.perSecond: is missing; give how fast it drains, such as 0.33'],
    [pacing({ perSecond: 5 }), 'accounts.A.pacing.max: is missing; give the size of the bucket, such as 15'],
    [pacing({ max: 5, perSecond: 1, burst: 1 }), "accounts.A.pacing.burst: unknown key; use one of 'max', 'perSecond'"],
    [pacing({ max: '5', perSecond: 1 }), "accounts.A.pacing.max: '5' is not a number; give one from 1 to 1000000"],
    [
      pacing({ max: 0.5, perSecond: 1 }),
      'accounts.A.pacing.max: 0.5 is out of range; give 1 (the default cost of a call) to 1000000',
    ],
    [
      pacing({ max: 1_000_001, perSecond: 1000 }),
      'accounts.A.pacing.max: 1000001 is out of range; give 1 (the default cost of a call) to 1000000',
    ],
    [
      '{"accounts": {"A": {"pacing": {"max": 1e999, "perSecond": 1}}}}',
      'accounts.A.pacing.max: Infinity is out of range; give 1 (the default cost of a call) to 1000000',
    ],
    [
      pacing({ max: 5, perSecond: 0 }),
      'accounts.A.pacing.perSecond: 0 is out of range; give a number above 0, at most 1000000',
    ],
    [
      pacing({ max: 5, perSecond: -1 }),
      'accounts.A.pacing.perSecond: -1 is out of range; give a number above 0, at most 1000000',
    ],
    [
      pacing({ max: 5, perSecond: 2e6 }),
      'accounts.A.pacing.perSecond: 2000000 is out of range; give a number above 0, at most 1000000',
    ],
    [
      pacing({ max: 5, perSecond: true }),
      'accounts.A.pacing.perSecond: true is not a number; give one above 0, at most 1000000',
    ],
    [
      pacing({ max: 3601, perSecond: 1 }),
      'accounts.A.pacing: a full bucket would take 3601 s to drain, and 3600 s is the most; lower max or raise perSecond',
    ],
    [
      '{"accounts": {"A": {}, "A": {}}}',
      'accounts.A: is there twice, in line 1, and only the last would count; keep one',
    ],
  ])('%j is reported with its path and its fix', (configuration, problem) => {
    expect(problems(configuration)).toEqual([problem]);
  });

  test('in the spelling of a key is reported together with the key that is therefore missing', () => {
    expect(problems(pacing({ max: 5, perSeconds: 1 }))).toEqual([
      "accounts.A.pacing.perSeconds: unknown key; did you mean 'perSecond'?",
      'accounts.A.pacing.perSecond: is missing; give how fast it drains, such as 0.33',
    ]);
  });

  test.each(['perSeconds', 'per_second', 'per-second', 'PerSecond', 'persecond', 'perSec ond', 'prSecond'])(
    'of the spelling %j is recognised',
    (key) => {
      expect(problems(pacing({ max: 5, perSecond: 1, [key]: 1 }))[0]).toContain("did you mean 'perSecond'?");
    },
  );

  test('does not hide another: all are reported at once', () => {
    const found = problems(`{
      "sequences": { "a": { "unit": "x", "max": 0 }, "b": { "unit": "ms" } },
      "exchanges": { "e": { "sequence": "c", "pacing": { "max": "1", "perSecond": 0, "x": 1 } }, "e": {} },
      "accounts": { "A": { "exchange": "f", "sequence": "b" }, "B": [], "C": { "sequence": "a" }, "B": { "y": 1 } },
      "z": 1
    }`);
    expect(found.map((line) => line.slice(0, line.indexOf(': ')))).toEqual([
      'exchanges.e',
      'accounts.B',
      'z',
      'sequences.a.unit',
      'sequences.a.max',
      'accounts.A.exchange',
      'accounts.B.y',
    ]);
  });

  test('in the number of sequences counts the one that is always there', () => {
    const some = (count: number, first: string) =>
      Object.fromEntries(
        [first, ...Array.from({ length: count - 1 }, (_, n) => `s${n}`)].map((name) => [name, { unit: 'ns' }]),
      );
    expect(problems({ sequences: some(63, 'one') })).toEqual([]);
    expect(problems({ sequences: some(64, 'default') })).toEqual([]);
    expect(problems({ sequences: some(64, 'one') })).toEqual([
      'sequences: there are 65, with default, and at most 64 are allowed; remove some',
    ]);
  });

  test('of any kind is a refusal and nothing else', () => {
    const anything = fc.oneof(
      fc.jsonValue(),
      fc.record({ sequences: fc.jsonValue(), exchanges: fc.jsonValue(), accounts: fc.jsonValue() }),
      fc.record({ accounts: fc.dictionary(anyText(), fc.jsonValue(), { noNullPrototype: true }) }),
    );
    fc.assert(
      fc.property(anything, (value) => {
        // As text, because a string would count as the file itself.
        const found = problems(JSON.stringify(value));
        if (typeof value !== 'object' || value === null) expect(found).toHaveLength(1);
      }),
      { numRuns: shareOf(1_000) },
    );
  }, 30_000);
});

describe('a file', () => {
  const only = () => {
    const lines = checkPolicyFile(file);
    expect(lines).toHaveLength(1);
    const { exitCode, message } = refusalOf(() => readPolicyFile(file));
    expect({ exitCode, message }).toEqual({ exitCode: EXIT.config, message: lines[0] });
    return message.slice(file.length + 2);
  };

  test('that is not there is reported', () => {
    expect(only()).toBe('does not exist; create it, or name another file (a service sees no home directories)');
  });

  test('that is empty is reported', () => {
    for (const nothing of ['', ' \n\t\r\n']) {
      writeFileSync(file, nothing);
      expect(only()).toBe('is empty; a configuration that says nothing is {}');
    }
  });

  test('that is not UTF-8, or begins with a byte order mark, is reported', () => {
    writeFileSync(file, '\ufeff{}');
    expect(only()).toBe('begins with a byte order mark; save it as UTF-8 without one');
    for (const bytes of [Buffer.from('\ufeff{}', 'utf16le'), Buffer.from('{"$comment": "M\xfcnze"}', 'latin1')]) {
      writeFileSync(file, bytes);
      expect(only()).toBe('is not UTF-8; save it as UTF-8');
    }
  });

  test('that is not a regular file is reported, and nothing waits for a pipe', () => {
    mkdirSync(file);
    expect(only()).toBe('is not a regular file; name a file of JSON');
    run('rmdir', file);
    run('mkfifo', file);
    expect(only()).toBe('is not a regular file; name a file of JSON');
    run('rm', file);
    symlinkSync('/dev/zero', file);
    expect(only()).toBe('is not a regular file; name a file of JSON');
  });

  test('of over a megabyte is not read', () => {
    writeFileSync(file, '{}');
    truncateSync(file, 1024 ** 4);
    expect(only()).toMatch(/^has 1099511627776 bytes, and 1048576 are the most; is it the right file\? /);
    writeFileSync(file, `{}${' '.repeat(1024 * 1024 - 2)}`);
    expect(checkPolicyFile(file)).toEqual([]);
    writeFileSync(file, `{}${' '.repeat(1024 * 1024 - 1)}`);
    expect(only()).toMatch(/^has 1048577 bytes/);
  });

  test('may be a link, as where many files are switched at once', () => {
    const other = `${file}.1`;
    writeFileSync(other, '{"exchanges": {"default": {"pacing": "kraken-pro"}}}');
    symlinkSync(other, file);
    expect(readPolicyFile(file).of('A').pacing).toEqual(PRO);
  });

  test('that everyone may change is refused', () => {
    writeFileSync(file, '{}');
    chmodSync(file, 0o646);
    expect(only()).toBe(`can be changed by everyone; look at what it says now, then: chmod o-w ${file}`);
    chmodSync(file, 0o664);
    expect(checkPolicyFile(file)).toEqual([]);
  });

  test('that may not be read is reported with the user it must be readable for', async (context) => {
    skipUnlessRoot(context, 'becomes another user');
    writeFileSync(file, '{}');
    chmodSync(file, 0o600);
    expect(await asNobody(only)).toBe(
      'cannot be read by user 65534, as whom this runs; let that user read it and pass through its directories',
    );
  });
});
