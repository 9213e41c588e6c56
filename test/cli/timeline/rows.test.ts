import { expect, test } from 'vitest';
import { pageDataOf } from '../../../src/cli/timeline/columns.ts';
import type { Call, Happening, Incident, Life, Refused } from '../../../src/cli/timeline/incident.ts';
import { KINDS, REACH_ALL, REACH_NONE } from '../../../src/cli/timeline/page-data.ts';
import { byAccountAndCode, RefusedSums } from '../../../src/cli/timeline/refused.ts';
import { isToLookAt, marksOf, pictureOf, rowsOf, spansOf } from '../../../src/cli/timeline/rows.ts';

const FROM_MS = Date.UTC(2026, 10, 28, 22, 30);
const TO_MS = FROM_MS + 600_000;

/** A call that ended so many seconds after the beginning. */
function callAt(seconds: number, more: Partial<Call> = {}): Call {
  return {
    account: 'MASTER',
    holder: 'grid-bot',
    pid: 7,
    label: null,
    priority: 'normal',
    nonce: String(seconds),
    lastNonce: String(seconds),
    waitedMs: 0,
    heldMs: 1_000,
    endMs: FROM_MS + 1_000 * seconds,
    state: { kind: 'ended', ended: 'released', outcome: 'ok' },
    late: false,
    ...more,
  };
}

function happeningAt(seconds: number, kind: string, subject: string | null, severity: Happening['severity'] = 'info') {
  return { atMs: FROM_MS + 1_000 * seconds, kind, severity, subject, text: `text: of ${kind}` };
}

function lifeFrom(epoch: number, startSeconds: number, endSeconds?: number, isCleanEnd = false): Life {
  const startedAtMs = FROM_MS + 1_000 * startSeconds;
  const endedAtMs = endSeconds === undefined ? undefined : FROM_MS + 1_000 * endSeconds;
  return { epoch, version: '0.1.0', pid: 4000 + epoch, startedAtMs, endedAtMs, isCleanEnd };
}

function incidentOf(more: Partial<Incident>): Incident {
  const nothing = { lives: [], calls: [], happenings: [], refused: [], gaps: [], notes: [] };
  return { fromMs: FROM_MS, toMs: TO_MS, nowMs: TO_MS, source: 'a test', ...nothing, ...more };
}

const secondsOf = ({ fromMs, toMs }: { readonly fromMs: number; readonly toMs: number }) => [
  (fromMs - FROM_MS) / 1_000,
  (toMs - FROM_MS) / 1_000,
];

test('a row for each account, by name as a person counts, or for each process', () => {
  const calls = [
    callAt(1, { account: 'USER:10', pid: 8 }),
    callAt(2, { account: 'USER:9' }),
    callAt(3, { account: 'USER:9', holder: null, pid: null }),
  ];
  const names = (by: 'account' | 'process') =>
    rowsOf({ calls, happenings: [], refused: [] }, by).map(({ name }) => name);
  expect(names('account')).toEqual(['USER:9', 'USER:10']);
  expect(names('process')).toEqual(['grid-bot (pid 7)', 'grid-bot (pid 8)', 'unnamed']);
});

test('an account that made no call but was paused has a row too', () => {
  const happenings = [happeningAt(5, 'paused', 'QUIET'), happeningAt(6, 'exchange-changed', 'default', 'warn')];
  expect(rowsOf({ calls: [], refused: [], happenings }, 'account')).toEqual([{ name: 'QUIET', bars: [], tracks: 1 }]);
  expect(rowsOf({ calls: [], refused: [], happenings }, 'process')).toEqual([]);
});

function refusedAt(seconds: number, more: Partial<Refused> = {}): Refused {
  return {
    account: 'MASTER',
    code: 'KEY_MISMATCH',
    count: 1,
    longestWaitMs: 0,
    fromMs: FROM_MS + 1_000 * seconds - 500,
    toMs: FROM_MS + 1_000 * seconds,
    lastAccount: more.account ?? 'MASTER',
    holder: 'grid-bot',
    pid: 7,
    label: null,
    ...more,
  };
}

test('what was refused is a mark in the row of its account or process, which it has although it made no call', () => {
  const refused = [
    refusedAt(1, { count: 200 }),
    refusedAt(2, { account: 'A', code: 'WAIT_TIMEOUT', longestWaitMs: 30_000, pid: 8 }),
    refusedAt(3, { account: null, code: 'TOO_LARGE', holder: null, pid: null }),
    refusedAt(4, { account: 'A', code: 'QUARANTINED' }),
  ];
  const marksBy = (by: 'account' | 'process') =>
    pictureOf(incidentOf({ refused }), by).marks.map(({ label, severity, reach }) => [label, severity, reach]);
  expect(marksBy('account')).toEqual([
    ['KEY_MISMATCH ×200', 'warn', 1],
    ['WAIT_TIMEOUT', 'warn', 0],
    ['TOO_LARGE', 'info', 'none'],
    ['QUARANTINED', 'info', 0],
  ]);
  expect(marksBy('process').map(([, , reach]) => reach)).toEqual([0, 1, 2, 0]);
  expect(pictureOf(incidentOf({ refused }), 'account').marks[0]?.text).toBe(
    'MASTER: KEY_MISMATCH 200 times within 500 ms, by grid-bot (pid 7)',
  );
});

