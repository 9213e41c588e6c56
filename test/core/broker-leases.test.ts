import { describe, expect, test } from 'vitest';
import { nonceFloorAt } from '../../src/core/nonces/sequence-clock.ts';
import type { ExclusionPolicy, Priority } from '../../src/terms.ts';
import { type Bot, Machine, settled } from './simulation.ts';

/** A machine on which a client holds the one lane. */
async function withHolder(priority: Priority = 'normal', exclusive: ExclusionPolicy = 'global') {
  const machine = await Machine.started({ exclusive });
  const holder = machine.connect('holder');
  const id = holder.acquire({ priority });
  await settled();
  return { machine, holder, token: holder.grant(id).token };
}

const connectMany = (machine: Machine, count: number, name: string): Bot[] =>
  Array.from({ length: count }, (_, n) => machine.connect(`${name}-${n}`));

describe('a lease', () => {
  test('I3: its nonce is drawn when it is granted and not when it was asked for', async () => {
    const { machine, holder, token } = await withHolder();
    const waiter = machine.connect();
    const id = waiter.acquire();
    await machine.advance(4_000);
    const bare = holder.drew(holder.nonce());
    holder.release(token);
    const { nonce, waitedMs } = waiter.grant(id);
    expect(nonce).toBeGreaterThan(bare);
    expect(nonce).toBeGreaterThanOrEqual(BigInt(machine.clock.wallMs()) * 1_000_000n);
    expect(waitedMs).toBe(4_000);
  });

  test('I4: another one in its lane is granted only once it has ended', async () => {
    const { machine, holder, token } = await withHolder();
    const waiter = machine.connect();
    const id = waiter.acquire({ account: 'USER:alice' });
    await machine.advance(10_000);
    expect(waiter.answer(id)).toBeUndefined();
    expect(holder.release(token)).toBe(true);
    await settled();
    expect(waiter.grant(id).token).toBeGreaterThan(token);
  });

  test('its note is written before its grant is sent', async () => {
    const { machine, token } = await withHolder();
    const noted = machine.sent.findIndex((event) => event.kind === 'noted' && event.lease.token === token);
    const granted = machine.sent.findIndex((event) => event.kind === 'answer' && event.answer.kind === 'granted');
    expect(noted).toBeGreaterThanOrEqual(0);
    expect(granted).toBeGreaterThan(noted);
  });

  test('its note is struck when it ends', async () => {
    const { machine, holder, token } = await withHolder();
    holder.release(token);
    expect(machine.notes.slots.size).toBe(0);
  });

  test.each([
    ['urgent', 30_000],
    ['normal', 20_000],
    ['background', 10_000],
  ] as const)(
    'I7: of priority %s ends after %i ms, its holder is told, and the next waiter is granted',
    async (priority, ttlMs) => {
      const { machine, holder, token } = await withHolder(priority);
      await machine.advance(ttlMs - 5_000);
      const waiter = machine.connect();
      const id = waiter.acquire();
      await machine.advance(4_999);
      expect(waiter.answer(id)).toBeUndefined();
      expect(holder.revokedTokens).toEqual([]);
      await machine.advance(1);
      expect(holder.revokedTokens).toEqual([{ token, reason: 'expired' }]);
      expect(waiter.answer(id)?.kind).toBe('granted');
      expect(holder.release(token)).toBe(false);
    },
  );

  test('I7: a renewal lets its time start again, with another TTL if asked, and is noted', async () => {
    const { machine, holder, token } = await withHolder();
    await machine.advance(19_000);
    expect(holder.renew(token)).toBe(20_000);
    expect(machine.notes.slots.get(token)?.expiresAtMs).toBe(machine.clock.monotonicMs() + 20_000);
    await machine.advance(19_999);
    expect(holder.renew(token, 3_000)).toBe(3_000);
    await machine.advance(2_999);
    expect(holder.revokedTokens).toEqual([]);
    await machine.advance(1);
    expect(holder.revokedTokens).toEqual([{ token, reason: 'expired' }]);
    expect(holder.renew(token)).toMatchObject({ code: 'LEASE_LOST' });
  });

  test('I7: no step of the wall clock ends it or makes it last', async () => {
    const { machine, holder } = await withHolder();
    machine.clock.stepWall(3_600_000);
    await machine.advance(19_999);
    expect(holder.revokedTokens).toEqual([]);
    machine.clock.stepWall(-7_200_000);
    await machine.advance(1);
    expect(holder.revokedTokens).toHaveLength(1);
  });

  test('I7: a renewal that lay unread during a stall of the daemon counts', async () => {
    const { machine, holder, token } = await withHolder();
    machine.clock.stall(60_000);
    expect(holder.renew(token)).toBe(20_000);
    machine.broker.expire();
    expect(holder.revokedTokens).toEqual([]);
    await machine.advance(20_000);
    expect(holder.revokedTokens).toHaveLength(1);
  });

  test('I5: without its connection its token is worth nothing', async () => {
    const { machine, holder, token } = await withHolder();
    const thief = machine.connect('thief');
    expect(thief.release(token)).toBe(false);
    expect(thief.renew(token)).toMatchObject({ code: 'LEASE_LOST' });
    const id = thief.next(token);
    expect(thief.code(id)).toBe('LEASE_LOST');
    await machine.advance(19_999);
    expect(holder.revokedTokens).toEqual([]);
    expect(holder.release(token)).toBe(true);
  });

  test('a release is answered true once and then false', async () => {
    const { holder, token } = await withHolder();
    expect([holder.release(token), holder.release(token)]).toEqual([true, false]);
  });

  test('usedOwnClock lifts the sequence past what its holder may have drawn from the clock', async () => {
    const { machine, holder, token } = await withHolder();
    await machine.advance(1_000);
    const theirs = BigInt(machine.clock.wallMs()) * 1_000_000n + 999_999n;
    holder.release(token, true);
    machine.clock.stepWall(-10_000);
    expect((await machine.roundTrip()).nonce).toBeGreaterThan(theirs);
  });

  test('I5: tokens grow strictly, also with the clock back', async () => {
    const machine = await Machine.started();
    let last = 0;
    for (let n = 0; n < 200; n += 1) {
      machine.clock.stepWall(n % 2 === 0 ? -1_000 : 700);
      const { token } = await machine.roundTrip();
      expect(token).toBeGreaterThan(last);
      last = token;
    }
  });

  test('count gives consecutive nonces, and the next grant lies behind them', async () => {
    const machine = await Machine.started();
    const bot = machine.connect();
    const id = bot.acquire({ count: 1_000 });
    await settled();
    const grant = bot.grant(id);
    expect(grant.count).toBe(1_000);
    bot.release(grant.token);
    expect((await machine.roundTrip()).nonce).toBeGreaterThanOrEqual(grant.nonce + 1_000n);
  });

  test('a unit that the sequence does not have is refused, and changes nothing', async () => {
    const machine = await Machine.started();
    const bot = machine.connect();
    expect(bot.code(bot.acquire({ unit: 'ms' }))).toBe('UNIT_MISMATCH');
    const id = bot.acquire({ unit: 'ns' });
    await settled();
    expect(bot.answer(id)?.kind).toBe('granted');
  });

  test('a further nonce is refused in a unit that the sequence does not have, and the lease goes on', async () => {
    const machine = await Machine.started();
    const bot = machine.connect();
    const id = bot.acquire();
    await settled();
    const { token } = bot.grant(id);
    expect(bot.code(bot.next(token, 'OTHER', 1, undefined, 1, { unit: 'ms' }))).toBe('UNIT_MISMATCH');
    expect(machine.broker.why('OTHER').refusedUnits).toEqual({ count: 1, unit: 'ms' });
    const drawn = bot.next(token, 'OTHER', 1, undefined, 1, { unit: 'ns' });
    await settled();
    expect(bot.answer(drawn)?.kind).toBe('drawn');
    expect(bot.release(token)).toBe(true);
  });

  test('a request whose own program holds the lane around it is refused at once, and would wait for itself', async () => {
    const machine = await Machine.started();
    const outer = machine.connect();
    const id = outer.acquire({ account: 'A' });
    await settled();
    const { token } = outer.grant(id);
    const inner = machine.connect();
    for (const account of ['A', 'B']) {
      expect(inner.code(inner.acquire({ account, key: 'aa', within: [1, token] }))).toBe('NESTED_LANE');
    }
    // It has bound no key, and one that is not within waits.
    const waiting = inner.acquire({ account: 'C', key: 'aa', within: [token + 1] });
    expect(inner.answer(waiting)).toBeUndefined();
    outer.release(token);
    await settled();
    expect(inner.answer(waiting)?.kind).toBe('granted');
  });

  test('a lease around a request does not matter if it has another lane, or if there are none', async () => {
    const machine = await Machine.started({ exclusive: 'account' });
    const bot = machine.connect();
    const id = bot.acquire({ account: 'A' });
    await settled();
    const { token } = bot.grant(id);
    const other = bot.acquire({ account: 'B', within: [token] });
    await settled();
    expect(bot.answer(other)?.kind).toBe('granted');
    await machine.broker.setExclusive('off');
    const same = bot.acquire({ account: 'A', within: [token] });
    await settled();
    expect(bot.answer(same)?.kind).toBe('granted');
  });

  test('a seconds sequence grants a thousand nonces at once after an hour without use', async () => {
    const machine = await Machine.started({ unit: 's' });
    await machine.advance(3_600_000);
    const bot = machine.connect();
    const id = bot.acquire({ count: 1_000 });
    await settled();
    expect(bot.grant(id).nonce).toBe(nonceFloorAt(machine.clock.wallMs(), 's'));
    expect(machine.store.writes).toBeLessThan(5);
  });
});

