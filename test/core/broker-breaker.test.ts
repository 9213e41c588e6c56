import { describe, expect, test } from 'vitest';
import type { AcquireParams } from '../../src/core/broker.ts';
import type { Outcome } from '../../src/terms.ts';
import { configured, pacedBy, pacing, stateWith } from './configured.ts';
import { type Bot, Machine, settled } from './simulation.ts';

const MINUTE_MS = 60_000;

/** What an `acquire` that may not wait is answered: its code, or that it was granted; nothing stays of it. */
async function atOnce(machine: Machine, params: Partial<AcquireParams> = {}): Promise<string | undefined> {
  const bot = machine.connect();
  const id = bot.acquire({ waitMs: 0, ...params });
  // A ceiling may have to be raised; no time passes by that.
  await settled();
  const answer = bot.answer(id);
  bot.disconnect();
  return answer?.kind === 'refused' ? answer.refusal.code : answer?.kind;
}

/** Calls that are granted and end at once. Each account has a process of its own. */
async function end(machine: Machine, account: string, ...outcomes: Outcome[]): Promise<void> {
  for (const outcome of outcomes) {
    const bot = machine.connect(account);
    const id = bot.acquire({ account });
    await settled();
    bot.release(bot.grant(id).token, false, outcome);
  }
}

/** What was last noted, for comparing. */
const lasts = (machine: Machine) =>
  machine.broker.status().sequences.map(({ name, last, ceiling }) => [name, last, ceiling]);

async function quarantined(trouble: 'invalid-nonce' | 'locked-out' = 'invalid-nonce'): Promise<Machine> {
  const machine = await Machine.started({ exclusive: 'account' });
  await end(machine, 'MASTER', ...(trouble === 'locked-out' ? [trouble] : [trouble, trouble, trouble]));
  return machine;
}

