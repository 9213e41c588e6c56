import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Policies } from '../../src/core/accounts/policies.ts';
import type { Advanced } from '../../src/core/broker.ts';
import { ownSequenceOf } from '../../src/core/nonces/assignments.ts';
import { nonceFloorAt } from '../../src/core/nonces/sequence-clock.ts';
import type { Nonce, Token } from '../../src/core/ports.ts';
import type { Unit } from '../../src/terms.ts';
import { shareOf } from '../fixtures/effort.ts';
import { BEGIN_MS, configured, stateWith } from './configured.ts';
import { type Bot, MAX_NONCE, Machine, noSpace, settled } from './simulation.ts';

const HOUR_MS = 3_600_000;
const NS_PER_MS = 1_000_000n;
const DIGITS: Readonly<Record<Unit, number>> = { ns: 19, us: 16, ms: 13, s: 10, counter: 0 };

/** Draws a bare nonce, however many writes that takes. Throws if it is refused. */
async function draw(machine: Machine, account: string, count = 1): Promise<Nonce> {
  const bot = machine.connect();
  const id = bot.nonce(account, count);
  await settled();
  return bot.drew(id);
}

/** What an `acquire` that may not wait is answered: its code, or that it was granted; nothing stays of it. */
async function atOnce(machine: Machine, account = 'MASTER'): Promise<string | undefined> {
  const bot = machine.connect();
  const id = bot.acquire({ account, waitMs: 0 });
  await settled();
  const answer = bot.answer(id);
  bot.disconnect();
  return answer?.kind === 'refused' ? answer.refusal.code : answer?.kind;
}

/** Lets a write that is held land, and holds the next one. */
async function land(machine: Machine): Promise<void> {
  machine.store.land();
  await settled();
}

const sequenceOf = (machine: Machine, account: string): string | undefined =>
  machine.broker.status().accounts.find((one) => one.account === account)?.sequence;

