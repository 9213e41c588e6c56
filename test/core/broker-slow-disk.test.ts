import { expect, test } from 'vitest';
import { freshState, Machine, settled } from './simulation.ts';

/** A machine whose counter has handed out twenty, and whose next write hangs. */
async function countingWithHungDisk(): Promise<Machine> {
  const machine = await Machine.started({ unit: 'counter' });
  for (let call = 0; call < 20; call++) await machine.roundTrip();
  machine.store.held = true;
  return machine;
}

test('a hung disk is not a reason to end a daemon that still grants below its durable ceiling', async () => {
  const machine = await Machine.started();
  await machine.advance(60_000);
  machine.store.held = true;
  const bot = machine.connect();
  const first = bot.acquire();
  await machine.advance(1_100);
  bot.release(bot.grant(first).token);
  for (let call = 0; call < 200; call++) {
    await machine.advance(100);
    bot.release(bot.grant(bot.acquire({ waitMs: 0 })).token);
  }
  expect(machine.broker.isOverdue).toBe(false);
  expect(machine.broker.status().durability.state).toBe('slow');
});

test('a hung disk that a request waits for for over ten seconds is one', async () => {
  const machine = await countingWithHungDisk();
  machine.connect().acquire({ count: 1_000 });
  await machine.advance(9_900);
  expect(machine.broker.isOverdue).toBe(false);
  await machine.advance(200);
  expect(machine.broker.isOverdue).toBe(true);
});

test('I8: when the first waiter cancels a request above the durable ceiling, the next one is served', async () => {
  const machine = await countingWithHungDisk();
  const [greedy, modest] = [machine.connect(), machine.connect()];
  const large = greedy.acquire({ count: 1_000 });
  await machine.advance(2_000);
  const small = modest.acquire();
  expect(modest.answer(small)).toBeUndefined();
  greedy.cancel(large);
  expect(modest.answer(small)?.kind).toBe('granted');
});

test('I8: and also when its time is over', async () => {
  const machine = await countingWithHungDisk();
  const [greedy, modest] = [machine.connect(), machine.connect()];
  greedy.acquire({ count: 1_000, waitMs: 2_000 });
  const small = modest.acquire();
  await machine.advance(2_000);
  expect(modest.answer(small)?.kind).toBe('granted');
});

test('a bare nonce that a step of the clock leaves waiting after one write is not left to the next one, which hangs', async () => {
  const machine = await Machine.started();
  await machine.advance(60_000);
  machine.store.held = true;
  const bot = machine.connect();
  const id = bot.nonce();
  await machine.advance(500);
  machine.clock.stepWall(60_000);
  // In time, but the ceiling that it brings lies behind the clock by now.
  machine.store.land();
  await settled();
  expect(bot.answer(id)).toBeUndefined();
  await machine.advance(1_000);
  expect(machine.store.pending).toBeDefined();
  expect(bot.answer(id)?.kind).toBe('drawn');
});

test('the moment at which a write counts as slow is the same for the timer and for the sequences, despite rounding', async () => {
  for (let fraction = 0; fraction < 100; fraction++) {
    const machine = await Machine.started();
    // Where doubles lose a bit: 2^20 ms.
    await machine.advance(1_048_000 + fraction / 97);
    machine.store.held = true;
    const bot = machine.connect();
    const id = bot.acquire();
    await machine.advance(3_000);
    expect(bot.answer(id)?.kind).toBe('granted');
  }
});

test('tokens that are used up are reported as such, and no request waits for them', async () => {
  const fresh = freshState(Date.UTC(2026, 5, 1));
  const usedUp = { unit: 'us', ceiling: 2n ** 53n, max: 2n ** 53n - 1n } as const;
  const machine = await Machine.started({ state: { ...fresh, sequences: { ...fresh.sequences, '#tokens': usedUp } } });
  const bot = machine.connect();
  expect(bot.code(bot.acquire())).toBe('LIMIT');
});
