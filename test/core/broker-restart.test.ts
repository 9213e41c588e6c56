import { describe, expect, test } from 'vitest';
import { RETURN_MS } from '../../src/core/broker.ts';
import type { DurableState, Token } from '../../src/core/ports.ts';
import { freshState, ioError, Machine, noSpace, settled } from './simulation.ts';

const NS = 1_000_000n;

/** A machine on which `bot` of session `s1` held a lease when the daemon died. */
async function withOrphan() {
  const machine = await Machine.started();
  const bot = machine.connect('bot', 's1');
  const id = bot.acquire({}, 'call-7');
  await settled();
  const { token, nonce } = bot.grant(id);
  await machine.crashAndRestart();
  return { machine, token, nonce };
}

describe('after a crash', () => {
  test('I4: the lane of a noted lease stays closed for two seconds, and then its holder is presumed dead', async () => {
    const { machine, nonce } = await withOrphan();
    const other = machine.connect('other', 's2');
    const id = other.acquire({ account: 'USER:alice' });
    await machine.advance(RETURN_MS - 1);
    expect(other.answer(id)).toBeUndefined();
    await machine.advance(1);
    expect(other.grant(id).nonce).toBeGreaterThan(nonce);
    expect(machine.connect('bot', 's1').resumed).toEqual([]);
  });

  test('a probe whose grant got lost may be made: it is not refused for its own sake, and what comes after it is', async () => {
    const machine = await Machine.started();
    const first = machine.connect('bot', 's1');
    for (const _ of [1, 2, 3]) {
      const id = first.acquire();
      await settled();
      first.release(first.grant(id).token, false, 'invalid-nonce');
    }
    await machine.advance(60_000);
    const asked = first.acquire();
    await settled();
    const probe = first.grant(asked);
    await machine.crashAndRestart();
    const back = machine.connect('bot', 's1');
    expect(back.resumed).toMatchObject([{ token: probe.token }]);
    const draw = () => back.next(probe.token, undefined, 1, undefined, 0);
    const again = draw();
    await settled();
    expect(back.drew(again)).toBeGreaterThan(probe.nonce);
    expect(back.code(draw())).toBe('QUARANTINED');
  });

  test('a grant that got lost is not made up for if its account was paused meanwhile, or has another unit or key', async () => {
    const { machine, token } = await withOrphan();
    const bot = machine.connect('bot', 's1');
    const draw = (told: { unit?: 'ms'; key?: string }) => bot.next(token, undefined, 1, undefined, 0, told);
    expect(bot.code(draw({ unit: 'ms' }))).toBe('UNIT_MISMATCH');
    await machine.broker.setPaused('MASTER', true);
    expect(bot.code(draw({}))).toBe('PAUSED');
  });

  test('why and status know the nonce and the label of a lease that went on', async () => {
    const machine = await Machine.started();
    const bot = machine.connect('bot', 's1');
    const id = bot.acquire({ label: 'AddOrder XBTEUR', count: 3 });
    await settled();
    const { token, nonce } = bot.grant(id);
    await machine.crashAndRestart();
    const back = machine.connect('bot', 's1');
    expect(machine.broker.status().lanes[0]?.holders).toMatchObject([{ nonce, label: 'AddOrder XBTEUR' }]);
    back.release(token);
    expect(machine.broker.why('MASTER').calls[0]).toMatchObject({
      nonce,
      lastNonce: nonce + 2n,
      label: 'AddOrder XBTEUR',
    });
  });

  test('the two seconds begin when clients can come, and not before', async () => {
    const machine = await Machine.started();
    const bot = machine.connect('bot', 's1');
    bot.acquire();
    await settled();
    machine.crash();
    await machine.startUnopened();
    machine.clock.stall(5_000);
    machine.broker.open();
    const other = machine.connect('other');
    const id = other.acquire();
    await machine.advance(RETURN_MS - 1);
    expect(other.answer(id)).toBeUndefined();
    expect(machine.connect('bot', 's1').resumed).toHaveLength(1);
  });

  test('I5: tokens rise above those of noted leases, even if a backup of the state has forgotten them', async () => {
    const machine = await Machine.started();
    const backup = machine.store.durable;
    const bot = machine.connect('bot', 's1');
    await machine.crashAndRestart();
    const again = machine.connect('bot', 's1');
    const id = again.acquire();
    await machine.advance(RETURN_MS);
    const { token } = again.grant(id);
    machine.crash();
    machine.store.durable = backup;
    await machine.start();
    const back = machine.connect('bot', 's1');
    expect(back.resumed).toMatchObject([{ token }]);
    const other = machine.connect('other');
    const next = other.acquire();
    expect(back.release(token)).toBe(true);
    await settled();
    expect(other.grant(next).token).toBeGreaterThan(token);
    expect(machine.store.durable.sequences['#tokens']?.ceiling).toBeGreaterThan(token);
    expect(bot.revokedTokens).toEqual([]);
  });

  test('its holder finds it again by its session, with the id of its request and what is left of its TTL', async () => {
    const { machine, token } = await withOrphan();
    await machine.advance(1_500);
    const back = machine.connect('bot', 's1');
    expect(back.resumed).toEqual([{ token, account: 'MASTER', requestId: 'call-7', ttlMs: 18_500 }]);
    await machine.advance(18_499);
    const other = machine.connect('other');
    const id = other.acquire();
    expect(other.answer(id)).toBeUndefined();
    expect(back.revokedTokens).toEqual([]);
    await machine.advance(1);
    expect(back.revokedTokens).toEqual([{ token, reason: 'expired' }]);
  });

  test('I5: it works again over the new connection, and over no other', async () => {
    const { machine, token } = await withOrphan();
    const [stranger, nobody] = [machine.connect('stranger', 's2'), machine.connect('nobody')];
    expect([stranger.resumed, nobody.resumed]).toEqual([[], []]);
    expect(stranger.release(token)).toBe(false);
    const back = machine.connect('bot', 's1');
    const again = machine.connect('bot', 's1');
    expect(again.resumed).toEqual([]);
    expect(again.release(token)).toBe(false);
    expect(back.renew(token)).toBe(20_000);
    const id = back.next(token);
    await settled();
    expect(back.answer(id)?.kind).toBe('drawn');
    expect(back.release(token)).toBe(true);
  });

  test('a lease whose client told no session cannot be taken up, and its lane opens after two seconds', async () => {
    const machine = await Machine.started();
    machine.connect('shell').acquire();
    await settled();
    await machine.crashAndRestart();
    expect(machine.connect('shell').resumed).toEqual([]);
    const other = machine.connect('other');
    const id = other.acquire();
    await machine.advance(RETURN_MS);
    expect(other.answer(id)?.kind).toBe('granted');
  });

  test('I4: a lease that would have ended sooner closes its lane until then only', async () => {
    const machine = await Machine.started();
    machine.connect('bot', 's1').acquire({ ttlMs: 3_000 });
    await settled();
    await machine.advance(2_500);
    await machine.crashAndRestart();
    const other = machine.connect('other');
    const id = other.acquire();
    await machine.advance(499);
    expect(other.answer(id)).toBeUndefined();
    await machine.advance(1);
    expect(other.answer(id)?.kind).toBe('granted');
  });

  test('a note whose lease had ended by then closes nothing, and is struck: its slot is used again', async () => {
    const machine = await Machine.started();
    machine.connect('bot', 's1').acquire({ ttlMs: 3_000 });
    await settled();
    machine.crash();
    machine.clock.stall(3_000);
    await machine.start();
    expect(machine.notes.slots.size).toBe(0);
    const bot = machine.connect('other');
    const id = bot.acquire();
    await settled();
    expect(bot.answer(id)?.kind).toBe('granted');
  });

  test('I7: a renewal before the crash counts after it', async () => {
    const machine = await Machine.started();
    const bot = machine.connect('bot', 's1');
    const id = bot.acquire({ ttlMs: 3_000 });
    await settled();
    await machine.advance(2_000);
    bot.renew(bot.grant(id).token, 60_000);
    await machine.crashAndRestart();
    const back = machine.connect('bot', 's1');
    expect(back.resumed[0]?.ttlMs).toBe(60_000);
    await machine.advance(59_999);
    expect(back.revokedTokens).toEqual([]);
  });

  test('I4: a second crash during the two seconds finds the lease again', async () => {
    const { machine, token } = await withOrphan();
    await machine.advance(1_000);
    await machine.crashAndRestart();
    expect(machine.connect('bot', 's1').resumed).toMatchObject([{ token }]);
    await machine.crashAndRestart();
    expect(machine.connect('bot', 's1').resumed).toMatchObject([{ token }]);
  });

  test('I4: damaged notes close all lanes for two seconds', async () => {
    const machine = await Machine.started({ exclusive: 'account' });
    machine.crash();
    machine.foundDamaged = true;
    await machine.start();
    const bots = ['MASTER', 'USER:alice'].map((account) => {
      const bot = machine.connect(account);
      return { bot, id: bot.acquire({ account }) };
    });
    const bare = machine.connect();
    const nonce = bare.nonce();
    await machine.advance(RETURN_MS - 1);
    expect(bots.map(({ bot, id }) => bot.answer(id))).toEqual([undefined, undefined]);
    expect(bare.answer(nonce)?.kind).toBe('drawn');
    await machine.advance(1);
    expect(bots.map(({ bot, id }) => bot.answer(id)?.kind)).toEqual(['granted', 'granted']);
  });

  test('I4: a daemon that stops while all lanes are closed does not say that there were no holders', async () => {
    const machine = await Machine.started();
    expect(machine.broker.mayHaveHolders).toBe(false);
    machine.crash();
    machine.foundDamaged = true;
    await machine.start();
    await machine.advance(RETURN_MS - 1);
    expect(machine.broker.mayHaveHolders).toBe(true);
    await machine.advance(1);
    expect(machine.broker.mayHaveHolders).toBe(false);
    machine.connect().acquire();
    await machine.advance(100);
    expect(machine.broker.mayHaveHolders).toBe(true);
  });

  test('I4: damaged notes close the lanes also of a policy that is switched to meanwhile', async () => {
    const machine = await Machine.started({ exclusive: 'off' });
    machine.crash();
    machine.foundDamaged = true;
    await machine.start();
    await machine.broker.setExclusive('account');
    const bot = machine.connect();
    const id = bot.acquire();
    await machine.advance(RETURN_MS - 1);
    expect(bot.answer(id)).toBeUndefined();
    await machine.advance(1);
    expect(bot.answer(id)?.kind).toBe('granted');
  });

  test('I4: more noted leases than accounts can be known close all lanes', async () => {
    const machine = await Machine.started({ exclusive: 'account', limits: { accounts: 3 } });
    for (const account of ['one', 'two', 'three']) machine.connect('bot', account).acquire({ account });
    await settled();
    Object.assign(machine.limits, { accounts: 2 });
    await machine.crashAndRestart();
    // The lease of account three could not be taken up; now there is room for another client to ask for its lane.
    const one = machine.connect('bot', 'one');
    one.release(one.resumed[0]?.token ?? (0 as Token));
    const bot = machine.connect();
    const id = bot.acquire({ account: 'three' });
    await machine.advance(RETURN_MS - 1);
    expect(bot.answer(id)).toBeUndefined();
    await machine.advance(1);
    expect(bot.answer(id)?.kind).toBe('granted');
  });

  test('a reboot leaves no notes: all lanes are free', async () => {
    const { machine } = await withOrphan();
    await machine.reboot(machine.clock.wallMs() + 60_000);
    const bot = machine.connect();
    const id = bot.acquire();
    await settled();
    expect(bot.answer(id)?.kind).toBe('granted');
  });

  test.each([
    ['and no client heard of it', true],
    ['and was lost', false],
  ])('I1, I2: a write was under way %s: the next daemon begins at what is durable', async (_, lands) => {
    const machine = await Machine.started();
    const before = await machine.roundTrip();
    machine.store.held = true;
    const bot = machine.connect();
    const ids: ReturnType<typeof bot.nonce>[] = [];
    while (machine.store.pending === undefined) {
      await machine.advance(100);
      ids.push(bot.nonce());
    }
    // The reserve that is left is used while the write is under way.
    machine.clock.stepWall(2_000);
    ids.push(bot.nonce());
    const last = bot.drew(ids.at(-1) ?? 0);
    await machine.crashAndRestart(lands);
    machine.store.held = false;
    const after = machine.connect();
    const id = after.nonce();
    await settled();
    expect(after.drew(id)).toBeGreaterThan(last);
    expect(after.drew(id)).toBeLessThan(machine.store.durable.sequences['default']?.ceiling ?? 0n);
    expect(last).toBeGreaterThan(before.nonce);
  });

  test('I2, I10: a hundred crashes with a few nonces each: always upwards, and never over a reserve and the use ahead', async () => {
    const machine = await Machine.started();
    let last = 0n;
    let used = 0n;
    for (let crash = 0; crash < 100; crash += 1) {
      for (let n = 0; n < 5; n += 1) {
        const { nonce } = await machine.roundTrip();
        expect(nonce).toBeGreaterThan(last);
        last = nonce;
        used += 1n;
      }
      await machine.crashAndRestart(crash % 2 === 0);
      await machine.advance(1);
    }
    const lead = last - BigInt(machine.clock.wallMs()) * NS;
    expect(lead).toBeLessThan(5_000n * NS + 4n * used);
  });
});

