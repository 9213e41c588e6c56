import { describe, expect, test } from 'vitest';
import { Assignments } from '../../../src/core/nonces/assignments.ts';
import { CeilingWriter } from '../../../src/core/nonces/ceiling-writer.ts';
import type { DurableChange } from '../../../src/core/nonces/durable-change.ts';
import { NonceSequence } from '../../../src/core/nonces/nonce-sequence.ts';
import { nonceFloorAt, SequenceClock } from '../../../src/core/nonces/sequence-clock.ts';
import type { Unit } from '../../../src/terms.ts';
import { VirtualClock } from '../../fixtures/virtual-clock.ts';
import { freshState, ioError, noSpace, SimulatedStore, settled } from '../simulation.ts';

function writerOf(unit: Unit = 'ns') {
  const clock = new VirtualClock();
  const state = freshState(clock.wallMs(), unit);
  const store = new SimulatedStore(state, clock);
  const sequenceClock = new SequenceClock(clock, 'boot-1', state);
  const sequences = new Map(Object.entries(state.sequences).map(([name, of]) => [name, new NonceSequence(name, of)]));
  const sequence = sequences.get('default') as NonceSequence;
  const heard: string[] = [];
  const writer = new CeilingWriter({
    clock,
    sequenceClock,
    sequences,
    assignments: new Assignments(state.accounts),
    exclusive: 'global',
    seenWallMs: state.seenWallMs,
    store,
    observer: { observe: ({ kind }) => heard.push(kind), failed: () => heard.push('failed') },
    onWritten: (failure) => heard.push(failure === undefined ? 'written' : 'not written'),
  });
  const take = () => {
    const taken = sequence.take(nonceFloorAt(clock.wallMs(), unit), 1, writer.problem !== undefined);
    if (sequence.wantsRaise) writer.request();
    return taken;
  };
  return { clock, store, sequence, writer, heard, take };
}

/** Returns why the change did not become durable, if it did not. */
async function commit(writer: CeilingWriter, change: DurableChange): Promise<Error | undefined> {
  const committed = await writer.commit(() => change);
  return committed.kind === 'failed' ? committed.error : undefined;
}