describe('the circuit breaker of an account', () => {
  test('after three rejected nonces in a row every call is refused at once, with the time of the probe', async () => {
    const machine = await Machine.started();
    await end(machine, 'MASTER', 'invalid-nonce', 'invalid-nonce');
    expect(await atOnce(machine)).toBe('granted');
    await end(machine, 'MASTER', 'invalid-nonce');
    const bot = machine.connect();
    const id = bot.acquire();
    expect(bot.answer(id)).toMatchObject({
      refusal: { code: 'QUARANTINED', retryAfterMs: MINUTE_MS, message: expect.stringContaining('last 3 nonces') },
    });
    expect(await atOnce(machine, { account: 'USER:alice' })).toBe('granted');
    expect(machine.observed.filter((what) => what === 'breaker-changed')).toHaveLength(1);
  });

  test('when it opens, waiters of the account are refused too, and no others', async () => {
    const machine = await Machine.started();
    await end(machine, 'MASTER', 'invalid-nonce', 'invalid-nonce');
    const [holder, waiter] = [machine.connect(), machine.connect()];
    const held = holder.acquire();
    const waiting = [waiter.acquire(), waiter.acquire({ priority: 'background' })];
    const other = waiter.acquire({ account: 'USER:alice' });
    const urgent = waiter.acquire({ priority: 'urgent' });
    holder.release(holder.grant(held).token, false, 'invalid-nonce');
    expect(waiting.map((id) => waiter.code(id))).toEqual(['QUARANTINED', 'QUARANTINED']);
    // An urgent one may pass at once, and is next.
    waiter.release(waiter.grant(urgent).token, false, 'unknown');
    expect(waiter.answer(other)?.kind).toBe('granted');
    expect(machine.broker.status().totals.waiting).toBe(0);
  });

  test('a waiter that was paced is refused too, and nothing happens at its time', async () => {
    const machine = await Machine.started({ exclusive: 'off', policies: pacing('MASTER', { max: 1, perSecond: 1 }) });
    const bot = machine.connect();
    const id = bot.acquire();
    const paced = bot.acquire();
    bot.release(bot.grant(id).token, false, 'locked-out');
    expect(bot.code(paced)).toBe('QUARANTINED');
    await machine.advance(5_000);
    expect(machine.broker.status().totals).toMatchObject({ waiting: 0, leases: 0 });
  });

  test('lets one probe through after 60, 120, 240, 480 and then every 900 seconds; its outcome does not change that', async () => {
    const machine = await quarantined();
    for (const seconds of [60, 120, 240, 480, 900, 900]) {
      await machine.advance(seconds * 1_000 - 1);
      expect(await atOnce(machine)).toBe('QUARANTINED');
      await machine.advance(1);
      const bot = machine.connect();
      const probe = bot.acquire();
      await settled();
      expect(bot.code(bot.acquire())).toBe('QUARANTINED');
      bot.release(bot.grant(probe).token, false, 'invalid-nonce');
    }
  });

  test('of several that wait when the probe is due one goes, and the others are refused at once', async () => {
    const machine = await Machine.started();
    await end(machine, 'MASTER', 'locked-out');
    await machine.advance(15 * MINUTE_MS - 1);
    const [holder, bot] = [machine.connect(), machine.connect()];
    const held = holder.acquire({ account: 'USER:alice' });
    await machine.advance(1);
    const ids = [bot.acquire(), bot.acquire(), bot.acquire({ priority: 'background' })];
    expect(ids.map((id) => bot.answer(id))).toEqual([undefined, undefined, undefined]);
    holder.release(holder.grant(held).token);
    expect(ids.map((id) => bot.answer(id)?.kind)).toEqual(['granted', 'refused', 'refused']);
  });

  test('an accepted probe closes it', async () => {
    const machine = await quarantined();
    await machine.advance(MINUTE_MS);
    await end(machine, 'MASTER', 'ok');
    expect(await atOnce(machine)).toBe('granted');
    expect(machine.accountNotes.slots.get('MASTER')?.breaker.openFor).toBeUndefined();
    expect(machine.observed.filter((what) => what === 'breaker-changed')).toHaveLength(2);
  });

  test('an accepted call from before it opened does not close it', async () => {
    const machine = await Machine.started({ exclusive: 'off' });
    const bot = machine.connect();
    const early = bot.grant(bot.acquire()).token;
    await machine.advance(5);
    await end(machine, 'MASTER', 'locked-out');
    bot.release(early);
    expect(await atOnce(machine)).toBe('QUARANTINED');
  });

  test('nor does it if the daemon was restarted in between', async () => {
    const machine = await Machine.started({ exclusive: 'off' });
    const bot = machine.connect('bot', 'session');
    const early = bot.grant(bot.acquire()).token;
    await machine.advance(5);
    await end(machine, 'MASTER', 'locked-out');
    await machine.advance(5);
    await machine.crashAndRestart();
    const back = machine.connect('bot', 'session');
    expect(back.release(early)).toBe(true);
    expect(await atOnce(machine)).toBe('QUARANTINED');
  });

  test('an urgent call passes at once and then once in ten seconds; after a lockout it waits for the probe as others do', async () => {
    const machine = await quarantined();
    const urgent = { priority: 'urgent' } as const;
    expect(await atOnce(machine, urgent)).toBe('granted');
    await machine.advance(9_999);
    expect(await atOnce(machine, urgent)).toBe('QUARANTINED');
    await machine.advance(1);
    expect(await atOnce(machine, urgent)).toBe('granted');
    const locked = await quarantined('locked-out');
    await locked.advance(15 * MINUTE_MS - 1);
    expect(await atOnce(locked, urgent)).toBe('QUARANTINED');
    await locked.advance(1);
    expect(await atOnce(locked, urgent)).toBe('granted');
    expect(await atOnce(locked, urgent)).toBe('QUARANTINED');
  });

  test('a probe is used up by a nonce that is drawn for it under another account’s lease', async () => {
    const machine = await Machine.started();
    await end(machine, 'MASTER', 'locked-out');
    await machine.advance(15 * MINUTE_MS);
    const bot = machine.connect();
    const id = bot.acquire({ account: 'USER:alice' });
    await settled();
    const { token } = bot.grant(id);
    expect(bot.answer(bot.next(token, 'MASTER'))?.kind).toBe('drawn');
    expect(bot.code(bot.next(token, 'MASTER'))).toBe('QUARANTINED');
  });

  test('and so is what an urgent call may do once in ten seconds', async () => {
    const machine = await Machine.started();
    await end(machine, 'MASTER', 'invalid-nonce', 'invalid-nonce', 'invalid-nonce');
    const bot = machine.connect();
    const { token } = bot.grant(bot.acquire({ account: 'USER:alice', priority: 'urgent' }));
    expect(bot.answer(bot.next(token, 'MASTER'))?.kind).toBe('drawn');
    expect(bot.code(bot.next(token, 'MASTER'))).toBe('QUARANTINED');
    await machine.advance(10_000);
    const again = bot.next(token, 'MASTER');
    await settled();
    expect(bot.answer(again)?.kind).toBe('drawn');
  });

  test('next is refused while it is open, and the lease stays', async () => {
    const machine = await quarantined();
    await machine.broker.setExclusive('global');
    const bot = machine.connect();
    const { token } = bot.grant(bot.acquire({ account: 'USER:alice' }));
    const id = bot.next(token, 'MASTER');
    expect(bot.answer(id)).toMatchObject({ refusal: { code: 'QUARANTINED', retryAfterMs: MINUTE_MS } });
    expect(bot.answer(bot.next(token))?.kind).toBe('drawn');
  });

  for (const how of ['crash', 'stop'] as const) {
    test(`it stands after a ${how} as it stood before, and so does a row that has not opened it yet`, async () => {
      const machine = await quarantined();
      await end(machine, 'USER:alice', 'invalid-nonce', 'invalid-nonce');
      await machine.advance(20_000);
      await (how === 'crash' ? machine.crashAndRestart() : machine.stopAndRestart());
      const bot = machine.connect();
      const id = bot.acquire();
      expect(bot.answer(id)).toMatchObject({ refusal: { code: 'QUARANTINED', retryAfterMs: 40_000 } });
      await end(machine, 'USER:alice', 'invalid-nonce');
      expect(await atOnce(machine, { account: 'USER:alice' })).toBe('QUARANTINED');
      await machine.advance(40_000);
      expect(await atOnce(machine)).toBe('granted');
      expect(await atOnce(machine)).toBe('QUARANTINED');
    });
  }

  test('a probe that a crash has cut off is used up', async () => {
    const machine = await quarantined();
    await machine.advance(MINUTE_MS);
    const bot = machine.connect();
    bot.acquire();
    await settled();
    await machine.crashAndRestart();
    expect(await atOnce(machine)).toBe('QUARANTINED');
  });

  test('resume closes it, durably, though nothing was paused', async () => {
    const machine = await quarantined('locked-out');
    expect(await machine.broker.setPaused('MASTER', false)).toMatchObject({ before: 'running', after: 'running' });
    expect(await atOnce(machine)).toBe('granted');
    await machine.crashAndRestart();
    expect(await atOnce(machine)).not.toBe('QUARANTINED');
  });

  test('I10: no sequence is touched by any of it', async () => {
    const machine = await Machine.started();
    const before = lasts(machine);
    const bot = machine.connect();
    const tokens: Bot[] = [];
    await machine.broker.setExclusive('off');
    for (let n = 0; n < 6; n += 1) {
      tokens.push(bot);
      bot.acquire({}, `call-${n}`);
    }
    await settled();
    const drawn = lasts(machine);
    expect(drawn).not.toEqual(before);
    for (let n = 0; n < 6; n += 1) {
      bot.release(bot.grant(`call-${n}`).token, false, n === 5 ? 'locked-out' : 'invalid-nonce');
    }
    for (let n = 0; n < 10; n += 1) bot.acquire();
    await machine.broker.setPaused('MASTER', false);
    expect(lasts(machine).map(([name, last]) => [name, last])).toEqual(drawn.map(([name, last]) => [name, last]));
  });

  test('an account whose breaker remembers anything is not forgotten for another', async () => {
    const machine = await Machine.started({ limits: { accounts: 2 } });
    await end(machine, 'A', 'invalid-nonce', 'invalid-nonce');
    await end(machine, 'B', 'locked-out');
    expect(await atOnce(machine, { account: 'C' })).toBe('LIMIT');
    expect(await machine.broker.setPaused('B', false)).toMatchObject({ after: 'running' });
    expect(await atOnce(machine, { account: 'C' })).toBe('granted');
    await end(machine, 'A', 'invalid-nonce');
    expect(await atOnce(machine, { account: 'A' })).toBe('QUARANTINED');
  });
});

