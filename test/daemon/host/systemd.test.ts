import { expect, test } from 'vitest';
import { SystemdNotifier } from '../../../src/daemon/host/systemd.ts';
import { settle } from '../../fixtures/virtual-clock.ts';

/** systemd, as slow as the test wants it. */
function slowSystemd() {
  const heard: (readonly string[])[] = [];
  const failures: string[] = [];
  const answers: { resolve(): void; reject(error: Error): void }[] = [];
  const notifier = new SystemdNotifier(
    (assignments) => {
      heard.push(assignments);
      return new Promise((resolve, reject) => answers.push({ resolve, reject }));
    },
    ({ message }) => failures.push(message),
  );
  return {
    heard,
    failures,
    notifier,
    async takes() {
      answers.shift()?.resolve();
      await settle();
    },
    async fails(why: string) {
      answers.shift()?.reject(new Error(why));
      await settle();
    },
  };
}

test('messages to a slow systemd do not pile up: what was told meanwhile is one message with the latest values', async () => {
  const { heard, notifier, takes } = slowSystemd();
  notifier.tell({ READY: '1', STATUS: 'a' });
  for (const status of ['b', 'c', 'd']) notifier.tell({ WATCHDOG: '1', STATUS: status });
  expect(heard).toEqual([['READY=1', 'STATUS=a']]);
  await takes();
  expect(heard).toEqual([
    ['READY=1', 'STATUS=a'],
    ['WATCHDOG=1', 'STATUS=d'],
  ]);
  await takes();
  notifier.tell({ STOPPING: '1' });
  expect(heard).toHaveLength(3);
});

test('of a series of failures only the first is reported, and the next series is reported again', async () => {
  const { failures, notifier, takes, fails } = slowSystemd();
  for (const why of ['first', 'second', 'third']) {
    notifier.tell({ WATCHDOG: '1' });
    await fails(why);
  }
  expect(failures).toEqual(['first']);
  notifier.tell({ WATCHDOG: '1' });
  await takes();
  notifier.tell({ WATCHDOG: '1' });
  await fails('fourth');
  expect(failures).toEqual(['first', 'fourth']);
});

test('what could not be told goes out with the next message, unless there is a later value', async () => {
  const { heard, notifier, fails } = slowSystemd();
  notifier.tell({ READY: '1', STATUS: 'a' });
  await fails('busy');
  expect(heard).toHaveLength(1);
  notifier.tell({ STATUS: 'b' });
  expect(heard[1]).toEqual(['READY=1', 'STATUS=b'].toSorted());
});