describe('I2: an account that has not drawn yet', () => {
  test('is granted once its sequence is durable, and not before', async () => {
    const machine = await Machine.started({ state: stateWith() });
    machine.store.held = true;
    const bot = machine.connect();
    const ids = [bot.acquire(), bot.nonce('USER:alice'), bot.acquire({ account: 'USER:bob', waitMs: 0 })];
    await settled();
    expect(ids.map((id) => bot.answer(id))).toEqual([undefined, undefined, undefined]);
    machine.listen = (event) => {
      if (event.kind !== 'answer' || event.answer.kind === 'refused') return;
      expect(machine.store.acknowledged.accounts.get('MASTER')?.sequence).toBe('default');
    };
    await land(machine);
    expect(bot.answer(ids[0] ?? 0)?.kind).toBe('granted');
    expect(machine.store.durable.accounts.get('MASTER')).toEqual({ sequence: 'default', paused: false });
    await land(machine);
    expect(bot.answer(ids[1] ?? 0)?.kind).toBe('drawn');
    expect([...machine.store.durable.accounts.keys()].sort()).toEqual(['MASTER', 'USER:alice', 'USER:bob']);
  });

  test('waits for that write alone: the others of its lane pass it while it hangs, at any priority', async () => {
    const machine = await Machine.started({ state: stateWith({ accounts: { KNOWN: 'default' } }) });
    await draw(machine, 'KNOWN');
    machine.store.held = true;
    const bot = machine.connect();
    const fresh = bot.acquire({ account: 'NEW', priority: 'urgent' });
    for (let n = 0; n < 20; n += 1) {
      const id = bot.acquire({ account: 'KNOWN', priority: 'background' });
      bot.release(bot.grant(id).token);
      await machine.advance(50);
    }
    expect(bot.answer(fresh)).toBeUndefined();
    await land(machine);
    expect(bot.answer(fresh)?.kind).toBe('granted');
  });

  test('ends no background lease while it is not enlisted, and then does', async () => {
    const machine = await Machine.started({ state: stateWith({ accounts: { KNOWN: 'default' } }) });
    const poll = machine.connect();
    const held = poll.acquire({ account: 'KNOWN', priority: 'background', ttlMs: 60_000 });
    await settled();
    poll.grant(held);
    machine.store.held = true;
    const bot = machine.connect();
    const exit = bot.acquire({ account: 'NEW', priority: 'urgent', waitMs: 60_000 });
    await machine.advance(9_000);
    expect(poll.revokedTokens).toEqual([]);
    machine.store.held = false;
    machine.store.land();
    await machine.advance(0);
    expect(poll.revokedTokens).toMatchObject([{ reason: 'preempted' }]);
    expect(bot.answer(exit)?.kind).toBe('granted');
  });

  test('has nothing to wait for the second time, also after a crash and under another daemon', async () => {
    const machine = await Machine.started({ state: stateWith() });
    await draw(machine, 'MASTER');
    expect(machine.store.durable.accounts.get('MASTER')?.sequence).toBe('default');
    await machine.crashAndRestart();
    await draw(machine, 'OTHER');
    machine.store.held = true;
    expect((await draw(machine, 'MASTER')) > 0n).toBe(true);
  });

  test('is refused NOT_DURABLE if the write fails, and tries again with the next one', async () => {
    const machine = await Machine.started({ state: stateWith() });
    machine.store.failing = noSpace();
    const bot = machine.connect();
    const ids = [bot.acquire(), bot.nonce('USER:alice')];
    await settled();
    expect(ids.map((id) => bot.code(id))).toEqual(['NOT_DURABLE', 'NOT_DURABLE']);
    expect(machine.store.durable.accounts.size).toBe(0);
    machine.store.failing = undefined;
    const again = bot.acquire({ waitMs: 60_000 });
    await machine.advance(1_000);
    expect(bot.answer(again)?.kind).toBe('granted');
  });

  test('a failed write refuses none of the accounts that the state knows', async () => {
    const machine = await Machine.started({ state: stateWith({ accounts: { KNOWN: 'default' } }) });
    await draw(machine, 'KNOWN');
    machine.store.failing = noSpace();
    const bot = machine.connect();
    const fresh = bot.acquire({ account: 'NEW' });
    const held = bot.acquire({ account: 'KNOWN' });
    const known = bot.acquire({ account: 'KNOWN' });
    await settled();
    // A waiter that is not next is told of the disk when it is.
    expect([bot.answer(fresh), bot.answer(held)?.kind, bot.answer(known)]).toEqual([undefined, 'granted', undefined]);
    bot.release(bot.grant(held).token);
    bot.release(bot.grant(known).token);
    await machine.advance(200);
    expect(bot.code(fresh)).toBe('NOT_DURABLE');
  });

  for (const lands of [false, true]) {
    test(`a crash while it is being written, which ${lands ? 'lands' : 'is lost'}, leaves nothing that was sent`, async () => {
      const machine = await Machine.started({ state: stateWith() });
      machine.store.held = true;
      const bot = machine.connect();
      const id = bot.acquire();
      await settled();
      machine.crash(lands);
      expect(bot.answer(id)).toBeUndefined();
      machine.store.held = false;
      await machine.start();
      expect(machine.store.durable.accounts.has('MASTER')).toBe(lands);
      expect(await atOnce(machine)).toBe('granted');
    });
  }

  test('waiters that go away before the write lands are not granted, and those behind them are', async () => {
    const machine = await Machine.started({ state: stateWith() });
    machine.store.held = true;
    const [gone, bot] = [machine.connect(), machine.connect()];
    const lost = gone.acquire();
    const cancelled = bot.acquire();
    const late = bot.acquire({ waitMs: 2_000 });
    const patient = bot.acquire();
    const drawn = gone.nonce('USER:alice');
    gone.disconnect();
    bot.cancel(cancelled);
    await machine.advance(2_000);
    await land(machine);
    expect([gone.answer(lost), gone.answer(drawn)]).toEqual([undefined, undefined]);
    expect([bot.code(cancelled), bot.code(late), bot.answer(patient)?.kind]).toEqual([
      'CANCELLED',
      'WAIT_TIMEOUT',
      'granted',
    ]);
  });

  test('I8: a switch of the policy meanwhile loses no waiter that is to be enlisted', async () => {
    for (const to of ['account', 'off'] as const) {
      const machine = await Machine.started({ state: stateWith() });
      machine.store.held = true;
      const bot = machine.connect();
      const ids = ['A', 'A', 'B'].map((account) => bot.acquire({ account, ttlMs: 10 }));
      const drawn = bot.nonce('C');
      const switched = machine.broker.setExclusive(to);
      machine.store.held = false;
      machine.store.settle();
      expect(await switched).toEqual({ before: 'global', after: to });
      await machine.advance(100);
      expect(ids.map((id) => bot.answer(id)?.kind)).toEqual(['granted', 'granted', 'granted']);
      expect(bot.drew(drawn)).toBeGreaterThan(0n);
      expect(machine.broker.status().totals).toMatchObject({ waiting: 0, leases: 0, grants: 3 });
    }
  });

  test('a clean stop while it is being enlisted leaves nothing that was sent, and the next daemon serves it', async () => {
    const machine = await Machine.started({ state: stateWith() });
    machine.store.held = true;
    const bot = machine.connect();
    const ids = [bot.acquire(), bot.nonce('USER:alice')] as const;
    await settled();
    await machine.stop();
    expect(ids.map((id) => bot.answer(id)?.kind)).not.toContain('granted');
    expect(ids.map((id) => bot.answer(id)?.kind)).not.toContain('drawn');
    machine.store.held = false;
    await machine.start();
    expect(await atOnce(machine)).toBe('granted');
  });

  test('I6: of several that were enlisted by one write the urgent one is first, and then the one that came first', async () => {
    const machine = await Machine.started({ state: stateWith() });
    machine.store.held = true;
    void machine.broker.setPaused('USER:bob', true);
    const asked = (['background', 'normal', 'urgent', 'normal'] as const).map((priority, n) => {
      const bot = machine.connect(`${priority} ${n}`);
      return { bot, id: bot.acquire({ account: `USER:${n}`, priority }) };
    });
    machine.store.held = false;
    machine.store.settle();
    for (let write = 0; write < 4; write += 1) await settled();
    for (let turn = 0; turn < asked.length; turn += 1) {
      const held = asked.find(({ bot }) => bot.client.leases.size > 0);
      if (held !== undefined) held.bot.release(held.bot.grant(held.id).token);
    }
    expect(machine.grantOrder).toEqual(['urgent 2', 'normal 1', 'normal 3', 'background 0']);
  });

  test('all that are new at once need a write or two, and not one each', async () => {
    const machine = await Machine.started({ state: stateWith({ exclusive: 'account' }) });
    const bot = machine.connect();
    const before = machine.store.writes;
    for (let n = 0; n < 100; n += 1) bot.acquire({ account: `USER:${n}` });
    for (let write = 0; write < 4; write += 1) await settled();
    expect(machine.broker.status().totals.grants).toBe(100);
    expect(machine.store.writes - before).toBeLessThan(8);
  });

  test('a daemon whose disk hangs is overdue even if only new accounts wait for it', async () => {
    const machine = await Machine.started({ state: stateWith() });
    machine.store.held = true;
    machine.connect().acquire({ waitMs: 60_000 });
    await machine.advance(11_000);
    expect(machine.broker.isOverdue).toBe(true);
  });

  test('pausing and resuming do not enlist it: it goes where the configuration sends it', async () => {
    const machine = await Machine.started({ state: stateWith({ sequences: { alt: 'us' } }) });
    await machine.broker.setPaused('MASTER', true);
    await machine.broker.setPaused('MASTER', false);
    machine.policies = configured({ sequences: { alt: 'us' }, accounts: { MASTER: { sequence: 'alt' } } });
    await machine.stopAndRestart();
    expect(String(await draw(machine, 'MASTER'))).toHaveLength(16);
  });
});

