import { describe, expect, test } from 'vitest';
import type { Nonce, Token } from '../../../src/core/ports.ts';
import { type EndedCall, RecentCalls } from '../../../src/core/record/recent-calls.ts';
import type { AccountRecord } from '../../../src/core/reports/evidence.ts';
import { type Verdict, verdictOn } from '../../../src/core/reports/verdict.ts';
import { explained } from '../../../src/core/reports/why.ts';

const N = (nonce: number): Nonce => BigInt(nonce) as Nonce;

type CallParts = Partial<Omit<EndedCall, 'token'>>;

/** A call that was granted at `token` seconds and released, told in time, half a second later. */
function call(token: number, over: CallParts = {}): EndedCall {
  const grantedAtMs = over.grantedAtMs ?? 1_000 * token;
  const endedAtMs = over.endedAtMs ?? grantedAtMs + 500;
  const nonce = N(1_000 * token);
  return {
    account: 'MASTER',
    lane: 'default',
    exclusive: true,
    holder: 'grid-bot',
    pid: 4711,
    label: undefined,
    priority: 'normal',
    token: token as Token,
    nonce,
    lastNonce: nonce,
    alsoFor: undefined,
    waitedMs: 0,
    ended: 'released',
    ownClock: false,
    outcome: 'ok',
    toldAtMs: endedAtMs,
    late: false,
    ...over,
    grantedAtMs,
    endedAtMs,
  };
}

const ok = (token: number, over: CallParts = {}) => call(token, over);
const rejected = (token: number, over: CallParts = {}) => call(token, { outcome: 'invalid-nonce', ...over });
const silent = (token: number, over: CallParts = {}) => call(token, { outcome: 'unknown', ...over });
/** A call whose lease ended after its 500 ms and that was told to be rejected two seconds after that. */
const late = (token: number, over: CallParts = {}) =>
  rejected(token, { ended: 'expired', late: true, toldAtMs: 1_000 * token + 2_500, ...over });

function record(calls: readonly EndedCall[], over: Partial<AccountRecord> = {}): AccountRecord {
  return {
    account: 'MASTER',
    calls,
    live: [],
    everAccepted: calls.some(({ outcome }) => outcome === 'ok'),
    bare: undefined,
    refusedUnits: undefined,
    policy: 'global',
    unit: 'ns',
    leadMs: -100,
    notFollowedMs: undefined,
    advancedAtMs: undefined,
    ...over,
  };
}

const ROW = [rejected(3), rejected(2), rejected(1)];

interface Case {
  readonly is: string;
  readonly calls: readonly EndedCall[];
  readonly also?: Partial<AccountRecord>;
  readonly kind: Verdict['kind'];
  readonly sure: Verdict['sure'];
  readonly says?: readonly string[];
  readonly saysNot?: readonly string[];
}

