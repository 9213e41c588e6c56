import { describe, expect, test } from 'vitest';
import type { ExclusionPolicy, Priority } from '../../src/terms.ts';
import { Machine, settled } from './simulation.ts';

const HOUR_MS = 3_600_000;
const POLICIES: readonly ExclusionPolicy[] = ['global', 'account', 'off'];
const ACCOUNTS = ['MASTER', 'USER:alice', 'USER:bob'];

describe('the exclusion policy', () => {
  test('account: a lane for each', async () => {
    const machine = await Machine.started({ exclusive: 'account' });
    const bot = machine.connect();
    const ids = [...ACCOUNTS, 'MASTER'].map((account) => bot.acquire({ account }));
    await settled();
    expect(ids.map((id) => bot.answer(id)?.kind)).toEqual(['granted', 'granted', 'granted', undefined]);
  });

  test('off: every request is granted at once, with a token and a TTL all the same', async () => {
    const machine = await Machine.started({ exclusive: 'off' });
    const bot = machine.connect();
    const ids = [1, 2, 3].map(() => bot.acquire());
    await settled();
    const tokens = ids.map((id) => bot.grant(id).token);
    expect(new Set(tokens).size).toBe(3);
    await machine.advance(20_000);
    expect(bot.revokedTokens.map(({ token }) => token).sort()).toEqual(tokens);
  });

  for (const from of POLICIES) {
    for (const to of POLICIES) {
      test(`I4, I6: from ${from} to ${to} live leases stay, no waiter loses its place, and the change is durable`, async () => {
        const machine = await Machine.started({ exclusive: from });
        const holders = ACCOUNTS.slice(0, 2).map((account) => {
          const bot = machine.connect(`holder of ${account}`);
          return { bot, account, id: bot.acquire({ account }) };
        });
        const waiters = [...ACCOUNTS, ...ACCOUNTS].map((account, n) => {
          const bot = machine.connect(`waiter ${n}`);
          return { bot, account, id: bot.acquire({ account }) };
        });
        await settled();
        const granted = () => [...holders, ...waiters].filter(({ bot, id }) => bot.answer(id)?.kind === 'granted');
        const before = granted();
        expect(await machine.broker.setExclusive(to)).toEqual({ before: from, after: to });
        await settled();
        expect(machine.broker.exclusive).toBe(to);
        expect(machine.store.durable.exclusive).toBe(to);
        // What was granted before keeps its lease.
        for (const { bot, id } of before) expect(bot.renew(bot.grant(id).token)).toBe(20_000);
        // Each lease that the switch has granted has a lane to itself, or the lanes are off.
        const since = granted().filter((one) => !before.includes(one));
        if (to === 'global') expect(since).toEqual([]);
        if (to === 'account') {
          for (const { account } of since) {
            expect(before.some((one) => one.account === account)).toBe(false);
          }
          expect(new Set(since.map(({ account }) => account)).size).toBe(since.length);
        }
        if (to === 'off') expect(granted()).toHaveLength(8);
        // One after the other ends; each time the next in line gets the lane.
        const released = new Set<unknown>();
        for (;;) {
          const held = granted().find((one) => !released.has(one));
          if (held === undefined) break;
          released.add(held);
          held.bot.release(held.bot.grant(held.id).token);
          await settled();
        }
        expect(granted()).toHaveLength(8);
        const order = machine.grantOrder.filter((name) => name.startsWith('waiter'));
        for (const account of ACCOUNTS) {
          const mine = order.filter((name) => waiters.some((w) => w.bot.name === name && w.account === account));
          expect(mine).toEqual([...mine].sort());
        }
        if (from === 'global' && to === 'global') expect(order).toEqual([...order].sort());
      });
    }
  }

  test('I6: from account to global the waiters are queued by their arrival', async () => {
    const machine = await Machine.started({ exclusive: 'account' });
    const holders = ['one', 'two'].map((account) => machine.connect(`holder of ${account}`));
    const held = holders.map((bot, n) => bot.acquire({ account: n === 0 ? 'one' : 'two' }));
    await settled();
    const line: [string, string, Priority][] = [
      ['1', 'one', 'normal'],
      ['2', 'two', 'normal'],
      ['3', 'one', 'urgent'],
      ['4', 'two', 'urgent'],
      ['5', 'one', 'normal'],
      ['6', 'two', 'normal'],
    ];
    for (const [name, account, priority] of line) machine.connect(name).acquire({ account, priority });
    await machine.broker.setExclusive('global');
    machine.listen = (event) => {
      if (event.kind !== 'answer' || event.answer.kind !== 'granted') return;
      const { bot, answer } = event;
      queueMicrotask(() => bot.release(answer.grant.token));
    };
    holders.forEach((bot, n) => {
      bot.release(bot.grant(held[n] ?? 0).token);
    });
    for (let turn = 0; turn < 6; turn += 1) await settled();
    expect(machine.grantOrder.slice(2)).toEqual(['3', '4', '1', '2', '5', '6']);
  });

  test('I4: after a switch to global with two leases held, the lane is free once both have ended', async () => {
    const machine = await Machine.started({ exclusive: 'account' });
    const [a, b, waiter] = [machine.connect(), machine.connect(), machine.connect()];
    const ids = [a.acquire({ account: 'one' }), b.acquire({ account: 'two' })] as const;
    await settled();
    const waiting = waiter.acquire({ account: 'three' });
    await settled();
    waiter.release(waiter.grant(waiting).token);
    await machine.broker.setExclusive('global');
    const id = waiter.acquire({ account: 'three' });
    a.release(a.grant(ids[0]).token);
    expect(waiter.answer(id)).toBeUndefined();
    b.disconnect();
    await settled();
    expect(waiter.answer(id)?.kind).toBe('granted');
  });

  test('I4: an orphan keeps its lane closed also under a policy that was switched before the crash', async () => {
    const machine = await Machine.started({ exclusive: 'off' });
    machine.connect('bot', 's1').acquire({ account: 'USER:alice' });
    await settled();
    await machine.broker.setExclusive('account');
    await machine.crashAndRestart();
    expect(machine.broker.exclusive).toBe('account');
    const other = machine.connect();
    const ids = [other.acquire({ account: 'USER:alice' }), other.acquire({ account: 'USER:bob' })];
    await settled();
    expect(ids.map((id) => other.answer(id)?.kind)).toEqual([undefined, 'granted']);
  });

  test('a waiter’s timeout and its cancel still work after a switch', async () => {
    const machine = await Machine.started();
    const [holder, bot] = [machine.connect(), machine.connect()];
    holder.acquire({ ttlMs: 600_000 });
    await settled();
    const ids = [bot.acquire({ waitMs: 1_000 }), bot.acquire()] as const;
    await machine.broker.setExclusive('account');
    bot.cancel(ids[1]);
    await machine.advance(1_000);
    expect(ids.map((id) => bot.code(id))).toEqual(['WAIT_TIMEOUT', 'CANCELLED']);
  });

  test('preemption works in a lane that a switch has made', async () => {
    const machine = await Machine.started({ exclusive: 'account' });
    const [poll, exit] = [machine.connect(), machine.connect()];
    poll.acquire({ account: 'one', priority: 'background' });
    const blocker = exit.acquire({ account: 'two', priority: 'background' });
    await settled();
    const id = exit.acquire({ account: 'two', priority: 'urgent' });
    await machine.broker.setExclusive('global');
    await machine.advance(3_000);
    expect(poll.revokedTokens).toMatchObject([{ reason: 'preempted' }]);
    expect(exit.revokedTokens).toMatchObject([{ token: exit.grant(blocker).token, reason: 'preempted' }]);
    expect(exit.answer(id)?.kind).toBe('granted');
  });
});

