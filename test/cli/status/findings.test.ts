import { expect, test } from 'vitest';
import { findings } from '../../../src/cli/status/findings.ts';
import type { StatusResult } from '../../../src/protocol/messages.ts';
import { accountOf, holderOf, laneOf, refusalsOf, sequenceOf, statusOf, waiterOf } from './statuses.ts';

test('of a daemon that is well there is nothing to say', () => {
  const status = statusOf({
    accounts: [accountOf('MASTER', { rejected: 3 })],
    lanes: [laneOf({ holders: [holderOf()], waiters: [waiterOf()], oldestWaitMs: 900 })],
    sequences: [sequenceOf(), sequenceOf({ name: 'counted', leadMs: null }), sequenceOf({ leadMs: 60_000 })],
  });
  expect(findings(status)).toEqual([]);
});

test('a short wait that its client took back is nothing unusual, and neither is a restart', () => {
  const refusals = ['CANCELLED', 'DISCONNECTED', 'SHUTTING_DOWN'].map((code) => refusalsOf({ code }));
  expect(findings(statusOf({ refusals }))).toEqual([]);
});

const unusual: readonly (readonly [
  what: string,
  severity: number,
  text: RegExp,
  todo: RegExp,
  Partial<StatusResult>,
])[] = [
  [
    'a disk that cannot be written',
    2,
    /the state cannot be written: ENOSPC/,
    /make room/,
    { durability: { state: 'retrying', problem: 'ENOSPC', writes: 1 } },
  ],
  ['a slow disk', 1, /over a second/, /look at the disk/, { durability: { state: 'slow', problem: null, writes: 1 } }],
  [
    'an exchange that is down',
    2,
    /exchange kraken has not answered for 3 min 0 s/,
    /status page/,
    { exchanges: [{ exchange: 'kraken', downForMs: 180_000 }] },
  ],
  [
    'bots that knew another instance',
    2,
    /^2 clients have refused this daemon for 3 min 0 s, because it is instance [0-9a-f]{8} and not bbbbbbbb as before; if its state is the right one, restart these bots: grid-bot \(pid 7\), unnamed$/,
    /put the right one back/,
    {
      refusingClients: [
        { name: 'grid-bot', pid: 7, expected: 'b'.repeat(32), forMs: 180_000 },
        { name: null, pid: null, expected: 'b'.repeat(32), forMs: 9_000 },
      ],
    },
  ],
  [
    'calls that do not say how they ended',
    0,
    /the last 20 calls of MASTER did not say how they ended/,
    /`outcome`/,
    { accounts: [accountOf('MASTER', { silentInARow: 20 }), accountOf('OTHER', { silentInARow: 19 })] },
  ],
  [
    'a state that names many accounts',
    1,
    /the state names 3277 of at most 4096 accounts$/,
    /one for each key.*nonced state forget 'order-\*'$/,
    { register: { named: 3_277, max: 4_096, state: 'filling' } },
  ],
  [
    'a state that names no more accounts',
    1,
    /the state names 12 of at most 4096 accounts, and no new account gets a name$/,
    /nonced state forget 'order-\*'$/,
    { register: { named: 12, max: 4_096, state: 'full' } },
  ],
  [
    'one program that gets no answer',
    2,
    /only grid-bot \(pid 7\) has got no answer from exchange kraken, for 3 min 0 s/,
    /proxy, DNS and URL/,
    { exchanges: [{ exchange: 'kraken', downForMs: null, heldBack: [{ name: 'grid-bot', pid: 7, forMs: 180_000 }] }] },
  ],
  [
    'a quarantined account',
    2,
    /account A is quarantined: its nonces are rejected, the next call is tried in 42.0 s/,
    /nonced why A; once the cause is gone: nonced resume A/,
    { accounts: [accountOf('A', { breaker: { openFor: 'invalid-nonce', probeInMs: 42_000 }, rejectedLastHour: 3 })] },
  ],
  [
    'an account that is locked out',
    2,
    /the exchange has locked its key out, the next call is tried$/,
    /nonced resume A/,
    { accounts: [accountOf('A', { breaker: { openFor: 'locked-out', probeInMs: 0 } })] },
  ],
  [
    'a key under two labels',
    1,
    /account MASTER was refused 200 times within 3 min 20 s, 2.0 s ago: KEY_MISMATCH, by grid-bot \(pid 4711\)$/,
    /use one label for the key in all bots; nonced why MASTER shows the message/,
    { refusals: [refusalsOf({ count: 200, forMs: 200_000 })] },
  ],
  [
    'waits that ran out',
    1,
    /refused 15 times .*: WAIT_TIMEOUT, after up to 30.0 s, by grid-bot \(pid 4711, AddOrder\)$/,
    /nonced timeline/,
    { refusals: [refusalsOf({ code: 'WAIT_TIMEOUT', count: 15, longestWaitMs: 30_000, label: 'AddOrder' })] },
  ],
  [
    'lanes that are not free at once',
    0,
    /account MASTER was refused once, 2.0 s ago: WAIT_TIMEOUT, by/,
    /nonced timeline/,
    { refusals: [refusalsOf({ code: 'WAIT_TIMEOUT' })] },
  ],
  [
    'calls that a quarantine refused',
    0,
    /account MASTER was refused 36 times .*: QUARANTINED/,
    /these calls were not made/,
    { refusals: [refusalsOf({ code: 'QUARANTINED', count: 36 })] },
  ],
  [
    'accounts that are not told apart',
    1,
    /requests that cannot be told apart \(the last for order-7\) were refused 492 times .*: LIMIT/,
    /a bot that asks for too much/,
    { refusals: [refusalsOf({ account: null, lastAccount: 'order-7', code: 'LIMIT', count: 492 })] },
  ],
  [
    'a long wait that its client took back',
    0,
    /CANCELLED, after up to 4 min 0 s/,
    /see what held the lane/,
    { refusals: [refusalsOf({ code: 'CANCELLED', longestWaitMs: 240_000 })] },
  ],
  ['a drain', 1, /draining for 12.0 s: only urgent/, /nonced drain --off/, { drainingForMs: 12_000 }],
  ['a paused account', 1, /account A is paused/, /nonced resume A/, { paused: ['A'] }],
  [
    'a configuration that was refused',
    1,
    /not in effect: c.json: x: unknown key/,
    /the next start will refuse/,
    { configurationProblem: 'c.json: x: unknown key' },
  ],
  [
    'a clock that is not followed',
    1,
    /jumped 2 h 0 min ahead/,
    /nonced advance --to now --yes/,
    { clock: { state: 'not-followed', offMs: 7_200_000 } },
  ],
  [
    'a clock that is days ahead',
    1,
    /not followed/,
    /nonced advance --to now --force/,
    { clock: { state: 'not-followed', offMs: 200_000_000 } },
  ],
  ['a clock that is behind', 1, /the clock is behind/, /set it/, { clock: { state: 'behind', offMs: -5_000 } }],
  [
    'a sequence ahead of the clock',
    1,
    /sequence default is 1 min 1 s ahead/,
    /the bot that draws/,
    { sequences: [sequenceOf({ leadMs: 61_000 })] },
  ],
  [
    'a wait that is long',
    1,
    /5 wait for lane default, the longest for 14.0 s: USER:alice, grid-bot \(pid 4712\)$/,
    /nonced set-exclusive account/,
    { lanes: [laneOf({ waiting: 5, oldestWaitMs: 14_000, waiters: [waiterOf({ waitedMs: 14_000 })] })] },
  ],
  [
    'a long wait for a pace',
    1,
    /1 waits for lane default, .* for its account's pace$/,
    /fewer calls, or raise its pace/,
    { lanes: [laneOf({ oldestWaitMs: 14_000, waiters: [waiterOf({ waitedMs: 14_000, paced: true })] })] },
  ],
  [
    'rejected nonces',
    1,
    /account A had 2 nonces rejected within the hour/,
    /nonced why A/,
    { accounts: [accountOf('A', { rejected: 9, rejectedLastHour: 2 })] },
  ],
  [
    'a call that was held for long, which is not an alarm',
    0,
    /a call of MASTER has taken 12.0 s of 20.0 s: copy-trader \(pid 4711\), close all/,
    /its lease ends with it/,
    { lanes: [laneOf({ holders: [holderOf({ heldMs: 12_000, leftMs: 8_000 })] })] },
  ],
];

