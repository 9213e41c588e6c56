import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { ADDITIONS, fitted, isUnsupported, MINOR, minorNeeded } from '../../src/protocol/minor.ts';
import { checkRequest, isRefusal } from '../../src/protocol/request-check.ts';

/** What the first release took. It never changes. */
const MINOR_0: Readonly<Record<string, readonly string[]>> = {
  hello: ['name', 'pid', 'session'],
  nonce: ['account', 'count'],
  acquire: ['account', 'key', 'unit', 'priority', 'cost', 'ttlMs', 'waitMs', 'label', 'count'],
  next: ['token', 'account', 'cost', 'count'],
  renew: ['token', 'ttlMs'],
  release: ['token', 'outcome', 'usedOwnClock'],
  cancel: ['id'],
  status: [],
  why: ['account'],
  metrics: [],
  calls: ['after', 'limit', 'account'],
  events: ['after', 'limit'],
  pause: ['account'],
  'resume-account': ['account'],
  advance: ['sequence', 'account', 'to', 'by', 'maxLeadMs'],
  'set-exclusive': ['policy'],
  drain: ['draining'],
};

const OLD = { version: '0.1.0', minor: 0 };

/** The methods that the daemon takes, each with its fields. It names them in its refusals. */
function taken(): Record<string, readonly string[]> {
  const methods = named(checkRequest('no such method'), / use one of (.*)$/);
  return Object.fromEntries(
    methods.map((method) => [
      method,
      named(checkRequest(method, { 'no such field': 1 }), / takes (.*)$/).filter((field) => field !== 'no fields'),
    ]),
  );
}

function named(checked: ReturnType<typeof checkRequest>, pattern: RegExp): string[] {
  if (!isRefusal(checked)) throw new Error('it was taken');
  return pattern.exec(checked.message)?.[1]?.split(', ') ?? [];
}

test('the daemon takes what the first release took, what the table adds, and nothing else', () => {
  const expected: Record<string, readonly string[]> = { ...MINOR_0 };
  for (const { method, field } of ADDITIONS) {
    // What a new method took at first is not written down: nothing older could be sent it.
    expected[method] = field === undefined ? (taken()[method] ?? []) : [...(expected[method] ?? []), field];
  }
  const sorted = (methods: Readonly<Record<string, readonly string[]>>) =>
    Object.entries(methods).map(([method, fields]) => [method, [...fields].sort()]);
  expect(sorted(taken()).sort()).toEqual(sorted(expected).sort());
});

test('hello has no later field, because the client sends it before it knows the daemon', () => {
  expect(ADDITIONS.filter(({ method }) => method === 'hello')).toEqual([]);
  expect(taken()['hello']).toEqual(MINOR_0['hello']);
});

test('nothing is later than the present minor version, which brings something', () => {
  expect(Math.max(...ADDITIONS.map(({ since }) => since))).toBe(MINOR);
});

test('docs/protocol.md has a row for each addition, and no other', () => {
  const [, section = ''] = readFileSync('docs/protocol.md', 'utf8').split('\n## Versions\n');
  const rows = [...section.matchAll(/^\| `([\w-]+)` \| (?:`(\w+)`|the method) \| (\d+) \| (\w+)/gm)];
  expect(rows.map(([, method, field, since, word]) => [method, field, Number(since), word]).sort()).toEqual(
    ADDITIONS.map(({ method, field, since, purpose }) => [
      method,
      field,
      since,
      purpose === 'protects' ? 'refused' : 'left',
    ]).sort(),
  );
});

test.each(ADDITIONS)('$method $field is sent to a daemon that knows it, and never to an older one', (addition) => {
  const { method, field, since, purpose } = addition;
  const params = { token: 1n, ...(field !== undefined && { [field]: 'x' }) };
  expect(minorNeeded(method, params)).toBeGreaterThanOrEqual(since);
  expect(fitted({ version: '9', minor: since }, method, { token: 1n, ...(field && { [field]: 'x' }) })).toEqual(params);
  const fitting = fitted({ version: '0.1.0', minor: since - 1 }, method, params);
  if (field === undefined || purpose === 'protects') {
    expect(isUnsupported(fitting)).toBe(true);
    expect(fitting).toMatchObject({
      code: 'UNSUPPORTED',
      message: expect.stringMatching(/^the daemon is 0\.1\.0 \(protocol 1\.\d+\) .*; upgrade it first: /),
    });
  } else {
    expect(fitting).toEqual({ token: 1n });
  }
});

test('what the first release knows goes to every daemon as it is', () => {
  const params = { token: 1n, account: 'A', unit: undefined };
  expect(fitted(OLD, 'next', params)).toEqual(params);
  expect(fitted(OLD, 'acquire', { unit: 'ms' })).toEqual({ unit: 'ms' });
  expect(minorNeeded('next', params)).toBe(0);
});

test('a daemon of a later minor version gets all that this one has', () => {
  expect(fitted({ version: '9.9.9', minor: MINOR + 7 }, 'next', { unit: 'ms' })).toEqual({ unit: 'ms' });
});
