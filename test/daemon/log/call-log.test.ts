import { expect, test } from 'vitest';
import type { Nonce, ObservedEnd, ObservedRefusal, Token } from '../../../src/core/ports.ts';
import { CallLog, type CallLogAuthor, MOST_WAITING } from '../../../src/daemon/log/call-log.ts';
import { createLog } from '../../../src/daemon/log/log.ts';
import { type CallLogLine, decodeLine } from '../../../src/protocol/call-log-lines.ts';
import { SimulatedCallLogDisk } from '../../fixtures/simulated-call-log-disk.ts';
import { VirtualClock } from '../../fixtures/virtual-clock.ts';

const PATH = '/var/log/nonced/calls.jsonl';
const AUTHOR: CallLogAuthor = { version: '0.1.0', instance: 'ab'.repeat(16), epoch: 3, pid: 4711, bootId: 'boot-1' };
const AT = '2026-06-01T00:00:00.000Z';

/** What was begun comes to an end: nothing here waits for anything but promises. */
const settled = () => new Promise<void>((resolve) => setImmediate(resolve));

function setUp(disk = new SimulatedCallLogDisk(), maxBytes = 1 << 24) {
  const clock = new VirtualClock();
  const said: string[] = [];
  const stream = { writableLength: 0, write: (line: string) => said.push(line.trimEnd()), on: () => {} };
  const log = createLog({ level: 'debug', format: 'text', reader: 'other', stream, wallMs: () => clock.wallMs() });
  const callLog = new CallLog({ path: PATH, maxBytes, author: AUTHOR, clock, log, steps: disk });
  return {
    disk,
    clock,
    said,
    callLog,
    /** So much time goes by, a tenth of a second at a time, and the disk with it. */
    async pass(ms: number) {
      for (let left = ms; left > 0; left -= 100) {
        clock.advance(100);
        await settled();
      }
    },
    written: (path = PATH): CallLogLine[] =>
      disk.lines(path).map((line) => {
        const decoded = decodeLine(line);
        if (decoded === undefined || decoded === 'unknown') throw new Error(`not a line: ${line}`);
        return decoded;
      }),
  };
}

function endedCall(clock: VirtualClock, nonce = 1n, more: Partial<ObservedEnd> = {}): ObservedEnd & { token: Token } {
  return {
    account: 'MASTER',
    lane: 'default',
    exclusive: true,
    holder: 'grid bot',
    pid: 7,
    label: undefined,
    priority: 'normal',
    nonce: nonce as Nonce,
    lastNonce: (nonce + 1n) as Nonce,
    // As the broker passes it on, though its type does not tell.
    token: 4_711_471_147_114_711 as Token,
    waitedMs: 12.4,
    grantedAtMs: clock.monotonicMs() - 250.2,
    endedAtMs: clock.monotonicMs(),
    ended: 'released',
    outcome: 'ok',
    late: false,
    ...more,
  };
}

test('a call that ends, an event and a clean stop are lines of JSON, after one that says who writes them', async () => {
  const { callLog, clock, disk, pass } = setUp();
  callLog.ended(endedCall(clock, 1_795_365_006_294_000_000n));
  callLog.observe({ kind: 'paused', account: 'MASTER' });
  await pass(100);
  await callLog.close();
  expect(disk.lines(PATH).map((line) => JSON.parse(line))).toEqual([
    {
      type: 'daemon',
      format: 1,
      at: '2026-06-01T00:00:00.100Z',
      epoch: 3,
      version: '0.1.0',
      instance: 'ab'.repeat(16),
      pid: 4711,
      boot: 'boot-1',
      startedAt: AT,
    },
    {
      type: 'call',
      at: AT,
      epoch: 3,
      account: 'MASTER',
      lane: 'default',
      exclusive: true,
      holder: 'grid bot',
      pid: 7,
      label: null,
      priority: 'normal',
      nonce: '1795365006294000000',
      lastNonce: '1795365006294000001',
      waitedMs: 12,
      heldMs: 250,
      ended: 'released',
      outcome: 'ok',
      late: false,
    },
    {
      type: 'event',
      at: AT,
      epoch: 3,
      kind: 'paused',
      severity: 'info',
      subject: 'MASTER',
      text: 'an operator has paused account MASTER',
    },
    { type: 'stop', at: '2026-06-01T00:00:00.100Z', epoch: 3 },
  ]);
  expect(disk.descriptors).toBe(0);
});

const refusal = (more: Partial<ObservedRefusal> = {}): ObservedRefusal => ({
  account: 'MASTER',
  isKnown: true,
  code: 'KEY_MISMATCH',
  text: 'the key is known under another label',
  holder: 'grid bot',
  pid: 7,
  label: 'AddOrder',
  waitedMs: 0,
  ...more,
});

