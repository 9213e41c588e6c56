import { describe, expect, test } from 'vitest';
import type { AcquireParams } from '../../src/core/broker.ts';
import type { ExclusionPolicy } from '../../src/terms.ts';
import { configured, pacedBy, pacing, stateWith } from './configured.ts';
import { type Bot, Machine, settled } from './simulation.ts';

/** Two calls at once, and then one each 500 ms. */
const PACE = { max: 2, perSecond: 2 };

/** Acquires and releases at once. Throws if it is not granted at once. */
function call(bot: Bot, account: string, cost = 1): void {
  bot.release(bot.grant(bot.acquire({ account, cost })).token);
}

/** A machine on which MASTER has used up its pace, and the others have none. */
async function exhausted(exclusive: ExclusionPolicy = 'global') {
  const machine = await Machine.started({ exclusive, policies: pacing('MASTER', PACE) });
  const bot = machine.connect('paced');
  call(bot, 'MASTER');
  call(bot, 'MASTER');
  return { machine, bot };
}

/** What an `acquire` that may not wait is answered: its code, or that it was granted. */
async function atOnce(machine: Machine, params: Partial<AcquireParams> = {}): Promise<string | undefined> {
  const bot = machine.connect();
  const id = bot.acquire({ waitMs: 0, ...params });
  // A ceiling may have to be raised; no time passes by that.
  await settled();
  const answer = bot.answer(id);
  bot.disconnect();
  return answer?.kind === 'refused' ? answer.refusal.code : answer?.kind;
}

const EXCLUSION = ['global', 'account', 'off'] as const;

