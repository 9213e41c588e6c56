import { describe, expect, test } from 'vitest';
import type { ObservedRefusal } from '../../../src/core/ports.ts';
import { RecentRefusals } from '../../../src/core/record/recent-refusals.ts';
import { createLog } from '../../../src/daemon/log/log.ts';
import { observerOf } from '../../../src/daemon/log/observer.ts';

function refusal(more: Partial<ObservedRefusal> = {}): ObservedRefusal {
  return {
    account: 'MASTER',
    isKnown: true,
    code: 'KEY_MISMATCH',
    text: 'use one label',
    holder: 'grid-bot',
    pid: 7,
    label: undefined,
    waitedMs: 0,
    ...more,
  };
}

/** What the log says of refusals, one every ten milliseconds. */
function said(refusals: readonly ObservedRefusal[], level: 'info' | 'debug' = 'info'): string[] {
  const lines: string[] = [];
  const stream = { writableLength: 0, write: (line: string) => lines.push(line.trimEnd()), on: () => {} };
  const log = createLog({ level, format: 'text', reader: 'other', stream, wallMs: () => 0 });
  const observer = observerOf(log, undefined, () => {});
  const recent = new RecentRefusals();
  for (const [index, each] of refusals.entries()) observer.refused?.(each, recent.add(each, 10 * index));
  return lines;
}

describe('the log', () => {
  test('has a line for the first refusal of an account with a code, and then for ten times as many', () => {
    expect(said(Array.from({ length: 1_200 }, () => refusal()))).toEqual([
      'warn: account MASTER was refused: KEY_MISMATCH, by grid-bot (pid 7): use one label',
      'warn: account MASTER was refused 10 times within 90 ms: KEY_MISMATCH, by grid-bot (pid 7): use one label',
      'warn: account MASTER was refused 100 times within 990 ms: KEY_MISMATCH, by grid-bot (pid 7): use one label',
      'warn: account MASTER was refused 1000 times within 10.0 s: KEY_MISMATCH, by grid-bot (pid 7): use one label',
    ]);
  });

  test('has the waits in vain that were long, however many short ones there are', () => {
    const short = Array.from({ length: 7 }, () => refusal({ code: 'WAIT_TIMEOUT', waitedMs: 10 }));
    const long = refusal({ code: 'WAIT_TIMEOUT', waitedMs: 30_000, label: 'AddOrder', text: 'it waited' });
    expect(said([...short, long, long])).toEqual([
      'account MASTER was refused 8 times within 70 ms: WAIT_TIMEOUT after 30.0 s, by grid-bot (pid 7, AddOrder): it waited',
    ]);
  });

  test('has nothing of what its client took back soon, nor of a restart, but at the level debug', () => {
    const everyday = (['CANCELLED', 'DISCONNECTED', 'SHUTTING_DOWN'] as const).map((code) => refusal({ code }));
    expect(said(everyday)).toEqual([]);
    expect(said(everyday, 'debug')).toHaveLength(3);
  });

  test('has few lines of a bot that makes up an account for every request', () => {
    const liar = Array.from({ length: 10_000 }, (_, n) => refusal({ account: `order-${n}`, isKnown: false }));
    const lines = said(liar);
    expect(lines).toHaveLength(8 + 4);
    expect(lines.at(-1)).toMatch(
      /^warn: requests that cannot be told apart \(the last for order-1007\) were refused 1000 times/,
    );
  });
});
