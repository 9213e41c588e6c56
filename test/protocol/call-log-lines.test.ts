import { expect, test } from 'vitest';
import { CALL_LOG_MAGIC, type CallLogLine, decodeLine, encodeLine } from '../../src/protocol/call-log-lines.ts';
import { OUTCOMES, PRIORITIES } from '../../src/terms.ts';

const CALL: CallLogLine = {
  type: 'call',
  at: '2026-11-28T22:40:01.007Z',
  epoch: 4,
  account: 'MASTER',
  lane: 'default',
  exclusive: true,
  holder: null,
  pid: 7,
  label: 'cancel all',
  priority: 'urgent',
  nonce: '1795365006294000000',
  lastNonce: null,
  waitedMs: 12,
  heldMs: 250,
  ended: 'released',
  outcome: 'invalid-nonce',
  late: true,
};
const DAEMON: CallLogLine = {
  type: 'daemon',
  at: '2026-11-28T22:40:00.000Z',
  epoch: 4,
  format: 1,
  version: '0.1.0',
  instance: 'ab',
  pid: 9,
  boot: 'b',
  startedAt: '2026-11-28T22:39:59.000Z',
};
const EVERY: readonly CallLogLine[] = [
  CALL,
  DAEMON,
  {
    type: 'event',
    at: '2026-11-28T22:40:01.000Z',
    epoch: 1,
    kind: 'paused',
    severity: 'info',
    subject: 'A',
    text: 'an operator …',
  },
  {
    type: 'refused',
    at: '2026-11-28T22:40:01.000Z',
    epoch: 1,
    since: '2026-11-28T22:40:00.000Z',
    account: null,
    lastAccount: 'A',
    code: 'A_LATER_CODE',
    count: 200,
    longestWaitMs: 0,
    holder: null,
    pid: null,
    label: null,
    text: 'the fact; the fix',
  },
  { type: 'dropped', at: '2026-11-28T22:40:01.000Z', epoch: 1, lines: 12, since: '2026-11-28T22:40:00.000Z' },
  { type: 'stop', at: '2026-11-28T22:40:01.000Z', epoch: 1 },
];

test('every line is read as it was written, and is one line', () => {
  for (const line of EVERY) {
    expect(decodeLine(encodeLine(line))).toEqual(line);
    expect(encodeLine(line)).not.toContain('\n');
  }
});

test('a header begins with what tells a call log from other files', () => {
  expect(encodeLine(DAEMON).startsWith(CALL_LOG_MAGIC)).toBe(true);
});

test('whatever a bot calls itself stays within its line and its field', () => {
  for (let first = 0; first < 0x1_0000; first += 64) {
    const holder = String.fromCharCode(...Array.from({ length: 64 }, (_, n) => first + n));
    const text = encodeLine({ ...CALL, holder });
    expect([text.includes('\n'), text.includes('\r')]).toEqual([false, false]);
    expect(decodeLine(text)).toEqual({ ...CALL, holder });
  }
});

test('a line that was cut anywhere, or has a field of another type, is none', () => {
  for (const line of EVERY) {
    const text = encodeLine(line);
    for (let cut = 0; cut < text.length; cut += 1) expect(decodeLine(text.slice(0, cut))).toBeUndefined();
    for (const key of Object.keys(JSON.parse(text))) {
      for (const wrong of [undefined, {}, [], -1, 1.5, 1e300]) {
        expect(decodeLine(JSON.stringify({ ...JSON.parse(text), [key]: wrong })), `${key} ${wrong}`).toBeUndefined();
      }
    }
  }
  for (const [key, wrong] of Object.entries({
    at: 'yesterday',
    nonce: '12x',
    priority: 'asap',
    outcome: '',
    ended: 'x',
  })) {
    expect(decodeLine(JSON.stringify({ ...JSON.parse(encodeLine(CALL)), [key]: wrong })), key).toBeUndefined();
  }
  for (const text of ['', 'null', '[]', '7', '"a"', '{}', '{"type":"call"}', '\0\0\0']) {
    expect(decodeLine(text), text).toBeUndefined();
  }
});

test('keys and types of lines that a later version adds are passed over', () => {
  expect(decodeLine(JSON.stringify({ ...JSON.parse(encodeLine(CALL)), cost: 2 }))).toEqual(CALL);
  expect(decodeLine('{"type":"weather","at":"2026-11-28T22:40:01Z","epoch":1}')).toBe('unknown');
});

test('it knows the words of the protocol', () => {
  for (const outcome of OUTCOMES) expect(decodeLine(encodeLine({ ...CALL, outcome }))).toMatchObject({ outcome });
  for (const priority of PRIORITIES) expect(decodeLine(encodeLine({ ...CALL, priority }))).toMatchObject({ priority });
  for (const ended of ['released', 'expired', 'preempted', 'disconnected', 'lost'] as const) {
    expect(decodeLine(encodeLine({ ...CALL, ended }))).toMatchObject({ ended });
  }
});