const CASES: readonly Case[] = [
  // none
  {
    is: 'no call at all',
    calls: [],
    kind: 'none',
    sure: 'certain',
    says: ['No call of MASTER is remembered', 'nonced status'],
  },
  {
    is: 'accepted calls only',
    calls: [ok(2), ok(1)],
    kind: 'none',
    sure: 'certain',
    says: ['2 calls of MASTER are remembered, and none'],
    saysNot: ['did not say how', 'outlived'],
  },
  {
    is: 'calls that do not say how they ended',
    calls: [silent(3), ok(2), silent(1)],
    kind: 'none',
    sure: 'certain',
    says: ['2 did not say how they ended', '`outcome`'],
    saysNot: ['outlived'],
  },
  {
    is: 'a call that outlived its lease and was never told of',
    calls: [silent(1, { ended: 'expired' })],
    kind: 'none',
    sure: 'certain',
    says: ['1 call of MASTER is remembered', '1 outlived its lease.', '`ttlMs`'],
    saysNot: ['did not say how'],
  },
  {
    is: 'programs that were refused because of their unit',
    calls: [],
    also: { unit: 'ms', refusedUnits: { count: 4, unit: 'ns' } },
    kind: 'none',
    sure: 'certain',
    says: ['4 times a program asked for ns (19 digits)', 'ms (13 digits)', 'nothing was sent'],
  },
  {
    is: 'trouble that has nothing to do with nonces',
    calls: [
      call(3, { outcome: 'rate-limited' }),
      call(2, { outcome: 'locked-out' }),
      call(1, { outcome: 'unsettled' }),
    ],
    kind: 'none',
    sure: 'certain',
  },

  // late
  {
    is: 'a call that outlived its lease, after which another one was granted',
    calls: [ok(6), late(5), ok(4)],
    kind: 'late',
    sure: 'likely',
    says: ['grid-bot (pid 4711) came too late', 'its lease expired after 500 ms', '`ttlMs`', 'HTTP timeout'],
    saysNot: ['ask again'],
  },
  {
    is: 'a late call whose successor is still under way',
    calls: [late(5), ok(4)],
    also: { live: [call(6, { holder: 'exit-bot', pid: 7, label: 'close all' })] },
    kind: 'late',
    sure: 'likely',
    says: ['exit-bot (pid 7, close all) was granted the next nonce', 'nonced why MASTER'],
  },
  {
    is: 'a background call that an urgent one ended',
    calls: [ok(6, { priority: 'urgent' }), late(5, { ended: 'preempted', priority: 'background' }), ok(4)],
    kind: 'late',
    sure: 'likely',
    says: ['ended for an urgent call', 'priority `normal`'],
  },
  {
    is: 'a holder that did not come back after a restart',
    calls: [ok(6), late(5, { ended: 'lost', nonce: undefined, lastNonce: undefined })],
    kind: 'late',
    sure: 'likely',
    says: ['did not come back in time after a restart', 'same session'],
  },
  {
    is: 'a call whose connection closed',
    calls: [ok(6), late(5, { ended: 'disconnected' })],
    kind: 'late',
    sure: 'likely',
    says: ['connection closed after 500 ms', 'Keep the connection open'],
  },
  {
    is: 'several late calls in a row, each overtaken',
    calls: [ok(10), late(9), late(7), ok(8, { outcome: 'unsettled' }), late(5), call(6, { outcome: 'unsettled' })],
    kind: 'late',
    sure: 'likely',
  },
  {
    is: 'three late calls in a row, each overtaken, and none accepted',
    calls: [late(5), late(4), late(3), call(6, { outcome: 'unsettled' })],
    kind: 'late',
    sure: 'likely',
  },
  {
    is: 'a late call that two others have overtaken: the first of them is named',
    calls: [ok(7, { holder: 'second' }), ok(6, { holder: 'first' }), late(5)],
    kind: 'late',
    sure: 'likely',
    says: ['and then first (pid 4711) was granted'],
  },
  {
    is: 'one program that is late each time, while others are accepted',
    calls: [ok(8, { holder: 'poller' }), late(7), ok(6, { holder: 'poller' }), late(5), ok(4, { holder: 'poller' })],
    kind: 'late',
    sure: 'likely',
  },
  {
    is: 'a late call after which the next one released its lease unused',
    calls: [call(6, { outcome: 'unused' }), late(5), ok(4)],
    kind: 'foreign-use',
    sure: 'possible',
    says: ['Its lease expired after 500 ms', 'by then this daemon had handed out no higher nonce'],
  },
  {
    is: 'a late call that was reported before the next call of its lane',
    calls: [ok(9), late(5), ok(4)],
    kind: 'foreign-use',
    sure: 'likely',
    says: ['Its lease expired after 500 ms'],
  },
  {
    is: 'a late call under whose lease a nonce for another account was drawn',
    calls: [ok(6), late(5, { alsoFor: 'USER:alice' })],
    kind: 'late',
    sure: 'likely',
    says: ['Or it was the nonce of USER:alice'],
  },

  // out-of-order
  {
    is: 'exclusion off, and a higher nonce granted while it was under way',
    calls: [
      ok(6, { exclusive: false, holder: 'poller' }),
      rejected(5, { exclusive: false, endedAtMs: 9_000, toldAtMs: 9_000 }),
    ],
    also: { policy: 'off' },
    kind: 'out-of-order',
    sure: 'likely',
    says: ['overtaken by that of poller', 'Exclusion is off', 'nonced set-exclusive account'],
  },
  {
    is: 'exclusion off, and the one that overtook it still under way',
    calls: [ok(4), rejected(5, { exclusive: false, endedAtMs: 9_000, toldAtMs: 9_000 })],
    also: { policy: 'off', live: [call(6, { exclusive: false })] },
    kind: 'out-of-order',
    sure: 'likely',
  },
  {
    is: 'a late call without exclusion',
    calls: [ok(6, { exclusive: false }), late(5, { exclusive: false })],
    also: { policy: 'off' },
    kind: 'out-of-order',
    sure: 'likely',
    saysNot: ['`ttlMs`'],
  },
  {
    is: 'exclusion that was off then and is on now',
    calls: [ok(6, { exclusive: false }), rejected(5, { exclusive: false, endedAtMs: 9_000, toldAtMs: 9_000 })],
    also: { policy: 'account' },
    kind: 'out-of-order',
    sure: 'likely',
    says: ['Exclusion was off', 'with the policy account'],
    saysNot: ['nonced set-exclusive'],
  },
  {
    is: 'an exclusive call that was overtaken while the policy was switched',
    calls: [ok(6, { exclusive: false }), rejected(5, { endedAtMs: 9_000, toldAtMs: 9_000 })],
    also: { policy: 'off' },
    kind: 'out-of-order',
    sure: 'likely',
    says: ['policy was switched meanwhile'],
  },
  {
    is: 'a bare nonce above it',
    calls: [ok(6), rejected(5), ok(4)],
    also: { bare: { count: 3, last: N(5_001) } },
    kind: 'out-of-order',
    sure: 'possible',
    says: ['3 nonces of MASTER were drawn without a lease', '`exclusive`', 'Or something that does not ask'],
  },
  {
    is: 'a bare nonce, and a rejected call of before the restart, whose nonce is not known',
    calls: [ok(6), rejected(5, { nonce: undefined, lastNonce: undefined })],
    also: { bare: { count: 1, last: N(1) } },
    kind: 'out-of-order',
    sure: 'possible',
    says: ['1 nonce of MASTER was drawn'],
  },
  {
    is: 'bare nonces below it, which cannot have overtaken it',
    calls: [ok(6), rejected(5), ok(4)],
    also: { bare: { count: 3, last: N(4_999) } },
    kind: 'foreign-use',
    sure: 'likely',
    saysNot: ['without a lease'],
  },

  // one-program
  {
    is: 'one program rejected each time while others are accepted',
    calls: [
      rejected(6, { holder: 'old-script', pid: 1 }),
      ok(5),
      rejected(4, { holder: 'old-script', pid: 2 }),
      ok(3),
      rejected(2, { holder: 'old-script', pid: 3 }),
      ok(1),
    ],
    kind: 'one-program',
    sure: 'likely',
    says: [
      'Only the calls of old-script (pid 1)',
      '3 of them',
      '2 calls of other programs on MASTER were',
      'make its own',
      'another key',
    ],
  },
  {
    is: 'one program without a name, twice',
    calls: [rejected(4, { holder: undefined, pid: 9 }), ok(3), rejected(2, { holder: undefined, pid: 9 })],
    kind: 'one-program',
    sure: 'possible',
    says: ['an unnamed program (pid 9)', '1 call of other programs on MASTER was'],
  },
  {
    is: 'one program in a row, and others accepted in between',
    calls: [
      rejected(5, { holder: 'old-script' }),
      rejected(4, { holder: 'old-script' }),
      ok(3),
      rejected(2, { holder: 'old-script' }),
      rejected(1, { holder: 'old-script' }),
    ],
    kind: 'one-program',
    sure: 'likely',
  },
  {
    is: 'a program that has been accepted once',
    calls: [
      rejected(5, { holder: 'old-script' }),
      ok(4),
      rejected(3, { holder: 'old-script' }),
      ok(2, { holder: 'old-script' }),
    ],
    kind: 'foreign-use',
    sure: 'possible',
  },
  {
    is: 'programs that are told apart by nothing',
    calls: [
      rejected(4, { holder: undefined, pid: undefined }),
      ok(3, { holder: undefined, pid: undefined }),
      rejected(2, { holder: undefined, pid: undefined }),
    ],
    kind: 'foreign-use',
    sure: 'possible',
  },
  {
    is: 'two programs that are rejected now and then',
    calls: [
      ok(5, { holder: 'c' }),
      rejected(4, { holder: 'a' }),
      ok(3, { holder: 'c' }),
      rejected(2, { holder: 'b' }),
      ok(1, { holder: 'c' }),
    ],
    kind: 'foreign-use',
    sure: 'likely',
  },

  // foreign-use
  {
    is: 'one that is rejected now and then, between accepted ones',
    calls: [ok(7), rejected(6), ok(5), rejected(4), ok(3), rejected(2), ok(1)],
    kind: 'foreign-use',
    sure: 'likely',
  },
  {
    is: 'a single rejection of a program beside accepted calls of another',
    calls: [ok(6, { holder: 'poller' }), rejected(5), ok(4, { holder: 'poller' })],
    kind: 'foreign-use',
    sure: 'likely',
  },
  {
    is: 'one rejected under its lease, with accepted ones on both sides',
    calls: [ok(6), rejected(5), ok(4)],
    kind: 'foreign-use',
    sure: 'likely',
    says: ['calls before and after it were accepted', 'a key of its own', 'same nonce twice'],
    saysNot: ['ask again', 'another label', 'ahead of the clock', 'another order', 'own-clock'],
  },
  {
    is: 'the latest one, after accepted ones',
    calls: [rejected(5), ok(4)],
    kind: 'foreign-use',
    sure: 'possible',
    says: ['calls before it were accepted', 'If the next ones are rejected too, ask again: `nonced why MASTER`.'],
  },
  {
    is: 'two in a row after accepted ones',
    calls: [rejected(6), rejected(5), ok(4)],
    kind: 'foreign-use',
    sure: 'possible',
  },
  {
    is: 'the first one, with an accepted one after it',
    calls: [ok(6), rejected(5)],
    kind: 'foreign-use',
    sure: 'possible',
    says: ['calls after it were accepted'],
  },
  {
    is: 'an accepted one that is not remembered any more',
    calls: [rejected(5)],
    also: { everAccepted: true },
    kind: 'foreign-use',
    sure: 'possible',
    says: ['calls before it were accepted'],
  },
  {
    is: 'one that is rejected beside others that do not say how they ended',
    calls: [silent(6), rejected(5), silent(4)],
    kind: 'foreign-use',
    sure: 'possible',
    saysNot: ['were accepted'],
  },
  {
    is: 'lanes by account',
    calls: [ok(6), rejected(5), ok(4)],
    also: { policy: 'account' },
    kind: 'foreign-use',
    sure: 'likely',
    says: ['the same key under another label'],
  },
  {
    is: 'a sequence that is far ahead of the clock',
    calls: [ok(6), rejected(5), ok(4)],
    also: { leadMs: 90_000, unit: 'ms' },
    kind: 'foreign-use',
    sure: 'likely',
    says: ['1 min 30 s ahead of the clock', 'a finer unit than ms (13 digits)'],
  },
  {
    is: 'a lease with several nonces',
    calls: [ok(6), rejected(5, { lastNonce: N(5_003) }), ok(4)],
    kind: 'foreign-use',
    sure: 'likely',
    says: ['in another order than they were drawn'],
  },
  {
    is: 'calls that made nonces from their own clock',
    calls: [ok(6), rejected(5), silent(4, { ownClock: true }), ok(3)],
    kind: 'foreign-use',
    sure: 'likely',
    says: ['exec --own-clock'],
  },
  {
    is: 'a lease that none followed although exclusion was off',
    calls: [ok(6, { exclusive: false }), rejected(5, { exclusive: false }), ok(4, { exclusive: false })],
    also: { policy: 'off' },
    kind: 'foreign-use',
    sure: 'likely',
  },

  // ahead
  {
    is: 'three in a row, and never one accepted',
    calls: ROW,
    kind: 'ahead',
    sure: 'likely',
    says: [
      '3 calls of MASTER in a row were rejected, and none has been accepted since the daemon started',
      'nonced advance --account MASTER --to NONCE',
      'cannot be undone',
      'Find what used the key, and stop it.',
      'more digits than 19',
      'A new API key starts from nothing',
    ],
    saysNot: ['advance --to now'],
  },
  {
    is: 'the very first one, and no word of any other',
    calls: [rejected(1)],
    kind: 'ahead',
    sure: 'possible',
    says: ['The only call of MASTER that is known to have ended was rejected'],
  },
  {
    is: 'three in a row after accepted ones',
    calls: [...ROW, ok(0)],
    also: { unit: 'ms' },
    kind: 'ahead',
    sure: 'likely',
    says: ['although earlier ones were accepted', 'more digits than 13'],
  },
  {
    is: 'three in a row, with others that say nothing in between',
    calls: [rejected(5), silent(4), rejected(3), silent(2), rejected(1)],
    kind: 'ahead',
    sure: 'possible',
    says: ['2 more did not say how they ended'],
  },
  {
    is: 'three in a row, with lockouts and timeouts in between',
    calls: [
      call(6, { outcome: 'locked-out' }),
      rejected(5),
      call(4, { outcome: 'unsettled' }),
      rejected(3),
      rejected(1),
    ],
    kind: 'ahead',
    sure: 'likely',
  },
  {
    is: 'three in a row, of which the latest was late too',
    calls: [call(6, { outcome: 'unsettled' }), late(5), ...ROW],
    kind: 'ahead',
    sure: 'likely',
    says: ['The latest call was also overtaken'],
  },
  {
    is: 'three in a row beside bare nonces',
    calls: ROW,
    also: { bare: { count: 12, last: N(9_000) } },
    kind: 'ahead',
    sure: 'likely',
    says: ['12 were drawn'],
  },
  {
    is: 'a wall clock that is not followed',
    calls: ROW,
    also: { notFollowedMs: 7_200_000 },
    kind: 'ahead',
    sure: 'likely',
    says: ['2 h 0 min ahead of the time that is followed', 'nonced advance --to now'],
  },
  {
    is: 'a counter',
    calls: ROW,
    also: { unit: 'counter', leadMs: undefined },
    kind: 'ahead',
    sure: 'likely',
    says: ['nonces made from a clock'],
    saysNot: ['digits'],
  },
  {
    is: 'a sequence that was raised after the last rejection',
    calls: ROW,
    also: { advancedAtMs: 60_000 },
    kind: 'ahead',
    sure: 'likely',
    says: ['has been raised since the last rejection'],
  },
  {
    is: 'a sequence that was raised before the last rejection',
    calls: ROW,
    also: { advancedAtMs: 1_000 },
    kind: 'ahead',
    sure: 'likely',
    saysNot: ['has been raised since'],
  },

  {
    is: 'three in a row of a sequence that is ahead of the clock',
    calls: ROW,
    also: { leadMs: 31_000 },
    kind: 'ahead-of-clock',
    sure: 'likely',
    says: ['31.0 s ahead of the clock', 'Raise nothing', 'Gemini', '30 s', 'WhiteBIT', 'new API key'],
    saysNot: ['advance --'],
  },
  {
    is: 'the only call that is known, of a sequence that is ahead of the clock',
    calls: [rejected(1)],
    also: { leadMs: 31_000 },
    kind: 'ahead-of-clock',
    sure: 'possible',
    saysNot: ['advance --'],
  },
  {
    is: 'one among accepted ones, of a sequence that is ahead of the clock',
    calls: [ok(1), rejected(2), ok(3)],
    also: { leadMs: 31_000 },
    kind: 'foreign-use',
    sure: 'likely',
    says: ['compares nonces with its own clock'],
    saysNot: ['advance'],
  },
  {
    is: 'three in a row with the lead that a crash leaves',
    calls: ROW,
    also: { leadMs: 5_500 },
    kind: 'ahead',
    sure: 'likely',
    says: ['advance --account MASTER'],
  },
  {
    is: 'three calls in a row that were refused for their rate',
    calls: [ok(1), ...[2, 3, 4].map((token) => call(token, { outcome: 'rate-limited' }))],
    kind: 'none',
    sure: 'certain',
    says: ['last 3 calls in a row were refused because of their rate', 'P2B and WhiteBIT'],
  },
  {
    is: 'two calls in a row that were refused for their rate',
    calls: [ok(1), ...[2, 3].map((token) => call(token, { outcome: 'rate-limited' }))],
    kind: 'none',
    sure: 'certain',
    saysNot: ['because of their rate', 'P2B'],
  },
  {
    is: 'another unit, of a sequence that is ahead of the clock',
    calls: ROW,
    also: { unit: 'ms', leadMs: 31_000, everAccepted: false, refusedUnits: { count: 1, unit: 'ns' } },
    kind: 'unit',
    sure: 'likely',
    saysNot: ['advance --'],
  },

  // unit
  {
    is: 'nonces of 13 digits, never one accepted',
    calls: ROW,
    also: { unit: 'ms' },
    kind: 'unit',
    sure: 'possible',
    says: [
      'ms (13 digits)',
      'Count the digits',
      'make a new API key',
      'nonced advance --account MASTER',
      'cannot be undone',
    ],
    saysNot: ['asked for'],
  },
  {
    is: 'nonces of 13 digits, the very first one',
    calls: [rejected(1)],
    also: { unit: 'ms' },
    kind: 'unit',
    sure: 'possible',
  },
  {
    is: 'nonces of 13 digits, and a program that asked for 19',
    calls: ROW,
    also: { unit: 'ms', refusedUnits: { count: 1, unit: 'ns' } },
    kind: 'unit',
    sure: 'likely',
    says: ['once a program asked for ns (19 digits)', 'If the key has seen ns (19 digits)'],
  },
  {
    is: 'one rejected of 13 digits, and a program that asked for 19',
    calls: [rejected(1)],
    also: { unit: 'ms', refusedUnits: { count: 1, unit: 'ns' } },
    kind: 'unit',
    sure: 'possible',
  },
  {
    is: 'nonces of 19 digits, and a program that asked for 13',
    calls: ROW,
    also: { refusedUnits: { count: 2, unit: 'ms' } },
    kind: 'unit',
    sure: 'possible',
    says: ['2 times a program asked for ms (13 digits)', 'the nonce that the rejected program sends'],
  },
  {
    is: 'nonces of 13 digits that were accepted before: the unit was right then',
    calls: [...ROW, ok(0)],
    also: { unit: 'ms', refusedUnits: { count: 1, unit: 'ns' } },
    kind: 'ahead',
    sure: 'likely',
  },
];