describe('a clean stop', () => {
  test('skips nothing and repeats nothing', async () => {
    const machine = await Machine.started();
    machine.clock.stepWall(-3_600_000);
    let last = (await machine.roundTrip()).nonce;
    for (let n = 0; n < 20; n += 1) {
      await machine.stopAndRestart();
      const { nonce } = await machine.roundTrip();
      expect(nonce).toBe(last + 1n);
      last = nonce;
    }
  });

  test('answers SHUTTING_DOWN to what comes after it, and changes nothing by it', async () => {
    const machine = await Machine.started();
    const bot = machine.connect('bot', 's1');
    const held = bot.acquire();
    await settled();
    const { token } = bot.grant(held);
    const stopped = machine.broker.stop();
    expect([bot.acquire(), bot.nonce(), bot.next(token)].map((id) => bot.code(id))).toEqual([
      'SHUTTING_DOWN',
      'SHUTTING_DOWN',
      'SHUTTING_DOWN',
    ]);
    expect(bot.renew(token)).toMatchObject({ code: 'SHUTTING_DOWN' });
    expect(await machine.broker.setExclusive('off')).toMatchObject({ code: 'SHUTTING_DOWN' });
    expect(await stopped).toBeUndefined();
    expect(machine.store.durable.exclusive).toBe('global');
  });

  test('leaves leases noted and waiters unanswered: both cross to the next daemon', async () => {
    const machine = await Machine.started();
    const [holder, waiter] = [machine.connect('holder', 's1'), machine.connect('waiter', 's2')];
    const held = holder.acquire();
    await settled();
    const { token } = holder.grant(held);
    const waiting = waiter.acquire();
    const bare = waiter.nonce();
    await machine.broker.stop();
    await machine.advance(60_000);
    waiter.cancel(waiting);
    holder.disconnect();
    waiter.disconnect();
    expect(waiter.answer(waiting)).toBeUndefined();
    expect(waiter.answer(bare)?.kind).toBe('drawn');
    expect(holder.revokedTokens).toEqual([]);
    expect([...machine.notes.slots.keys()]).toEqual([token]);
  });

  test('a lease crosses it, and its release reaches the successor', async () => {
    const machine = await Machine.started();
    const bot = machine.connect('bot', 's1');
    const id = bot.acquire();
    await settled();
    const { token } = bot.grant(id);
    await machine.stopAndRestart();
    const back = machine.connect('bot', 's1');
    expect(back.resumed).toMatchObject([{ token }]);
    expect(back.release(token)).toBe(true);
    await machine.roundTrip();
  });

  test('a release during it counts: its lane is free for the successor', async () => {
    const machine = await Machine.started();
    const bot = machine.connect('bot', 's1');
    const id = bot.acquire();
    await settled();
    const stopped = machine.broker.stop();
    expect(bot.release(bot.grant(id).token)).toBe(true);
    await stopped;
    machine.crash();
    await machine.start();
    await machine.roundTrip();
  });

  test('waiters that wait for the write under way are not granted by it', async () => {
    const machine = await Machine.started();
    await machine.advance(60_000);
    machine.store.held = true;
    const bot = machine.connect();
    const ids = [bot.acquire(), bot.nonce()];
    const stopped = machine.broker.stop();
    machine.store.held = false;
    machine.store.land();
    await stopped;
    await settled();
    expect(ids.map((id) => bot.answer(id))).toEqual([undefined, undefined]);
    expect(machine.notes.slots.size).toBe(0);
  });
});

