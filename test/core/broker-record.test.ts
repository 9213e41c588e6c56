import { describe, expect, test } from 'vitest';
import type { RequestId } from '../../src/core/ports.ts';
import type { Outcome, Priority } from '../../src/terms.ts';
import { pacing } from './configured.ts';
import { type Bot, Machine, settled } from './simulation.ts';

const MINUTE_MS = 60_000;

async function call(machine: Machine, account: string, outcome: Outcome, heldMs = 0): Promise<void> {
  const bot = machine.connect('grid');
  const id = bot.acquire({ account });
  await settled();
  await machine.advance(heldMs);
  bot.release(bot.grant(id).token, false, outcome);
  bot.disconnect();
}

describe('the calls that a program reads', () => {
  test('come in the order in which they ended, each once, also page by page, and never with a token', async () => {
    const machine = await Machine.started();
    for (const outcome of ['ok', 'unsettled', 'ok'] as const) await call(machine, 'A', outcome, 100);
    const first = machine.broker.calls({ after: 0, limit: 2, account: undefined });
    const second = machine.broker.calls({ after: first.after, limit: 2, account: undefined });
    expect([...first.calls, ...second.calls].map(({ serial, outcome }) => [serial, outcome])).toEqual([
      [1, 'ok'],
      [2, 'unsettled'],
      [3, 'ok'],
    ]);
    expect(machine.broker.calls({ after: second.after, limit: 2, account: undefined }).calls).toEqual([]);
    expect(first.calls[0]).toMatchObject({ lane: 'default', exclusive: true, holder: 'grid', heldMs: 100, agoMs: 200 });
    expect(first.calls[0]).not.toHaveProperty('token');
  });

  test('are of one account if one is asked for', async () => {
    const machine = await Machine.started();
    for (const account of ['A', 'B', 'A']) await call(machine, account, 'ok');
    const page = machine.broker.calls({ after: undefined, limit: 10, account: 'B' });
    expect(page.calls.map(({ serial, account }) => [serial, account])).toEqual([[2, 'B']]);
  });
});

describe('the events that a program reads', () => {
  test('are what an operator and the world did, without the rejected calls, which are among the calls', async () => {
    const machine = await Machine.started();
    await machine.broker.setPaused('A', true);
    await machine.broker.setExclusive('account');
    await machine.broker.advance({
      target: { kind: 'by', nonces: 5n },
      sequence: undefined,
      account: undefined,
      maxLeadMs: 1e9,
    });
    for (let n = 0; n < 3; n += 1) await call(machine, 'B', 'invalid-nonce');
    machine.broker.refuseConfiguration('accounts.X: unknown key');
    const { events, missed } = machine.broker.events({ after: 0, limit: 500 });
    expect(events.map(({ kind, subject }) => [kind, subject])).toEqual([
      ['started', null],
      // The state of this machine tells no accounts apart.
      ['register-filled', null],
      ['paused', 'A'],
      ['exclusion-changed', null],
      ['advanced', 'default'],
      ['breaker-changed', 'B'],
      ['configuration-refused', null],
    ]);
    expect(missed).toBe(0);
    expect(machine.broker.status().configurationProblem).toBe('accounts.X: unknown key');
    await machine.broker.follow(machine.policies);
    expect(machine.broker.status().configurationProblem).toBeNull();
  });
});

test('a configuration that is refused while the one before is still being written stays refused', async () => {
  const machine = await Machine.started();
  machine.store.held = true;
  const followed = machine.broker.follow(machine.policies);
  machine.broker.refuseConfiguration('accounts.X: unknown key');
  machine.store.held = false;
  machine.store.settle();
  expect(await followed).toEqual({ kept: [] });
  expect(machine.broker.status().configurationProblem).toBe('accounts.X: unknown key');
  await machine.broker.follow(machine.policies);
  expect(machine.broker.status().configurationProblem).toBeNull();
});