describe('an exchange that is down', () => {
  const ELSEWHERE = configured({ accounts: { ELSEWHERE: { exchange: 'other' } } });

  async function down(): Promise<Machine> {
    const machine = await Machine.started({ policies: ELSEWHERE });
    await end(machine, 'A', 'unsettled');
    await end(machine, 'B', 'unavailable');
    await end(machine, 'C', 'unsettled');
    return machine;
  }

  test('three calls of its accounts without an answer: all its accounts are refused at once, and no other exchange’s', async () => {
    const machine = await down();
    const bot = machine.connect();
    expect(bot.answer(bot.acquire({ account: 'D' }))).toMatchObject({
      refusal: { code: 'EXCHANGE_DOWN', retryAfterMs: 5_000 },
    });
    expect(await atOnce(machine, { account: 'ELSEWHERE' })).toBe('granted');
    expect(machine.broker.status().exchanges.filter(({ downForMs }) => downForMs !== null)).toHaveLength(1);
  });

  test('calls of another exchange’s accounts do not count for it, and their answers do not end its row', async () => {
    const machine = await Machine.started({ policies: ELSEWHERE });
    await end(machine, 'A', 'unsettled', 'unsettled');
    await end(machine, 'ELSEWHERE', 'ok', 'unsettled', 'unsettled');
    expect(await atOnce(machine, { account: 'A' })).toBe('granted');
    await end(machine, 'B', 'unsettled');
    expect(await atOnce(machine, { account: 'A' })).toBe('EXCHANGE_DOWN');
    expect(await atOnce(machine, { account: 'ELSEWHERE' })).toBe('granted');
  });

  test('waiters are refused when it goes down, except the urgent ones', async () => {
    const machine = await Machine.started({ policies: ELSEWHERE });
    await end(machine, 'A', 'unsettled', 'unsettled');
    const [holder, bot] = [machine.connect('holder'), machine.connect()];
    const held = holder.acquire({ account: 'A' });
    const ids = [bot.acquire({ account: 'A' }), bot.acquire({ account: 'B', priority: 'background' })];
    const urgent = bot.acquire({ account: 'B', priority: 'urgent' });
    holder.release(holder.grant(held).token, false, 'unavailable');
    expect(ids.map((id) => bot.code(id))).toEqual(['EXCHANGE_DOWN', 'EXCHANGE_DOWN']);
    expect(bot.grant(urgent).ttlMs).toBe(5_000);
  });

  test('one probe every five seconds is let through, over all its accounts, for five seconds at most', async () => {
    const machine = await down();
    for (let round = 0; round < 4; round += 1) {
      await machine.advance(4_999);
      expect(await atOnce(machine, { account: 'A' })).toBe('EXCHANGE_DOWN');
      await machine.advance(1);
      const bot = machine.connect(round % 2 === 0 ? 'one' : 'other');
      const id = bot.acquire({ account: round % 2 === 0 ? 'A' : 'B', ttlMs: 60_000 });
      await settled();
      expect(bot.grant(id).ttlMs).toBe(5_000);
      expect(await atOnce(machine, { account: 'C' })).toBe('EXCHANGE_DOWN');
      expect(bot.renew(bot.grant(id).token, 60_000)).toBe(5_000);
      bot.release(bot.grant(id).token, false, 'unsettled');
    }
  });

  test('a shorter TTL stays as it is', async () => {
    const machine = await down();
    await machine.advance(5_000);
    const bot = machine.connect();
    const id = bot.acquire({ account: 'A', ttlMs: 1_000 });
    await settled();
    expect(bot.grant(id).ttlMs).toBe(1_000);
  });

  test('I7: a lease from before it went down loses no time when it is renewed', async () => {
    const machine = await Machine.started({ exclusive: 'account' });
    const bot = machine.connect();
    const { token } = bot.grant(bot.acquire({ account: 'A', ttlMs: 60_000 }));
    await end(machine, 'B', 'unsettled', 'unsettled');
    await end(machine, 'C', 'unsettled');
    expect(await atOnce(machine, { account: 'B' })).toBe('EXCHANGE_DOWN');
    await machine.advance(0.25);
    // Rounded down: never more than the bucket really has.
    expect(bot.renew(token)).toBe(59_999);
    await machine.advance(59_999.5);
    expect(bot.revokedTokens).toEqual([]);
    await machine.advance(0.25);
    expect(bot.revokedTokens).toMatchObject([{ token, reason: 'expired' }]);
  });

  test('urgent calls are let through one after the other, and use no probe up', async () => {
    const machine = await down();
    for (let n = 0; n < 3; n += 1) expect(await atOnce(machine, { account: 'A', priority: 'urgent' })).toBe('granted');
    await machine.advance(5_000);
    expect(await atOnce(machine, { account: 'A', priority: 'urgent' })).toBe('granted');
    expect(await atOnce(machine, { account: 'A' })).toBe('granted');
  });

  test('ends with an accepted call, of whichever account', async () => {
    const machine = await down();
    await machine.advance(5_000);
    await end(machine, 'D', 'ok');
    for (const account of ['A', 'B']) expect(await atOnce(machine, { account })).toBe('granted');
    expect(machine.observed.filter((what) => what === 'exchange-changed')).toHaveLength(2);
  });

  test('next is refused too, and a probe is used up by it', async () => {
    const machine = await down();
    const bot = machine.connect();
    const { token } = bot.grant(bot.acquire({ account: 'ELSEWHERE', ttlMs: 60_000 }));
    await machine.broker.follow(configured({}));
    // Now the lease covers the lane of the exchange that is down.
    expect(bot.code(bot.next(token))).toBe('EXCHANGE_DOWN');
    await machine.advance(5_000);
    const probe = bot.next(token);
    await settled();
    expect(bot.answer(probe)?.kind).toBe('drawn');
    expect(bot.code(bot.next(token))).toBe('EXCHANGE_DOWN');
  });

  test('lanes of two exchanges are independent under the policy global', async () => {
    const machine = await Machine.started({ policies: ELSEWHERE });
    const bot = machine.connect();
    const ids = [bot.acquire({ account: 'A' }), bot.acquire({ account: 'ELSEWHERE' })] as const;
    const waiting = [bot.acquire({ account: 'B' }), bot.acquire({ account: 'ELSEWHERE' })] as const;
    await settled();
    expect(ids.map((id) => bot.answer(id)?.kind)).toEqual(['granted', 'granted']);
    bot.release(bot.grant(ids[1]).token);
    expect(waiting.map((id) => bot.answer(id)?.kind)).toEqual([undefined, 'granted']);
    expect(bot.code(bot.next(bot.grant(ids[0]).token, 'ELSEWHERE'))).toBe('NESTED_LANE');
  });
});

