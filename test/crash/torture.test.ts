import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { DrawnEntry, Told } from '../../torture/history.ts';
import { Judge } from '../../torture/judge.ts';
import type { Report } from '../../torture/run.ts';

const started: ChildProcess[] = [];
let dir: string;

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'nonced-'));
});

afterEach(async () => {
  for (const child of started.splice(0)) {
    if (child.exitCode !== null || child.signalCode !== null) continue;
    child.kill('SIGTERM');
    await once(child, 'exit');
  }
  rmSync(dir, { recursive: true });
});

function torture(...args: string[]): { ended: Promise<[number | null]>; said: () => string; child: ChildProcess } {
  const child = spawn(process.execPath, ['build/torture/main.js', ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, TMPDIR: dir },
  });
  started.push(child);
  let said = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      said += text;
    });
  }
  return { child, said: () => said, ended: once(child, 'close') as Promise<[number | null]> };
}

test('ten seconds of everything at once violate nothing, and leave nothing behind', async () => {
  const { ended, said } = torture('--minutes', '0.17', '--seed', '1', '--json');
  const [code] = await ended;
  expect(said()).toMatch(/^\{/);
  const { violations, grants, nonces, faults } = JSON.parse(said()) as Report;
  expect(violations).toEqual([]);
  expect(code).toBe(0);
  expect(grants).toBeGreaterThan(0);
  expect(nonces).toBeGreaterThan(grants);
  expect(Object.keys(faults).length).toBeGreaterThan(3);
  expect(readdirSync(dir)).toEqual([]);
}, 120_000);

test('ended by a signal it ends what it has started, removes its directory and reports what it has seen', async () => {
  const { child, ended, said } = torture('--minutes', '5', '--seed', '2');
  await expect.poll(() => readdirSync(dir).length, { timeout: 90_000 }).toBeGreaterThan(0);
  child.kill('SIGINT');
  const [code] = await ended;
  expect(said()).toContain('violations: 0');
  expect(code).toBe(0);
  expect(readdirSync(dir)).toEqual([]);
}, 60_000);

test.each([[['--minutes', 'x']], [['--seed', '-1']], [['--hours', '1']]])('%j is refused with 64', async (args) => {
  const { ended } = torture(...args);
  expect((await ended)[0]).toBe(64);
});

describe('its judge', () => {
  const clock: Told = { t: 0, who: 'torture', k: 'clock', wallMs: 1_000_000 };
  const base = 1_000_000_000_000n;

  interface Drawing {
    readonly who?: string;
    readonly asked: number;
    readonly t: number;
    readonly nonce: number;
    readonly token?: number;
    readonly endsAt?: number;
    readonly account?: string;
    readonly epoch?: number;
    readonly priority?: string;
    readonly count?: number;
  }

  /** A draw; its nonce counts from the base. */
  function drawn(of: Drawing): Told {
    const { who = 'a', asked, t, nonce, token, endsAt, account = 'MASTER', epoch = 1, count = 1, priority } = of;
    const lease = token === undefined ? {} : { token: String(token), endsAt: endsAt ?? t + 10_000 };
    const entry: DrawnEntry = {
      t,
      k: 'drawn',
      kind: token === undefined ? 'nonce' : 'grant',
      asked,
      askedOf: epoch,
      epoch,
      account,
      nonce: String(base + BigInt(nonce)),
      count,
      ...lease,
      ...(priority === undefined ? {} : { priority }),
    };
    return { ...entry, who };
  }

  function state(t: number, epoch: number, ceiling: number, pid = 7): Told {
    return {
      t,
      who: 'torture',
      k: 'state',
      pid,
      epoch,
      instance: 'x',
      ceilings: { default: String(base + BigInt(ceiling)) },
    };
  }

  const told = (entry: object): Told => ({ who: 'torture', ...entry }) as Told;

  function found(...history: readonly Told[]): string[] {
    const judge = new Judge();
    judge.hear(clock);
    for (const entry of history) judge.hear(entry);
    return judge.violations.map(({ invariant }) => invariant);
  }

  const held = drawn({ asked: 0, t: 1, nonce: 0, token: 1 });
  const second = drawn({ who: 'b', asked: 2, t: 10, nonce: 1, token: 2 });

  test('finds nothing wrong with leases that follow each other', () => {
    expect(found(held, told({ t: 9, who: 'a', k: 'releasing', token: '1' }), second)).toEqual([]);
  });

  test.each<[string, string, readonly Told[]]>([
    [
      'I2',
      'a nonce that came twice',
      [drawn({ asked: 0, t: 9, nonce: 5 }), drawn({ who: 'b', asked: 1, t: 9, nonce: 5 })],
    ],
    [
      'I2',
      'a nonce within the count of another',
      [drawn({ asked: 0, t: 9, nonce: 5, count: 10 }), drawn({ who: 'b', asked: 1, t: 9, nonce: 9 })],
    ],
    [
      'I2',
      'a nonce below one that had come when it was asked for',
      [drawn({ asked: 0, t: 1, nonce: 5 }), drawn({ who: 'b', asked: 2, t: 3, nonce: 4 })],
    ],
    [
      'I2',
      'a nonce of a later epoch below one of an earlier epoch',
      [drawn({ asked: 0, t: 9, nonce: 5 }), drawn({ who: 'b', asked: 1, t: 9, nonce: 4, epoch: 2 })],
    ],
    [
      'I3',
      'a later grant with a lower nonce',
      [
        drawn({ asked: 0, t: 9, nonce: 5, token: 1, account: 'USER:a', endsAt: 9 }),
        drawn({ who: 'b', asked: 0, t: 9, nonce: 4, token: 2, account: 'USER:b', endsAt: 9 }),
      ],
    ],
    ['I1', 'a nonce above the ceiling on disk', [drawn({ asked: 0, t: 1, nonce: 5 }), state(2, 1, 5)]],
    [
      'I1',
      'a restart that begins below the ceiling',
      [state(0, 1, 50), drawn({ asked: 3, t: 4, nonce: 40, epoch: 2 })],
    ],
    ['I4', 'a lane with two leases', [held, second]],
    [
      'I4',
      'a lane that a restart opened at once',
      [held, drawn({ who: 'b', asked: 2, t: 300, nonce: 1, token: 2, epoch: 2 })],
    ],
    ['I5', 'a token that came twice', [held, drawn({ asked: 0, t: 9, nonce: 7, token: 1, account: 'CNT:a' })]],
    ['I5', 'a stranger who used a token', [told({ t: 1, k: 'intruded', token: '1', what: 'renew', code: 'accepted' })]],
    [
      'I7',
      'a lease that ended early',
      [held, told({ t: 5, who: 'a', k: 'lost', token: '1', epoch: 1, why: 'expired' })],
    ],
    [
      'I7',
      'a lease that was over when it was released',
      [held, told({ t: 5, who: 'a', k: 'released', token: '1', asked: 4, epoch: 1, wasLive: false })],
    ],
    [
      'I4',
      'a lease that a restart lost although its holder was back in time',
      [
        held,
        drawn({ who: 'b', asked: 20, t: 21, nonce: 1, account: 'CNT:a' }),
        told({ t: 400, who: 'a', k: 'lost', token: '1', epoch: 2, why: 'gone' }),
      ],
    ],
    ['I9', 'an epoch that went back', [state(1, 2, 9), state(2, 1, 9)]],
    ['I9', 'a daemon that did not raise the epoch', [state(1, 2, 9), state(2, 2, 9, 8)]],
    ['I10', 'a ceiling that was lowered', [state(1, 1, 9), state(2, 1, 8)]],
    ['I10', 'a nonce from a wrong future', [drawn({ asked: 0, t: 1, nonce: 3_600_000_000_000 })]],
    [
      'one daemon',
      'an answer of an earlier daemon after one of a later',
      [
        drawn({ asked: 0, t: 1, nonce: 5, epoch: 2, account: 'CNT:a' }),
        drawn({ who: 'b', asked: 2, t: 3, nonce: 9, epoch: 1 }),
      ],
    ],
    [
      'pause',
      'a draw of an account that is paused',
      [told({ t: 1, k: 'paused', account: 'MASTER' }), drawn({ asked: 2, t: 3, nonce: 9 })],
    ],
  ])('finds, as %s, %s', (invariant, _what, history) => {
    expect(found(...history)).toContain(invariant);
  });

  test.each<[string, readonly Told[]]>([
    [
      'whose accounts have lanes of their own',
      [told({ t: -1, k: 'switched', policy: 'account' }), held, { ...second, account: 'USER:a' } as Told],
    ],
    ['while a switch was under way', [told({ t: -2, k: 'switching', policy: 'off' }), held, second]],
    ['whose first holder was killed', [held, told({ t: 5, k: 'client-ends', client: 'a' }), second]],
    ['whose first lease had run out', [drawn({ asked: 0, t: 1, nonce: 0, token: 1, endsAt: 5 }), second]],
    [
      'whose first holder did not come back',
      [held, drawn({ who: 'b', asked: 2, t: 2_500, nonce: 1, token: 2, epoch: 2 })],
    ],
    [
      'whose first lease was preempted',
      [
        drawn({ asked: 0, t: 1, nonce: 0, token: 1, priority: 'background' }),
        drawn({ who: 'b', asked: 2, t: 3_100, nonce: 1, token: 2, priority: 'urgent' }),
      ],
    ],
  ])('finds nothing wrong with two leases %s', (_what, history) => {
    const switched = history.some((entry) => entry.k === 'switched')
      ? [told({ t: -3, k: 'switching', policy: 'account' })]
      : [];
    expect(found(...switched, ...history)).toEqual([]);
  });

  test('shows what happened to the daemon between the entries that a violation is made of', () => {
    const judge = new Judge();
    const killed = told({ t: 5, k: 'signal', pid: 1, signal: 'SIGKILL' });
    for (const entry of [clock, held, killed, second, told({ t: 90, k: 'ended', pid: 1, code: 0 })]) judge.hear(entry);
    expect(judge.violations[0]?.extract).toEqual([clock, held, killed, second]);
  });
});