describe('pacing', () => {
  for (const exclusive of EXCLUSION) {
    test(`under ${exclusive}: a burst of the bucket is granted at once, and then each call when its cost has drained`, async () => {
      const { machine, bot } = await exhausted(exclusive);
      const ids = [bot.acquire(), bot.acquire(), bot.acquire({ cost: 2 })] as const;
      for (const [id, ms] of [
        [ids[0], 500],
        [ids[1], 500],
        [ids[2], 1_000],
      ] as const) {
        await machine.advance(ms - 1);
        expect(bot.answer(id)).toBeUndefined();
        await machine.advance(1);
        bot.release(bot.grant(id).token);
      }
    });
  }

  test('waits before the grant: the lease has its whole TTL, and the grant says how long the wait was', async () => {
    const { machine, bot } = await exhausted();
    const id = bot.acquire({ ttlMs: 1_000 });
    await machine.advance(500);
    expect(bot.grant(id)).toMatchObject({ waitedMs: 500, ttlMs: 1_000 });
    await machine.advance(999);
    expect(bot.revokedTokens).toEqual([]);
  });

  test('a paced waiter holds up no other waiter of its lane, before or after it', async () => {
    const { machine, bot } = await exhausted();
    const paced = bot.acquire();
    const other = machine.connect('other');
    for (let n = 0; n < 5; n += 1) call(other, 'USER:alice');
    expect(bot.answer(paced)).toBeUndefined();
    const held = other.acquire({ account: 'USER:alice' });
    await machine.advance(1_000);
    // Its pace is there; the lane is not.
    expect(bot.answer(paced)).toBeUndefined();
    other.release(other.grant(held).token);
    expect(bot.answer(paced)?.kind).toBe('granted');
  });

  test('I6: a paced waiter keeps its place by arrival, before the waiters that came while it was paced', async () => {
    const { machine, bot } = await exhausted();
    const holder = machine.connect('holder');
    const held = holder.acquire({ account: 'USER:alice' });
    const paced = bot.acquire();
    const later = machine.connect('later');
    const id = later.acquire({ account: 'USER:bob' });
    await machine.advance(500);
    holder.release(holder.grant(held).token);
    expect([bot.answer(paced)?.kind, later.answer(id)?.kind]).toEqual(['granted', undefined]);
  });

  test('I6: one that was looked at and put aside keeps its place too', async () => {
    const { machine, bot } = await exhausted();
    const paced = bot.acquire();
    const others = machine.connect('others');
    const held = others.acquire({ account: 'USER:alice', waitMs: 0 });
    const later = others.acquire({ account: 'USER:bob' });
    await machine.advance(700);
    others.release(others.grant(held).token);
    expect([bot.answer(paced)?.kind, others.answer(later)?.kind]).toEqual(['granted', undefined]);
  });

  test('I6: no waiter of the same account and priority passes it, however cheap', async () => {
    const { machine, bot } = await exhausted();
    const dear = bot.acquire({ cost: 2 });
    const cheap = bot.acquire({ cost: 0 });
    await machine.advance(999);
    expect([bot.answer(dear), bot.answer(cheap)]).toEqual([undefined, undefined]);
    await machine.advance(1);
    bot.release(bot.grant(dear).token);
    expect(bot.answer(cheap)?.kind).toBe('granted');
  });

  test('an urgent order that costs nothing passes over a paced poll of its own account', async () => {
    const { machine, bot } = await exhausted();
    const poll = bot.acquire({ priority: 'background' });
    const order = bot.acquire({ priority: 'urgent', cost: 0, waitMs: 0 });
    bot.release(bot.grant(order).token);
    await machine.advance(499);
    expect(bot.answer(poll)).toBeUndefined();
    await machine.advance(1);
    expect(bot.answer(poll)?.kind).toBe('granted');
  });

  test('what an urgent call uses makes the paced one of its account wait longer', async () => {
    const { machine, bot } = await exhausted();
    const poll = bot.acquire({ cost: 2 });
    await machine.advance(500);
    bot.release(bot.grant(bot.acquire({ priority: 'urgent', cost: 1, waitMs: 0 })).token);
    await machine.advance(999);
    expect(bot.answer(poll)).toBeUndefined();
    await machine.advance(1);
    expect(bot.answer(poll)?.kind).toBe('granted');
  });

  test('I8: behind a paced head that goes away, the next of its account is granted as soon as it may be', async () => {
    for (const how of ['cancel', 'timeout', 'disconnect'] as const) {
      const { machine, bot } = await exhausted();
      const head = machine.connect('head');
      const id = head.acquire({ cost: 2, waitMs: how === 'timeout' ? 100 : 30_000 });
      const free = bot.acquire({ cost: 0 });
      const paced = bot.acquire({ cost: 1 });
      if (how === 'cancel') head.cancel(id);
      else if (how === 'disconnect') head.disconnect();
      else await machine.advance(100);
      bot.release(bot.grant(free).token);
      await machine.advance(500);
      expect(bot.answer(paced)?.kind).toBe('granted');
    }
  });

  test('an urgent waiter whose pace comes before the three seconds of a background lease ends it after those', async () => {
    const { machine, bot } = await exhausted();
    const poll = machine.connect('poll');
    poll.acquire({ account: 'USER:alice', priority: 'background', ttlMs: 60_000 });
    const exit = bot.acquire({ priority: 'urgent' });
    await machine.advance(2_999);
    expect([poll.revokedTokens, bot.answer(exit)]).toEqual([[], undefined]);
    await machine.advance(1);
    expect(poll.revokedTokens).toMatchObject([{ reason: 'preempted' }]);
    expect(bot.answer(exit)?.kind).toBe('granted');
  });

  test('an urgent waiter that is paced ends no background lease before it may begin, and then at once', async () => {
    const machine = await Machine.started({ policies: pacing('MASTER', { max: 2, perSecond: 0.2 }) });
    const [bot, poll] = [machine.connect('paced'), machine.connect('poll')];
    call(bot, 'MASTER', 2);
    poll.acquire({ account: 'USER:alice', priority: 'background', ttlMs: 60_000 });
    const exit = bot.acquire({ priority: 'urgent' });
    await machine.advance(4_999);
    expect([poll.revokedTokens, bot.answer(exit)]).toEqual([[], undefined]);
    await machine.advance(1);
    expect(poll.revokedTokens).toMatchObject([{ reason: 'preempted' }]);
    expect(bot.answer(exit)?.kind).toBe('granted');
  });

  test('a paced urgent waiter does not keep another urgent one from ending a background lease', async () => {
    const { machine, bot } = await exhausted();
    const poll = machine.connect('poll');
    poll.acquire({ account: 'USER:alice', priority: 'background', ttlMs: 60_000 });
    const paced = bot.acquire({ priority: 'urgent', cost: 2 });
    const exit = bot.acquire({ account: 'USER:bob', priority: 'urgent' });
    poll.next(poll.grant(1).token, 'MASTER', 1, 'busy', 0);
    await machine.advance(3_000);
    expect(poll.revokedTokens).toHaveLength(1);
    expect([bot.answer(paced)?.kind, bot.answer(exit)?.kind]).toContain('granted');
  });

  test('waitMs 0 on a paced account is refused at once, and says that it is the pace and for how long', async () => {
    const { bot } = await exhausted();
    const id = bot.acquire({ waitMs: 0 });
    expect(bot.answer(id)).toMatchObject({
      kind: 'refused',
      refusal: { code: 'WAIT_TIMEOUT', retryAfterMs: 500, message: expect.stringContaining('used up its pace') },
    });
  });

  test('waitMs 0 on an account with room is granted, also while others of its lane are paced', async () => {
    const { bot } = await exhausted();
    bot.acquire();
    expect(bot.answer(bot.acquire({ account: 'USER:alice', waitMs: 0 }))?.kind).toBe('granted');
  });

  test('a wait that ends before the pace is there says so', async () => {
    const { machine, bot } = await exhausted();
    const id = bot.acquire({ waitMs: 200, cost: 2 });
    await machine.advance(200);
    expect(bot.answer(id)).toMatchObject({ refusal: { code: 'WAIT_TIMEOUT', retryAfterMs: 800 } });
    expect(machine.broker.status().totals.waiting).toBe(0);
  });

  test('a cost over what the bucket holds is a bad request at once, and one of all it holds is not', async () => {
    const { machine, bot } = await exhausted();
    expect(bot.code(bot.acquire({ cost: 2.001 }))).toBe('BAD_REQUEST');
    const whole = bot.acquire({ cost: 2 });
    await machine.advance(1_000);
    expect(bot.answer(whole)?.kind).toBe('granted');
    expect(bot.code(bot.next(bot.grant(whole).token, undefined, 1, 'n', 2.001))).toBe('BAD_REQUEST');
  });

  test('calls that were refused, cancelled or timed out cost nothing', async () => {
    const { machine, bot } = await exhausted();
    bot.acquire({ waitMs: 0 });
    bot.cancel(bot.acquire());
    bot.acquire({ waitMs: 100 });
    await machine.advance(500);
    expect(bot.answer(bot.acquire({ waitMs: 0 }))?.kind).toBe('granted');
  });

  test('outcome rate-limited fills the bucket of its account and of no other', async () => {
    const machine = await Machine.started({ policies: pacedBy(2, 2) });
    const bot = machine.connect();
    bot.release(bot.grant(bot.acquire()).token, false, 'rate-limited');
    expect(bot.code(bot.acquire({ waitMs: 0 }))).toBe('WAIT_TIMEOUT');
    expect(bot.answer(bot.acquire({ account: 'USER:alice', waitMs: 0 }))?.kind).toBe('granted');
    const id = bot.acquire({ account: 'USER:bob', cost: 2 });
    bot.disconnect();
    const other = machine.connect();
    const after = other.acquire();
    await machine.advance(499);
    expect([other.answer(after), bot.answer(id)]).toEqual([undefined, undefined]);
    await machine.advance(1);
    expect(other.answer(after)?.kind).toBe('granted');
  });

  test('rate-limited makes one wait longer that waits for its pace already', async () => {
    const machine = await Machine.started({ exclusive: 'off', policies: pacedBy(2, 2) });
    const bot = machine.connect();
    const first = bot.grant(bot.acquire()).token;
    bot.acquire();
    const waiting = bot.acquire();
    await machine.advance(400);
    bot.release(first, false, 'rate-limited');
    await machine.advance(499);
    expect(bot.answer(waiting)).toBeUndefined();
    await machine.advance(1);
    expect(bot.answer(waiting)?.kind).toBe('granted');
  });
});