describe('pause', () => {
  test('refuses what waits and what comes, also nonce and next, and leaves calls under way alone', async () => {
    const machine = await Machine.started();
    const [holder, bot] = [machine.connect(), machine.connect()];
    const { token } = holder.grant(holder.acquire());
    const waiting = [bot.acquire(), bot.acquire({ priority: 'urgent' })];
    const other = bot.acquire({ account: 'USER:alice' });
    expect(await machine.broker.setPaused('MASTER', true)).toMatchObject({ before: 'running', after: 'paused' });
    expect(waiting.map((id) => bot.code(id))).toEqual(['PAUSED', 'PAUSED']);
    expect(bot.code(bot.acquire({ priority: 'urgent', cost: 0 }))).toBe('PAUSED');
    expect(bot.code(bot.nonce('MASTER'))).toBe('PAUSED');
    expect(holder.code(holder.next(token))).toBe('PAUSED');
    expect(holder.renew(token)).toBe(20_000);
    expect(holder.revokedTokens).toEqual([]);
    expect(holder.release(token)).toBe(true);
    const alice = bot.grant(other).token;
    expect(bot.code(bot.next(alice, 'MASTER'))).toBe('PAUSED');
    expect(bot.answer(bot.next(alice))?.kind).toBe('drawn');
  });

  test('is durable before it is answered, over crashes and reboots, and for an account that was never used', async () => {
    const machine = await Machine.started({ state: stateWith() });
    await machine.broker.setPaused('MASTER', true);
    expect(machine.store.durable.accounts.get('MASTER')).toEqual({ sequence: undefined, paused: true });
    await machine.crashAndRestart();
    expect(await atOnce(machine)).toBe('PAUSED');
    await machine.reboot(machine.clock.wallMs());
    expect(await atOnce(machine)).toBe('PAUSED');
    expect(await machine.broker.setPaused('MASTER', false)).toMatchObject({ before: 'paused', after: 'running' });
    await machine.stopAndRestart();
    expect(await atOnce(machine)).toBe('granted');
  });

  test('is in effect only once it is durable, and a write that fails pauses no account', async () => {
    const machine = await Machine.started();
    machine.store.held = true;
    const paused = machine.broker.setPaused('MASTER', true);
    expect(await atOnce(machine)).toBe('granted');
    machine.store.fail({ kind: 'retriable', error: new Error('ENOSPC') });
    expect(await paused).toMatchObject({ code: 'NOT_DURABLE' });
    expect(await atOnce(machine)).toBe('granted');
  });

  test('a bare nonce that waits for a write when its account is paused is refused', async () => {
    const machine = await Machine.started({ state: stateWith() });
    machine.store.held = true;
    const pausing = machine.broker.setPaused('MASTER', true);
    const bot = machine.connect();
    const id = bot.nonce('MASTER');
    expect(bot.answer(id)).toBeUndefined();
    machine.store.held = false;
    machine.store.settle();
    await pausing;
    await settled();
    expect(bot.code(id)).toBe('PAUSED');
  });

  test('an acquire that waits to be enlisted when its account is paused is refused', async () => {
    const machine = await Machine.started({ state: stateWith() });
    machine.store.held = true;
    const pausing = machine.broker.setPaused('MASTER', true);
    const bot = machine.connect();
    const id = bot.acquire();
    machine.store.held = false;
    machine.store.settle();
    await pausing;
    await settled();
    expect(bot.code(id)).toBe('PAUSED');
  });

  test('of an account that was forgotten meanwhile holds when it comes back', async () => {
    const machine = await Machine.started({ limits: { accounts: 1 } });
    await end(machine, 'A', 'ok');
    await machine.broker.setPaused('A', true);
    await machine.advance(1);
    await end(machine, 'B', 'ok');
    expect(await atOnce(machine, { account: 'A' })).toBe('PAUSED');
  });

  test('of a pause and a resume at once, the one that was asked for last holds', async () => {
    const machine = await Machine.started();
    await Promise.all([machine.broker.setPaused('MASTER', true), machine.broker.setPaused('MASTER', false)]);
    expect(await atOnce(machine)).toBe('granted');
    expect(machine.store.durable.accounts.get('MASTER')?.paused).toBe(false);
  });
});