describe('CeilingWriter', () => {
  test('I1: a ceiling is used once its write is durable, and not before', async () => {
    const { store, sequence, take } = writerOf();
    store.held = true;
    expect(take().kind).toBe('needs-ceiling');
    await settled();
    const before = sequence.ceiling;
    expect(store.pending?.state.sequences['default']?.ceiling).toBeGreaterThan(before);
    expect(take().kind).toBe('needs-ceiling');
    expect(sequence.ceiling).toBe(before);
    store.land();
    await settled();
    expect(sequence.ceiling).toBe(store.durable.sequences['default']?.ceiling);
    expect(take().kind).toBe('taken');
  });

  test('one write at a time: each change of an operator has one of its own, in order, and all else shares one', async () => {
    const { store, writer, take } = writerOf();
    store.held = true;
    take();
    for (let n = 0; n < 10; n += 1) writer.request();
    const changes = (['account', 'off', 'account'] as const).map((exclusive) => commit(writer, { exclusive }));
    expect(store.writes).toBe(1);
    store.land();
    await settled();
    expect(store.writes).toBe(2);
    expect(store.pending?.state.exclusive).toBe('account');
    expect(writer.exclusive).toBe('global');
    store.land();
    await settled();
    expect(writer.exclusive).toBe('account');
    expect(store.pending?.state.exclusive).toBe('off');
    store.held = false;
    store.land();
    expect(await Promise.all(changes)).toEqual([undefined, undefined, undefined]);
    expect(writer.exclusive).toBe('account');
    expect(store.writes).toBe(4);
  });

  test('an idle daemon writes nothing and sets no timer', async () => {
    const { clock, store, writer, take } = writerOf();
    await writer.open();
    take();
    await settled();
    const { writes } = store;
    clock.advance(24 * 3_600_000);
    await settled();
    expect(store.writes).toBe(writes);
    expect(clock.timers).toBe(0);
  });

  test('steady use of 10,000 nonces costs a write per 2.5 s and waits for none', async () => {
    const { clock, store, writer, take } = writerOf();
    await writer.open();
    let waits = 0;
    const { writes } = store;
    for (let n = 0; n < 10_000; n += 1) {
      clock.advance(100);
      if (take().kind === 'needs-ceiling') waits += 1;
      await settled();
    }
    expect(waits).toBe(0);
    const periods = 1_000_000 / 2_500;
    expect(store.writes - writes).toBeLessThanOrEqual(periods + 1);
    expect(store.writes - writes).toBeGreaterThan(periods * 0.9);
  });

  test('calls that come every 1.9 s wait for no write either', async () => {
    const { clock, writer, take } = writerOf();
    await writer.open();
    let waits = 0;
    for (let n = 0; n < 500; n += 1) {
      clock.advance(1_900);
      if (take().kind === 'needs-ceiling') waits += 1;
      await settled();
    }
    expect(waits).toBe(0);
  });

  test('a write that may be tried again is, after 100 ms and then twice as long each time up to 5 s', async () => {
    const { clock, store, heard, take } = writerOf();
    store.failing = noSpace();
    take();
    await settled();
    const waits: number[] = [];
    for (let n = 0; n < 9; n += 1) {
      const dueMs = clock.nextDueMs() ?? Number.NaN;
      waits.push(dueMs - clock.monotonicMs());
      clock.advance(dueMs - clock.monotonicMs());
      await settled();
    }
    expect(waits).toEqual([100, 200, 400, 800, 1_600, 3_200, 5_000, 5_000, 5_000]);
    expect(heard.filter((what) => what === 'write-failed')).toHaveLength(1);
    store.failing = undefined;
    clock.advance(5_000);
    await settled();
    expect(heard.slice(-2)).toEqual(['write-recovered', 'written']);
    expect(clock.timers).toBe(0);
    store.failing = noSpace();
    clock.advance(10_000);
    take();
    await settled();
    expect((clock.nextDueMs() ?? 0) - clock.monotonicMs()).toBe(100);
  });

  test('a change that cannot be written takes no effect, and its caller gets the reason', async () => {
    const { store, sequence, writer } = writerOf();
    store.failing = noSpace();
    const { last } = sequence;
    const failure = await commit(writer, { exclusive: 'off', lifts: new Map([[sequence, last + 1_000n]]) });
    expect(failure?.message).toContain('ENOSPC');
    expect(writer.exclusive).toBe('global');
    expect(sequence.last).toBe(last);
    expect(store.durable.exclusive).toBe('global');
  });

  test('a change does not wait for the next try of a failed write', async () => {
    const { clock, store, writer, take } = writerOf();
    store.failing = noSpace();
    take();
    await settled();
    store.failing = undefined;
    expect(await commit(writer, { exclusive: 'off' })).toBeUndefined();
    expect(clock.timers).toBe(0);
  });

  test('after a failed sync nothing is written any more, and every change that waited is refused', async () => {
    const { clock, store, writer, heard, take } = writerOf();
    store.held = true;
    const first = commit(writer, { exclusive: 'off' });
    const second = commit(writer, { exclusive: 'account' });
    store.fail(ioError());
    expect((await first)?.message).toContain('EIO');
    expect(await second).toBeDefined();
    expect(heard).toContain('failed');
    expect(heard).not.toContain('written');
    take();
    clock.advance(60_000);
    expect(await commit(writer, { exclusive: 'off' })).toBeDefined();
    expect(await writer.close()).toBeUndefined();
    expect(store.writes).toBe(1);
  });

  test('a clean stop puts each ceiling right behind its last nonce, after the write that is under way', async () => {
    const { store, sequence, writer, take } = writerOf();
    await writer.open();
    const taken = take();
    store.held = true;
    const changed = commit(writer, { exclusive: 'off' });
    const waiting = commit(writer, { exclusive: 'account' });
    const closed = writer.close();
    await settled();
    expect(store.writes).toBe(2);
    store.held = false;
    store.land();
    expect(await closed).toBeUndefined();
    expect(await changed).toBeUndefined();
    expect(await waiting).toBeDefined();
    expect(taken).toEqual({ kind: 'taken', nonce: sequence.last });
    expect(store.durable.sequences['default']?.ceiling).toBe(sequence.last + 1n);
    expect(store.durable.exclusive).toBe('off');
    writer.request();
    expect(await commit(writer, { exclusive: 'global' })).toBeDefined();
    expect(store.writes).toBe(3);
  });

  test('a clean stop during a series of failed writes ends the series', async () => {
    const { clock, store, writer, take } = writerOf();
    store.failing = noSpace();
    take();
    await settled();
    expect((await writer.close())?.message).toContain('ENOSPC');
    expect(clock.timers).toBe(0);
  });

  test('I10: two lifts in one write leave the higher one in effect', async () => {
    const { store, sequence, writer } = writerOf();
    const { last } = sequence;
    store.held = true;
    void commit(writer, {});
    const lifts = [5_000_000_000_000n, 1_000_000_000_000n].map((by) =>
      commit(writer, { lifts: new Map([[sequence, last + by]]) }),
    );
    store.held = false;
    store.land();
    await Promise.all(lifts);
    expect(sequence.last).toBe(last + 5_000_000_000_000n - 1n);
    expect(sequence.ceiling).toBeGreaterThan(sequence.last);
  });

  test('the latest wall time that was believed is written, and never an earlier one', async () => {
    const { clock, store, writer } = writerOf();
    const begunMs = clock.wallMs();
    clock.advance(10_000);
    await commit(writer, {});
    expect(store.durable.seenWallMs).toBe(begunMs + 10_000);
    clock.stepWall(-3_600_000);
    await commit(writer, {});
    expect(store.durable.seenWallMs).toBe(begunMs + 10_000);
    clock.stepWall(5 * 3_600_000);
    await commit(writer, {});
    expect(store.durable.seenWallMs).toBe(begunMs + 10_000);
  });
});