test('resuming a label that was never used leaves nothing of it in the state', async () => {
  const machine = await Machine.started({ state: stateWith() });
  expect(await machine.broker.setPaused('TYPO', false)).toEqual({
    before: 'running',
    after: 'running',
    isKnown: false,
  });
  expect(machine.store.durable.accounts.has('TYPO')).toBe(false);
});

describe('a state that fills with accounts', () => {
  const named = (count: number) =>
    stateWith({ accounts: Object.fromEntries(Array.from({ length: count }, (_, n) => [`order-${n}`, 'default'])) });
  const toldOf = (machine: Machine) => machine.observed.filter((what) => what === 'register-filled').length;

  test('is told of once at four fifths, and again at a start', async () => {
    const machine = await Machine.started({ state: named(3_275) });
    await draw(machine, 'one');
    expect(machine.broker.status().register).toEqual({ named: 3_276, max: 4_096, state: 'roomy' });
    expect(toldOf(machine)).toBe(0);
    await draw(machine, 'two');
    await draw(machine, 'three');
    expect(machine.broker.status().register).toEqual({ named: 3_278, max: 4_096, state: 'filling' });
    expect(toldOf(machine)).toBe(1);
    await machine.crashAndRestart();
    await draw(machine, 'four');
    expect(toldOf(machine)).toBe(2);
  });

  test('is told of once more when no other account gets a name', async () => {
    const machine = await Machine.started({ state: named(4_095) });
    expect(toldOf(machine)).toBe(1);
    await draw(machine, 'last');
    await draw(machine, 'unnamed');
    expect(machine.broker.status().register).toEqual({ named: 4_096, max: 4_096, state: 'full' });
    expect(toldOf(machine)).toBe(2);
  });

  test('is full, however few it names, as long as there are accounts that it does not tell apart', async () => {
    const machine = await Machine.started({ state: stateWith({ accounts: { MASTER: 'default', '*': 'default' } }) });
    expect(machine.broker.status().register).toEqual({ named: 1, max: 4_096, state: 'full' });
    expect(toldOf(machine)).toBe(1);
  });
});

describe('past 4,096 accounts', () => {
  const crowd = Object.fromEntries(Array.from({ length: 4_096 }, (_, n) => [`USER:${n}`, 'default']));
  const ALT = configured({ sequences: { alt: 'us' }, accounts: { ALT: { sequence: 'alt' } } });

  test('those of the default sequence are granted as before, over a restart too', async () => {
    const machine = await Machine.started({ state: stateWith({ accounts: crowd }) });
    const first = await draw(machine, 'late');
    expect(await draw(machine, 'later')).toBeGreaterThan(first);
    await machine.crashAndRestart();
    expect(await draw(machine, 'late')).toBeGreaterThan(first);
    expect(machine.store.durable.accounts.size).toBe(4_097);
  });

  test('one of another sequence is refused, and draws from no other', async () => {
    const state = stateWith({ accounts: crowd, sequences: { alt: 'us' } });
    const machine = await Machine.started({ state, policies: ALT });
    expect(await atOnce(machine, 'ALT')).toBe('LIMIT');
    const bot = machine.connect();
    expect(bot.code(bot.nonce('ALT'))).toBe('LIMIT');
    // A label that was refused is no account.
    expect(machine.broker.status().accounts).toEqual([]);
  });

  test('also once others have filled it: a key that takes 16 digits is never given 19', async () => {
    const state = stateWith({ accounts: crowd, sequences: { alt: 'us' } });
    const machine = await Machine.started({ state, policies: ALT });
    await draw(machine, 'late');
    expect(await atOnce(machine, 'ALT')).toBe('LIMIT');
  });

  const LATE = configured({ sequences: { alt: 'us' }, accounts: { late: { sequence: 'alt' } } });

  /** One that has drawn 19 digits as one of many, and that the configuration now sends to 16. */
  async function sentElsewhere(): Promise<{ machine: Machine; last: Nonce }> {
    const machine = await Machine.started({ state: stateWith({ accounts: crowd, sequences: { alt: 'us' } }) });
    const last = await draw(machine, 'late');
    return { machine, last };
  }

  test('I2: an account that has drawn as one of many never draws lower, whatever sequence it is configured to use', async () => {
    const { machine, last } = await sentElsewhere();
    await machine.broker.follow(LATE);
    const bot = machine.connect();
    const id = bot.nonce('late');
    await settled();
    if (bot.code(id) === undefined) expect(bot.drew(id)).toBeGreaterThan(last);
  });

  test('I2: also after it was paused and resumed', async () => {
    const { machine, last } = await sentElsewhere();
    await machine.broker.setPaused('late', true);
    await machine.broker.setPaused('late', false);
    await machine.broker.follow(LATE);
    const bot = machine.connect();
    const id = bot.nonce('late');
    await settled();
    if (bot.code(id) === undefined) expect(bot.drew(id)).toBeGreaterThan(last);
  });

  test('I2: also if it gets a sequence of its own', async () => {
    const { machine, last } = await sentElsewhere();
    await machine.broker.follow(LATE);
    await machine.broker.advance({ account: 'late', target: { kind: 'by', nonces: 1n }, maxLeadMs: HOUR_MS });
    const bot = machine.connect();
    const id = bot.nonce('late');
    await settled();
    if (bot.code(id) === undefined) expect(bot.drew(id)).toBeGreaterThan(last);
  });

  test('a sequence of its own can be given to one of many', async () => {
    const { machine, last } = await sentElsewhere();
    const by = 600_000n * NS_PER_MS;
    await machine.broker.advance({ account: 'late', target: { kind: 'by', nonces: by }, maxLeadMs: HOUR_MS });
    expect((await draw(machine, 'late')) - last).toBeGreaterThanOrEqual(by);
    expect((await draw(machine, 'later')) - last).toBeLessThan(by);
  });

  test('I2: a configuration that moves all accounts does not move those that are not told apart', async () => {
    const { machine } = await sentElsewhere();
    await machine.broker.follow(configured({ sequences: { alt: 'ns' }, accounts: { '*': { sequence: 'alt' } } }));
    expect(machine.store.durable.accounts.get('*')).toEqual({ sequence: 'default', paused: false });
  });

  test('4,096 accounts are enlisted one after the other, and the next one is one of the crowd', async () => {
    const machine = await Machine.started({ state: stateWith() });
    const bot = machine.connect();
    for (let n = 0; n < 4_097; n += 1) {
      bot.nonce(`USER:${n}`);
      if (n % 500 === 499) await settled();
    }
    await settled();
    const { accounts } = machine.store.durable;
    expect([accounts.size, accounts.get('*')]).toEqual([4_097, { sequence: 'default', paused: false }]);
  });
});

