import { expect, test } from 'vitest';
import type { PlayedAct } from '../../src/rehearsal/acts.ts';
import type { WitnessedCall } from '../../src/rehearsal/exchange-witness.ts';
import { findingsOf, notesOf } from '../../src/rehearsal/findings.ts';
import { HandedOut } from '../../src/rehearsal/handed-out.ts';
import { type Evidence, reportOf, sinsOf } from '../../src/rehearsal/judge.ts';
import { called, ordered } from './witnessed.ts';

const CALM: PlayedAct = { name: 'calm', startMs: 0, endMs: 1_000, trouble: undefined };
const KILL: PlayedAct = { name: 'kill', startMs: 1_000, endMs: 5_000, trouble: { fromMs: 1_000, toMs: 1_000 } };

const grantsFor = (calls: readonly WitnessedCall[]) =>
  new HandedOut(calls.map(({ nonce }) => `debug: granted ${nonce} to a bot (pid 1, A) for account A\n`).join(''));

function judged(calls: readonly WitnessedCall[], more: Partial<Evidence> = {}) {
  const evidence: Evidence = {
    acts: [CALM, KILL],
    calls,
    handedOut: grantsFor(calls),
    ends: [],
    isGone: false,
    lanes: 'global',
    isOwnClock: false,
    ...more,
  };
  const sins = sinsOf(evidence);
  const acts = reportOf(evidence, sins);
  const findings = findingsOf(evidence, sins, acts);
  return { acts, findings, kinds: findings.map(({ kind }) => kind), notes: notesOf(evidence, acts) };
}

test('calls one after the other, with nonces that were handed out, are not a finding', () => {
  const { acts, findings, notes } = judged([called(100), called(400), called(3_000), called(4_000)]);
  expect(findings).toEqual([]);
  expect(acts).toMatchObject([
    { act: 'calm', calls: 2, accepted: 2, longestStallMs: 600, recoveredMs: null },
    { act: 'kill', calls: 2, accepted: 2, longestStallMs: 2_000, recoveredMs: 2_000 },
  ]);
  expect(notes).toEqual([expect.stringContaining('placed no order')]);
});

test('a nonce that no line of the log names is without a grant, unless the bot is to make its own', () => {
  const calls = [called(0), called(2_000)];
  const handedOut = grantsFor(calls.slice(0, 1));
  expect(judged(calls, { handedOut }).findings).toMatchObject([{ kind: 'withoutGrant', count: 1, acts: ['kill'] }]);
  expect(judged(calls, { handedOut, isOwnClock: true }).kinds).toEqual([]);
});

test('the fact counts, and names the first call', () => {
  const bad = { verdict: 'invalid-nonce', nonce: '7' } as const;
  const fact = (...calls: readonly WitnessedCall[]) => judged([...calls, called(3_000)]).findings[0]?.fact;
  expect(fact(called(0, bad))).toBe('1 call rejected for the nonce; the first: Balance of MASTER, nonce 7');
  expect(fact(called(0, bad), called(100, { ...bad, nonce: '8' }))).toMatch(/^2 calls rejected .*, nonce 7$/);
});

test('a nonce that is sent twice is told apart from one that comes too late', () => {
  const twice = [called(0, { nonce: '5' }), called(2_000, { nonce: '5', verdict: 'invalid-nonce' }), called(3_000)];
  expect(judged(twice).kinds).toEqual(['rejectedNonces', 'nonceTwice']);
  const ordered = [called(0, { fault: 'invalid-nonce', verdict: 'invalid-nonce' }), called(2_000)];
  expect(judged(ordered).kinds).toEqual([]);
});

test.each([
  { lanes: 'global', account: 'USER:alice', overlaps: 1 },
  { lanes: 'account', account: 'USER:alice', overlaps: 0 },
  { lanes: 'account', account: 'MASTER', overlaps: 1 },
  { lanes: 'off', account: 'MASTER', overlaps: 0 },
] as const)('two calls at once overlap in their lane: $lanes, $account', ({ lanes, account, overlaps }) => {
  const calls = [called(0, { completedAtMs: 50 }), called(40, { account, key: account }), called(3_000)];
  expect(judged(calls, { lanes }).acts[0]).toMatchObject({ overlaps });
});