describe('a call that takes long', () => {
  const SLOW = { max: 2, perSecond: 1 };

  for (const how of ['released', 'expired', 'disconnected'] as const) {
    test(`counts as of its end, because it may have arrived that late, also if it is ${how}`, async () => {
      const machine = await Machine.started({ policies: pacing('MASTER', SLOW) });
      const [slow, bot] = [machine.connect(), machine.connect()];
      const { token } = slow.grant(slow.acquire({ cost: 2, ttlMs: 9_000 }));
      const next = bot.acquire({ cost: 2, waitMs: 60_000 });
      await machine.advance(how === 'expired' ? 9_000 : 5_000);
      if (how === 'released') slow.release(token);
      if (how === 'disconnected') slow.disconnect();
      await machine.advance(1_999);
      expect(bot.answer(next)).toBeUndefined();
      await machine.advance(1);
      expect(bot.answer(next)?.kind).toBe('granted');
    });
  }

  test('counts for each account that a nonce was drawn for under it', async () => {
    const machine = await Machine.started({ policies: pacedBy(2, 1) });
    const bot = machine.connect();
    const { token } = bot.grant(bot.acquire({ account: 'USER:alice' }));
    bot.next(token, 'MASTER', 1, 'a', 2);
    await machine.advance(10_000);
    bot.release(token);
    expect(await atOnce(machine, { cost: 1 })).toBe('WAIT_TIMEOUT');
    expect(await atOnce(machine, { account: 'USER:alice', cost: 1 })).toBe('granted');
    expect(await atOnce(machine, { account: 'USER:alice', cost: 2 })).toBe('WAIT_TIMEOUT');
  });

  test('is noted with that when it ends', async () => {
    const machine = await Machine.started({ policies: pacing('MASTER', SLOW) });
    const bot = machine.connect();
    const { token } = bot.grant(bot.acquire({ cost: 2 }));
    await machine.advance(10_000);
    bot.release(token);
    await machine.crashAndRestart();
    expect(await atOnce(machine)).toBe('WAIT_TIMEOUT');
    await machine.advance(1_000);
    expect(await atOnce(machine)).toBe('granted');
  });

  test('and a crash while it is under way lets it count as one that costs 1 as of its end', async () => {
    const machine = await Machine.started({ policies: pacing('MASTER', SLOW) });
    const bot = machine.connect('bot', 'session');
    const { token } = bot.grant(bot.acquire());
    await machine.crashAndRestart();
    const back = machine.connect('bot', 'session');
    await machine.advance(10_000);
    expect(back.release(token)).toBe(true);
    expect(await atOnce(machine, { cost: 2 })).toBe('WAIT_TIMEOUT');
    expect(await atOnce(machine, { cost: 1 })).toBe('granted');
  });

  test('a bucket that holds more than its maximum by that still does after a crash', async () => {
    const machine = await Machine.started({ policies: pacing('MASTER', SLOW) });
    const bot = machine.connect();
    const { token } = bot.grant(bot.acquire({ cost: 2 }));
    await machine.advance(2_000);
    expect(bot.answer(bot.next(token, undefined, 1, 'n', 2))?.kind).toBe('drawn');
    // Both may have arrived just now: 4.
    bot.release(token);
    await machine.crashAndRestart();
    await machine.advance(2_999);
    expect(await atOnce(machine)).toBe('WAIT_TIMEOUT');
    await machine.advance(1);
    expect(await atOnce(machine)).toBe('granted');
  });

  test('of another account keeps that one from being forgotten, with its note', async () => {
    const machine = await Machine.started({ limits: { accounts: 2 }, policies: pacedBy(2, 1) });
    const bot = machine.connect();
    const { token } = bot.grant(bot.acquire({ account: 'A', ttlMs: 60_000 }));
    // Half a unit, which has drained long before the lease ends.
    bot.next(token, 'B', 1, 'n', 0.5);
    await machine.advance(5_000);
    await atOnce(machine, { account: 'C', cost: 0 });
    await machine.advance(5_000);
    bot.release(token);
    const other = machine.connect();
    const id = other.acquire({ account: 'B', cost: 2, waitMs: 0 });
    await settled();
    // It may have arrived with the release.
    expect(other.code(id)).toBe('WAIT_TIMEOUT');
  });

  test('of an account that was forgotten meanwhile does not overwrite what is noted of it since', async () => {
    const machine = await Machine.started({ exclusive: 'off', limits: { accounts: 2 }, policies: pacedBy(2, 1) });
    const bot = machine.connect();
    const { token } = bot.grant(bot.acquire({ account: 'A', cost: 0, ttlMs: 60_000 }));
    await machine.broker.setExclusive('global');
    bot.next(token, 'B', 1, 'n', 0.5);
    await machine.advance(5_000);
    await machine.broker.setExclusive('off');
    // B is forgotten for C, and C for B, which gets locked out.
    await atOnce(machine, { account: 'C', cost: 0 });
    await machine.advance(1);
    const id = bot.acquire({ account: 'B', cost: 0 });
    await settled();
    bot.release(bot.grant(id).token, false, 'locked-out');
    expect(machine.accountNotes.slots.get('B')?.breaker.openFor).toBe('locked-out');
    bot.release(token);
    expect(machine.accountNotes.slots.get('B')?.breaker.openFor).toBe('locked-out');
  });
});