/** What may send MASTER elsewhere: a restart with another configuration, or following it while running. */
const CHANGES = {
  'a restart': async (machine: Machine, policies: Policies): Promise<void> => {
    await machine.stop();
    await startWith(machine, policies);
  },
  'a crash and a start': async (machine: Machine, policies: Policies): Promise<void> => {
    machine.crash();
    await startWith(machine, policies);
  },
  follow: async (machine: Machine, policies: Policies): Promise<void> => {
    const followed = await machine.broker.follow(policies);
    if ('code' in followed) throw new Error(followed.message);
    machine.policies = policies;
  },
} as const;

/** Starts with these policies; with those of before if they are refused, and then it throws. */
async function startWith(machine: Machine, policies: Policies): Promise<void> {
  const before = machine.policies;
  machine.policies = policies;
  try {
    await machine.start();
  } catch (refusal) {
    machine.policies = before;
    await machine.start();
    throw refusal;
  }
}

/** An operator has placed it. */
const KEPT = { sequence: 'default', paused: false, placed: 'kept' } as const;

const onAlt = (unit: Unit = 'ns'): Policies =>
  configured({ sequences: { alt: unit }, accounts: { MASTER: { sequence: 'alt' } } });

for (const [how, change] of Object.entries(CHANGES)) {
  describe(`I2: by ${how}`, () => {
    test('an account that has drawn goes nowhere else: the configuration is refused, and it draws on', async () => {
      const state = stateWith({ sequences: { above: 'ns', shorter: 'us' } });
      const machine = await Machine.started({ state });
      let last: bigint = await draw(machine, 'MASTER', 1_000);
      for (const sequence of ['above', 'shorter', 'made-now']) {
        const policies = configured({
          sequences: { 'made-now': 'ns' },
          accounts: { MASTER: { sequence, pacing: { max: 1, perSecond: 1 } } },
        });
        await expect(change(machine, policies)).rejects.toThrow(`says sequence ${sequence}`);
        const nonce = await draw(machine, 'MASTER');
        expect(sequenceOf(machine, 'MASTER')).toBe('default');
        expect(machine.broker.status().accounts[0]?.pace).toBeNull();
        expect(nonce).toBeGreaterThan(last);
        last = nonce;
      }
    });

    test('one that stays draws from the same sequence as before, and those left behind are not raised', async () => {
      const state = stateWith({ sequences: { alt: 'us' }, accounts: { MASTER: KEPT } });
      const machine = await Machine.started({ state, policies: onAlt('us') });
      const first = await draw(machine, 'MASTER');
      await change(machine, onAlt('us'));
      const second = await draw(machine, 'MASTER');
      expect(sequenceOf(machine, 'MASTER')).toBe('default');
      expect(second).toBeGreaterThan(first);
      expect(String(second)).toHaveLength(DIGITS.ns);
      const { alt } = machine.store.durable.sequences;
      expect(String(alt?.ceiling)).toHaveLength(DIGITS.us);
    });

    test('an account with a sequence of its own keeps it', async () => {
      const machine = await Machine.started({ state: stateWith() });
      const first = await draw(machine, 'MASTER');
      const by = 600_000n * NS_PER_MS;
      await machine.broker.advance({ account: 'MASTER', target: { kind: 'by', nonces: by }, maxLeadMs: HOUR_MS });
      await change(machine, onAlt());
      expect((await draw(machine, 'MASTER')) - first).toBeGreaterThanOrEqual(by);
      expect(sequenceOf(machine, 'MASTER')).toBe(ownSequenceOf('MASTER'));
      expect((await draw(machine, 'USER:alice')) - first).toBeLessThan(by);
    });

    test('a new sequence begins above all that any of its unit has given out', async () => {
      const machine = await Machine.started({ state: stateWith() });
      const first = await draw(machine, 'USER:alice', 1_000);
      await change(machine, onAlt());
      expect(await draw(machine, 'MASTER')).toBeGreaterThanOrEqual(first + 1_000n);
    });

    test('a lower max ends a sequence there: nothing above it is handed out', async () => {
      const state = stateWith({
        sequences: { alt: { unit: 'counter', ceiling: 100n, max: MAX_NONCE } },
        accounts: { MASTER: 'alt' },
      });
      const to = (max: bigint) =>
        configured({ sequences: { alt: { unit: 'counter', max } }, accounts: { MASTER: { sequence: 'alt' } } });
      const machine = await Machine.started({ state, policies: to(10_000n) });
      await draw(machine, 'MASTER', 50);
      const last = await draw(machine, 'MASTER');
      await change(machine, to(last));
      expect(await atOnce(machine)).toBe('LIMIT');
      await change(machine, to(20_000n));
      expect(await draw(machine, 'MASTER')).toBeGreaterThan(last);
    });
  });
}