test.each(unusual)('%s is a finding, with what to do', (_what, severity, text, todo, over) => {
  const found = findings(statusOf(over));
  expect(found).toHaveLength(1);
  expect(found[0]).toMatchObject({ severity, text: expect.stringMatching(text), todo: expect.stringMatching(todo) });
});

test('the worst comes first, whatever it is', () => {
  const all: Partial<StatusResult> = Object.assign({}, ...unusual.map(([, , , , over]) => over));
  const severities = findings(statusOf(all)).map(({ severity }) => severity);
  expect(severities).toEqual([...severities].sort((a, b) => b - a));
  expect(new Set(severities)).toEqual(new Set([0, 1, 2]));
});

test('of the long waits, one for a call is named before one for a pace', () => {
  const waiters = [
    waiterOf({ account: 'PACED', waitedMs: 30_000, paced: true }),
    waiterOf({ account: 'HELD-UP', waitedMs: 11_000 }),
    waiterOf({ account: 'NEW', waitedMs: 100 }),
  ];
  const [found] = findings(statusOf({ lanes: [laneOf({ waiters, oldestWaitMs: 30_000 })] }));
  expect(found?.text).toMatch(/3 wait .* longest for 30.0 s: HELD-UP/);
});

test('what to run next only looks: nothing in it changes the daemon', () => {
  for (const [what, , , , over] of unusual) {
    for (const { next } of findings(statusOf(over))) {
      expect(next ?? '', what).toMatch(/^$|^timedatectl$|^nonced (why (A|MASTER)|top|status --all|doctor)$/);
    }
  }
});

test('the policy account is proposed only if it is not in effect yet', () => {
  const lanes = [laneOf({ oldestWaitMs: 14_000, waiters: [waiterOf({ waitedMs: 14_000 })] })];
  expect(findings(statusOf({ lanes, exclusive: 'account' }))[0]?.todo).not.toContain('set-exclusive');
});

test('a process without a name is shown as such', () => {
  const lanes = [laneOf({ holders: [holderOf({ heldMs: 6_000, name: null, pid: null, label: null })] })];
  expect(findings(statusOf({ lanes }))[0]?.text).toMatch(/: unnamed$/);
});

test('quarantined accounts that the status does not list are a finding as well', () => {
  expect(findings(statusOf(), { unlisted: ['USER:u101'] })).toEqual([
    {
      severity: 2,
      text: expect.stringContaining('USER:u101 is quarantined'),
      todo: expect.stringContaining('why USER:u101'),
      next: 'nonced why USER:u101',
    },
  ]);
});

test('of many bots that knew another instance, eight are named and the others counted', () => {
  const refusingClients = Array.from({ length: 11 }, (_, index) => ({
    name: 'bot',
    pid: index + 1,
    expected: (index % 2 === 0 ? 'b' : 'c').repeat(32),
    forMs: 1_000,
  }));
  const [finding] = findings(statusOf({ refusingClients }));
  expect(finding?.text).toMatch(/^11 clients have .* not bbbbbbbb, cccccccc as .*bot \(pid 8\) and 3 more$/);
});