test('what was refused within a second is one line for each account and code', async () => {
  const { callLog, clock, pass, written } = setUp();
  for (let n = 0; n < 200; n += 1) callLog.refused(refusal());
  clock.advance(300);
  callLog.refused(refusal({ code: 'WAIT_TIMEOUT', waitedMs: 29_999.6 }));
  callLog.refused(refusal({ pid: 8 }));
  await pass(900);
  expect(written().slice(1)).toEqual([
    {
      type: 'refused',
      at: '2026-06-01T00:00:00.300Z',
      since: AT,
      epoch: 3,
      account: 'MASTER',
      lastAccount: 'MASTER',
      code: 'KEY_MISMATCH',
      count: 201,
      longestWaitMs: 0,
      holder: 'grid bot',
      pid: 8,
      label: 'AddOrder',
      text: 'the key is known under another label',
    },
    expect.objectContaining({ code: 'WAIT_TIMEOUT', count: 1, longestWaitMs: 30_000 }),
  ]);
  expect(clock.timers).toBe(0);
});

test('what was refused last is written at a stop', async () => {
  const { callLog, clock, written } = setUp();
  callLog.refused(refusal());
  await callLog.close();
  callLog.refused(refusal());
  expect(written().map(({ type }) => type)).toEqual(['daemon', 'refused', 'stop']);
  expect(clock.timers).toBe(0);
});

test('no token is ever written', async () => {
  const { callLog, clock, disk, pass } = setUp();
  const call = endedCall(clock);
  callLog.ended(call);
  callLog.observe({ kind: 'rejected', call, before: call });
  await pass(100);
  expect(disk.text(PATH)).toContain('"grid bot"');
  expect(disk.text(PATH)).not.toContain(String(call.token));
});

test('nothing is written while the broker is at work, and nothing at all while nothing happens', async () => {
  const { callLog, clock, disk, pass } = setUp();
  callLog.ended(endedCall(clock));
  expect(disk.text(PATH)).toBeUndefined();
  await pass(100);
  expect(disk.lines(PATH)).toHaveLength(2);
  await pass(100);
  expect([clock.timers, disk.appends]).toEqual([0, 1]);
});

test('a call has the outcome of its end in its line, even if another is reported before that line is written', async () => {
  const { callLog, clock, pass, written } = setUp();
  const call = { ...endedCall(clock, 5n, { ended: 'expired', outcome: 'unknown' }) };
  callLog.ended(call);
  // As the broker does it, which remembers the same object.
  Object.assign(call, { outcome: 'invalid-nonce', late: true });
  callLog.ended(call);
  await pass(100);
  expect(written().slice(1)).toMatchObject([
    { outcome: 'unknown', late: false },
    { outcome: 'invalid-nonce', late: true },
  ]);
});

test('an outcome that is reported after the end is a line with the time of the end', async () => {
  const { callLog, clock, pass, written } = setUp();
  const call = endedCall(clock, 5n, { ended: 'expired', outcome: 'unknown' });
  callLog.ended(call);
  await pass(3_000);
  callLog.ended({ ...call, outcome: 'invalid-nonce', late: true });
  await pass(100);
  const [, first, second] = written();
  expect(second).toEqual({ ...first, outcome: 'invalid-nonce', late: true });
});

test('many lines are several writes, never two at once, and their order is kept', async () => {
  const { callLog, clock, disk, pass, written } = setUp();
  for (let n = 0; n < 1_050; n += 1) callLog.ended(endedCall(clock, BigInt(n)));
  let go = () => {};
  disk.hang = new Promise((resolve) => {
    go = resolve;
  });
  await pass(1_000);
  expect(disk.appends).toBe(1);
  disk.hang = undefined;
  go();
  await pass(200);
  expect(disk.appends).toBeGreaterThan(4);
  const nonces = written().flatMap((line) => (line.type === 'call' ? [line.nonce] : []));
  expect(nonces).toEqual(Array.from({ length: 1_050 }, (_, n) => String(n)));
});

test('on a full disk lines wait; lines without room are counted where they are missing, and this is logged once', async () => {
  const { callLog, clock, disk, said, pass } = setUp();
  callLog.ended(endedCall(clock, 0n));
  await pass(100);
  disk.room = 10;
  callLog.ended(endedCall(clock, 1n));
  await pass(100);
  for (let n = 2; n <= MOST_WAITING + 5; n += 1) callLog.ended(endedCall(clock, BigInt(n)));
  await pass(20_000);
  expect(said).toEqual([
    expect.stringMatching(/^warn: the call log .*calls.jsonl cannot be written: ENOSPC.*Calls go on/),
  ]);
  disk.room = Number.POSITIVE_INFINITY;
  await pass(10_000);
  callLog.ended(endedCall(clock, 99_999n));
  await pass(100);
  expect(said.slice(1)).toEqual([`the call log ${PATH} is written again; 5 lines were dropped`]);
  const lines = disk.lines(PATH).map(decodeLine);
  expect(lines.filter((line) => line === undefined)).toHaveLength(1);
  const whole = lines.filter((line) => typeof line === 'object');
  const [last, dropped, ...before] = whole.reverse();
  expect(last).toMatchObject({ nonce: '99999' });
  expect(dropped).toMatchObject({ type: 'dropped', lines: 5, since: '2026-06-01T00:00:00.200Z' });
  const nonces = before.reverse().flatMap((line) => (line.type === 'call' ? [Number(line.nonce)] : []));
  expect(nonces).toEqual(Array.from({ length: MOST_WAITING + 1 }, (_, n) => n));
});