describe('next under a lease', () => {
  test('counts, and is answered PACED with the time when the bucket is full; the lease stays', async () => {
    const machine = await Machine.started({ policies: pacing('MASTER', PACE) });
    const bot = machine.connect();
    const { token } = bot.grant(bot.acquire());
    expect(bot.answer(bot.next(token))?.kind).toBe('drawn');
    const refused = bot.next(token);
    expect(bot.answer(refused)).toMatchObject({ refusal: { code: 'PACED', retryAfterMs: 500 } });
    await machine.advance(499.5);
    expect(bot.answer(bot.next(token))).toMatchObject({ refusal: { code: 'PACED', retryAfterMs: 1 } });
    await machine.advance(0.5);
    expect(bot.answer(bot.next(token))?.kind).toBe('drawn');
    expect(bot.renew(token)).toBe(20_000);
  });

  test('one that costs nothing is drawn however full the bucket is', async () => {
    const { machine, bot } = await exhausted();
    const id = bot.acquire();
    await machine.advance(500);
    expect(bot.answer(bot.next(bot.grant(id).token, undefined, 1, 'order', 0))?.kind).toBe('drawn');
  });

  test('for another account uses that account’s bucket and not the lease’s', async () => {
    const machine = await Machine.started({ policies: pacedBy(2, 2) });
    const bot = machine.connect();
    const { token } = bot.grant(bot.acquire({ account: 'USER:alice', cost: 2 }));
    for (let n = 0; n < 2; n += 1) expect(bot.answer(bot.next(token, 'MASTER'))?.kind).toBe('drawn');
    expect(bot.code(bot.next(token, 'MASTER'))).toBe('PACED');
    expect(bot.code(bot.next(token))).toBe('PACED');
    bot.release(token);
    expect(bot.code(bot.acquire({ account: 'MASTER', waitMs: 0 }))).toBe('WAIT_TIMEOUT');
  });

  test('several that wait for a ceiling are not all let through on the room of one', async () => {
    const machine = await Machine.started({ unit: 'counter', policies: pacing('MASTER', PACE) });
    const bot = machine.connect();
    const held = bot.acquire();
    await settled();
    const { token } = bot.grant(held);
    machine.store.held = true;
    const ids = [bot.next(token, undefined, 900), bot.next(token, undefined, 900)] as const;
    expect(ids.map((id) => bot.answer(id))).toEqual([undefined, undefined]);
    machine.store.held = false;
    machine.store.settle();
    await settled();
    expect(ids.map((id) => bot.answer(id)?.kind)).toEqual(['drawn', 'refused']);
    expect(bot.code(ids[1])).toBe('PACED');
  });
});