describe('one key, one label', () => {
  test('a key that is known under another account is refused, and that one keeps it', async () => {
    const machine = await Machine.started({ exclusive: 'account' });
    expect(await atOnce(machine, { key: 'aa' })).toBe('granted');
    expect(await atOnce(machine, { account: 'main', key: 'aa' })).toBe('KEY_MISMATCH');
    expect(await atOnce(machine, { key: 'aa' })).toBe('granted');
    expect(await atOnce(machine, { account: 'main', key: 'bb' })).toBe('granted');
    expect(machine.observed).not.toContain('key-changed');
  });

  test('two keys that alternate under one label are reported once, and not with every call', async () => {
    const machine = await Machine.started();
    for (let n = 0; n < 20; n += 1) expect(await atOnce(machine, { key: n % 2 === 0 ? 'aa' : 'bb' })).toBe('granted');
    expect(machine.observed.filter((what) => what === 'key-changed')).toHaveLength(1);
    expect(await atOnce(machine, { key: 'cc' })).toBe('granted');
    expect(machine.observed.filter((what) => what === 'key-changed')).toHaveLength(2);
  });

  test('another key under a known label is followed and reported, and the old one is free', async () => {
    const machine = await Machine.started();
    await atOnce(machine, { key: 'aa' });
    expect(await atOnce(machine, { key: 'bb' })).toBe('granted');
    expect(machine.observed.filter((what) => what === 'key-changed')).toHaveLength(1);
    expect(await atOnce(machine, { account: 'main', key: 'aa' })).toBe('granted');
    expect(await atOnce(machine, { key: 'aa' })).toBe('KEY_MISMATCH');
    expect(await atOnce(machine, { account: 'other', key: 'bb' })).toBe('KEY_MISMATCH');
  });

  test('a call that names no key is let through, and changes nothing of what is known', async () => {
    const machine = await Machine.started();
    await atOnce(machine, { key: 'aa' });
    expect(await atOnce(machine)).toBe('granted');
    expect(await atOnce(machine, { account: 'main', key: 'aa' })).toBe('KEY_MISMATCH');
  });

  test('counts for a further nonce too; a refusal for another reason does not bind its key', async () => {
    const machine = await Machine.started();
    await atOnce(machine, { key: 'aa' });
    const bot = machine.connect();
    const id = bot.acquire({ account: 'main' });
    await settled();
    const { token } = bot.grant(id);
    const next = (account: string, key: string) => bot.next(token, account, 1, undefined, 1, { key });
    expect(bot.code(next('main', 'aa'))).toBe('KEY_MISMATCH');
    await machine.broker.setPaused('paused', true);
    expect(bot.code(next('paused', 'bb'))).toBe('PAUSED');
    for (const [account, key] of [
      ['main', 'bb'],
      ['other', 'cc'],
    ] as const) {
      const drawn = next(account, key);
      await settled();
      expect(bot.answer(drawn)?.kind).toBe('drawn');
    }
    expect(bot.code(next('main', 'cc'))).toBe('KEY_MISMATCH');
  });

  test('an account that is forgotten frees its key', async () => {
    const machine = await Machine.started({ limits: { accounts: 1 } });
    await atOnce(machine, { account: 'A', key: 'aa' });
    await machine.advance(1);
    expect(await atOnce(machine, { account: 'B', key: 'aa' })).toBe('granted');
  });
});