describe('waiters', () => {
  test('I6: are granted by priority and then by arrival', async () => {
    const { machine, holder, token } = await withHolder();
    const order: [string, Priority][] = [
      ['b1', 'background'],
      ['n1', 'normal'],
      ['u1', 'urgent'],
      ['n2', 'normal'],
      ['u2', 'urgent'],
    ];
    for (const [name, priority] of order) {
      const bot = machine.connect(name);
      bot.acquire({ priority });
    }
    machine.listen = (event) => {
      if (event.kind !== 'answer' || event.answer.kind !== 'granted') return;
      const { bot, answer } = event;
      queueMicrotask(() => bot.release(answer.grant.token));
    };
    holder.release(token);
    for (let turn = 0; turn < 5; turn += 1) await settled();
    expect(machine.grantOrder).toEqual(['holder', 'u1', 'u2', 'n1', 'n2', 'b1']);
  });

  test('I6: after a hang of 30 s with fifty polls waiting, a cancel is next, and the polls get their share', async () => {
    const { machine, holder, token } = await withHolder('urgent');
    for (const poll of connectMany(machine, 50, 'poll')) poll.acquire({ priority: 'background', waitMs: 600_000 });
    holder.renew(token, 60_000);
    await machine.advance(30_000);
    const cancels = connectMany(machine, 40, 'cancel');
    for (const cancel of cancels) cancel.acquire({ priority: 'urgent', waitMs: 600_000 });
    machine.listen = (event) => {
      if (event.kind !== 'answer' || event.answer.kind !== 'granted') return;
      const { bot, answer } = event;
      queueMicrotask(() => bot.release(answer.grant.token));
    };
    holder.release(token);
    while (machine.grantOrder.length < 91) await settled();
    const order = machine.grantOrder.slice(1);
    expect(order[0]).toBe('cancel-0');
    expect(order.slice(0, 8).filter((name) => name.startsWith('poll'))).toEqual(['poll-0']);
    expect(order.slice(0, 16).filter((name) => name.startsWith('poll'))).toEqual(['poll-0', 'poll-1']);
    const beforeLastCancel = order.slice(0, order.indexOf('cancel-39'));
    expect(beforeLastCancel.filter((name) => name.startsWith('poll'))).toHaveLength(5);
  });

  test('are refused once their time is over, with the holder of the lane', async () => {
    const { machine, holder, token } = await withHolder();
    const [urgent, normal] = [machine.connect('u'), machine.connect('n')];
    const ids = [urgent.acquire({ priority: 'urgent' }), normal.acquire()] as const;
    for (let n = 0; n < 3; n += 1) {
      holder.renew(token);
      await machine.advance(n === 2 ? 4_999 : 5_000);
    }
    expect(urgent.answer(ids[0])).toBeUndefined();
    await machine.advance(1);
    expect(urgent.answer(ids[0])).toMatchObject({
      refusal: { code: 'WAIT_TIMEOUT', message: expect.stringContaining('holder (MASTER)') },
    });
    holder.renew(token);
    await machine.advance(14_999);
    expect(normal.answer(ids[1])).toBeUndefined();
    await machine.advance(1);
    expect(normal.code(ids[1])).toBe('WAIT_TIMEOUT');
  });

  test('waitMs 0 is answered at once: granted if the lane is free, else refused', async () => {
    const { machine, holder, token } = await withHolder();
    const bot = machine.connect();
    expect(bot.code(bot.acquire({ waitMs: 0 }))).toBe('WAIT_TIMEOUT');
    holder.release(token);
    expect(bot.answer(bot.acquire({ waitMs: 0 }))?.kind).toBe('granted');
    expect(machine.broker.status().totals.waiting).toBe(0);
  });

  test('waitMs 0 waits for a ceiling, if nothing else is in its way', async () => {
    const machine = await Machine.started();
    await machine.advance(60_000);
    const bot = machine.connect();
    const id = bot.acquire({ waitMs: 0 });
    expect(bot.answer(id)).toBeUndefined();
    await settled();
    expect(bot.answer(id)?.kind).toBe('granted');
  });

  test('waitMs 0 is refused at once behind another waiter, although that one needs no more than a ceiling', async () => {
    const machine = await Machine.started();
    await machine.advance(60_000);
    const bot = machine.connect();
    const ids = [bot.acquire(), bot.acquire({ waitMs: 0 })] as const;
    expect([bot.answer(ids[0]), bot.code(ids[1])]).toEqual([undefined, 'WAIT_TIMEOUT']);
    await settled();
    expect(bot.answer(ids[0])?.kind).toBe('granted');
  });

  test('waitMs 0 under the policy off waits for a ceiling together with others', async () => {
    const machine = await Machine.started({ exclusive: 'off' });
    await machine.advance(60_000);
    const bot = machine.connect();
    const ids = [bot.acquire({ waitMs: 0 }), bot.acquire({ waitMs: 0 })];
    await settled();
    expect(ids.map((id) => bot.answer(id)?.kind)).toEqual(['granted', 'granted']);
  });

  test('the broker does without a write that hangs for a second: its waiters are granted from the durable ceiling', async () => {
    const machine = await Machine.started();
    await machine.advance(60_000);
    machine.store.held = true;
    const [hasty, patient, bare] = [machine.connect(), machine.connect(), machine.connect()];
    const ids = [hasty.acquire({ waitMs: 0 }), patient.acquire(), bare.nonce()] as const;
    await machine.advance(999);
    expect([hasty.answer(ids[0]), bare.answer(ids[2])]).toEqual([undefined, undefined]);
    await machine.advance(1);
    expect(bare.answer(ids[2])?.kind).toBe('drawn');
    // I1: below what is durable, although the clock has passed that long ago.
    expect(hasty.grant(ids[0]).nonce).toBeLessThan(machine.store.acknowledged.sequences['default']?.ceiling ?? 0n);
    expect(machine.store.pending).toBeDefined();
    hasty.release(hasty.grant(ids[0]).token);
    expect(patient.answer(ids[1])?.kind).toBe('granted');
  });

  test('writes that take longer than the reserve lasts hold up no waiter for ever', async () => {
    const machine = await Machine.started();
    await machine.advance(60_000);
    machine.store.held = true;
    const bot = machine.connect();
    for (let round = 0; round < 10; round++) {
      const id = bot.nonce();
      await machine.advance(6_000);
      expect(bot.answer(id)?.kind).toBe('drawn');
      machine.store.land();
      await settled();
    }
  });

  test('waitMs 0 is refused at once by a lane that is held, also while a write is under way that once blocked it', async () => {
    const machine = await Machine.started({ unit: 'counter' });
    machine.store.held = true;
    const first = machine.connect();
    const large = first.acquire({ count: 500 });
    machine.store.land();
    await settled();
    const { token } = first.grant(large);
    first.release(token);
    // Too much for what is left, and then taken back: the write it has caused goes on.
    const larger = first.acquire({ count: 900 });
    expect(machine.store.pending).toBeDefined();
    first.cancel(larger);
    const holder = machine.connect();
    expect(holder.answer(holder.acquire())?.kind).toBe('granted');
    const hasty = machine.connect();
    expect(hasty.code(hasty.acquire({ waitMs: 0 }))).toBe('WAIT_TIMEOUT');
  });

  test('I6: a waiter that cancels is answered CANCELLED and never granted', async () => {
    const { machine, holder, token } = await withHolder();
    const [a, b] = [machine.connect('a'), machine.connect('b')];
    const ids = [a.acquire(), b.acquire()] as const;
    a.cancel(ids[0]);
    expect(a.code(ids[0])).toBe('CANCELLED');
    holder.release(token);
    expect(machine.grantOrder).toEqual(['holder', 'b']);
    b.cancel(ids[1]);
    expect(b.answer(ids[1])?.kind).toBe('granted');
    a.cancel('no such request');
    expect(a.answers.size).toBe(1);
  });

  test('I8: the first in line cancels while its ceiling is written, and the next one is granted', async () => {
    const machine = await Machine.started();
    await machine.advance(60_000);
    machine.store.held = true;
    const [a, b] = [machine.connect(), machine.connect()];
    const ids = [a.acquire(), b.acquire()] as const;
    a.cancel(ids[0]);
    machine.store.land();
    await settled();
    expect(a.code(ids[0])).toBe('CANCELLED');
    expect(b.answer(ids[1])?.kind).toBe('granted');
  });

  test('I6: a waiter that disconnects while its ceiling is written is not granted and does not hold the lane', async () => {
    const machine = await Machine.started();
    await machine.advance(60_000);
    machine.store.held = true;
    const [a, b] = [machine.connect('a'), machine.connect('b')];
    a.acquire();
    const id = b.acquire();
    a.disconnect();
    machine.store.land();
    await settled();
    expect(machine.grantOrder).toEqual(['b']);
    expect(b.answer(id)?.kind).toBe('granted');
    expect(machine.notes.slots.size).toBe(1);
  });

  test('a connection that closes frees its lane at once, and its waiters are never granted', async () => {
    const { machine, holder } = await withHolder();
    holder.acquire();
    const [gone, next] = [machine.connect('gone'), machine.connect('next')];
    gone.acquire();
    const id = next.acquire();
    gone.disconnect();
    holder.disconnect();
    expect(machine.grantOrder).toEqual(['holder', 'next']);
    expect(holder.answers.get(2)).toBeUndefined();
    expect(gone.answers.size).toBe(0);
    next.release(next.grant(id).token);
    expect(machine.broker.status().totals).toMatchObject({ leases: 0, waiting: 0 });
  });

  test('a half-close ends the lease and the place of a client, but its bare nonce is answered', async () => {
    const { machine, holder } = await withHolder();
    await machine.advance(15_000);
    machine.store.held = true;
    const id = holder.nonce();
    const waiting = holder.acquire();
    const other = machine.connect('other');
    other.acquire();
    machine.broker.abandon(holder.client);
    machine.store.land();
    await settled();
    expect(holder.answer(id)?.kind).toBe('drawn');
    expect(holder.answer(waiting)).toBeUndefined();
    expect(machine.grantOrder).toEqual(['holder', 'other']);
  });
});