test('a call that its client gave up may be seen to end a little late, and no later', () => {
  const hung = (completedAtMs: number) => called(0, { fault: 'hang', abandoned: true, completedAtMs });
  expect(judged([hung(500), called(300), called(3_000)]).kinds).toEqual([]);
  expect(judged([hung(500), called(200), called(3_000)]).kinds).toEqual(['overlaps']);
});

test('a hang that only the rehearsal ended is a call without end', () => {
  const hung = called(0, { fault: 'hang', completedAtMs: 900 });
  expect(judged([hung, called(3_000)]).findings).toMatchObject([{ kind: 'endless', acts: ['calm'] }]);
});

test('calling on through a lockout is found out, three calls of a key being forgiven', () => {
  const locked = [0, 100, 200, 300, 400].map((atMs) => called(atMs, { verdict: 'locked-out' }));
  const after = called(3_000);
  expect(judged([...locked.slice(0, 3), after]).kinds).toEqual([]);
  expect(judged([...locked, after]).findings).toMatchObject([{ kind: 'calledOn', count: 2 }]);
});

test('orders that are sent twice are found by what the bot calls them', () => {
  const calls = [ordered(0, 'cl_ord_id mine'), ordered(2_000, 'cl_ord_id mine')];
  expect(judged(calls).findings).toMatchObject([
    { kind: 'ordersTwice', fact: expect.stringContaining('cl_ord_id mine') },
  ]);
});

test('a bot that is not accepted any more after an act has not recovered, but for a lockout', () => {
  const late = { fault: 'status', verdict: 'faulted' } as const;
  expect(judged([called(0), called(2_000, late)]).findings).toMatchObject([{ kind: 'not-recovered', acts: ['kill'] }]);
  const lockout: PlayedAct = { ...KILL, name: 'lockout' };
  expect(judged([called(0)], { acts: [CALM, lockout] }).kinds).toEqual([]);
  const missed: PlayedAct = { ...KILL, trouble: undefined };
  const { kinds, notes } = judged([called(0)], { acts: [CALM, missed] });
  expect(kinds).toEqual([]);
  expect(notes).toContainEqual('no call came that could go wrong in: kill; give it longer (--limit)');
});

test('ends of the bot are a finding if it failed, and a note if it was done', () => {
  const calls = [called(0), called(3_000)];
  const ends = [
    { atMs: 2_000, code: 3 } as const,
    { atMs: 2_500, code: 'SIGSEGV' } as const,
    { atMs: 2_600, code: 0 } as const,
  ];
  const { findings, notes } = judged(calls, { ends });
  expect(findings).toMatchObject([
    { kind: 'ended', count: 2, acts: ['kill'], fact: 'the bot ended 2 times by itself (exit code 3, SIGSEGV)' },
  ]);
  expect(notes).toContain('the bot ended 1 time with exit code 0');
  expect(judged(calls, { ends: ends.slice(2), isGone: true }).kinds).toEqual(['ended']);
});

test('no call at all is said loudly if leases were granted', () => {
  expect(judged([], { acts: [] }).findings).toMatchObject([
    { kind: 'no-call', fact: expect.not.stringContaining('lease') },
  ]);
  const handedOut = grantsFor([called(0), called(1)]);
  expect(judged([], { acts: [], handedOut }).findings[0]?.fact).toMatch(/granted 2 leases: ITS CALLS WENT ELSEWHERE$/);
});

test('calls with a foreign key, and methods that are not known, are named', () => {
  const foreign: WitnessedCall = { ...called(0, { verdict: 'invalid-key', key: 'foreign' }) };
  const { account: _, nonce: __, ...unknown } = foreign;
  const { findings, notes } = judged([
    unknown,
    called(100, { verdict: 'unknown-method', method: 'Stake' }),
    called(3_000),
  ]);
  expect(findings).toMatchObject([{ kind: 'foreign', fact: expect.stringMatching(/; the first: Balance$/) }]);
  expect(notes[0]).toBe('the exchange of the rehearsal does not know these methods: Stake');
});