describe('a start', () => {
  test('grants nothing before it is open', async () => {
    const machine = await Machine.started();
    machine.crash();
    await machine.startUnopened();
    const bot = machine.connect();
    expect([bot.acquire(), bot.nonce()].map((id) => bot.code(id))).toEqual(['SHUTTING_DOWN', 'SHUTTING_DOWN']);
  });

  test('writes once, and raises the ceilings that time has left behind', async () => {
    const machine = await Machine.started();
    await machine.roundTrip();
    machine.crash();
    machine.clock.stall(3_600_000);
    await machine.start();
    expect(machine.store.writes).toBe(1);
    await machine.roundTrip();
    expect(machine.store.writes).toBe(1);
  });

  test('that cannot write says so', async () => {
    const machine = Machine.unstarted();
    expect((await machine.startUnopened(noSpace()))?.message).toContain('ENOSPC');
    expect((await machine.startUnopened(ioError()))?.message).toContain('EIO');
  });

  test('keeps no process alive until it is open, whether its write failed or not', async () => {
    const machine = Machine.unstarted();
    await machine.startUnopened(noSpace());
    expect(machine.clock.timers).toBe(0);
    await machine.startUnopened();
    expect(machine.clock.timers).toBe(0);
    machine.broker.open();
    expect(machine.clock.timers).toBe(1);
  });
});

