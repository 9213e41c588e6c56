import { describe, expect, test } from 'vitest';
import { ioError, Machine, noSpace, settled } from './simulation.ts';

describe('while the state can be written', () => {
  test('the first grant after a pause waits for one write', async () => {
    const machine = await Machine.started();
    for (let pause = 0; pause < 3; pause += 1) {
      await machine.advance(60_000);
      const { writes } = machine.store;
      await machine.roundTrip();
      expect(machine.store.writes).toBe(writes + 1);
    }
  });

  test('steady grants wait for no write, and an idle daemon writes nothing', async () => {
    const machine = await Machine.started();
    const bot = machine.connect();
    for (let n = 0; n < 1_000; n += 1) {
      await machine.advance(500);
      bot.release(bot.grant(bot.acquire()).token);
    }
    expect(machine.store.writes).toBeLessThanOrEqual(1 + 500_000 / 2_500);
    const { writes } = machine.store;
    await machine.advance(3_600_000);
    expect(machine.store.writes).toBe(writes);
    expect(machine.broker.nextDueMs()).toBeUndefined();
  });

  test('I1: nothing is sent above a ceiling whose write is still under way', async () => {
    const machine = await Machine.started();
    await machine.advance(60_000);
    machine.store.held = true;
    const [bot, other] = [machine.connect(), machine.connect()];
    const ids = [bot.acquire(), bot.nonce()];
    const otherId = other.acquire();
    await settled();
    expect(ids.map((id) => bot.answer(id))).toEqual([undefined, undefined]);
    machine.store.land();
    await settled();
    const ceiling = machine.store.acknowledged.sequences['default']?.ceiling ?? 0n;
    expect(bot.drew(ids[1] ?? 0)).toBeLessThan(ceiling);
    expect(bot.grant(ids[0] ?? 0).nonce).toBeLessThan(ceiling);
    expect(other.answer(otherId)).toBeUndefined();
  });
});

describe('on a full disk', () => {
  test('grants go on inside the durable ceiling, although the clock has passed it', async () => {
    const machine = await Machine.started();
    const before = (await machine.roundTrip()).nonce;
    machine.store.failing = noSpace();
    await machine.advance(60_000);
    const bot = machine.connect();
    const id = bot.nonce();
    await settled();
    // The first one finds out that the disk is full.
    expect(bot.answer(id)).toBeDefined();
    let last = before;
    for (let n = 0; n < 100; n += 1) {
      await machine.advance(1_000);
      const { nonce } = await machine.roundTrip();
      expect(nonce).toBeGreaterThan(last);
      last = nonce;
    }
    expect(last).toBeLessThan(machine.store.acknowledged.sequences['default']?.ceiling ?? 0n);
    expect(machine.observed.filter((what) => what === 'write-failed')).toHaveLength(1);
    expect(machine.broker.status().durability).toMatchObject({
      state: 'retrying',
      problem: expect.stringContaining('ENOSPC'),
    });
    machine.store.failing = undefined;
    await machine.advance(5_000);
    expect(machine.observed).toContain('write-recovered');
    expect((await machine.roundTrip()).nonce).toBeGreaterThanOrEqual(BigInt(machine.clock.wallMs()) * 1_000_000n);
  });

  test('the request that finds it full is granted inside the durable ceiling and not refused', async () => {
    const machine = await Machine.started();
    await machine.roundTrip();
    machine.store.failing = noSpace();
    await machine.advance(60_000);
    await machine.roundTrip();
  });

  test('past the ceiling the head waiter alone gets NOT_DURABLE at each try, and the others are granted once it has passed', async () => {
    const machine = await Machine.started({ unit: 'counter' });
    machine.store.failing = noSpace();
    const bots = [1, 2, 3, 4].map((n) => machine.connect(`bot-${n}`));
    const ids = bots.map((bot) => bot.acquire());
    const codes = () => bots.map((bot, n) => bot.code(ids[n] ?? 0));
    await settled();
    expect(codes()).toEqual(['NOT_DURABLE', undefined, undefined, undefined]);
    await machine.advance(99);
    expect(codes()).toEqual(['NOT_DURABLE', undefined, undefined, undefined]);
    await machine.advance(2);
    await settled();
    expect(codes()).toEqual(['NOT_DURABLE', 'NOT_DURABLE', undefined, undefined]);
    machine.store.failing = undefined;
    await machine.advance(200);
    await settled();
    expect(machine.grantOrder).toEqual(['bot-3']);
  });

  test('a switch of the policy is refused and takes no effect; nor does an advance', async () => {
    const machine = await Machine.started();
    const before = (await machine.roundTrip()).nonce;
    machine.store.failing = noSpace();
    expect(await machine.broker.setExclusive('off')).toMatchObject({ code: 'NOT_DURABLE' });
    expect(machine.broker.exclusive).toBe('global');
    const advanced = await machine.broker.advance({
      sequence: 'default',
      target: { kind: 'by', nonces: 1_000_000_000_000_000n },
      maxLeadMs: Infinity,
    });
    expect(advanced).toMatchObject({ code: 'NOT_DURABLE' });
    expect((await machine.roundTrip()).nonce - before).toBeLessThan(1_000_000_000_000n);
  });
});

