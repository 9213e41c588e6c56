import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Request } from '../../src/protocol/messages.ts';
import { quote, UNPRINTABLE } from '../../src/protocol/quote.ts';
import { checkRequest, isRefusal } from '../../src/protocol/request-check.ts';
import { shareOf } from '../fixtures/effort.ts';
import { CALLS } from './every-message.ts';

const TOKEN = 1_784_000_000_000_001;

function accepted(method: string, params?: unknown): Request {
  const checked = checkRequest(method, params);
  if (isRefusal(checked)) throw new Error(checked.message);
  return checked;
}

function refusedMessage(method: string, params?: unknown): string {
  const checked = checkRequest(method, params);
  if (!isRefusal(checked)) throw new Error(`${method} was accepted`);
  expect(checked.code).toBe('BAD_REQUEST');
  expect(checked.message).toMatch(/^[^;]+; \S/);
  return checked.message;
}

test.each(CALLS)('$request.method with every field is accepted', ({ params, request }) => {
  expect(accepted(request.method, params)).toStrictEqual(request);
});

test.each([
  ['hello', {}, { name: undefined, pid: undefined, session: undefined }],
  ['nonce', {}, { account: 'default', count: 1 }],
  [
    'acquire',
    {},
    {
      account: 'default',
      key: undefined,
      unit: undefined,
      priority: 'normal',
      cost: 1,
      ttlMs: undefined,
      waitMs: undefined,
      label: undefined,
      count: 1,
      within: [],
    },
  ],
  ['next', { token: TOKEN }, { token: TOKEN, account: undefined, key: undefined, unit: undefined, cost: 1, count: 1 }],
  ['renew', { token: TOKEN }, { token: TOKEN, ttlMs: undefined }],
  ['release', { token: TOKEN }, { token: TOKEN, outcome: 'unknown', usedOwnClock: false }],
  ['status', {}, {}],
  [
    'advance',
    { by: 1 },
    { sequence: undefined, account: undefined, target: { kind: 'by', nonces: 1n }, maxLeadMs: 3_600_000 },
  ],
])('what %s leaves out has its default', (method, params, fields) => {
  expect(accepted(method, params)).toStrictEqual({ method, ...fields });
});

test('params may be left out altogether, and may not be anything but a map', () => {
  expect(accepted('status')).toEqual({ method: 'status' });
  for (const params of [null, [], [{}], 'x', 5, 5n, true, new Uint8Array(3)]) {
    expect(refusedMessage('status', params)).toContain('map of named fields');
  }
});

test('an account that is left out is named after the fingerprint, if there is one', () => {
  const key = '0123456789abcdef';
  expect(accepted('acquire', { key })).toMatchObject({ account: `key:${key}`, key });
  expect(accepted('acquire', { key, account: 'A' })).toMatchObject({ account: 'A', key });
});

describe('an unknown method or field', () => {
  test.each(['', 'toString', 'constructor', '__proto__', 'Acquire', 'revoked'])(
    'the method %j is refused',
    (method) => {
      expect(checkRequest(method, {})).toMatchObject({ code: 'UNKNOWN_METHOD' });
    },
  );

  test.each(['acount', 'constructor', 'toString', 'method', ''])('the field %j is refused by its name', (field) => {
    expect(refusedMessage('acquire', { [field]: 'x' })).toContain(`unknown field '${field}'`);
  });

  test('own field `__proto__` is refused by its name', () => {
    expect(refusedMessage('status', JSON.parse('{"__proto__":1}'))).toContain(
      "unknown field '__proto__'; status takes no",
    );
  });

  test('one left undefined is unknown all the same', () => {
    expect(refusedMessage('status', { a: undefined })).toContain("'a'");
  });
});

test.each([
  ['next', 'token'],
  ['renew', 'token'],
  ['release', 'token'],
  ['report', 'token'],
  ['cancel', 'id'],
  ['refuse', 'expected'],
  ['set-exclusive', 'policy'],
])('%s without its %s is refused', (method, field) => {
  expect(refusedMessage(method, {})).toContain(`${field} is missing`);
});

