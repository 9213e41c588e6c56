import { describe, expect, test } from 'vitest';
import { widthOf } from '../../../src/cli/terminal/width.ts';
import type { Reading } from '../../../src/cli/top/feed.ts';
import { ASCII, UNICODE } from '../../../src/cli/top/glyphs.ts';
import { linesOf } from '../../../src/cli/top/layout.ts';
import { listed } from '../../../src/cli/top/overview-page.ts';
import { type Snapshot, Watch } from '../../../src/cli/top/snapshot.ts';
import type { Space } from '../../../src/cli/top/space.ts';
import { FIRST_VIEW, SORTS, type View } from '../../../src/cli/top/view.ts';
import { accountStatusAnswer, callAnswer, laneAnswer, statusAnswer } from '../answers.ts';

const NOW_MS = 1_002_000;

const space = (columns: number, rows: number, over: Partial<Space> = {}): Space => ({
  columns,
  rows,
  paint: (_style, text) => text,
  glyphs: UNICODE,
  ...over,
});

const client = (account: string, name: string | null, label: string | null = null) => ({
  account,
  name,
  pid: 4711,
  label,
  priority: 'normal' as const,
  waitedMs: 120,
});

const busyLane = laneAnswer('default', {
  holders: [{ ...client('USER:alice', 'grid-bot', 'place order'), nonce: 1n, heldMs: 85, leftMs: 19_915 }],
  waiting: 2,
  oldestWaitMs: 120,
  waiters: [{ ...client('MASTER', 'copy-trader'), paced: false }],
});

const accounts = [
  accountStatusAnswer('MASTER', {
    waiting: 2,
    okAgoMs: 250,
    pace: { level: 7.1, max: 20, perSecond: 1, nextFreeMs: 0 },
  }),
  accountStatusAnswer('USER:alice', { okAgoMs: 1_200 }),
  accountStatusAnswer('USER:bob', { rejected: 3, breaker: { openFor: 'invalid-nonce', probeInMs: 1_000 } }),
];

const calls = Array.from({ length: 60 }, (_, n) =>
  callAnswer(n + 1, {
    account: n % 3 === 0 ? 'USER:alice' : 'MASTER',
    agoMs: 30_000 - n * 500,
    waitedMs: n,
    label: 'balance',
    outcome: n === 57 ? 'invalid-nonce' : 'ok',
  }),
);

function snapshotOf(over: Partial<Reading> = {}): Snapshot {
  const watch = new Watch();
  const status = statusAnswer({ accounts, lanes: [busyLane] });
  watch.heard({ status, calls, missed: 0, past: 'since its start', opened: undefined, ...over }, NOW_MS);
  return watch.snapshot(NOW_MS, '14:02:11');
}

const lines = (over: Partial<Reading> = {}, view: Partial<View> = {}, at = space(79, 23)) =>
  linesOf(snapshotOf(over), { ...FIRST_VIEW, ...view }, at);

describe('at 80 columns', () => {
  test('it is this', () => {
    expect(lines()).toEqual([
      'nonced 0.1.0   pid 4711, epoch 7, exclusion global',
      'up 1 min 30 s   1 held   2 waiting   3 connections   lead -129 ms      14:02:11',
      '2.0 calls/s   wait p50 29 ms p99 59 ms   hold p50 150 ms p99 150 ms',
      `${' '.repeat(41)}▁▁▁▁▁▁▁▁▁▁▁▁▅██████  5 min, max 2.0/s`,
      '! account USER:bob is quarantined: its nonces are rejected, the next call is t…',
      '',
      'LANE      account     holder      label           for    left  waiting  oldest',
      'default   USER:alice  grid-bot    place order   85 ms  19.9 s        2  120 ms',
      '',
      '  ACCOUNT     state        calls/s  held  waiting  wait p99  hold p99  rejected',
      '  MASTER                       1.4     -        2     59 ms    150 ms         -',
      '  USER:alice                   0.6     1        -     57 ms    150 ms         -',
      '  USER:bob    quarantined      0.0     -        -         -         -         3',
      ...Array(9).fill(''),
      'q quit   h help   s sort: name   / filter   space pause   ↑↓ enter: calls',
    ]);
  });

  test('a call of one account is a line, the latest first', () => {
    const opened = { account: 'MASTER', calls: [...calls].reverse().slice(0, 3) };
    const page = { kind: 'account', account: 'MASTER', offset: 0 } as const;
    expect(lines({ opened }, { page }).slice(6, 14)).toEqual([
      'MASTER',
      '1.4 calls/s   0 held   2 waiting   wait p99 59 ms   hold p99 150 ms   sequence…',
      'nonced why MASTER tells the probable cause of a rejected nonce',
      '',
      '      AGO  holder      label    waited    held  ended         outcome',
      '   500 ms  grid-bot    balance   59 ms  150 ms  released      ok',
      '    1.0 s  grid-bot    balance   58 ms  150 ms  released      ok',
      '    1.5 s  grid-bot    balance   57 ms  150 ms  released      invalid-nonce',
    ]);
  });
});