describe('advance', () => {
  const advance = (
    machine: Machine,
    target: Parameters<Machine['broker']['advance']>[0]['target'],
    maxLeadMs = HOUR_MS,
  ) => machine.broker.advance({ sequence: 'default', target, maxLeadMs });

  test('raises the sequence by that much, durably, and returns what it was and is', async () => {
    const machine = await Machine.started();
    const { nonce } = await machine.roundTrip();
    const by = 300_000_000_000n;
    expect(await advance(machine, { kind: 'by', nonces: by })).toEqual({
      sequence: 'default',
      before: nonce + 1n,
      after: nonce + 1n + by,
      unit: 'ns',
      accounts: ['MASTER'],
    });
    await machine.crashAndRestart();
    expect((await machine.roundTrip()).nonce).toBeGreaterThanOrEqual(nonce + 1n + by);
  });

  test('I10: never lowers it', async () => {
    const machine = await Machine.started();
    const { nonce } = await machine.roundTrip();
    expect(await advance(machine, { kind: 'to', nonce: 5n })).toMatchObject({ before: nonce + 1n, after: nonce + 1n });
    await advance(machine, { kind: 'by', nonces: -1_000_000_000n });
    expect((await machine.roundTrip()).nonce).toBeGreaterThan(nonce);
  });

  test('is refused past what its caller allows, past the highest nonce, and for a sequence that is not there', async () => {
    const machine = await Machine.started();
    const { nonce } = await machine.roundTrip();
    const twoHours = 7_200_000_000_000n;
    expect(await advance(machine, { kind: 'by', nonces: twoHours })).toMatchObject({ code: 'BAD_REQUEST' });
    expect(await advance(machine, { kind: 'to', nonce: 2n ** 63n }, Infinity)).toMatchObject({ code: 'BAD_REQUEST' });
    for (const sequence of ['other', '#tokens']) {
      const refused = await machine.broker.advance({ sequence, target: { kind: 'now' }, maxLeadMs: Infinity });
      expect(refused).toMatchObject({ code: 'BAD_REQUEST' });
    }
    expect((await machine.roundTrip()).nonce - nonce).toBeLessThan(twoHours);
    expect(await advance(machine, { kind: 'by', nonces: twoHours }, 3 * HOUR_MS)).toMatchObject({ unit: 'ns' });
  });

  test('a counter has no now', async () => {
    const machine = await Machine.started({ unit: 'counter' });
    expect(await advance(machine, { kind: 'now' })).toMatchObject({ code: 'BAD_REQUEST' });
    expect(await advance(machine, { kind: 'by', nonces: 10_000n })).toMatchObject({ unit: 'counter' });
  });

  test('I2: nonces that are drawn while it is being written lie below it, and those after it above', async () => {
    const machine = await Machine.started();
    const { nonce } = await machine.roundTrip();
    machine.store.held = true;
    const advanced = advance(machine, { kind: 'by', nonces: 600_000_000_000n });
    const bot = machine.connect();
    const during = bot.drew(bot.nonce());
    expect(during - nonce).toBeLessThan(1_000_000_000n);
    machine.store.land();
    await advanced;
    expect(bot.drew(bot.nonce()) - nonce).toBeGreaterThanOrEqual(600_000_000_000n);
  });
});