describe('a process that alone gets no answer', () => {
  test('is held back over all its accounts and connections, with its waiters, and no other process is', async () => {
    const machine = await Machine.started();
    await end(machine, 'A', 'unavailable', 'unavailable');
    const [holder, broken, healthy] = [machine.connect('A'), machine.connect('A'), machine.connect('healthy')];
    const held = holder.acquire({ account: 'A' });
    await settled();
    const waiting = [broken.acquire({ account: 'B' }), broken.acquire({ account: 'B', priority: 'urgent' })] as const;
    const other = healthy.acquire({ account: 'A' });
    holder.release(holder.grant(held).token, false, 'unavailable');
    expect(broken.answer(waiting[0])).toMatchObject({
      refusal: { code: 'EXCHANGE_DOWN', message: expect.stringContaining('only A (pid 4711) gets no answer') },
    });
    const { token, ttlMs } = broken.grant(waiting[1]);
    expect(ttlMs).toBe(5_000);
    broken.release(token, false, 'unavailable');
    expect(healthy.grant(other).ttlMs).toBe(20_000);
    expect(machine.broker.status().exchanges).toMatchObject([
      { downForMs: null, heldBack: [{ name: 'A', pid: 4711, forMs: 0 }] },
    ]);
    healthy.release(healthy.grant(other).token, false, 'ok');
    await machine.advance(5_000);
    await end(machine, 'A', 'ok');
    expect(machine.broker.status().exchanges).toMatchObject([{ downForMs: null, heldBack: [] }]);
    expect(machine.observed.filter((what) => what === 'caller-changed')).toHaveLength(2);
  });
});