describe('across a restart', () => {
  for (const how of ['crash', 'stop'] as const) {
    test(`a ${how} does not empty the bucket: the next call waits for what had been used`, async () => {
      const { machine } = await exhausted();
      await machine.advance(100);
      await (how === 'crash' ? machine.crashAndRestart() : machine.stopAndRestart());
      const bot = machine.connect();
      const id = bot.acquire();
      await machine.advance(399);
      expect(bot.answer(id)).toBeUndefined();
      await machine.advance(1);
      expect(bot.answer(id)?.kind).toBe('granted');
    });
  }

  test('what next has used and what rate-limited has filled is remembered too', async () => {
    const machine = await Machine.started({ policies: pacedBy(2, 2) });
    const bot = machine.connect();
    const { token } = bot.grant(bot.acquire({ account: 'USER:alice' }));
    bot.next(token, 'USER:bob', 1, 'n', 2);
    bot.release(token, false, 'rate-limited');
    await machine.crashAndRestart();
    for (const account of ['USER:alice', 'USER:bob']) {
      expect(await atOnce(machine, { account })).toBe('WAIT_TIMEOUT');
    }
    expect(await atOnce(machine, { account: 'USER:carol' })).toBe('granted');
  });

  test('I4: what is used is noted before the grant is sent', async () => {
    const machine = await Machine.started({ policies: pacing('MASTER', PACE) });
    const bot = machine.connect();
    const levels: (number | undefined)[] = [];
    machine.listen = (event) => {
      if (event.kind === 'answer') levels.push(machine.accountNotes.slots.get('MASTER')?.level);
    };
    const id = bot.acquire();
    bot.next(bot.grant(id).token);
    expect(levels).toEqual([1, 2]);
  });

  test('a note that cannot be kept ends the daemon before the grant is sent', async () => {
    const machine = await Machine.started({ policies: pacing('MASTER', PACE) });
    const bot = machine.connect();
    machine.accountNotes.fails = true;
    const id = bot.acquire();
    await settled();
    expect(bot.answer(id)).toBeUndefined();
    expect(machine.observed).toContain('failed');
    expect(bot.code(bot.acquire({ account: 'USER:alice' }))).toBe('SHUTTING_DOWN');
  });

  test('after a reboot every bucket counts as full from the start on, whenever its account comes', async () => {
    const { machine } = await exhausted();
    await machine.advance(60_000);
    await machine.reboot(machine.clock.wallMs());
    const bot = machine.connect();
    const id = bot.acquire({ cost: 2 });
    expect(bot.answer(bot.acquire({ account: 'USER:alice', waitMs: 0 }))?.kind).toBe('granted');
    bot.release(bot.grant(2).token);
    await machine.advance(999);
    expect(bot.answer(id)).toBeUndefined();
    await machine.advance(1);
    expect(bot.answer(id)?.kind).toBe('granted');
  });

  test('after a reboot an account that comes when a full bucket would have drained waits for nothing', async () => {
    const { machine } = await exhausted();
    await machine.reboot(machine.clock.wallMs());
    await machine.advance(1_000);
    expect(await atOnce(machine, { cost: 2 })).toBe('granted');
  });

  test('what costs nothing waits for nothing after a reboot', async () => {
    const { machine } = await exhausted();
    await machine.reboot(machine.clock.wallMs());
    expect(await atOnce(machine, { cost: 0 })).toBe('granted');
  });

  test('a pacing that a restart begins with counts as full: only the exchange has counted what came before', async () => {
    const machine = await Machine.started();
    const bot = machine.connect();
    for (let n = 0; n < 20; n += 1) call(bot, 'MASTER');
    machine.policies = pacing('MASTER', PACE);
    await machine.stopAndRestart();
    expect(await atOnce(machine)).toBe('WAIT_TIMEOUT');
  });
});

