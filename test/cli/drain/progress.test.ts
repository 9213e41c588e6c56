import { expect, test } from 'vitest';
import { type DrainEnd, linesOf, marksOf, QUIET_MS, untilQuiet } from '../../../src/cli/drain/progress.ts';
import type { StatusResult } from '../../../src/protocol/messages.ts';
import { settled } from '../../core/simulation.ts';
import { VirtualClock } from '../../fixtures/virtual-clock.ts';
import { holderOf, laneOf, statusOf } from '../status/statuses.ts';

/** A daemon that drains, with so much under way. */
function draining(
  over: { leases?: number; waiting?: number; grants?: number; forMs?: number | null } = {},
): StatusResult {
  const { leases = 0, waiting = 0, grants = 0, forMs = 1 } = over;
  return statusOf({ drainingForMs: forMs, totals: { ...statusOf().totals, leases, waiting, grants } });
}

/** Looks at what `at` tells for each moment, for up to a minute. Returns how it ended and when, and what was busy. */
async function wait(at: (ms: number) => StatusResult, waitMs?: number) {
  const clock = new VirtualClock();
  const beganMs = clock.monotonicMs();
  const sinceMs = () => clock.monotonicMs() - beganMs;
  const busy: number[] = [];
  let end: DrainEnd | undefined;
  void untilQuiet({
    clock,
    waitMs,
    look: async () => at(sinceMs()),
    busy: () => busy.push(sinceMs()),
  }).then((ended) => {
    end = ended;
  });
  await settled();
  while (end === undefined && sinceMs() < 60_000) {
    clock.advance(100);
    await settled();
  }
  return { state: end?.state, waitedMs: end?.waitedMs, busy };
}

test('it is safe once nothing has been held, and nothing granted, for a second', async () => {
  const { state, waitedMs } = await wait((ms) => draining({ leases: ms < 3_000 ? 1 : 0 }));
  expect(state).toBe('safe');
  expect(waitedMs).toBeGreaterThanOrEqual(3_000 + QUIET_MS);
  expect(waitedMs).toBeLessThan(3_000 + QUIET_MS + 500);
});

test('it is not safe between two urgent calls, although at each look nothing is held', async () => {
  const { state, waitedMs } = await wait((ms) => draining({ grants: Math.min(10, Math.floor(ms / 500)) }));
  expect(state).toBe('safe');
  expect(waitedMs).toBeGreaterThanOrEqual(5_000 + QUIET_MS);
});

test('it is not safe while a call waits: it is urgent, and will begin', async () => {
  const { state, waitedMs } = await wait((ms) => draining({ waiting: ms < 2_000 ? 1 : 0 }));
  expect(state).toBe('safe');
  expect(waitedMs).toBeGreaterThanOrEqual(2_000 + QUIET_MS);
});

test('the time that was given ends it, with what is under way then', async () => {
  const { state, waitedMs, busy } = await wait(() => draining({ leases: 2 }), 2_000);
  expect({ state, waitedMs }).toEqual({ state: 'busy', waitedMs: 2_000 });
  expect(busy.length).toBeGreaterThan(5);
});

test('what has become quiet when the time is over has a second to stay so', async () => {
  expect(await wait(() => draining(), 0)).toMatchObject({ state: 'safe', waitedMs: QUIET_MS });
  expect(await wait((ms) => draining({ grants: ms }), 0)).toMatchObject({ state: 'busy', waitedMs: QUIET_MS });
});

test('without a time it waits for as long as it takes', async () => {
  expect((await wait((ms) => draining({ leases: ms < 58_000 ? 1 : 0 }))).state).toBe('safe');
  expect((await wait(() => draining({ leases: 1 }))).state).toBeUndefined();
});

test('a drain that another operator or a restart has ended is not safe', async () => {
  expect((await wait((ms) => draining({ forMs: ms < 500 ? ms : null }))).state).toBe('ended');
});

test('what is still under way is named with its process and how long it may last, and how many more there are', () => {
  const lane = laneOf({
    holders: [holderOf(), holderOf({ account: 'USER:alice', name: null, pid: null, label: null })],
  });
  expect(linesOf({ ...draining({ leases: 12 }), lanes: [lane] })).toEqual([
    '12 calls are under way:',
    '  account     process      pid   label      held   left',
    '  MASTER      copy-trader  4711  close all  1.2 s  18.8 s',
    '  USER:alice  -            -     -          1.2 s  18.8 s',
    '  and 10 more',
  ]);
  expect(linesOf(draining({ waiting: 1 }))).toEqual(['no call is under way, but 1 request waits']);
  expect(linesOf(draining())).toEqual(['no call is under way, but urgent ones keep coming']);
});

test('calls are distinguished by their holder, and not by their age', () => {
  const of = (over: Parameters<typeof holderOf>[0]) =>
    marksOf({ ...draining({ leases: 1 }), lanes: [laneOf({ holders: [holderOf(over)] })] });
  expect(of({ heldMs: 5_000, leftMs: 0 })).toBe(of({}));
  expect(of({ nonce: 7n })).not.toBe(of({}));
});