const wholeOf = ({ text, fixes }: Verdict): string => [text, ...fixes].join('\n');
const about = ({ calls, also }: Case): Verdict => verdictOn(record(calls, also));

describe('the verdict', () => {
  test.each(CASES.map((one) => [one.is, one.kind, one.sure, one] as const))(
    'on %s: %s, %s',
    (_is, _kind, _sure, one) => {
      const verdict = about(one);
      const { kind, sure } = verdict;
      const text = wholeOf(verdict);
      expect({ kind, sure }, text).toEqual({ kind: one.kind, sure: one.sure });
      for (const part of one.says ?? []) expect(text).toContain(part);
      for (const part of one.saysNot ?? []) expect(text).not.toContain(part);
    },
  );

  test('does not depend on the order in which the calls are given', () => {
    for (const one of CASES) {
      expect(about({ ...one, calls: [...one.calls].reverse() }), one.is).toEqual(about(one));
    }
  });

  test('is made of whole sentences, and says what to do', () => {
    for (const one of CASES) {
      const { text, fixes } = about(one);
      expect(fixes.length, one.is).toBeGreaterThan(0);
      for (const line of [text, ...fixes]) {
        expect(line, one.is).toMatch(/^[A-Z0-9].*[^.]\.$/);
        expect(line, one.is).not.toMatch(/undefined|NaN|\n| {2}|\. [a-z]/);
      }
    }
  });

  test('never says to raise a sequence without what must be looked at first, and that it cannot be undone', () => {
    for (const one of CASES) {
      const whole = wholeOf(about(one));
      if (!whole.includes('advance --account')) continue;
      expect(whole, one.is).toMatch(/stop it\..*raise nothing.*advance --account MASTER --to NONCE.*cannot be undone/s);
    }
  });
});

