import { expect, test } from 'vitest';
import { howToType, PLAIN } from '../../../src/cli/status/how-to-type.ts';
import type { Reading } from '../../../src/cli/status/reading.ts';
import { screenOf } from '../../../src/cli/status/screen.ts';
import type { StatusResult } from '../../../src/protocol/messages.ts';
import { UNPAINTED } from '../../fixtures/command-line.ts';
import { accountOf, endedOf, holderOf, laneOf, sequenceOf, statusOf, waiterOf } from './statuses.ts';

const WIDE = { width: Number.POSITIVE_INFINITY, all: false, paint: UNPAINTED };

function reading(over: Partial<StatusResult> = {}, rest: Partial<Reading> = {}): Reading {
  return { status: statusOf(over), calls: [], unlistedQuarantined: [], ...rest };
}

const screen = (over: Partial<StatusResult>, room = WIDE) => screenOf(reading(over), room, PLAIN);

test('of an idle daemon it says that nothing is unusual', () => {
  expect(screen({})).toEqual([
    'nonced 0.1.0  pid 100, up 1 min 0 s, epoch 1, exclusion global',
    '0 held, 0 waiting; 0 calls granted, 0 nonces (0.0/s), 1 connections, 3 writes',
    'nothing unusual',
    '',
    'No call is under way or waiting.',
    '',
    'next: nonced top (live), nonced doctor (if a bot gets no nonces)',
  ]);
});

test('first comes what is unusual with what to do, then who holds and waits, the accounts, and the nonces', () => {
  const lines = screen({
    paused: ['USER:dave'],
    lanes: [
      laneOf({
        holders: [holderOf()],
        waiting: 4,
        oldestWaitMs: 900,
        waiters: [waiterOf(), waiterOf({ account: 'POLLS', label: 'balance', priority: 'background', paced: true })],
      }),
    ],
    accounts: [
      accountOf('MASTER'),
      accountOf('POLLS', { expired: 2, pace: { level: 14.96, max: 15, perSecond: 1, nextFreeMs: 960 } }),
      accountOf('USER:dave', { paused: true, rejectedLastHour: 3, okAgoMs: null }),
    ],
    sequences: [sequenceOf()],
  });
  expect(lines.slice(3)).toEqual([
    '! account USER:dave is paused',
    '    nonced resume USER:dave',
    '! account USER:dave had 3 nonces rejected within the hour',
    '    nonced why USER:dave',
    '',
    'LANE            account     process      pid   label      for',
    'default  held   MASTER      copy-trader  4711  close all  1.2 s   18.8 s left',
    '         waits  USER:alice  grid-bot     4712  -          900 ms',
    '         waits  POLLS       grid-bot     4712  balance    900 ms  background, paced',
    '         waits  and 2 more',
    '',
    'ACCOUNT    last ok  rejected/h  expired  pace             calls  nonces  sequence',
    'USER:dave  none     3           -        -                7      9       default',
    'POLLS      2.0 s    -           2        15.0/15, 960 ms  7      9       default',
    'MASTER     2.0 s    -           -        -                7      9       default',
    '',
    'SEQUENCE  unit  last                 ceiling              lead     issued',
    'default   ns    1795365006294000000  1795365011294000000  -618 ms  25',
    '',
    'next: nonced why USER:dave',
  ]);
});

const many = Array.from({ length: 100 }, (_, n) => accountOf(`USER:u${n}`, { idleMs: n }));

test('of a hundred accounts those in trouble are shown, then those that were used last, and how many there are', () => {
  const accounts = [...many.slice(0, 99), accountOf('STOPPED', { paused: true, idleMs: 10_000_000 })];
  const lines = screen({ accounts });
  const rows = lines.slice(lines.findIndex((line) => line.startsWith('ACCOUNT')) + 1);
  expect(rows.map((row) => row.split(' ')[0])).toEqual([
    'STOPPED',
    ...many.slice(0, 11).map((each) => each.account),
    'and',
    '',
    'next:',
  ]);
  expect(rows.at(-3)).toBe('and 88 more accounts; --all');
});

test('all of them are with --all, and how many the daemon does not list', () => {
  const totals = { ...statusOf().totals, accounts: 140 };
  const lines = screen({ accounts: many, totals }, { ...WIDE, width: 80, all: true });
  for (const { account } of many) expect(lines.some((line) => line.startsWith(`${account} `))).toBe(true);
  expect(lines.at(-3)).toBe('and 40 more accounts');
});

test('of many findings, lanes, holders and waiters some are shown, and how many more there are', () => {
  const lanes = Array.from({ length: 30 }, (_, n) =>
    laneOf({
      lane: `USER:u${n}`,
      oldestWaitMs: n,
      holders: Array.from({ length: 8 }, () => holderOf()),
      waiters: Array.from({ length: 7 }, () => waiterOf()),
    }),
  );
  const lines = screen({ lanes, paused: many.map(({ account }) => account) });
  expect(lines).toContain('and 88 more of this kind; --all');
  expect(lines).toContain('and 18 more lanes; --all');
  expect(lines.filter((line) => /held +and 3 more$/.test(line))).toHaveLength(12);
  expect(lines.filter((line) => /waits +and 2 more$/.test(line))).toHaveLength(12);
  expect(lines.find((line) => line.includes('held'))).toBeDefined();
  // The lane with the longest wait first.
  expect(lines.filter((line) => line.startsWith('USER:u')).map((line) => line.split(' ')[0])).toEqual(
    Array.from({ length: 12 }, (_, n) => `USER:u${29 - n}`),
  );
  expect(screen({ lanes }, { ...WIDE, width: 80, all: true }).join('\n')).not.toContain('and ');
});