describe('follow', () => {
  test('is refused, and changes nothing, if a unit differs or a new one is unknown', async () => {
    const machine = await Machine.started({ state: stateWith() });
    await draw(machine, 'MASTER');
    const before = machine.store.durable;
    for (const sequences of [{ default: 'ms' }, { alt: 'us' }] as const) {
      const accounts = { MASTER: { exchange: 'other', pacing: { max: 1, perSecond: 1 } } };
      expect(await machine.broker.follow(configured({ sequences, accounts }))).toMatchObject({ code: 'BAD_REQUEST' });
    }
    expect(machine.store.durable).toBe(before);
    expect(machine.broker.status().accounts[0]).toMatchObject({ exchange: 'default', pace: null });
  });

  test('names the accounts that stay', async () => {
    const state = stateWith({ sequences: { alt: 'us' }, accounts: { MASTER: KEPT } });
    const machine = await Machine.started({ state });
    expect(await machine.broker.follow(onAlt('us'))).toEqual({ kept: [expect.stringContaining('account MASTER')] });
  });

  test('a write that fails changes nothing, and it can be asked for again', async () => {
    const machine = await Machine.started({ state: stateWith() });
    await draw(machine, 'USER:alice');
    machine.store.failing = noSpace();
    expect(await machine.broker.follow(onAlt())).toMatchObject({ code: 'NOT_DURABLE' });
    await draw(machine, 'USER:alice');
    expect(machine.broker.status().sequences.map(({ name }) => name)).toEqual(['default']);
    machine.store.failing = undefined;
    expect(await machine.broker.follow(onAlt())).toEqual({ kept: [] });
    const nonce = await draw(machine, 'MASTER');
    expect(sequenceOf(machine, 'MASTER')).toBe('alt');
    expect(nonce).toBeLessThan(machine.store.durable.sequences['alt']?.ceiling ?? 0n);
  });

  test('I2: is refused after all if the account has drawn by the time of its write', async () => {
    const machine = await Machine.started({ state: stateWith({ sequences: { alt: 'us' } }) });
    machine.store.held = true;
    const bot = machine.connect();
    const id = bot.nonce('MASTER');
    await settled();
    // The write under way enlists MASTER on default; to this plan it has never drawn.
    const followed = machine.broker.follow(onAlt('us'));
    machine.store.held = false;
    machine.store.settle();
    expect(await followed).toMatchObject({ code: 'BAD_REQUEST' });
    expect(String(bot.drew(id))).toHaveLength(DIGITS.ns);
    expect(String(await draw(machine, 'MASTER'))).toHaveLength(DIGITS.ns);
  });

  test('I2: a crash while it is being written, landed or not, leads no account down', async () => {
    for (const lands of [false, true]) {
      for (const configuredAfter of [onAlt('us'), configured({})]) {
        const state = stateWith({ sequences: { alt: 'us' }, accounts: { MASTER: KEPT } });
        const machine = await Machine.started({ state, policies: onAlt('us') });
        await draw(machine, 'MASTER');
        machine.store.held = true;
        void machine.broker.follow(configured({}));
        const during = await draw(machine, 'MASTER', 1_000);
        machine.crash(lands);
        machine.store.held = false;
        machine.policies = configuredAfter;
        await machine.start();
        expect(await draw(machine, 'MASTER')).toBeGreaterThan(during + 999n);
      }
    }
  });

  test('an account that is waiting to be enlisted goes where the new configuration sends it', async () => {
    const machine = await Machine.started({ state: stateWith({ sequences: { alt: 'us' } }) });
    machine.store.held = true;
    // A write for another account is under way when MASTER asks, and when the configuration changes.
    void machine.broker.setPaused('USER:bob', true);
    const bot = machine.connect();
    const ids = [bot.acquire({ ttlMs: 60_000 }), bot.nonce('MASTER')] as const;
    const followed = machine.broker.follow(onAlt('us'));
    machine.store.held = false;
    machine.store.settle();
    expect(await followed).toEqual({ kept: [] });
    await settled();
    // It has never had a nonce, and its key takes 16 digits.
    expect(String(bot.grant(ids[0]).nonce)).toHaveLength(DIGITS.us);
    expect(String(bot.drew(ids[1]))).toHaveLength(DIGITS.us);
  });

  test('an account that asks while the change is being written goes where the change sends it', async () => {
    const machine = await Machine.started({ state: stateWith({ sequences: { alt: 'us' } }) });
    machine.store.held = true;
    const followed = machine.broker.follow(onAlt('us'));
    const bot = machine.connect();
    const ids = [bot.acquire(), bot.nonce('MASTER')] as const;
    machine.store.held = false;
    machine.store.settle();
    await followed;
    await settled();
    expect(String(bot.grant(ids[0]).nonce)).toHaveLength(DIGITS.us);
    expect(String(bot.drew(ids[1]))).toHaveLength(DIGITS.us);
  });

  test('a waiter whose unit is no longer that of its account is refused', async () => {
    const machine = await Machine.started({
      state: stateWith({ sequences: { alt: 'us' }, accounts: { OTHER: 'default' } }),
    });
    const holder = machine.connect();
    const held = holder.acquire({ account: 'OTHER' });
    await settled();
    holder.grant(held);
    const bot = machine.connect();
    const id = bot.acquire({ unit: 'ns' });
    await machine.broker.follow(onAlt('us'));
    holder.disconnect();
    await settled();
    expect(bot.code(id)).toBe('UNIT_MISMATCH');
  });

  test('I4: a live lease of an account that changes exchanges holds the lane of the new one, and that of the old one', async () => {
    const machine = await Machine.started();
    const [bot, other] = [machine.connect(), machine.connect()];
    const held = bot.acquire();
    await settled();
    const { token } = bot.grant(held);
    const moved = configured({ accounts: { MASTER: { exchange: 'other' }, 'USER:alice': { exchange: 'other' } } });
    await machine.broker.follow(moved);
    const ids = [other.acquire({ account: 'USER:alice' }), other.acquire({ account: 'USER:bob' })];
    expect(ids.map((id) => other.answer(id)?.kind)).toEqual([undefined, undefined]);
    bot.release(token);
    expect(ids.map((id) => other.answer(id)?.kind)).toEqual(['granted', 'granted']);
  });

  test.each([
    ['released', (bot: Bot, token: Token) => bot.release(token)],
    ['ended with its connection', (bot: Bot) => bot.disconnect()],
    ['over', (_bot: Bot, _token: Token, machine: Machine) => machine.advance(60_000)],
  ] as const)('I4, I8: the lane of the exchange of before opens when that lease is %s', async (_how, end) => {
    const machine = await Machine.started();
    const [bot, other] = [machine.connect(), machine.connect()];
    const held = bot.acquire();
    await settled();
    const { token } = bot.grant(held);
    const moved = configured({ accounts: { MASTER: { exchange: 'other' } } });
    for (const policies of [moved, configured({}), moved]) await machine.broker.follow(policies);
    const id = other.acquire({ account: 'USER:bob', waitMs: 100_000 });
    expect(other.answer(id)).toBeUndefined();
    await end(bot, token, machine);
    await settled();
    expect(other.answer(id)?.kind).toBe('granted');
    // Nothing of the old lease is left in any lane.
    expect(await atOnce(machine, 'MASTER')).toBe('granted');
  });

  test('I6: no waiter loses its place by it', async () => {
    const machine = await Machine.started();
    const holder = machine.connect('holder');
    const held = holder.acquire();
    const names = ['one', 'two', 'three', 'four'];
    const accounts = ['USER:alice', 'MASTER', 'USER:bob', 'MASTER'];
    const bots = names.map((name, n) => {
      const bot = machine.connect(name);
      return { bot, id: bot.acquire({ account: accounts[n] ?? '' }) };
    });
    await machine.broker.follow(configured({ others: { pacing: { max: 9, perSecond: 1_000 } } }));
    await machine.advance(10);
    holder.release(holder.grant(held).token);
    for (const { bot, id } of bots) bot.release(bot.grant(id).token);
    expect(machine.grantOrder.slice(1)).toEqual(names);
  });

  test('of two at once, the one that was asked for last holds', async () => {
    const machine = await Machine.started({ state: stateWith({ accounts: { MASTER: 'default' } }) });
    const first = await draw(machine, 'MASTER');
    await Promise.all([
      machine.broker.follow(onAlt()),
      machine.broker.follow(configured({ sequences: { alt: 'ns' } })),
    ]);
    expect(await draw(machine, 'MASTER')).toBeGreaterThan(first);
    expect(sequenceOf(machine, 'MASTER')).toBe('default');
  });
});