describe('explained', () => {
  const about = (calls: RecentCalls) => explained(record(calls.of('MASTER')), calls, 10_000);

  function ended(calls: readonly EndedCall[]): RecentCalls {
    const remembered = new RecentCalls();
    for (const each of calls) remembered.add(each);
    return remembered;
  }

  test('names the rejected call and the call that had the lane before it, of any account', () => {
    const calls = [ok(3), ok(4, { account: 'USER:alice', holder: 'other' }), rejected(5, { label: 'buy' }), ok(6)];
    const { rejected: told, calls: listed } = about(ended(calls));
    expect(told).toMatchObject({
      call: { account: 'MASTER', label: 'buy', nonce: 5_000n, heldMs: 500, agoMs: 4_500, outcome: 'invalid-nonce' },
      before: { account: 'USER:alice', holder: 'other' },
    });
    expect(listed.map(({ nonce }) => nonce)).toEqual([6_000n, 5_000n, 3_000n]);
  });

  test('says null for what is not known, and if there is nothing to report', () => {
    const unknown = { holder: undefined, pid: undefined, nonce: undefined, lastNonce: undefined };
    const why = about(ended([rejected(5, unknown)]));
    expect(why.rejected).toMatchObject({
      call: { holder: null, pid: null, label: null, nonce: null, lastNonce: null },
      before: null,
    });
    expect(about(ended([ok(1)]))).toMatchObject({
      exclusive: 'global',
      unit: 'ns',
      leadMs: -100,
      held: 0,
      refusedUnits: null,
      rejected: null,
      verdict: { kind: 'none' },
    });
  });

  test('tells in numbers how often another unit was asked for', () => {
    const refusedUnits = { count: 2, unit: 'ms' } as const;
    expect(explained({ ...record([]), refusedUnits }, new RecentCalls(), 0)).toMatchObject({ refusedUnits });
  });

  test('lists at most 100 calls, judges by all of them, and names no token', () => {
    const calls = [rejected(1), ...Array.from({ length: 150 }, (_, n) => ok(n + 2))];
    const why = about(ended(calls));
    expect(why.calls).toHaveLength(100);
    expect(why.verdict.kind).toBe('foreign-use');
    expect(why.calls.every((each) => !('token' in each) && !('owner' in each))).toBe(true);
  });
});