describe('values', () => {
  const TEXT = { good: ['x', 'é'.repeat(32), '👩‍🚀 ok'], bad: ['', 'x'.repeat(65), `${'é'.repeat(32)}x`] };
  const UNPRINTABLES = [
    '\0',
    '\n',
    '\x1b[2J',
    '\x7f',
    '\u0085',
    '\u2028',
    '\u2029',
    '\u202e',
    '\u2066',
    '\u200e',
    '\ud800',
    '\ufffd',
  ];
  const ACCOUNT = {
    good: ['a', 'USER:alice@x._-', 'x'.repeat(64)],
    bad: ['', 'x'.repeat(65), 'a b', 'é', 'a\n', 'a/b', 5],
  };
  const fields: [method: string, field: string, good: unknown[], bad: unknown[]][] = [
    ['hello', 'name', TEXT.good, [...TEXT.bad, ...UNPRINTABLES, 5]],
    ['acquire', 'label', TEXT.good, [...TEXT.bad, ...UNPRINTABLES, 5]],
    ['hello', 'pid', [1, 2 ** 31 - 1, 7n], [0, -1, 2 ** 31, 1.5, '7', 2n ** 32n]],
    [
      'hello',
      'session',
      ['0123456789abcdef'.repeat(2)],
      ['0123456789abcdef', 'A'.repeat(32), 'g'.repeat(32), `${'a'.repeat(32)}\n`],
    ],
    ['acquire', 'account', ACCOUNT.good, ACCOUNT.bad],
    ['nonce', 'account', ACCOUNT.good, ACCOUNT.bad],
    ['next', 'account', ACCOUNT.good, ACCOUNT.bad],
    ['acquire', 'key', ['0123456789abcdef'], ['0123456789ABCDEF', '0123456789abcde', '0123456789abcdef0', 5]],
    ['acquire', 'unit', ['ns', 'us', 'ms', 's', 'counter'], ['h', '', 5, 'NS']],
    ['acquire', 'priority', ['urgent', 'normal', 'background'], ['high', 0]],
    ['acquire', 'cost', [0, 0.25, 1_000_000, 3n], [-1, 1_000_000.5, '1', -1n, 2n ** 64n - 1n]],
    ['acquire', 'count', [1, 1000, 1000n], [0, 1001, 1.5, '1', 1001n]],
    ['nonce', 'count', [1, 1000, 1000n], [0, 1001, 1.5, '1', 1001n]],
    ['next', 'count', [1, 1000], [0, 1001, 1.5]],
    ['acquire', 'ttlMs', [1, 600_000], [0, 600_001, 0.5]],
    ['renew', 'ttlMs', [1, 600_000], [0, 600_001, 0.5]],
    ['acquire', 'waitMs', [0, 600_000], [-1, 600_001, 0.5]],
    [
      'renew',
      'token',
      [1, 2 ** 53 - 1, 5n, '5', '9007199254740991'],
      [0, -1, 2 ** 53, 2n ** 53n, '0', '05', '5.0', ' 5', '5n', '9007199254740992', '9'.repeat(4000), 1.5],
    ],
    ['release', 'outcome', ['ok', 'unknown', 'locked-out'], ['OK', 5]],
    ['release', 'usedOwnClock', [true, false], [1, 'true']],
    [
      'refuse',
      'expected',
      ['0123456789abcdef'.repeat(2)],
      ['', 'a'.repeat(31), 'A'.repeat(32), 'a\n'.repeat(16), 7, null],
    ],
    ['cancel', 'id', [0, -3, 'x', '', 'é'.repeat(32)], [1.5, 2 ** 53, 5n, `${'é'.repeat(32)}x`]],
    [
      'advance',
      'to',
      [0, 'now', '0', 2n ** 64n - 1n, '18446744073709551615', 2 ** 53 - 1],
      [-1, 2 ** 53, 2n ** 64n, -1n, '18446744073709551616', '-1', '1e3', 'NOW', '', '00'],
    ],
    ['advance', 'by', [1, 1n, '1'], [0, 0n, '0', 'now', -1, 1.5]],
    ['advance', 'maxLeadMs', [0, 2 ** 53 - 1], [-1, 2 ** 53, 0.5, '1']],
    ['advance', 'sequence', ['default', 'a.b_c-d'], ['a:b', 'a@b', '', 'x'.repeat(65)]],
    ['set-exclusive', 'policy', ['global', 'account', 'off'], ['on', true]],
  ];
  const NEVER = [
    null,
    Number.NaN,
    Number.POSITIVE_INFINITY,
    Number.NEGATIVE_INFINITY,
    -0,
    {},
    [],
    new Uint8Array(8),
    Symbol.iterator,
  ];
  /** What the method needs besides. */
  const needed: Record<string, object> = {
    next: { token: 1 },
    renew: { token: 1 },
    release: { token: 1 },
    advance: { by: 1 },
  };

  function paramsWith(method: string, field: string, value: unknown): object {
    const others = field === 'to' ? {} : needed[method];
    return { ...others, [field]: value };
  }

  test.each(fields)('%s takes a %s in its range and refuses all others', (method, field, good, bad) => {
    for (const value of good) accepted(method, paramsWith(method, field, value));
    // An id is only compared, and as a key of a map -0 is 0.
    for (const value of [...bad, ...NEVER.filter((never) => !(field === 'id' && never === 0))]) {
      const message = refusedMessage(method, paramsWith(method, field, value));
      expect(message).toMatch(new RegExp(`^${field} is .*; give `));
      expect(message).not.toMatch(UNPRINTABLE);
      expect(message.length).toBeLessThan(250);
    }
  });

  test('numbers in 64 bits become plain ones', () => {
    expect(accepted('nonce', { count: 3n })).toStrictEqual({ method: 'nonce', account: 'default', count: 3 });
    expect(accepted('acquire', { cost: 3n })).toMatchObject({ cost: 3 });
    expect(accepted('renew', { token: '9007199254740991' })).toMatchObject({ token: 2 ** 53 - 1 });
  });

  test('a key or a session that is wrong is never quoted, because it may be a real one', () => {
    const secret = 'SECRETSECRETSECRET';
    expect(refusedMessage('acquire', { key: secret })).not.toContain('SECRET');
    expect(refusedMessage('hello', { session: secret })).not.toContain('SECRET');
  });
});