test('so much may be refused that seconds are added up, and nothing of it is lost', () => {
  const sums = new RefusedSums({ fromMs: FROM_MS, toMs: TO_MS, accounts: undefined });
  for (let n = 0; n < 5_000; n += 1)
    sums.add(refusedAt(n / 10, { account: n % 2 === 0 ? 'A' : 'B', longestWaitMs: n }));
  expect(sums.all.length).toBeLessThanOrEqual(1_000);
  expect(sums.all.length).toBeGreaterThan(400);
  expect(
    byAccountAndCode(sums.all).map(({ account, count, longestWaitMs }) => [account, count, longestWaitMs]),
  ).toEqual([
    ['B', 2_500, 4_999],
    ['A', 2_500, 4_998],
  ]);
});

test('only what was refused of the accounts and in the time that were asked for counts', () => {
  const sums = new RefusedSums({ fromMs: FROM_MS, toMs: TO_MS, accounts: new Set(['A']) });
  const told = [
    refusedAt(-1, { account: 'A' }),
    refusedAt(0.2, { account: 'A' }),
    refusedAt(5, { account: 'B' }),
    refusedAt(6, { account: null, lastAccount: 'A' }),
    refusedAt(601, { account: 'A' }),
  ];
  for (const refused of told) sums.add(refused);
  expect(sums.all.map(({ toMs }) => (toMs - FROM_MS) / 1_000)).toEqual([0.2, 6]);
});

test('calls that overlap, waits and all, lie below each other, and a place that is free is used again', () => {
  const calls = [
    callAt(10, { heldMs: 5_000 }),
    callAt(11, { waitedMs: 4_000 }),
    callAt(12, { waitedMs: 3_000 }),
    callAt(14),
  ];
  const [row] = rowsOf({ calls, happenings: [], refused: [] }, 'account');
  expect(row?.bars.map(({ call, track }) => [call.nonce, track])).toEqual([
    ['10', 0],
    ['11', 1],
    ['12', 2],
    ['14', 0],
  ]);
  expect(row?.tracks).toBe(3);
});

test('however many wait at once, a row has an end', () => {
  const calls = Array.from({ length: 300 }, (_, n) => callAt(500 + n / 10, { waitedMs: 400_000 }));
  const [row] = rowsOf({ calls, happenings: [], refused: [] }, 'account');
  expect(row?.bars).toHaveLength(300);
  expect(row?.tracks).toBe(12);
  expect(Math.max(...(row?.bars.map(({ track }) => track) ?? []))).toBe(11);
});

test('to be looked at is what is not known to have gone well, and what was slow', () => {
  const ended = (how: 'released' | 'expired', outcome: 'ok' | 'unknown' | 'unused' | 'unsettled' | 'invalid-nonce') =>
    isToLookAt(callAt(1, { state: { kind: 'ended', ended: how, outcome } }));
  expect([ended('released', 'ok'), ended('released', 'unknown'), ended('released', 'unused')]).toEqual([
    false,
    false,
    false,
  ]);
  expect([ended('released', 'invalid-nonce'), ended('released', 'unsettled'), ended('expired', 'ok')]).toEqual([
    true,
    true,
    true,
  ]);
  expect([isToLookAt(callAt(1, { waitedMs: 5_001 })), isToLookAt(callAt(1, { heldMs: 5_001 }))]).toEqual([true, true]);
  expect(isToLookAt(callAt(1, { state: { kind: 'waiting' }, heldMs: 0, waitedMs: 100 }))).toBe(false);
});

test('a start is a mark that says how the daemon before it ended', () => {
  const lives = [lifeFrom(3, -100, 60), lifeFrom(4, 61, 300, true), lifeFrom(5, 302)];
  const marks = marksOf(incidentOf({ lives }), []);
  expect(marks.map(({ label, severity, text }) => [label, severity, text.split('; ')[1]])).toEqual([
    ['start 4', 'warn', 'the one before was killed or failed'],
    ['start 5', 'info', 'the one before was stopped'],
  ]);
});

test('marks are by time, with a few words each; those of an account concern its row alone', () => {
  const happenings = [
    happeningAt(30, 'paused', 'MASTER'),
    happeningAt(40, 'breaker-changed', 'ELSEWHERE', 'warn'),
    { ...happeningAt(20, 'exclusion-changed', null), text: 'an operator has changed it: global -> account' },
  ];
  const rows = rowsOf({ calls: [callAt(1), callAt(2, { account: 'A' })], happenings: [], refused: [] }, 'account');
  expect(marksOf(incidentOf({ happenings }), rows).map(({ label, reach }) => [label, reach])).toEqual([
    ['exclusion global → account', 'all'],
    ['paused MASTER', 1],
    ['ELSEWHERE quarantined', 'none'],
  ]);
});