describe('advance with an account', () => {
  const by = (nonces: bigint) => ({ kind: 'by', nonces }) as const;
  const advance = (machine: Machine, account: string, nonces: bigint) =>
    machine.broker.advance({ account, target: by(nonces), maxLeadMs: HOUR_MS });
  const TEN_MINUTES = 600_000n * NS_PER_MS;

  test('gives it a sequence of its own of the same unit, and raises no other account', async () => {
    const machine = await Machine.started({ state: stateWith() });
    const first = await draw(machine, 'MASTER');
    const other = await draw(machine, 'USER:alice');
    const advanced = (await advance(machine, 'MASTER', TEN_MINUTES)) as Advanced;
    expect(advanced).toMatchObject({ sequence: 'account:MASTER', unit: 'ns', accounts: ['MASTER'] });
    expect(advanced.after - advanced.before).toBe(TEN_MINUTES);
    expect(await draw(machine, 'MASTER')).toBe(advanced.after);
    expect(advanced.after - first).toBeGreaterThanOrEqual(TEN_MINUTES);
    expect((await draw(machine, 'USER:alice')) - other).toBeLessThan(10_000n * NS_PER_MS);
    expect(machine.store.durable.accounts.get('MASTER')?.sequence).toBe('account:MASTER');
  });

  for (const restart of ['crashAndRestart', 'stopAndRestart'] as const) {
    test(`survives ${restart === 'crashAndRestart' ? 'a crash' : 'a restart'}`, async () => {
      const machine = await Machine.started({ state: stateWith() });
      const first = await draw(machine, 'MASTER');
      await advance(machine, 'MASTER', TEN_MINUTES);
      const second = await draw(machine, 'MASTER');
      await machine[restart]();
      const third = await draw(machine, 'MASTER');
      expect(third).toBeGreaterThan(second);
      expect((await draw(machine, 'USER:alice')) - first).toBeLessThan(20_000n * NS_PER_MS);
    });
  }

  test('I2: by nothing at all does not lead it down', async () => {
    for (const nonces of [0n, 1n, -TEN_MINUTES]) {
      const machine = await Machine.started({ state: stateWith() });
      const first = await draw(machine, 'MASTER', 1_000);
      const { after } = (await advance(machine, 'MASTER', nonces)) as Advanced;
      const next = await draw(machine, 'MASTER');
      expect(next).toBeGreaterThan(first + 999n);
      // And it is what the operator was told.
      expect(next).toBe(after);
    }
  });

  test('I2: nonces that are drawn while it is being written lie below those after it', async () => {
    const machine = await Machine.started({ state: stateWith() });
    await draw(machine, 'MASTER');
    machine.store.held = true;
    const advanced = advance(machine, 'MASTER', 1n);
    const bot = machine.connect();
    await machine.advance(900);
    const during = bot.drew(bot.nonce('MASTER', 1_000)) + 999n;
    machine.store.held = false;
    machine.store.settle();
    await advanced;
    expect(await draw(machine, 'MASTER')).toBeGreaterThan(during);
  });

  test('a second one raises the own sequence further, and two at once make only one', async () => {
    const machine = await Machine.started({ state: stateWith() });
    const first = await draw(machine, 'MASTER');
    const both = await Promise.all([advance(machine, 'MASTER', TEN_MINUTES), advance(machine, 'MASTER', TEN_MINUTES)]);
    for (const each of both) expect(each).toMatchObject({ sequence: 'account:MASTER' });
    const second = await draw(machine, 'MASTER');
    expect(second - first).toBeGreaterThanOrEqual(TEN_MINUTES);
    expect(second - first).toBeLessThan(TEN_MINUTES + 20_000n * NS_PER_MS);
    await advance(machine, 'MASTER', TEN_MINUTES);
    expect((await draw(machine, 'MASTER')) - second).toBeGreaterThanOrEqual(TEN_MINUTES);
    expect(machine.broker.status().sequences.map(({ name }) => name)).toEqual(['default', 'account:MASTER']);
  });

  test('of an account that has never drawn enlists it there, and it is granted without another write', async () => {
    const machine = await Machine.started({ state: stateWith() });
    await advance(machine, 'MASTER', 1n);
    await draw(machine, 'USER:alice');
    machine.store.held = true;
    expect(await atOnce(machine)).toBe('granted');
    expect(sequenceOf(machine, 'MASTER')).toBe('account:MASTER');
  });

  test('while the account waits to be enlisted: it draws from its own sequence alone', async () => {
    const machine = await Machine.started({ state: stateWith() });
    machine.store.held = true;
    void machine.broker.setPaused('USER:bob', true);
    const bot = machine.connect();
    const ids = [bot.acquire(), bot.nonce('MASTER')] as const;
    const advanced = advance(machine, 'MASTER', TEN_MINUTES);
    machine.store.held = false;
    machine.store.settle();
    const { after } = (await advanced) as Advanced;
    await settled();
    const nonces = [bot.grant(ids[0]).nonce, bot.drew(ids[1])].sort();
    expect(nonces[0]).toBeGreaterThanOrEqual(after);
    expect(machine.store.durable.accounts.get('MASTER')?.sequence).toBe('account:MASTER');
  });

  test('a write that fails changes nothing', async () => {
    const machine = await Machine.started({ state: stateWith() });
    const first = await draw(machine, 'MASTER');
    machine.store.failing = noSpace();
    expect(await advance(machine, 'MASTER', TEN_MINUTES)).toMatchObject({ code: 'NOT_DURABLE' });
    machine.store.failing = undefined;
    expect((await draw(machine, 'MASTER')) - first).toBeLessThan(10_000n * NS_PER_MS);
    expect(machine.broker.status().sequences.map(({ name }) => name)).toEqual(['default']);
    await machine.crashAndRestart();
    expect((await draw(machine, 'MASTER')) - first).toBeLessThan(20_000n * NS_PER_MS);
  });

  test('of several accounts at once each gets its own, and none is raised by the others', async () => {
    const machine = await Machine.started({ state: stateWith() });
    const first = await draw(machine, 'A');
    await Promise.all(['A', 'B', 'C'].map((account, n) => advance(machine, account, BigInt(n + 1) * TEN_MINUTES)));
    for (const [n, account] of ['A', 'B', 'C'].entries()) {
      const lead = (await draw(machine, account)) - first;
      expect(lead).toBeGreaterThanOrEqual(BigInt(n + 1) * TEN_MINUTES - 1n);
      expect(lead).toBeLessThan(BigInt(n + 1) * TEN_MINUTES + 20_000n * NS_PER_MS);
    }
  });

  test('I2: an own sequence is the account’s even if a repair of the state has lost which account draws from it', async () => {
    const ahead = nonceFloorAt(BEGIN_MS, 'ns') + TEN_MINUTES;
    const own = { unit: 'ns', ceiling: ahead, max: MAX_NONCE } as const;
    const state = stateWith({ sequences: { [ownSequenceOf('MASTER')]: own } });
    const machine = await Machine.started({ state });
    expect(await draw(machine, 'MASTER')).toBeGreaterThanOrEqual(ahead);
    expect(await draw(machine, 'USER:alice')).toBeLessThan(ahead);
    expect(machine.store.durable.accounts.get('MASTER')?.sequence).toBe(ownSequenceOf('MASTER'));
  });

  test('is refused past 64 sequences, and a shared one is still raised', async () => {
    const sequences = Object.fromEntries(Array.from({ length: 62 }, (_, n) => [`s${n}`, 'ns' as const]));
    const machine = await Machine.started({ state: stateWith({ sequences }) });
    expect(await advance(machine, 'A', 1n)).toMatchObject({ sequence: 'account:A' });
    expect(await advance(machine, 'B', 1n)).toMatchObject({ code: 'LIMIT' });
    expect(await advance(machine, 'A', 1n)).toMatchObject({ sequence: 'account:A' });
    // The state that was written can be started with.
    await machine.crashAndRestart();
  });

  test('and follow at once, whichever is first: the account goes nowhere but up', async () => {
    for (const advanceFirst of [true, false]) {
      const machine = await Machine.started({ state: stateWith({ accounts: { MASTER: 'default' } }) });
      const first = await draw(machine, 'MASTER');
      const asked = advanceFirst
        ? [advance(machine, 'MASTER', TEN_MINUTES), machine.broker.follow(onAlt())]
        : [machine.broker.follow(onAlt()), advance(machine, 'MASTER', TEN_MINUTES)];
      const answers = await Promise.all(asked);
      expect(answers.map((answer) => 'code' in answer)).toEqual([!advanceFirst, advanceFirst]);
      expect((await draw(machine, 'MASTER')) - first).toBeGreaterThanOrEqual(TEN_MINUTES);
      expect((await draw(machine, 'USER:alice')) - first).toBeLessThan(20_000n * NS_PER_MS);
    }
  });

  test('an advance that is asked for while a configuration is being written goes by that configuration', async () => {
    const machine = await Machine.started({ state: stateWith({ sequences: { alt: 'us' } }) });
    machine.store.held = true;
    const followed = machine.broker.follow(onAlt('us'));
    // Never drawn: its sequence is what the configuration says.
    const advanced = advance(machine, 'MASTER', 5n);
    machine.store.held = false;
    machine.store.settle();
    await followed;
    const done = await advanced;
    if (!('code' in done)) expect(done.unit).toBe('us');
    expect(String(await draw(machine, 'MASTER'))).toHaveLength(DIGITS.us);
  });
});