describe('preemption', () => {
  test('an urgent waiter ends a background lease that has been held for three seconds', async () => {
    const { machine, holder, token } = await withHolder('background');
    await machine.advance(1_000);
    const exit = machine.connect('exit');
    const id = exit.acquire({ priority: 'urgent' });
    await machine.advance(1_999);
    expect(exit.answer(id)).toBeUndefined();
    await machine.advance(1);
    expect(exit.answer(id)?.kind).toBe('granted');
    expect(holder.revokedTokens).toEqual([{ token, reason: 'preempted' }]);
  });

  test('at once, if it has been held for longer already', async () => {
    const { machine, holder } = await withHolder('background');
    await machine.advance(5_000);
    const exit = machine.connect('exit');
    const id = exit.acquire({ priority: 'urgent' });
    await machine.advance(0);
    expect(exit.answer(id)?.kind).toBe('granted');
    expect(holder.revokedTokens).toHaveLength(1);
  });

  test('not once the urgent waiter has gone', async () => {
    const { machine, holder } = await withHolder('background');
    const [cancelled, disconnected] = [machine.connect(), machine.connect()];
    cancelled.cancel(cancelled.acquire({ priority: 'urgent' }));
    disconnected.acquire({ priority: 'urgent' });
    disconnected.disconnect();
    await machine.advance(9_999);
    expect(holder.revokedTokens).toEqual([]);
  });

  test.each(['normal', 'urgent'] as const)(
    'I7: a lease of priority %s is never ended for an urgent waiter',
    async (priority) => {
      const { machine, holder } = await withHolder(priority);
      const exit = machine.connect('exit');
      const id = exit.acquire({ priority: 'urgent' });
      await machine.advance(14_999);
      expect(holder.revokedTokens).toEqual([]);
      expect(exit.answer(id)).toBeUndefined();
    },
  );

  test.each(['normal', 'background'] as const)('I7: a waiter of priority %s ends no lease', async (priority) => {
    const { machine, holder } = await withHolder('background');
    const other = machine.connect('other');
    other.acquire({ priority });
    await machine.advance(9_999);
    expect(holder.revokedTokens).toEqual([]);
  });
});