test('no daemon is a span from the stop, or from the last word, to the next start', () => {
  const lives = [lifeFrom(3, -100, 60), lifeFrom(4, 70, 300, true), lifeFrom(5, 302)];
  const spans = spansOf(incidentOf({ lives }), []);
  expect(spans.map((span) => [span.kind, ...secondsOf(span), span.label])).toEqual([
    ['down', 60, 70, 'no daemon: last heard of at 22:31:00.000'],
    ['down', 300, 302, 'no daemon: stopped at 22:35:00.000'],
  ]);
  const last = spansOf(incidentOf({ lives: [lifeFrom(3, -100, 60)] }), []);
  expect(last.map(secondsOf)).toEqual([[60, 600]]);
});

test('a pause and a quarantine last over a restart; a drain and an outage end with it', () => {
  const happenings = [
    happeningAt(10, 'paused', 'MASTER'),
    happeningAt(11, 'breaker-changed', 'MASTER', 'warn'),
    happeningAt(12, 'drain-changed', null, 'warn'),
    happeningAt(13, 'exchange-changed', 'kraken', 'warn'),
    happeningAt(90, 'resumed', 'MASTER'),
    happeningAt(91, 'breaker-changed', 'MASTER'),
    happeningAt(95, 'drain-changed', null),
  ];
  const incident = incidentOf({ calls: [callAt(1)], happenings, lives: [lifeFrom(3, -100), lifeFrom(4, 50)] });
  const spans = spansOf(incident, rowsOf(incident, 'account'));
  expect(spans.map((span) => [span.kind, ...secondsOf(span), span.reach])).toEqual([
    ['paused', 10, 90, 0],
    ['quarantined', 11, 91, 0],
    ['drained', 12, 50, 'all'],
    ['outage', 13, 50, 'all'],
  ]);
});

test('a mark without an end goes on, two accounts are kept apart, and what began twice began with the first', () => {
  const happenings = [
    happeningAt(10, 'paused', 'A'),
    happeningAt(20, 'paused', 'B'),
    happeningAt(25, 'paused', 'A'),
    happeningAt(30, 'resumed', 'B'),
    happeningAt(40, 'resumed', 'NOBODY'),
  ];
  const incident = incidentOf({ happenings });
  expect(spansOf(incident, rowsOf(incident, 'account')).map(secondsOf)).toEqual([
    [10, 600],
    [20, 30],
  ]);
});

test('a gap is a span, cut to the time that is shown; one of no length is none', () => {
  const gaps = [
    { fromMs: FROM_MS - 5_000, toMs: FROM_MS + 5_000, text: 'missing' },
    { fromMs: FROM_MS + 9_000, toMs: FROM_MS + 9_000, text: 'nothing' },
  ];
  expect(spansOf(incidentOf({ gaps }), []).map((span) => [span.kind, ...secondsOf(span), span.label])).toEqual([
    ['missing', 0, 5, 'missing'],
  ]);
});

test('the page is given columns: by row and then by time, each text once, and -1 for nothing', () => {
  const calls = [
    callAt(9, { account: 'B', lastNonce: '12', state: { kind: 'ended', ended: 'expired', outcome: 'invalid-nonce' } }),
    callAt(8, { account: 'B', label: 'B', pid: null, nonce: null, lastNonce: null, late: true }),
    callAt(7, { account: 'A', state: { kind: 'held' } }),
  ];
  const happenings = [happeningAt(3, 'paused', 'A'), happeningAt(4, 'paused', 'C'), happeningAt(5, 'configured', null)];
  const incident = incidentOf({ calls, happenings });
  const picture = pictureOf(incident, 'account');
  const page = pageDataOf(incident, picture);
  expect(page.calls.row).toEqual([0, 1, 1]);
  expect(page.calls.end).toEqual([7_000, 8_000, 9_000]);
  expect(page.calls.kind.map((kind) => KINDS[kind])).toEqual(['held', 'ok', 'invalid-nonce']);
  expect(page.calls.ending).toEqual([-1, 0, 1]);
  expect(page.calls.nonce).toEqual(['7', -1, '9']);
  expect(page.calls.lastNonce).toEqual([-1, -1, '12']);
  expect(page.calls.pid).toEqual([7, -1, 7]);
  expect(page.calls.late).toEqual([0, 1, 0]);
  expect(page.calls.label.map((index) => page.texts[index])).toEqual([undefined, 'B', undefined]);
  expect(new Set(page.texts).size).toBe(page.texts.length);
  expect(page.rows.map(({ name, note }) => [name, note])).toEqual([
    ['A', '1 call'],
    ['B', '2 calls, 1 rejected'],
    ['C', '0 calls'],
  ]);
  expect(page.marks.map(({ reach }) => reach)).toEqual([0, 2, REACH_ALL]);
  const byProcess = pageDataOf(incident, pictureOf(incident, 'process'));
  expect(byProcess.marks.map(({ reach }) => reach)).toEqual([REACH_NONE, REACH_NONE, REACH_ALL]);
  for (const column of Object.values(page.calls)) expect(column).toHaveLength(3);
});