describe('the counts that a program reads', () => {
  test('are how calls ended and what came of them, by account, with times in buckets', async () => {
    const machine = await Machine.started();
    await call(machine, 'A', 'ok', 3);
    await call(machine, 'A', 'invalid-nonce', 700);
    const bot = machine.connect();
    bot.acquire({ account: 'B', ttlMs: 1_000 });
    await machine.advance(1_001);
    const { accounts, holds, waits, writes, boundsMs } = machine.broker.metrics();
    expect(accounts.find(({ account }) => account === 'A')).toMatchObject({
      grants: 2,
      outcomes: { ok: 1, 'invalid-nonce': 1 },
      endings: { released: 2 },
    });
    expect(accounts.find(({ account }) => account === 'B')).toMatchObject({ endings: { expired: 1 } });
    const sum = (counts: readonly number[]) => counts.reduce((a, b) => a + b, 0);
    expect(sum(holds.counts)).toBe(3);
    expect(sum(waits.counts)).toBe(3);
    expect(holds.sumMs).toBe(3 + 700 + 1_000);
    expect(holds.counts[boundsMs.indexOf(5)]).toBe(1);
    expect(holds.counts[boundsMs.indexOf(1_000)]).toBe(2);
    expect(sum(writes.counts)).toBe(machine.broker.status().durability.writes);
    expect(writes.failures).toBe(0);
  });

  test('have the oldest wait of all lanes, also where `status` lists only the first hundred', async () => {
    const machine = await Machine.started({ exclusive: 'account' });
    for (let n = 0; n < 101; n += 1) machine.connect().acquire({ account: `A${n}` });
    await machine.advance(20);
    expect(machine.broker.metrics().oldestWaitMs).toBe(0);
    machine.connect().acquire({ account: 'A100' });
    await machine.advance(30);
    machine.connect().acquire({ account: 'A0' });
    await machine.advance(10);
    expect(machine.broker.metrics().oldestWaitMs).toBe(40);
    expect(machine.broker.status().lanes.map(({ oldestWaitMs }) => oldestWaitMs)).not.toContain(40);
  });

  test('of rejected nonces fade from the last hour and stay in the total', async () => {
    const machine = await Machine.started();
    await call(machine, 'A', 'invalid-nonce');
    const status = () => machine.broker.status().accounts.find(({ account }) => account === 'A');
    expect(status()).toMatchObject({ rejected: 1, rejectedLastHour: 1 });
    await machine.advance(66 * MINUTE_MS);
    expect(status()).toMatchObject({ rejected: 1, rejectedLastHour: 0 });
  });
});

test('status names the first waiter of each account and priority, the longest waiter first, and the paced ones', async () => {
  const machine = await Machine.started({ policies: pacing('A', { max: 1, perSecond: 0.01 }) });
  const ask = async (account: string, priority: Priority) => {
    const bot = machine.connect();
    const id = bot.acquire({ account, priority });
    await machine.advance(10);
    return { bot, id };
  };
  const done = ({ bot, id }: { bot: Bot; id: RequestId }) => bot.release(bot.grant(id).token);
  const waiters = () =>
    machine.broker
      .status()
      .lanes[0]?.waiters.map(({ account, priority, waitedMs, paced }) => [account, priority, waitedMs, paced]);
  const holder = await ask('A', 'normal');
  await ask('B', 'background');
  const urgent = await ask('C', 'urgent');
  await ask('B', 'background');
  expect(waiters()).toEqual([
    ['B', 'background', 30, false],
    ['C', 'urgent', 20, false],
  ]);
  expect(machine.broker.status().lanes[0]?.holders[0]).toMatchObject({ nonce: holder.bot.grant(holder.id).nonce });
  await ask('A', 'normal');
  done(holder);
  done(urgent);
  // It was next, and its bucket is full: B was granted in its place.
  expect(waiters()).toEqual([
    ['B', 'background', 20, false],
    ['A', 'normal', 10, true],
  ]);
});

describe('a drain', () => {
  test('refuses every request and waiter that is not urgent, and touches no call under way', async () => {
    const machine = await Machine.started();
    const holder = machine.connect();
    const held = holder.acquire();
    await settled();
    const [poll, exit] = [machine.connect(), machine.connect()];
    const polling = poll.acquire({ priority: 'background' });
    const normal = poll.acquire();
    const urgent = exit.acquire({ priority: 'urgent' });
    expect(machine.broker.setDraining(true)).toEqual({ before: 'running', after: 'draining' });
    expect(poll.code(polling)).toBe('DRAINING');
    expect(poll.code(normal)).toBe('DRAINING');
    expect(poll.code(poll.acquire())).toBe('DRAINING');
    expect(exit.answer(urgent)).toBeUndefined();
    expect(holder.drew(holder.next(holder.grant(held).token))).toBeTypeOf('bigint');
    expect(holder.release(holder.grant(held).token)).toBe(true);
    expect(exit.grant(urgent).nonce).toBeTypeOf('bigint');
  });

  test('ends by an operator or with the daemon, and is shown in status', async () => {
    const machine = await Machine.started();
    machine.broker.setDraining(true);
    await machine.advance(500);
    machine.broker.setDraining(true);
    expect(machine.broker.status().drainingForMs).toBe(500);
    machine.broker.setDraining(false);
    expect(machine.broker.status().drainingForMs).toBeNull();
    await machine.roundTrip();
    machine.broker.setDraining(true);
    await machine.stopAndRestart();
    expect(machine.broker.status().drainingForMs).toBeNull();
    await machine.roundTrip();
    expect(machine.observed.filter((what) => what === 'drain-changed')).toHaveLength(3);
  });
});