describe('a call of which nothing was sent', () => {
  test('does not use up the probe of a breaker', async () => {
    const machine = await quarantined();
    await machine.advance(MINUTE_MS);
    await end(machine, 'MASTER', 'unused', 'unused');
    expect(await atOnce(machine)).toBe('granted');
    expect(await atOnce(machine)).toBe('QUARANTINED');
  });

  test('nor that of an exchange', async () => {
    const machine = await Machine.started();
    await end(machine, 'A', 'unsettled', 'unsettled');
    await end(machine, 'B', 'unsettled');
    await machine.advance(5_000);
    await end(machine, 'A', 'unused', 'unused');
    expect(await atOnce(machine, { account: 'A' })).toBe('granted');
    expect(await atOnce(machine, { account: 'A' })).toBe('EXCHANGE_DOWN');
  });

  test('gives its cost back, and what waits for the bucket goes on at once', async () => {
    const machine = await Machine.started({ policies: pacedBy(10, 1), exclusive: 'off' });
    const bot = machine.connect();
    await machine.advance(60_000);
    const first = bot.acquire({ cost: 10 });
    await settled();
    const second = bot.acquire({ cost: 10 });
    await settled();
    expect(bot.answer(second)).toBeUndefined();
    bot.release(bot.grant(first).token, false, 'unused');
    await settled();
    expect(bot.answer(second)?.kind).toBe('granted');
    // A further nonce may have been sent.
    bot.release(bot.grant(second).token, false, 'unused');
    const third = bot.acquire({ cost: 9 });
    await settled();
    expect(bot.answer(bot.next(bot.grant(third).token))?.kind).toBe('drawn');
    bot.release(bot.grant(third).token, false, 'unused');
    expect(machine.broker.status().accounts).toMatchObject([{ pace: { level: 10 } }]);
  });
});