test('at 160 columns there is more of everything', () => {
  const [lane = '', account = ''] = ['LANE', '  ACCOUNT'].map(
    (title) => lines({}, {}, space(160, 40)).find((line) => line.startsWith(title)) ?? '',
  );
  expect(lane.split(/ {2,}/)).toEqual([
    'LANE',
    'account',
    'holder',
    'pid',
    'label',
    'priority',
    'for',
    'left',
    'waiting',
    'oldest',
    'waits first',
  ]);
  for (const column of ['wait p50', 'hold p50', 'pace', 'last ok', 'last 2 min']) expect(account).toContain(column);
});

test('for any content and size, no line is too long and there are no more lines than rows', () => {
  const opened = { account: 'MASTER', calls };
  const many = Array.from({ length: 40 }, (_, n) => accountStatusAnswer(`USER:${n}-日本語-with-a-very-long-name`));
  const lanes = many.slice(0, 40).map(({ account }) => ({ ...busyLane, lane: account }));
  const status = statusAnswer({
    exclusive: 'account',
    accounts: many,
    lanes,
    paused: many.slice(0, 20).map(({ account }) => account),
    clock: { state: 'behind', offMs: -4 },
  });
  const pages: View['page'][] = [
    { kind: 'overview' },
    { kind: 'account', account: 'MASTER', offset: 29 },
    { kind: 'account', account: 'NONE', offset: 0 },
    { kind: 'help', before: { kind: 'overview' } },
  ];
  const snapshots = [snapshotOf(), snapshotOf({ status, opened })];
  for (const columns of [1, 39, 40, 60, 79, 120, 250]) {
    for (const rows of [1, 12, 23, 49]) {
      for (const page of pages) {
        for (const snapshot of snapshots) {
          const shown = linesOf(snapshot, { ...FIRST_VIEW, page, selected: many[37]?.account }, space(columns, rows));
          expect(shown.length, `${columns}x${rows} ${page.kind}`).toBeLessThanOrEqual(rows);
          for (const line of shown) expect(widthOf(line), `${columns}x${rows}: ${line}`).toBeLessThanOrEqual(columns);
        }
      }
    }
  }
});

test('the first line is the same from one second to the next, so that not all need be drawn again', () => {
  const later = statusAnswer({ uptimeMs: 99_000, totals: { ...statusAnswer().totals, grants: 500, waiting: 9 } });
  expect(lines({ status: later })[0]).toBe(lines()[0]);
});

test('the accounts stay where they are while lanes come and go', () => {
  const at = (lanes: (typeof busyLane)[], exclusive: 'global' | 'account') =>
    lines({ status: statusAnswer({ accounts, lanes, exclusive }) }).findIndex((line) => line.includes('ACCOUNT'));
  expect(at([], 'global')).toBe(at([busyLane], 'global'));
  expect(at([], 'account')).toBe(at([busyLane, { ...busyLane, lane: 'B' }], 'account'));
});

test('colours are quiet: what is wrong is red or yellow, headings are dim', () => {
  const painted: string[] = [];
  const paint: Space['paint'] = (style, text) => {
    painted.push(`${style}: ${text}`);
    return text;
  };
  const paused = accountStatusAnswer('USER:carol', { paused: true });
  lines({ status: statusAnswer({ accounts: [...accounts, paused] }) }, {}, space(79, 23, { paint }));
  expect(painted.filter((text) => text.startsWith('red')).join()).toMatch(/account USER:bob.*USER:bob +quarantined/);
  expect(painted.filter((text) => text.startsWith('yellow')).join()).toMatch(/USER:carol +paused/);
  expect(painted).toContainEqual(expect.stringMatching(/^dim: LANE +account/));
});

test('on a terminal that does not take UTF-8 there is none, but in names', () => {
  for (const line of lines({}, { selected: 'MASTER' }, space(60, 23, { glyphs: ASCII }))) {
    expect(line).toMatch(/^[\x20-\x7e]*$/);
  }
});

test('what a bot calls itself cannot write on the screen', () => {
  const evil = '\u001b[2J\u001b]0;x\u0007\u009b1mevil\u202e\n';
  const lane = laneAnswer(evil, {
    holders: [{ ...client(evil, evil, evil), nonce: 1n, heldMs: 1, leftMs: 1 }],
    waiting: 1,
    oldestWaitMs: 1,
    waiters: [{ ...client(evil, evil, evil), paced: true }],
  });
  const status = statusAnswer({ accounts: [accountStatusAnswer(evil)], lanes: [lane], paused: [evil] });
  const call = callAnswer(1, {
    account: evil,
    holder: evil,
    label: evil,
    outcome: evil as 'ok',
    ended: evil as 'lost',
  });
  const opened = { account: evil, calls: [call] };
  const pages: View['page'][] = [{ kind: 'overview' }, { kind: 'account', account: evil, offset: 0 }];
  for (const page of pages) {
    const shown = lines({ status, opened, calls: [call] }, { page }, space(250, 40));
    expect(shown.join('')).toContain('evil');
    for (const line of shown) expect(line).not.toMatch(/[\p{Cc}\p{Cf}]/u);
  }
});