describe('advance', () => {
  test('goes to a nonce, by some, or to now', () => {
    expect(accepted('advance', { to: '18446744073709551615' })).toMatchObject({
      target: { kind: 'to', nonce: 2n ** 64n - 1n },
    });
    expect(accepted('advance', { by: 5 })).toMatchObject({ target: { kind: 'by', nonces: 5n } });
    expect(accepted('advance', { to: 'now' })).toMatchObject({ target: { kind: 'now' } });
  });

  test('takes exactly one of to and by', () => {
    expect(refusedMessage('advance', {})).toContain('neither');
    expect(refusedMessage('advance', { to: 5, by: 5 })).toContain('both');
  });
});

test('for any input, a refusal is one short, printable line', () => {
  const anything = fc.anything({ withBigInt: true, withTypedArray: true, maxDepth: 2 });
  const params = fc.dictionary(
    fc.oneof(fc.constantFrom('account', 'cost', 'token', 'label', 'to'), fc.string()),
    anything,
  );
  const method = fc.oneof(
    fc.constantFrom(...CALLS.map(({ request }) => request.method)),
    fc.string({ maxLength: 4000 }),
  );
  fc.assert(
    fc.property(method, fc.oneof(params, anything), (method, params) => {
      const checked = checkRequest(method, params);
      if (!isRefusal(checked)) return;
      expect(checked.message.length).toBeLessThan(300);
      expect(checked.message).not.toMatch(UNPRINTABLE);
    }),
    { numRuns: shareOf(3_000) },
  );
});

test('a quoted value that is not text is named by its kind, and numbers as they are', () => {
  const values = [-0, 1.5, 7n, null, undefined, true, {}, [1], new Uint8Array(3)];
  const told = ['-0', '1.5', '7', 'null', 'undefined', 'true', 'a map', 'a list', 'binary'];
  expect(values.map(quote)).toEqual(told);
  expect(quote(10n ** 100n)).toHaveLength(40);
});

test('a quoted text is cut to 40 characters and made printable, even if the cut splits a pair', () => {
  expect(quote('a\n\u202e\x1bb')).toBe("'a???b'");
  expect(quote('x'.repeat(4000))).toBe(`'${'x'.repeat(40)}…'`);
  expect(quote(`${'x'.repeat(39)}👍`)).toBe(`'${'x'.repeat(39)}?…'`);
  expect(quote('x'.repeat(40))).toBe(`'${'x'.repeat(40)}'`);
});