describe('limits', () => {
  test('an id that is still waiting is refused, and the request it belongs to goes on', async () => {
    const { machine, holder, token } = await withHolder();
    const bot = machine.connect();
    bot.acquire({}, 'one');
    bot.acquire({}, 'one');
    bot.nonce('MASTER', 1, 'one');
    expect(bot.answers.get('one')).toHaveLength(2);
    expect(bot.answers.get('one')?.every((a) => a.kind === 'refused' && a.refusal.code === 'BAD_REQUEST')).toBe(true);
    holder.release(token);
    expect(bot.answers.get('one')?.[2]?.kind).toBe('granted');
  });

  test('the requests of a connection, those of the daemon and the accounts have limits', async () => {
    const machine = await Machine.started({ limits: { waitingPerClient: 2, waiting: 3, accounts: 2 } });
    const [a, b, c] = [machine.connect(), machine.connect(), machine.connect()];
    a.acquire();
    await settled();
    a.acquire();
    expect(a.code(a.acquire())).toBe('LIMIT');
    b.acquire();
    b.acquire();
    expect(c.code(c.acquire())).toBe('LIMIT');
    b.disconnect();
    expect(c.answer(c.acquire({ account: 'USER:one' }))).toBeUndefined();
    expect(c.answer(c.acquire({ account: 'USER:two' }))).toMatchObject({
      refusal: { code: 'LIMIT', retryAfterMs: 1_000 },
    });
  });

  test('of accounts that are idle, the one that was used longest ago is forgotten for a new one', async () => {
    const machine = await Machine.started({ exclusive: 'account', limits: { accounts: 2 } });
    await machine.roundTrip('USER:one');
    await machine.advance(10);
    await machine.roundTrip('USER:two');
    await machine.advance(10);
    await machine.roundTrip('USER:three');
    expect(machine.broker.status().accounts.map(({ account }) => account)).toEqual(['USER:two', 'USER:three']);
    await machine.roundTrip('USER:one');
  });

  test('more leases than can be noted are refused', async () => {
    const machine = await Machine.started({ exclusive: 'off' });
    machine.notes.capacity = 2;
    const bot = machine.connect();
    const ids = [bot.acquire(), bot.acquire(), bot.acquire()];
    await settled();
    expect(ids.map((id) => bot.answer(id)?.kind)).toEqual(['granted', 'granted', 'refused']);
    expect(bot.code(ids[2] ?? 0)).toBe('LIMIT');
  });
});