describe('the wall clock', () => {
  const HOUR_MS = 3_600_000;
  const leadMs = (machine: Machine, nonce: bigint) => Number(nonce / NS) - machine.clock.monotonicMs();

  test('back by two hours: the sequence goes on from its last nonce, and this is logged', async () => {
    const machine = await Machine.started();
    const before = (await machine.roundTrip()).nonce;
    machine.clock.stepWall(-2 * HOUR_MS);
    const after = (await machine.roundTrip()).nonce;
    expect(after).toBe(before + 1n);
    for (let n = 0; n < 100; n += 1) await machine.roundTrip();
    expect(machine.observed).toContain('ahead');
    expect(machine.observed.filter((what) => what === 'ahead').length).toBeLessThanOrEqual(2);
  });

  test('ahead by 30 minutes is followed', async () => {
    const machine = await Machine.started();
    machine.clock.stepWall(HOUR_MS / 2);
    const { nonce } = await machine.roundTrip();
    expect(nonce).toBeGreaterThanOrEqual(BigInt(machine.clock.wallMs()) * NS);
  });

  test('I10: ahead by 2 hours is not followed, also not after a crash or a clean stop, until an operator accepts it', async () => {
    const machine = await Machine.started();
    const base = leadMs(machine, (await machine.roundTrip()).nonce);
    const ahead = async () => leadMs(machine, (await machine.roundTrip()).nonce) - base;
    machine.clock.stepWall(2 * HOUR_MS);
    expect(await ahead()).toBeLessThan(6_000);
    expect(machine.observed).toContain('clock-changed');
    expect(machine.broker.status().clock).toEqual({ state: 'not-followed', offMs: 2 * HOUR_MS });
    await machine.crashAndRestart();
    expect(await ahead()).toBeLessThan(12_000);
    await machine.stopAndRestart();
    expect(await ahead()).toBeLessThan(12_000);
    const advanced = await machine.broker.advance({
      sequence: 'default',
      target: { kind: 'now' },
      maxLeadMs: 24 * HOUR_MS,
    });
    expect(advanced).toMatchObject({ unit: 'ns', accounts: ['MASTER'] });
    expect(await ahead()).toBeGreaterThanOrEqual(2 * HOUR_MS);
    expect(machine.broker.status().clock.state).toBe('followed');
    await machine.crashAndRestart();
    expect(machine.broker.status().clock.state).toBe('followed');
  });

  test('I10: two jumps of 40 minutes, with a restart in between: only the first is followed', async () => {
    const machine = await Machine.started();
    const base = leadMs(machine, (await machine.roundTrip()).nonce);
    machine.clock.stepWall(40 * 60_000);
    await machine.roundTrip();
    await machine.crashAndRestart();
    machine.clock.stepWall(40 * 60_000);
    expect(leadMs(machine, (await machine.roundTrip()).nonce) - base).toBeLessThan(41 * 60_000);
  });

  test('I2: a new boot in 1970 goes on from the ceiling, and follows the clock once it is right', async () => {
    const machine = await Machine.started();
    const right = machine.clock.wallMs();
    const { nonce } = await machine.roundTrip();
    await machine.reboot(0);
    expect(machine.broker.clockIsPlausible).toBe(true);
    const inThePast = (await machine.roundTrip()).nonce;
    expect(inThePast).toBeGreaterThan(nonce);
    machine.clock.setWall(right + 60_000);
    const after = (await machine.roundTrip()).nonce;
    expect(after).toBeGreaterThanOrEqual(BigInt(right + 60_000) * NS);
    machine.clock.stepWall(2 * HOUR_MS);
    await machine.crashAndRestart();
    expect(machine.broker.status().clock.state).toBe('not-followed');
  });

  test('I10: a new boot in 2099 is not plausible, and even if it is used it draws no nonce from there', async () => {
    const machine = await Machine.started();
    const { nonce } = await machine.roundTrip();
    await machine.reboot(Date.UTC(2099, 0, 1));
    expect(machine.broker.clockIsPlausible).toBe(false);
    expect((await machine.roundTrip()).nonce - nonce).toBeLessThan(6_000n * NS);
  });

  test('I10: a state that saw 2 hours ahead and did not follow is not behind after a reboot with the clock right', async () => {
    const machine = await Machine.started();
    machine.clock.stepWall(2 * HOUR_MS);
    await machine.roundTrip();
    const right = machine.clock.wallMs() - 2 * HOUR_MS;
    await machine.reboot(right + 60_000);
    expect(machine.broker.status().clock.state).toBe('followed');
  });
});

test('I9: a state without a sequence that is needed is a defect, not a fresh start', async () => {
  const state: DurableState = { ...freshState(0), sequences: {} };
  await expect(Machine.started({ state })).rejects.toThrow('no sequence');
});
