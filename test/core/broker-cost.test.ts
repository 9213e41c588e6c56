import { afterEach, expect, test, vi } from 'vitest';
import { Breaker } from '../../src/core/accounts/breaker.ts';
import { Lane } from '../../src/core/lanes/lane.ts';
import type { Waiter } from '../../src/core/leases/lease.ts';
import { type Bot, Machine, settled } from './simulation.ts';

const WAITING = 10_000;
/** A few times log2(10,000), and far below 10,000: what one operation may touch. */
const TOUCHES_PER_OPERATION = 200;

afterEach(() => {
  vi.restoreAllMocks();
});

/**
 * Counts every reading and writing of a waiter's place in a queue, heap or order, from when it is queued: a scan
 * cannot do without. No stopwatch, so that a busy machine makes no difference.
 */
function countTouches(): { touches: number } {
  const counter = { touches: 0 };
  const enqueue = Lane.prototype.enqueue as (this: Lane<Waiter, never>, waiter: Waiter) => void;
  vi.spyOn(Lane.prototype, 'enqueue').mockImplementation(function (this: Lane<Waiter, never>, queued) {
    const waiter = queued as Waiter;
    for (const key of ['next', 'previous', 'queue', 'arrival', 'sinceMs', 'priority', 'dueMs', 'heapIndex'] as const) {
      let value: unknown = waiter[key];
      Object.defineProperty(waiter, key, {
        configurable: true,
        get: () => {
          counter.touches += 1;
          return value;
        },
        set: (changed: unknown) => {
          counter.touches += 1;
          value = changed;
        },
      });
    }
    enqueue.call(this, waiter);
  });
  return counter;
}

async function crowded() {
  const counter = countTouches();
  const machine = await Machine.started({ limits: { waiting: 2 * WAITING } });
  const holder = machine.connect('holder');
  const held = holder.acquire({ priority: 'background', ttlMs: 600_000 });
  await settled();
  const bots: Bot[] = Array.from({ length: WAITING / 100 }, () => machine.connect());
  const ids = Array.from({ length: WAITING }, (_, n) => {
    const priority = n % 3 === 0 ? 'background' : 'normal';
    return bots[n % bots.length]?.acquire({ priority, ttlMs: 600_000, waitMs: 60_000 + ((n * 7_919) % 60_000) });
  });
  expect(machine.broker.status().totals.waiting).toBe(WAITING);
  const botOf = (n: number) => {
    const bot = bots[n % bots.length];
    if (bot === undefined) throw new Error(`no bot ${n}`);
    return bot;
  };
  const cost = (operations: number, operate: (n: number) => void): number => {
    const before = counter.touches;
    for (let n = 0; n < operations; n += 1) operate(n);
    return (counter.touches - before) / operations;
  };
  return { machine, holder, held, ids, botOf, cost, counter };
}

test('with 10,000 waiting, queueing costs about the same for the last as for the first', async () => {
  const { machine, cost } = await crowded();
  const late = machine.connect();
  expect(cost(200, () => late.acquire({ waitMs: 90_000 }))).toBeLessThan(TOUCHES_PER_OPERATION);
});

test('with 10,000 waiting, a release and the grant that follows look at a few of them', async () => {
  const { machine, holder, held, cost } = await crowded();
  let last = { bot: holder, token: holder.grant(held).token };
  machine.listen = (event) => {
    if (event.kind === 'answer' && event.answer.kind === 'granted') {
      last = { bot: event.bot, token: event.answer.grant.token };
    }
  };
  expect(cost(1_000, () => last.bot.release(last.token))).toBeLessThan(TOUCHES_PER_OPERATION);
  expect(machine.broker.status().totals.waiting).toBe(WAITING - 1_000);
});

test('with 10,000 waiting, a cancel in the middle looks at a few of them', async () => {
  const { machine, ids, botOf, cost } = await crowded();
  const perCancel = cost(1_000, (n) => {
    const at = 4_000 + 3 * n;
    botOf(at).cancel(ids[at] ?? 0);
  });
  expect(perCancel).toBeLessThan(TOUCHES_PER_OPERATION);
  expect(machine.broker.status().totals.waiting).toBe(WAITING - 1_000);
});

test('with 10,000 waiting, a connection that closes costs as much as it had waiting', async () => {
  const { machine, botOf, cost } = await crowded();
  expect(cost(10, (n) => botOf(n).disconnect())).toBeLessThan(100 * TOUCHES_PER_OPERATION);
  expect(machine.broker.status().totals.waiting).toBe(WAITING - 1_000);
});

test('with 10,000 waiting, an urgent one is first, and looking what is due or how things stand costs next to nothing', async () => {
  const { machine, holder, held, cost } = await crowded();
  const exit = machine.connect('exit');
  const id = exit.acquire({ priority: 'urgent' });
  expect(cost(1, () => holder.release(holder.grant(held).token))).toBeLessThan(TOUCHES_PER_OPERATION);
  expect(exit.answer(id)?.kind).toBe('granted');
  expect(cost(100, () => machine.broker.expire())).toBeLessThan(10);
  expect(cost(100, () => machine.broker.status())).toBeLessThan(50);
});

test('with 10,000 waiting, their timeouts cost a few looks each', async () => {
  const { machine, cost, holder, held } = await crowded();
  machine.clock.stall(90_000);
  holder.renew(holder.grant(held).token);
  const before = machine.broker.status().totals.waiting;
  const total = cost(1, () => machine.broker.expire());
  const ended = before - machine.broker.status().totals.waiting;
  expect(ended).toBeGreaterThan(1_000);
  expect(total / ended).toBeLessThan(TOUCHES_PER_OPERATION);
});

test('with 10,000 waiting, a write of the ceiling that ends looks at the head only', async () => {
  const counter = countTouches();
  const machine = await Machine.started();
  await machine.advance(60_000);
  machine.store.held = true;
  const bots = Array.from({ length: 10 }, () => machine.connect());
  for (let n = 0; n < WAITING; n += 1) bots[n % 10]?.acquire();
  const before = counter.touches;
  machine.store.land();
  await settled();
  expect(machine.grantOrder).toHaveLength(1);
  expect(counter.touches - before).toBeLessThan(TOUCHES_PER_OPERATION);
});

test('with 1,000 accounts in use, a new one looks at one of them to be forgotten', async () => {
  const machine = await Machine.started({ exclusive: 'account' });
  for (let n = 0; n < 1_000; n += 1) await machine.roundTrip(`USER:${n}`);
  const looks = vi.spyOn(Breaker.prototype, 'isPristine', 'get');
  for (let n = 1_000; n < 1_100; n += 1) await machine.roundTrip(`USER:${n}`);
  // Each release looks once as well.
  expect(looks.mock.calls.length).toBeLessThanOrEqual(200);
  expect(machine.broker.status().totals.accounts).toBe(1_000);
});