describe('the list of accounts', () => {
  const names = (view: Partial<View>) => listed(snapshotOf(), { ...FIRST_VIEW, ...view }).map(({ account }) => account);

  test('is sorted by name, or by what is most', () => {
    const sorted = Object.fromEntries(SORTS.map((sort) => [sort, names({ sort }).join(' ')]));
    expect(sorted).toEqual({
      name: 'MASTER USER:alice USER:bob',
      calls: 'MASTER USER:alice USER:bob',
      waiting: 'MASTER USER:alice USER:bob',
      wait: 'MASTER USER:alice USER:bob',
      hold: 'MASTER USER:alice USER:bob',
      rejected: 'USER:bob MASTER USER:alice',
    });
    expect(names({ reversed: true })).toEqual(['USER:bob', 'USER:alice', 'MASTER']);
  });

  test('has the accounts whose names contain the filter, in any case, and so do the lanes', () => {
    expect(names({ filter: 'user' })).toEqual(['USER:alice', 'USER:bob']);
    expect(lines({}, { filter: 'bob' }).join('\n')).toContain('no lane is busy');
    expect(lines({}, { filter: 'master' }).join('\n')).toContain('place order');
    expect(lines({}, { filter: 'zoe' }).join('\n')).toContain('no account has zoe in its name');
  });

  test('follows the selection where not all fit, and counts those that are not seen', () => {
    const many = Array.from({ length: 60 }, (_, n) => accountStatusAnswer(`A${String(n).padStart(2, '0')}`));
    const shown = (selected: string | undefined) =>
      lines({ status: statusAnswer({ accounts: many }), calls: [] }, { selected });
    expect(shown(undefined).join('\n')).toMatch(/^ {2}A00 .*\n[\s\S]*^ {2}and 48 more/m);
    expect(shown('A59').join('\n')).toMatch(/^ {2}A48 .*\n[\s\S]*^> A59 .*\n {2}and 48 more/m);
  });
});

test('if the daemon lists only a hundred of its accounts, the screen says so', () => {
  const status = statusAnswer({ accounts, totals: { ...statusAnswer().totals, accounts: 950 } });
  expect(lines({ status }).join('\n')).toContain('  3 of 950 accounts are listed, and others that have calls');
  const few = statusAnswer({ accounts, totals: { ...statusAnswer().totals, accounts: 3 } });
  expect(lines({ status: few }).join('\n')).not.toContain('are listed');
});

describe('what is unusual', () => {
  test('stands above everything else, the worst first, and is only counted if there is much', () => {
    const status = statusAnswer({
      accounts,
      paused: ['A', 'B', 'C'],
      durability: { state: 'retrying', problem: 'ENOSPC', writes: 1 },
    });
    expect(lines({ status }).slice(4, 8)).toEqual([
      '! the state cannot be written: ENOSPC',
      '! account USER:bob is quarantined: its nonces are rejected, the next call is t…',
      '! and 3 more: nonced status --check',
      '',
    ]);
  });

  test('is that no daemon answers: what it said last stays, and since when', () => {
    const watch = new Watch();
    const status = statusAnswer({ accounts });
    watch.heard({ status, calls, missed: 0, past: 'since its start', opened: undefined }, NOW_MS);
    watch.heardNothing('no daemon answers at /run/nonced/nonced.sock', NOW_MS + 1_000);
    const shown = linesOf(watch.snapshot(NOW_MS + 4_000, '14:02:15'), FIRST_VIEW, space(79, 23));
    expect(shown[4]).toBe('! for 3.0 s: no daemon answers at /run/nonced/nonced.sock');
    expect(shown.join('\n')).toContain('USER:alice');
  });

  test('is that another daemon answers than before', () => {
    const watch = new Watch();
    const first = { status: statusAnswer(), calls: [], missed: 0, past: 'since its start', opened: undefined } as const;
    watch.heard(first, NOW_MS);
    watch.heard({ ...first, status: statusAnswer({ epoch: 8 }) }, NOW_MS + 1_000);
    const shown = linesOf(watch.snapshot(NOW_MS + 3_000, '14:02:15'), FIRST_VIEW, space(79, 23));
    expect(shown[4]).toBe('! another daemon has answered for 2.0 s, epoch 8: its counts start from zero');
  });

  test('is a display that stands still', () => {
    expect(lines({}, { paused: true })[1]).toMatch(/ paused at 14:02:11$/);
  });
});

test('before the first answer it says why there is none; a terminal that is too small, how large it must be', () => {
  const watch = new Watch();
  watch.heardNothing('no daemon answers', NOW_MS);
  const shown = linesOf(watch.snapshot(NOW_MS, '14:02:11'), FIRST_VIEW, space(79, 23));
  expect(shown.filter((line) => line !== '')).toEqual([
    'nonced',
    '14:02:11',
    '! for 0 ms: no daemon answers',
    expect.stringContaining('q quit'),
  ]);
  expect(linesOf(watch.snapshot(NOW_MS, ''), FIRST_VIEW, space(39, 23))).toEqual([
    '39x23 is too small; it needs 40x12',
  ]);
});