describe('next', () => {
  test('gives a further nonce under the same lease, also for another account of its lane', async () => {
    const { machine, holder, token } = await withHolder();
    const first = holder.drew(holder.next(token));
    const second = holder.drew(holder.next(token, 'USER:alice', 10));
    expect(second).toBeGreaterThan(first);
    holder.release(token);
    expect((await machine.roundTrip()).nonce).toBeGreaterThanOrEqual(second + 10n);
  });

  test('is refused for an account of another lane', async () => {
    const { holder, token } = await withHolder('normal', 'account');
    expect(holder.code(holder.next(token, 'USER:alice'))).toBe('NESTED_LANE');
    expect(holder.answer(holder.next(token, 'MASTER'))?.kind).toBe('drawn');
  });

  test('is refused after its lease has ended, also if it ended during a write of the ceiling', async () => {
    const { machine, holder, token } = await withHolder();
    await machine.advance(10_000);
    machine.store.held = true;
    const waiting = holder.next(token);
    holder.release(token);
    expect(holder.code(holder.next(token))).toBe('LEASE_LOST');
    machine.store.land();
    await settled();
    expect(holder.code(waiting)).toBe('LEASE_LOST');
  });
});

describe('a bare nonce', () => {
  test('is greater than all before, with or without leases held', async () => {
    const { machine, holder } = await withHolder();
    const bot = machine.connect();
    const nonces = [1, 2, 3].map(() => bot.drew(bot.nonce()));
    const fromHolder = holder.drew(holder.nonce('USER:alice', 1_000));
    expect(nonces[1]).toBeGreaterThan(nonces[0] ?? 0n);
    expect(nonces[2]).toBeGreaterThan(nonces[1] ?? 0n);
    expect(fromHolder).toBeGreaterThan(nonces[2] ?? 0n);
    expect(bot.drew(bot.nonce())).toBeGreaterThanOrEqual(fromHolder + 1_000n);
  });

  test('waits in order for a ceiling that is being written', async () => {
    const machine = await Machine.started();
    await machine.advance(60_000);
    machine.store.held = true;
    const bot = machine.connect();
    const ids = [bot.nonce('MASTER', 10), bot.nonce(), bot.nonce()];
    expect(ids.map((id) => bot.answer(id))).toEqual([undefined, undefined, undefined]);
    machine.store.land();
    await settled();
    const [first = 0n, second = 0n, third = 0n] = ids.map((id) => bot.drew(id));
    expect(second).toBe(first + 10n);
    expect(third).toBe(second + 1n);
  });

  test('does not overtake one that needs a higher ceiling', async () => {
    const machine = await Machine.started({ unit: 'counter' });
    const bot = machine.connect();
    machine.store.held = true;
    bot.nonce('MASTER', 500);
    machine.store.land();
    await settled();
    // There is room for one more, and a write for more is under way.
    const ids = [bot.nonce('MASTER', 900), bot.nonce('MASTER', 1)] as const;
    expect(ids.map((id) => bot.answer(id))).toEqual([undefined, undefined]);
    machine.store.land();
    await settled();
    machine.store.land();
    await settled();
    expect(bot.drew(ids[1])).toBe(bot.drew(ids[0]) + 900n);
  });

  test('can be cancelled while it waits, and is dropped with its connection', async () => {
    const machine = await Machine.started();
    await machine.advance(60_000);
    machine.store.held = true;
    const [bot, gone] = [machine.connect(), machine.connect()];
    const id = bot.nonce();
    gone.nonce();
    bot.cancel(id);
    gone.disconnect();
    machine.store.land();
    await settled();
    expect(bot.code(id)).toBe('CANCELLED');
    expect(gone.answers.size).toBe(0);
    expect(machine.broker.status().totals).toMatchObject({ waiting: 0, nonces: 0 });
  });
});