describe('another configuration while it runs', () => {
  test('that says the same leaves the bucket as full as it is', async () => {
    const { machine, bot } = await exhausted();
    await machine.advance(250);
    expect(await machine.broker.follow(pacing('MASTER', PACE))).toEqual({ kept: [] });
    const id = bot.acquire();
    await machine.advance(249);
    expect(bot.answer(id)).toBeUndefined();
    await machine.advance(1);
    expect(bot.answer(id)?.kind).toBe('granted');
  });

  test('that begins to pace an account counts its bucket as full', async () => {
    const machine = await Machine.started();
    const bot = machine.connect();
    call(bot, 'MASTER');
    await machine.broker.follow(pacing('MASTER', PACE));
    expect(bot.code(bot.acquire({ waitMs: 0 }))).toBe('WAIT_TIMEOUT');
    await machine.advance(500);
    expect(bot.answer(bot.acquire({ waitMs: 0 }))?.kind).toBe('granted');
  });

  test('and counts a call that was under way by then when it ends, because it may have arrived that late', async () => {
    const machine = await Machine.started({ exclusive: 'off' });
    const bot = machine.connect();
    const { token } = bot.grant(bot.acquire({ cost: 1 }));
    await machine.broker.follow(pacing('MASTER', { max: 2, perSecond: 1 }));
    await machine.advance(10_000);
    bot.release(token);
    const id = bot.acquire({ cost: 2 });
    await machine.advance(999);
    expect(bot.answer(id)).toBeUndefined();
    await machine.advance(1);
    expect(bot.answer(id)?.kind).toBe('granted');
  });

  test('and a crash right after that does not empty it', async () => {
    const machine = await Machine.started();
    call(machine.connect(), 'MASTER');
    machine.policies = pacing('MASTER', PACE);
    await machine.broker.follow(machine.policies);
    await machine.crashAndRestart();
    expect(await atOnce(machine)).toBe('WAIT_TIMEOUT');
  });

  test('that ends the pacing grants all that waited for it', async () => {
    const { machine, bot } = await exhausted('off');
    const ids = [bot.acquire(), bot.acquire({ cost: 2 })];
    await machine.broker.follow(configured({}));
    expect(ids.map((id) => bot.answer(id)?.kind)).toEqual(['granted', 'granted']);
  });

  test('with a smaller bucket refuses the waiters that want more than it will ever hold', async () => {
    const { machine, bot } = await exhausted();
    const ids = [bot.acquire({ cost: 2 }), bot.acquire({ cost: 1 })] as const;
    await machine.broker.follow(pacing('MASTER', { max: 1, perSecond: 1 }));
    expect(bot.code(ids[0])).toBe('BAD_REQUEST');
    await machine.advance(1_000);
    expect(bot.answer(ids[1])?.kind).toBe('granted');
  });
});

