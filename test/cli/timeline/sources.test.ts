import { linkSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { fromCallLog } from '../../../src/cli/timeline/call-log-source.ts';
import type { Wanted } from '../../../src/cli/timeline/incident.ts';
import { fromMemory } from '../../../src/cli/timeline/memory-source.ts';
import {
  type CallLine,
  type CallLogLine,
  type DaemonLine,
  encodeLine,
  type RefusedLine,
} from '../../../src/protocol/call-log-lines.ts';
import { fakeSocket } from '../fake-socket.ts';

const FROM_MS = Date.UTC(2026, 10, 28, 22, 30);
const NOW_MS = FROM_MS + 600_000;
const ALL: Wanted = { fromMs: FROM_MS, toMs: Number.POSITIVE_INFINITY, accounts: undefined };

/** A time so many seconds after the beginning. */
const at = (seconds: number) => new Date(FROM_MS + 1_000 * seconds).toISOString();

function daemonLine(seconds: number, epoch = 1): DaemonLine {
  const author = { format: 1, version: '0.1.0', instance: 'i', pid: 40 + epoch, boot: 'b', startedAt: at(seconds) };
  return { type: 'daemon', at: at(seconds), epoch, ...author };
}

function callLine(seconds: number, more: Partial<CallLine> = {}): CallLine {
  return {
    type: 'call',
    at: at(seconds),
    epoch: 1,
    account: 'MASTER',
    lane: 'default',
    exclusive: true,
    holder: 'grid-bot',
    pid: 7,
    label: null,
    priority: 'normal',
    nonce: String(seconds),
    lastNonce: String(seconds),
    waitedMs: 10,
    heldMs: 200,
    ended: 'released',
    outcome: 'ok',
    late: false,
    ...more,
  };
}

function refusedLine(seconds: number, more: Partial<RefusedLine> = {}): RefusedLine {
  return {
    type: 'refused',
    at: at(seconds),
    epoch: 1,
    since: at(seconds - 0.8),
    account: 'MASTER',
    lastAccount: 'MASTER',
    code: 'KEY_MISMATCH',
    count: 1,
    longestWaitMs: 0,
    holder: 'grid-bot',
    pid: 7,
    label: null,
    text: 'the key is known under another label',
    ...more,
  };
}

function callLogOf(lines: readonly (CallLogLine | string)[], name = 'calls.jsonl', dir = newDirectory()): string {
  const path = join(dir, name);
  writeFileSync(path, lines.map((line) => `${typeof line === 'string' ? line : encodeLine(line)}\n`).join(''));
  return path;
}

function newDirectory(): string {
  const dir = mkdtempSync(join(tmpdir(), 'nonced-timeline-'));
  onTestFinished(() => rmSync(dir, { recursive: true }));
  return dir;
}

function read(path: string, { wanted = ALL, socket = '/nowhere/nonced.sock', mostCalls = 1_000 } = {}) {
  return fromCallLog({ path, socket, wanted, wallMs: () => NOW_MS, mostCalls });
}

const PAUSED = { kind: 'paused', severity: 'info', subject: 'MASTER', text: 'paused' } as const;
const noncesOf = (calls: readonly { readonly nonce: string | null }[]) => calls.map(({ nonce }) => nonce);

const STATUS = { version: '0.1.0', instance: 'i', pid: 41, epoch: 1, uptimeMs: 60_000, lanes: [] };
const HOLDER = {
  account: 'MASTER',
  name: 'grid-bot',
  pid: 7,
  label: null,
  priority: 'normal',
  nonce: 99n,
  waitedMs: 5,
  heldMs: 400,
  leftMs: 9,
};
const WAITER = { account: 'A', name: null, pid: null, label: null, priority: 'urgent', waitedMs: 300, paced: false };

async function daemonThatSays(answer: object): Promise<string> {
  const daemon = await fakeSocket('nonced.sock', answer);
  onTestFinished(() => daemon.close());
  return daemon.path;
}

test('both files of a call log are one, the older one first', async () => {
  const path = callLogOf([daemonLine(10), callLine(20)]);
  writeFileSync(`${path}.1`, `${encodeLine(daemonLine(1))}\n${encodeLine(callLine(5))}\n`);
  const { calls, lives } = await read(path);
  expect(noncesOf(calls)).toEqual(['5', '20']);
  expect(lives).toHaveLength(1);
});

test('right after a rotation there is only the older one', async () => {
  const path = callLogOf([daemonLine(1), callLine(5)], 'calls.jsonl.1').replace(/\.1$/, '');
  expect(noncesOf((await read(path)).calls)).toEqual(['5']);
});

test('a file that has both names at the moment is read once', async () => {
  const path = callLogOf([daemonLine(1), callLine(5), { type: 'event', at: at(6), epoch: 1, ...PAUSED }]);
  linkSync(path, `${path}.1`);
  const { calls, happenings } = await read(path);
  expect([calls.length, happenings.length]).toEqual([1, 1]);
});

test('what was refused is read from the call log, and is a sign of life', async () => {
  const path = callLogOf([daemonLine(0), callLine(5), refusedLine(9, { count: 200 }), refusedLine(4)]);
  const { refused, lives } = await read(path);
  expect(refused).toEqual([
    expect.objectContaining({ toMs: FROM_MS + 4_000, count: 1 }),
    {
      account: 'MASTER',
      lastAccount: 'MASTER',
      code: 'KEY_MISMATCH',
      count: 200,
      longestWaitMs: 0,
      holder: 'grid-bot',
      pid: 7,
      label: null,
      fromMs: FROM_MS + 8_200,
      toMs: FROM_MS + 9_000,
    },
  ]);
  expect(lives[0]?.endedAtMs).toBe(FROM_MS + 9_000);
});

test('what was refused is read from memory, page by page', async () => {
  const sum = { account: null, lastAccount: 'A', code: 'LIMIT', count: 3, forMs: 400, agoMs: 1_000, longestWaitMs: 0 };
  const asker = { holder: 'liar', pid: null, label: null };
  const answers: Readonly<Record<string, object>> = {
    hello: {
      protocol: 1,
      minor: 1,
      version: '0.2.0',
      instance: 'i',
      epoch: 1,
      exclusive: 'global',
      limits: {},
      held: [],
    },
    status: STATUS,
    calls: { calls: [], after: 0, missed: 0 },
    events: { events: [], after: 0, missed: 0 },
    refusals: { refusals: [{ serial: 1, ...sum, ...asker }], after: 1, missed: 0 },
  };
  const daemon = await fakeSocket('nonced.sock', (method) => answers[method] ?? {});
  onTestFinished(() => daemon.close());
  const { refused } = await fromMemory(daemon.path, ALL, () => NOW_MS);
  expect(refused).toMatchObject([{ code: 'LIMIT', count: 3, fromMs: NOW_MS - 1_400, toMs: NOW_MS - 1_000 }]);
});

test('a daemon that is too old to remember what it refused gives a page without it', async () => {
  const answers: Readonly<Record<string, object>> = {
    hello: { protocol: 1, version: '0.1.0', instance: 'i', epoch: 1, exclusive: 'global', limits: {}, held: [] },
    status: STATUS,
    calls: { calls: [], after: 0, missed: 0 },
    events: { events: [], after: 0, missed: 0 },
  };
  const daemon = await fakeSocket('nonced.sock', (method) => answers[method] ?? {});
  onTestFinished(() => daemon.close());
  expect((await fromMemory(daemon.path, ALL, () => NOW_MS)).refused).toEqual([]);
});

test('a late outcome takes the place of the one before', async () => {
  const call = { ended: 'expired', outcome: 'unknown' } as const;
  const told = { ...call, outcome: 'invalid-nonce', late: true } as const;
  const path = callLogOf([daemonLine(0), callLine(5, call), callLine(6), callLine(5, told), callLine(6, { epoch: 2 })]);
  const { calls } = await read(path);
  expect(calls.map(({ nonce, late, state }) => [nonce, late, state])).toEqual([
    ['5', true, { kind: 'ended', ended: 'expired', outcome: 'invalid-nonce' }],
    ['6', false, { kind: 'ended', ended: 'released', outcome: 'ok' }],
    ['6', false, { kind: 'ended', ended: 'released', outcome: 'ok' }],
  ]);
});

test('the last of too many calls are shown, and how many there were is said', async () => {
  const path = callLogOf([daemonLine(0), ...Array.from({ length: 25 }, (_, n) => callLine(n))]);
  const { calls, gaps } = await read(path, { mostCalls: 10 });
  expect(noncesOf(calls)).toEqual(Array.from({ length: 10 }, (_, n) => String(15 + n)));
  expect(gaps).toEqual([
    expect.objectContaining({
      text: expect.stringMatching(/^The last 10 of 25 calls are shown\./),
      toMs: FROM_MS + 15_000,
    }),
  ]);
});

test('lines that cannot be read are counted, and later types of lines are passed over', async () => {
  const path = callLogOf([
    daemonLine(0),
    '{"type":"call","at":"2026',
    '{"type":"weather","at":"2026-11-28T22:40:01Z","epoch":1}',
    'x'.repeat(200_000),
    callLine(5),
    '',
  ]);
  const { calls, notes } = await read(path);
  expect(noncesOf(calls)).toEqual(['5']);
  expect(notes[0]).toBe('2 lines of the call log cannot be read: cut off by a crash, or changed.');
});

test('a last line without its end is read if it is whole', async () => {
  const path = callLogOf([daemonLine(0)]);
  writeFileSync(path, encodeLine(callLine(5)), { flag: 'a' });
  expect(noncesOf((await read(path)).calls)).toEqual(['5']);
});

test('only what was under way in the time asked for is shown, and only of the accounts asked for', async () => {
  const lines = [
    callLine(-1),
    callLine(5, { waitedMs: 20_000 }),
    callLine(6, { account: 'A' }),
    callLine(100, { heldMs: 50_000 }),
    callLine(120),
  ];
  const path = callLogOf([daemonLine(-2), ...lines]);
  const wanted = { fromMs: FROM_MS, toMs: FROM_MS + 60_000, accounts: new Set(['MASTER']) };
  const { calls, toMs } = await read(path, { wanted });
  expect(noncesOf(calls)).toEqual(['5', '100']);
  expect(toMs).toBe(FROM_MS + 60_000);
});

test('what was dropped, and that the call log begins later, are gaps', async () => {
  const dropped = { type: 'dropped', at: at(60), epoch: 1, lines: 1_200, since: at(50) } as const;
  const { gaps } = await read(callLogOf([daemonLine(30), callLine(40), dropped]));
  expect(gaps.map(({ text }) => text)).toEqual([
    'The call log begins at 2026-11-28 22:30:30.',
    '1,200 lines of the call log could not be written from 22:30:50.000 to 22:31:00.000.',
  ]);
  expect((await read(callLogOf([daemonLine(-30), callLine(40)]))).gaps).toEqual([]);
});

test('a daemon that was stopped is distinguished from one that was killed, and from one that lives', async () => {
  const stop = { type: 'stop', at: at(20), epoch: 1 } as const;
  const path = callLogOf([
    daemonLine(0),
    callLine(5),
    stop,
    daemonLine(30, 2),
    callLine(40, { epoch: 2 }),
    daemonLine(50, 3),
    callLine(60, { epoch: 3 }),
  ]);
  const ends = async (options: Parameters<typeof read>[1]) =>
    (await read(path, options)).lives.map(({ endedAtMs, isCleanEnd }) => [
      endedAtMs === undefined ? undefined : (endedAtMs - FROM_MS) / 1_000,
      isCleanEnd,
    ]);
  expect(await ends({})).toEqual([
    [20, true],
    [40, false],
    [60, false],
  ]);
  const alive = await daemonThatSays({ ...STATUS, epoch: 3 });
  expect((await ends({ socket: alive })).at(-1)).toEqual([undefined, false]);
  // For a time that is over the daemon is not asked, so it is not known that it is gone.
  expect((await ends({ wanted: { ...ALL, toMs: FROM_MS + 70_000 } })).at(-1)).toEqual([undefined, false]);
});

test('what is under way is taken from the daemon that writes the call log, and from no other', async () => {
  const path = callLogOf([daemonLine(0), callLine(5)]);
  const lanes = [{ lane: 'default', holders: [HOLDER], waiting: 1, oldestWaitMs: 300, waiters: [WAITER] }];
  const own = await read(path, { socket: await daemonThatSays({ ...STATUS, lanes }) });
  expect(own.calls.slice(1)).toEqual([
    expect.objectContaining({ nonce: '99', heldMs: 400, endMs: NOW_MS, state: { kind: 'held' } }),
    expect.objectContaining({ account: 'A', nonce: null, heldMs: 0, waitedMs: 300, state: { kind: 'waiting' } }),
  ]);
  expect(own.notes).toEqual([]);
  const others = await read(path, { socket: await daemonThatSays({ ...STATUS, lanes, instance: 'another' }) });
  expect(others.calls).toHaveLength(1);
  expect(others.notes).toEqual([expect.stringContaining('the daemon that answers does not write it')]);
  const none = await read(path);
  expect(none.notes).toEqual([expect.stringContaining('no daemon answers, so calls under way are not known')]);
});

test('what a line holds that would garble a page is made a question mark', async () => {
  const path = callLogOf([daemonLine(0), callLine(5, { holder: 'a\u202eb\u2028c\n', account: '<b>' })]);
  expect((await read(path)).calls).toMatchObject([{ holder: 'a?b?c?', account: '<b>' }]);
});

test('a start is an event of the daemon, and a life of it here', async () => {
  const started = {
    type: 'event',
    kind: 'started',
    severity: 'debug',
    subject: null,
    text: 'the daemon has started',
  } as const;
  const path = callLogOf([daemonLine(0), { ...started, at: at(0), epoch: 1 }]);
  expect(await read(path)).toMatchObject({ happenings: [], lives: [{ epoch: 1, pid: 41 }] });
});

const REMEMBERED = {
  account: 'MASTER',
  holder: 'grid-bot',
  pid: 7,
  label: null,
  priority: 'normal',
  nonce: 5n,
  lastNonce: 5n,
  waitedMs: 10,
  heldMs: 200,
  agoMs: 30_000,
  ended: 'released',
  outcome: 'ok',
  late: false,
  serial: 1,
  lane: 'default',
  exclusive: true,
};

test('from memory: ages become times, and what has been forgotten is said', async () => {
  const event = { serial: 1, kind: 'paused', severity: 'info', subject: 'MASTER', text: 'paused', agoMs: 20_000 };
  const socket = await daemonThatSays({
    ...STATUS,
    uptimeMs: 3_600_000,
    calls: [REMEMBERED],
    events: [event, { ...event, kind: 'started' }],
    after: 1,
    missed: 4_321,
  });
  const incident = await fromMemory(socket, ALL, () => NOW_MS);
  expect(incident.calls).toMatchObject([{ nonce: '5', endMs: NOW_MS - 30_000 }]);
  expect(incident.happenings).toMatchObject([{ kind: 'paused', atMs: NOW_MS - 20_000 }]);
  expect(incident.gaps.map(({ text }) => text)).toEqual([
    'The daemon remembers the last 1 calls: 4,321 that ended before 22:39:30.000 are missing.',
  ]);
  const shorter = await fromMemory(socket, { ...ALL, fromMs: NOW_MS - 25_000 }, () => NOW_MS);
  expect([shorter.calls, shorter.gaps]).toEqual([[], []]);
});

test('from memory: before its start a daemon knows nothing, but there was nothing before the first', async () => {
  const nothing = { calls: [], events: [], after: 0, missed: 0 };
  const texts = async (epoch: number) => {
    const socket = await daemonThatSays({ ...STATUS, ...nothing, epoch });
    return (await fromMemory(socket, ALL, () => NOW_MS)).gaps.map(({ text }) => text);
  };
  expect(await texts(2)).toEqual([
    expect.stringContaining('started at 22:39:00.000 and remembers nothing from before'),
  ]);
  expect(await texts(1)).toEqual([]);
});

test('from memory: a call that ended while it was asked for is there once', async () => {
  const lanes = [{ lane: 'default', holders: [{ ...HOLDER, nonce: 5n }, HOLDER], waiters: [] }];
  const socket = await daemonThatSays({ ...STATUS, lanes, calls: [REMEMBERED], events: [], after: 1, missed: 0 });
  const { calls } = await fromMemory(socket, ALL, () => NOW_MS);
  expect(calls.map(({ nonce, state }) => [nonce, state.kind])).toEqual([
    ['5', 'ended'],
    ['99', 'held'],
  ]);
});
