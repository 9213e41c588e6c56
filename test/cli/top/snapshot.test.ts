import { expect, test } from 'vitest';
import type { Reading } from '../../../src/cli/top/feed.ts';
import { lineOf } from '../../../src/cli/top/plain.ts';
import { Watch } from '../../../src/cli/top/snapshot.ts';
import { accountStatusAnswer, callAnswer, laneAnswer, statusAnswer } from '../answers.ts';

const NOW_MS = 1_000_000;
const TIME = '14:02:11';

const reading = (over: Partial<Reading> = {}): Reading => ({
  status: statusAnswer(),
  calls: [],
  missed: 0,
  past: 'goes on',
  opened: undefined,
  ...over,
});

const holder = (account: string) => ({
  account,
  name: 'grid-bot',
  pid: 4711,
  label: null,
  priority: 'normal' as const,
  nonce: 1n,
  waitedMs: 0,
  heldMs: 10,
  leftMs: 990,
});

test('accounts are those of the status, and those that had calls although the status lists others', () => {
  const watch = new Watch();
  const status = statusAnswer({
    accounts: [accountStatusAnswer('A', { waiting: 2 })],
    lanes: [
      laneAnswer('default', { holders: [holder('A')] }),
      laneAnswer('other', { holders: [holder('A'), holder('B')] }),
    ],
  });
  watch.heard(reading({ status, calls: [callAnswer(1, { account: 'B' })], past: 'since its start' }), NOW_MS);
  expect(watch.snapshot(NOW_MS, TIME).accounts).toMatchObject([
    { account: 'A', held: 2, status: { waiting: 2 } },
    { account: 'B', held: 1, status: undefined, figures: { perSecond: 0.1 } },
  ]);
});

test('before the first answer there is nothing but why there is none, and since when', () => {
  const watch = new Watch();
  watch.heardNothing('no daemon answers', NOW_MS);
  watch.heardNothing('no daemon answers, still', NOW_MS + 2_000);
  expect(watch.snapshot(NOW_MS + 3_000, TIME)).toMatchObject({
    status: undefined,
    accounts: [],
    silence: { problem: 'no daemon answers, still', forMs: 3_000 },
  });
});

test('after an answer the silence is over, and another daemon is news for a minute', () => {
  const watch = new Watch();
  watch.heard(reading({ past: 'since its start' }), NOW_MS);
  expect(watch.snapshot(NOW_MS, TIME).restartedAgoMs).toBeUndefined();
  watch.heardNothing('gone', NOW_MS + 1_000);
  watch.heard(reading({ past: 'since its start' }), NOW_MS + 2_000);
  expect(watch.snapshot(NOW_MS + 2_500, TIME)).toMatchObject({ silence: undefined, restartedAgoMs: 500 });
  expect(watch.snapshot(NOW_MS + 62_000, TIME).restartedAgoMs).toBeUndefined();
});

test('what the daemon before has done is still in the trend after a restart', () => {
  const watch = new Watch();
  const before = [callAnswer(1, { agoMs: 100 })];
  watch.heard(reading({ calls: before, past: 'since its start' }), NOW_MS);
  watch.heard(reading({ status: statusAnswer({ uptimeMs: 500 }), past: 'since its start' }), NOW_MS + 8_000);
  const { trend } = watch.snapshot(NOW_MS + 8_000, TIME).total;
  expect(trend.filter((value) => value !== undefined && value > 0)).toHaveLength(1);
});

test('a plain line says what there is to say, and what is unusual', () => {
  const watch = new Watch();
  const status = statusAnswer({ durability: { state: 'retrying', problem: 'ENOSPC', writes: 1 } });
  watch.heard(reading({ status, calls: [callAnswer(1, { waitedMs: 40 })], past: 'since its start' }), NOW_MS);
  expect(lineOf(watch.snapshot(NOW_MS, TIME))).toBe(
    '14:02:11  0.1 calls/s  wait p50 40 ms p99 40 ms  hold p50 150 ms p99 150 ms  1 held  2 waiting  ' +
      '! the state cannot be written: ENOSPC',
  );
});

test('a plain line tells of another daemon once, and of none as long as there is none', () => {
  const watch = new Watch();
  watch.heardNothing('no daemon answers', NOW_MS);
  expect(lineOf(watch.snapshot(NOW_MS, TIME))).toBe('14:02:11  no daemon answers');
  watch.heard(reading({ past: 'since its start' }), NOW_MS);
  watch.heard(reading({ past: 'since its start', status: statusAnswer({ epoch: 8 }) }), NOW_MS);
  expect(lineOf(watch.snapshot(NOW_MS, TIME))).toContain('! another daemon, epoch 8');
  watch.heard(reading(), NOW_MS + 1_000);
  expect(lineOf(watch.snapshot(NOW_MS + 1_000, TIME))).not.toContain('another daemon');
});