describe('a release that comes after its lease has expired', () => {
  test('records how the call ended and changes nothing else: no breaker, no bucket, no exchange, no lane', async () => {
    const machine = await Machine.started({ policies: pacedBy(10, 10) });
    const late: [Bot, number][] = [];
    for (let n = 0; n < 4; n += 1) {
      const bot = machine.connect();
      const id = bot.acquire({ ttlMs: 100 });
      await settled();
      late.push([bot, bot.grant(id).token]);
      await machine.advance(100);
    }
    const holder = machine.connect();
    const held = holder.acquire();
    await settled();
    const { token } = holder.grant(held);
    const before = machine.broker.status();
    for (const [n, [bot, expired]] of late.entries()) {
      const outcome = (['locked-out', 'rate-limited', 'invalid-nonce', 'unavailable'] as const)[n] ?? 'ok';
      expect(bot.release(expired as typeof token, true, outcome)).toBe(false);
    }
    expect(machine.broker.status()).toEqual(before);
    expect(machine.broker.why('MASTER').calls.map(({ outcome, late: isLate }) => [outcome, isLate])).toEqual([
      ['unavailable', true],
      ['invalid-nonce', true],
      ['rate-limited', true],
      ['locked-out', true],
    ]);
    expect(holder.renew(token)).toBe(20_000);
  });

  test('I5: of another connection records nothing', async () => {
    const machine = await Machine.started();
    const [bot, stranger] = [machine.connect(), machine.connect()];
    const { token } = bot.grant(bot.acquire({ ttlMs: 100 }));
    await machine.advance(100);
    expect(stranger.release(token, false, 'invalid-nonce')).toBe(false);
    expect(machine.broker.why('MASTER').calls).toMatchObject([{ outcome: 'unknown', late: false }]);
    expect(machine.observed).not.toContain('rejected');
  });
});