const NAMES = ['A', 'B', 'C'] as const;
const UNITS = { default: 'ns', alt: 'ns', micro: 'us', count: 'counter' } as const satisfies Record<string, Unit>;

const name = fc.constantFrom(...NAMES);
/** Which sequence each account is sent to. */
const configuration = fc
  .tuple(...NAMES.map(() => fc.constantFrom(...(Object.keys(UNITS) as (keyof typeof UNITS)[]))))
  .map((sequences) =>
    configured({
      sequences: UNITS,
      accounts: Object.fromEntries(NAMES.map((each, n) => [each, { sequence: sequences[n] ?? 'default' }])),
    }),
  );
const nonces = fc.constantFrom(-5n, 0n, 1n, 40_000n, 30_000n * NS_PER_MS);

const step = fc.oneof(
  { weight: 8, arbitrary: fc.record({ do: fc.constant('draw' as const), name, count: fc.constantFrom(1, 1, 300) }) },
  { weight: 6, arbitrary: fc.record({ do: fc.constant('call' as const), name, count: fc.constantFrom(1, 1, 300) }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('follow' as const), to: configuration }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('advance' as const), name, by: nonces }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('pause' as const), name, paused: fc.boolean() }) },
  { weight: 5, arbitrary: fc.record({ do: fc.constant('pass' as const), ms: fc.constantFrom(1, 300, 1_100, 6_000) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('step-wall' as const), ms: fc.constantFrom(-90_000, 700) }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('hold' as const), held: fc.boolean() }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('land' as const), ok: fc.boolean() }) },
  {
    weight: 2,
    arbitrary: fc.record({ do: fc.constant('crash' as const), lands: fc.boolean(), to: fc.option(configuration) }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('stop' as const), to: fc.option(configuration) }) },
);