describe('after a failure for good', () => {
  test.each(['an i/o error', 'a note that cannot be kept'])('%s: nothing is granted any more', async (what) => {
    const machine = await Machine.started();
    await machine.advance(60_000);
    const [bot, waiter] = [machine.connect(), machine.connect()];
    if (what === 'an i/o error') machine.store.failing = ioError();
    else machine.notes.fails = true;
    const ids = [bot.acquire(), waiter.acquire()];
    await settled();
    expect(ids.map((id, n) => [bot, waiter][n]?.answer(id))).toEqual([undefined, undefined]);
    expect(machine.observed.filter((event) => event === 'failed')).toHaveLength(1);
    machine.store.failing = undefined;
    machine.notes.fails = false;
    expect([bot.acquire(), bot.nonce()].map((id) => bot.code(id))).toEqual(['SHUTTING_DOWN', 'SHUTTING_DOWN']);
    bot.disconnect();
    await machine.advance(600_000);
    expect(machine.grantOrder).toEqual([]);
    expect(await machine.broker.setExclusive('off')).toMatchObject({ code: 'SHUTTING_DOWN' });
  });

  test('I7: a renewal that cannot be noted is not promised, because it would not count after a restart', async () => {
    const machine = await Machine.started();
    const bot = machine.connect('bot', 's1');
    const id = bot.acquire();
    await settled();
    machine.notes.fails = true;
    expect(bot.renew(bot.grant(id).token, 600_000)).toMatchObject({ code: 'SHUTTING_DOWN' });
    expect(machine.observed).toContain('failed');
  });

  test('a strike that fails stops the granting: the next daemon could not tell that the lane is free', async () => {
    const machine = await Machine.started();
    const [bot, waiter] = [machine.connect(), machine.connect()];
    const id = bot.acquire();
    await settled();
    waiter.acquire();
    machine.notes.fails = true;
    bot.release(bot.grant(id).token);
    await settled();
    expect(waiter.answers.size).toBe(0);
    expect(machine.observed).toContain('failed');
  });

  test('operators are told, whether their change was being written or was queued', async () => {
    const machine = await Machine.started();
    machine.store.held = true;
    const changes = [machine.broker.setExclusive('off'), machine.broker.setExclusive('account')];
    machine.store.fail(ioError());
    for (const change of changes) expect(await change).toMatchObject({ code: 'NOT_DURABLE' });
  });
});

test('I8: after a failed write a waiter that needs more than is durable is refused, and the next one that does not is granted at once', async () => {
  const machine = await Machine.started({ unit: 's' });
  const bot = machine.connect();
  const held = bot.acquire();
  await settled();
  machine.store.failing = noSpace();
  const large = bot.acquire({ count: 1_000 });
  const small = bot.acquire();
  bot.release(bot.grant(held).token);
  await settled();
  expect([bot.code(large), bot.answer(small)?.kind]).toEqual(['NOT_DURABLE', 'granted']);
});