describe('status', () => {
  test('shows the holders and the waiters, and never a token', async () => {
    const machine = await Machine.started();
    const [holder, waiter] = [machine.connect('copy-trader'), machine.connect()];
    const id = holder.acquire({ label: 'close position' });
    await settled();
    waiter.acquire();
    await machine.advance(1_234);
    const status = machine.broker.status();
    expect(status.lanes).toEqual([
      {
        lane: 'default',
        holders: [
          {
            account: 'MASTER',
            name: 'copy-trader',
            pid: 4711,
            label: 'close position',
            priority: 'normal',
            nonce: holder.grant(id).nonce,
            waitedMs: 0,
            heldMs: 1_234,
            leftMs: 18_766,
          },
        ],
        waiting: 1,
        oldestWaitMs: 1_234,
        waiters: [
          {
            account: 'MASTER',
            name: 'bot',
            pid: 4711,
            label: null,
            priority: 'normal',
            waitedMs: 1_234,
            paced: false,
          },
        ],
      },
    ]);
    expect(status.sequences.map(({ name }) => name)).toEqual(['default']);
    const text = JSON.stringify(status, (_, value) => (typeof value === 'bigint' ? String(value) : value));
    expect(text).not.toMatch(new RegExp(`\\b${holder.grant(id).token}\\b`));
  });

  test('lists at most a hundred of a kind', async () => {
    const machine = await Machine.started({ exclusive: 'account' });
    const bot = machine.connect();
    for (let n = 0; n < 150; n += 1) bot.acquire({ account: `USER:${n}` });
    await settled();
    const status = machine.broker.status();
    expect([status.accounts.length, status.lanes.length, status.totals.leases]).toEqual([100, 100, 150]);
  });
});