test('a disk that hangs costs lines and neither memory nor time, and is said once', async () => {
  const { callLog, clock, disk, said, pass } = setUp();
  let go = () => {};
  disk.hang = new Promise((resolve) => {
    go = resolve;
  });
  for (let n = 0; n < 3 * MOST_WAITING; n += 1) {
    callLog.ended(endedCall(clock, BigInt(n)));
    if (n === 100) await pass(100);
  }
  await pass(60_000);
  expect(said).toHaveLength(1);
  expect(said[0]).toContain('calls end faster than the disk takes their lines');
  expect([disk.appends, callLog.isHung]).toEqual([1, true]);
  disk.hang = undefined;
  go();
  await pass(5_000);
  expect(said[1]).toBe(`the call log ${PATH} is written again; ${2 * MOST_WAITING} lines were dropped`);
  expect(callLog.isHung).toBe(false);
  expect(disk.lines(PATH).filter((line) => line.includes('"dropped"'))).toHaveLength(1);
});

test('a directory in its place is said once; when it is gone, nothing was lost', async () => {
  const disk = new SimulatedCallLogDisk();
  disk.put(PATH, '', 'directory');
  const { callLog, clock, said, pass, written } = setUp(disk);
  callLog.ended(endedCall(clock));
  await pass(12_000);
  expect(said).toEqual([expect.stringContaining(`${PATH} is a directory`)]);
  disk.move(PATH);
  await pass(5_000);
  expect(written().map(({ type }) => type)).toEqual(['daemon', 'call']);
  expect(said[1]).toContain('is written again; nothing was dropped');
});

test('reopening it tries at once what would be tried in seconds, and goes on in a new file', async () => {
  const { callLog, clock, disk, said, pass } = setUp();
  disk.failing.create = 'EACCES';
  callLog.ended(endedCall(clock));
  await pass(200);
  delete disk.failing.create;
  callLog.reopen();
  await pass(100);
  expect(disk.lines(PATH)).toHaveLength(2);
  disk.move(PATH, `${PATH}.yesterday`);
  callLog.reopen();
  callLog.ended(endedCall(clock));
  await pass(100);
  expect([disk.lines(PATH).length, disk.lines(`${PATH}.yesterday`).length]).toEqual([2, 2]);
  expect(said.filter((line) => line.includes('moved away'))).toEqual([]);
});

test('if the file is removed, this is logged and a new file is begun', async () => {
  const { callLog, clock, disk, said, pass, written } = setUp();
  callLog.ended(endedCall(clock));
  await pass(100);
  disk.move(PATH);
  callLog.ended(endedCall(clock, 2n));
  await pass(100);
  expect(said).toEqual([`warn: ${PATH} was moved away or removed; the call log goes on in a new file`]);
  expect(written().map(({ type }) => type)).toEqual(['daemon', 'call']);
});

test('it is rotated at its size, and both files tell who wrote them', async () => {
  const { callLog, clock, disk, pass, written } = setUp(new SimulatedCallLogDisk(), 100_000);
  for (let n = 0; n < 500; n += 1) callLog.ended(endedCall(clock, BigInt(n)));
  await pass(200);
  for (const path of [PATH, `${PATH}.1`]) {
    expect(disk.text(path)?.length).toBeLessThanOrEqual(100_000);
    expect(written(path)[0]).toMatchObject({ type: 'daemon', startedAt: AT });
  }
  const nonces = [...written(`${PATH}.1`), ...written()].flatMap((line) => (line.type === 'call' ? [line.nonce] : []));
  expect(nonces).toEqual(Array.from({ length: 500 }, (_, n) => String(n)));
});

test('a clean stop writes all that waits, and leaves no timer', async () => {
  const { callLog, clock, disk, written } = setUp();
  for (let n = 0; n < 1_000; n += 1) callLog.ended(endedCall(clock, BigInt(n)));
  await callLog.close();
  expect(written()).toHaveLength(1_002);
  expect(written().at(-1)).toMatchObject({ type: 'stop' });
  expect([clock.timers, disk.descriptors]).toEqual([0, 0]);
});

test('a clean stop waits a second for a disk that hangs, and says what is lost', async () => {
  const { callLog, clock, disk, said, pass } = setUp();
  disk.hang = new Promise(() => {});
  callLog.ended(endedCall(clock));
  await pass(100);
  const closed = callLog.close();
  await pass(1_000);
  await closed;
  expect(said).toEqual([`warn: the last 2 lines of the call log ${PATH} could not be written`]);
  expect(callLog.isHung).toBe(true);
  expect(clock.timers).toBe(0);
});

test('a clean stop in trouble tries once and does not wait', async () => {
  const { callLog, clock, disk, said, pass } = setUp();
  disk.failing.create = 'EROFS';
  callLog.ended(endedCall(clock));
  await pass(100);
  await callLog.close();
  expect(said.at(-1)).toContain('the last 2 lines of the call log');
  expect(clock.timers).toBe(0);
});