test('I1, I2: no configuration, advance, failed write or crash leads an account or a sequence down, or an account elsewhere', async () => {
  let drawn = 0;
  let refused = 0;
  const runs = shareOf(1_500);
  await fc.assert(
    fc.asyncProperty(
      configuration,
      fc.array(step, { minLength: 15, maxLength: 60, size: 'max' }),
      async (at, steps) => {
        const state = stateWith({ sequences: { micro: 'us', count: 'counter' }, exclusive: 'off' });
        const machine = await Machine.started({ state, policies: at });
        const lastOf = new Map<string, bigint>();
        const from = new Map<string, string>();
        const asked = new Map<number, string>();
        let objection: string | undefined;
        const isAbove = (what: string, nonce: bigint, last: bigint): void => {
          const before = lastOf.get(what) ?? -1n;
          if (nonce <= before) objection ??= `${what}: ${nonce} after ${before}`;
          lastOf.set(what, last);
        };
        machine.listen = (event) => {
          if (event.kind !== 'answer' || event.answer.kind === 'refused') return;
          const { nonce, count } = event.answer.kind === 'granted' ? event.answer.grant : event.answer;
          const account = asked.get(Number(event.id)) ?? 'nobody';
          const last = nonce + BigInt(count) - 1n;
          const { accounts, sequences } = machine.store.acknowledged;
          const sequence = accounts.get(account)?.sequence ?? 'none that is durable';
          isAbove(`account ${account}`, nonce, last);
          isAbove(`sequence ${sequence}`, nonce, last);
          const { ceiling, max } = sequences[sequence] ?? { ceiling: -1n, max: -1n };
          if (last >= ceiling || last > max)
            objection ??= `${account}: ${last} of ${sequence}, which ends at ${ceiling}`;
          if (accounts.get(account)?.paused === true) objection ??= `${account} is paused`;
          const before = from.get(account) ?? sequence;
          if (before !== sequence && sequence !== ownSequenceOf(account))
            objection ??= `${account} draws from ${sequence} after ${before}, and no operator has moved it`;
          from.set(account, sequence);
          drawn += 1;
        };
        let bot = machine.connect();
        let ids = 0;
        for (const what of steps) {
          switch (what.do) {
            case 'draw':
              asked.set(++ids, what.name);
              bot.nonce(what.name, what.count, ids);
              break;
            case 'call':
              asked.set(++ids, what.name);
              bot.acquire({ account: what.name, count: what.count, ttlMs: 500 }, ids);
              break;
            case 'follow': {
              const { broker } = machine;
              void broker.follow(what.to).then((followed) => {
                if ('code' in followed) refused += 1;
                else if (broker === machine.broker) machine.policies = what.to;
              });
              break;
            }
            case 'advance':
              void machine.broker.advance({
                account: what.name,
                target: { kind: 'by', nonces: what.by },
                maxLeadMs: Infinity,
              });
              break;
            case 'pause':
              void machine.broker.setPaused(what.name, what.paused);
              break;
            case 'pass':
              await machine.advance(what.ms);
              break;
            case 'step-wall':
              machine.clock.stepWall(what.ms);
              break;
            case 'hold':
              machine.store.held = what.held;
              if (!what.held) machine.store.settle();
              break;
            case 'land':
              if (what.ok) machine.store.land();
              else machine.store.fail(noSpace());
              break;
            case 'crash':
            case 'stop':
              if (what.do === 'stop') await machine.stop();
              else machine.crash(what.lands);
              await startWith(machine, what.to ?? machine.policies).catch(() => {
                refused += 1;
              });
              bot = machine.connect();
              break;
          }
          await settled();
          if (objection !== undefined) throw new Error(objection);
        }
      },
    ),
    { numRuns: runs },
  );
  // It says nothing if nothing is drawn, or no configuration would move an account.
  expect(drawn).toBeGreaterThan(3 * runs);
  expect(refused).toBeGreaterThan(runs / 8);
}, 60_000);
