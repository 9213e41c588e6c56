import { expect, test } from 'vitest';
import { Callers, type Load, nowNs } from '../../bench/load.ts';
import { settle } from '../fixtures/virtual-clock.ts';

const LOAD: Load = {
  what: 'nonce',
  connections: 2,
  outstanding: 1,
  lanes: 1,
  pauseMs: 0,
  coldCalls: 1,
  warmUpCalls: 2,
  hotCalls: 1,
  atMostMs: 60_000,
};

/** Callers on two connections to a counter in this process. */
function callers(answers: () => boolean = () => true) {
  let last = 0n;
  const nonce = async () => {
    if (!answers()) await new Promise(() => {});
    last += 1n;
    return last;
  };
  const share = { peer: 'a counter', endpoint: '', load: LOAD, connections: 2, firstConnection: 0 };
  return { counted: () => last, crew: new Callers([{ nonce }, { nonce }], share) };
}

test('a stretch ends when its calls are made, and has each of them with its latency', async () => {
  const { crew, counted } = callers();
  const fromNs = nowNs();
  const untilNs = await crew.count({ fromNs, calls: 500, atMostMs: 60_000 });
  expect(counted()).toBeGreaterThanOrEqual(500n);
  const { latenciesNs, waitingNs } = crew.sample({ fromNs, untilNs });
  expect(latenciesNs.length).toBeGreaterThanOrEqual(500);
  expect(latenciesNs.every((latencyNs) => latencyNs > 0 && latencyNs <= untilNs - fromNs)).toBe(true);
  expect(waitingNs.length).toBeLessThanOrEqual(2);
});

test('the load goes on between two stretches, and what was done by then is not part of the second', async () => {
  const { crew, counted } = callers();
  await crew.count({ fromNs: nowNs(), calls: 10, atMostMs: 60_000 });
  const before = counted();
  await settle();
  await settle();
  expect(counted()).toBeGreaterThan(before);
  const fromNs = nowNs();
  const untilNs = await crew.count({ fromNs, calls: 10, atMostMs: 60_000 });
  const { latenciesNs } = crew.sample({ fromNs, untilNs });
  expect(latenciesNs.length).toBeGreaterThanOrEqual(10);
  expect(latenciesNs.length).toBeLessThan(Number(counted() - before));
});

test('a stretch of a peer that gets nothing done ends on time, and the callers that wait say for how long', async () => {
  const { crew } = callers(() => false);
  const fromNs = nowNs();
  const untilNs = await crew.count({ fromNs, calls: 10, atMostMs: 20 });
  const { latenciesNs, waitingNs } = crew.sample({ fromNs, untilNs });
  expect(latenciesNs).toHaveLength(0);
  expect(waitingNs).toHaveLength(2);
  expect(Math.min(...waitingNs)).toBeGreaterThan(0);
});