describe('with waiters that are paced, a switch of what is exclusive', () => {
  for (const from of EXCLUSION) {
    for (const to of EXCLUSION) {
      test(`I8: from ${from} to ${to}: each goes when its pace is there, and is answered once`, async () => {
        const { machine, bot } = await exhausted(from);
        const holder = machine.connect('holder');
        holder.acquire({ account: 'USER:alice', ttlMs: 600 });
        const paced = bot.acquire();
        const behind = bot.acquire();
        const free = bot.acquire({ account: 'USER:bob', ttlMs: 1 });
        await machine.broker.setExclusive(to);
        await machine.advance(499);
        expect(bot.answer(paced)).toBeUndefined();
        await machine.advance(101);
        bot.release(bot.grant(paced).token);
        await machine.advance(600);
        expect([paced, behind, free].map((id) => bot.answer(id)?.kind)).toEqual(['granted', 'granted', 'granted']);
        expect(machine.broker.status().totals.waiting).toBe(0);
      });
    }
  }

  test('cancel, timeout and disconnect still find the waiters that were paced before it', async () => {
    const { machine, bot } = await exhausted();
    const gone = machine.connect('gone');
    gone.acquire();
    const ids = [bot.acquire(), bot.acquire({ waitMs: 300 }), bot.acquire()] as const;
    await machine.broker.setExclusive('account');
    gone.disconnect();
    bot.cancel(ids[0]);
    await machine.advance(500);
    expect([bot.code(ids[0]), bot.code(ids[1]), bot.answer(ids[2])?.kind]).toEqual([
      'CANCELLED',
      'WAIT_TIMEOUT',
      'granted',
    ]);
    expect(gone.answer(1)).toBeUndefined();
  });

  test('another exchange of an account moves its paced waiters to the lane of that one', async () => {
    const { machine, bot } = await exhausted();
    const paced = bot.acquire();
    const holder = machine.connect('holder');
    holder.acquire({ account: 'USER:alice', ttlMs: 60_000 });
    const accounts = { MASTER: { exchange: 'other', pacing: PACE } };
    await machine.broker.follow(configured({ accounts }));
    await machine.advance(500);
    expect(bot.answer(paced)?.kind).toBe('granted');
    expect(
      machine.broker
        .status()
        .lanes.map(({ lane }) => lane)
        .sort(),
    ).toEqual(['default', 'other']);
  });
});

test('an account that is forgotten while its bucket holds anything would be forgotten too early, so it is not', async () => {
  const machine = await Machine.started({ limits: { accounts: 2 }, policies: pacedBy(2, 2), state: stateWith() });
  const bot = machine.connect();
  for (const account of ['A', 'B']) {
    const id = bot.acquire({ account, cost: 2 });
    await settled();
    bot.release(bot.grant(id).token);
  }
  expect(bot.code(bot.acquire({ account: 'C' }))).toBe('LIMIT');
  await machine.advance(1_000);
  const id = bot.acquire({ account: 'C' });
  await settled();
  expect(bot.answer(id)?.kind).toBe('granted');
  expect([...machine.accountNotes.slots.keys()].sort()).toEqual(['B', 'C']);
});