test('it fits a terminal of 80 columns, however long the names are', () => {
  const long = (letter: string) => letter.repeat(64);
  const lanes = [
    laneOf({
      lane: long('l'),
      oldestWaitMs: 14_000,
      holders: [holderOf({ account: long('a'), name: long('n'), label: long('b'), pid: 2_147_483_647, heldMs: 9_000 })],
      waiters: [waiterOf({ account: long('a'), name: long('n'), label: long('b'), waitedMs: 14_000 })],
    }),
  ];
  const accounts = [
    accountOf(long('a'), {
      okAgoMs: 3_599_000,
      rejectedLastHour: 100,
      expired: 1_000,
      waiting: 1_000,
      grants: 1_000_000,
      pace: { level: 20, max: 20, perSecond: 1, nextFreeMs: 1_000 },
    }),
  ];
  const lines = screen({ lanes, accounts, sequences: [sequenceOf({ name: long('s') })] }, { ...WIDE, width: 80 });
  const words = lines.filter((line) => line.length > 80 && !/^(! | {2})/.test(line));
  expect(words).toEqual([]);
  expect(lines.join('\n')).toContain('2147483647');
  expect(lines.join('\n')).toContain('1795365006294000000');
});

/** Two accounts that alternate, each of which waits for the call before it. */
const inTurns = Array.from({ length: 20 }, (_, n) =>
  endedOf({ account: n % 2 === 0 ? 'A' : 'B', heldMs: 100, waitedMs: n === 19 ? 0 : 100, agoMs: n * 100 }),
);
const foreignOf = (given: Reading) =>
  screenOf(given, WIDE, PLAIN).filter((line) => line.includes("another account's call"));

test('the screen says how much of the waiting was for other accounts, with what would end it', () => {
  expect(foreignOf(reading({}, { calls: inTurns }))).toEqual([
    "The last 20 calls waited 1.9 s in all; for 100 % of it another account's call held the lane. If no account " +
      'depends on the order of another, this ends it: nonced set-exclusive account',
  ]);
});

test('it says so only under the policy global, of several accounts, and if it is worth it', () => {
  expect(foreignOf(reading({ exclusive: 'account' }, { calls: inTurns }))).toEqual([]);
  expect(foreignOf(reading({}, { calls: inTurns.map((call) => ({ ...call, account: 'A' })) }))).toEqual([]);
  // Less than a second in all.
  expect(foreignOf(reading({}, { calls: inTurns.slice(0, 10) }))).toEqual([]);
  // A second in all, but hardly anything for each call.
  const quick = Array.from({ length: 30 }, () => endedOf({ account: 'A', lane: 'other', agoMs: 1_000_000 }));
  expect(foreignOf(reading({}, { calls: [...inTurns, ...quick] }))).toEqual([]);
  // Hardly a part of what they waited.
  const paced = endedOf({ account: 'C', waitedMs: 60_000, agoMs: 1_000_000 });
  expect(foreignOf(reading({}, { calls: [...inTurns, paced] }))).toEqual([]);
});

test('the last line is the command for the worst finding that has one', () => {
  const last = (over: Partial<StatusResult>) => screen(over).at(-1);
  const breaker = { openFor: 'invalid-nonce', probeInMs: 1_000 } as const;
  const quarantined = [accountOf('B', { rejectedLastHour: 3 }), accountOf('A', { breaker })];
  expect(last({ accounts: quarantined, paused: ['C'] })).toBe('next: nonced why A');
  expect(last({ paused: ['C'] })).toBe('next: nonced why C');
  expect(last({ durability: { state: 'retrying', problem: 'ENOSPC', writes: 0 } })).toBe('next: nonced doctor');
  expect(last({ clock: { state: 'behind', offMs: -5_000 } })).toBe('next: timedatectl');
  expect(last({ configurationProblem: 'no' })).toMatch(/^next: nonced top \(live\)/);
  expect(last({ configurationProblem: 'no', exchanges: [{ exchange: 'x', downForMs: 1 }] })).toBe('next: nonced top');
});

test('a user who may not use the operator’s socket is told to use sudo, and the same socket', () => {
  const type = howToType({ asked: '/tmp/a b.sock', fromEnvironment: undefined, isOperator: false, isService: true });
  const lines = screenOf(reading({ paused: ['C'] }), WIDE, type);
  expect(lines).toContain("    sudo nonced resume C --socket '/tmp/a b.sock'");
  expect(lines.at(-1)).toBe("next: nonced why C --socket '/tmp/a b.sock'");
});
