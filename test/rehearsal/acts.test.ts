import { describe, expect, test } from 'vitest';
import { ACTS, type ActName, firstCall, playAct, type Stage, type Timing } from '../../src/rehearsal/acts.ts';
import type { Exchange } from '../../src/rehearsal/exchange.ts';
import type { Fault } from '../../src/rehearsal/exchange-faults.ts';
import type { WitnessedCall } from '../../src/rehearsal/exchange-witness.ts';
import { called } from './witnessed.ts';

const TIMING: Timing = {
  calmMs: 1_000,
  refusedMs: 2_000,
  maintenanceMs: 3_000,
  slowMs: 150,
  settleMs: 500,
  limitMs: 9_000,
};

/** A stage on a time of its own; a bot that calls every `everyMs`, and gives up a call that hangs after 700 ms. */
function staged({ everyMs = 100, places = false, callsOn = false } = {}) {
  let nowMs = 0;
  let dueMs = everyMs;
  let hungUntilMs: number | undefined;
  const calls: WitnessedCall[] = [];
  const faults: Fault[] = [];
  const hits: Record<string, number> = {};
  const done: string[] = [];
  const call = () => {
    const method = places ? 'AddOrder' : 'Balance';
    const fault = faults.find((each) => (each.method ?? method) === method);
    if (fault?.calls === 1) faults.splice(faults.indexOf(fault), 1);
    if (fault !== undefined) hits[fault.kind] = (hits[fault.kind] ?? 0) + 1;
    if (fault?.kind === 'hang') hungUntilMs = nowMs + 700;
    calls.push(
      called(nowMs, { number: calls.length, method, ...(fault && { fault: fault.kind, verdict: 'faulted' }) }),
    );
  };
  const stage: Stage = {
    nowMs: () => nowMs,
    async pause(ms) {
      nowMs += ms;
      if (hungUntilMs !== undefined && nowMs >= hungUntilMs) hungUntilMs = undefined;
      if ((hungUntilMs !== undefined && !callsOn) || nowMs < dueMs) return;
      call();
      dueMs = nowMs + everyMs;
    },
    daemon: {
      kill: async () => void done.push('kill'),
      restart: async () => void done.push('restart'),
      amnesty: async () => void done.push('amnesty'),
    },
    exchange: {
      report: () => ({ calls: calls.length, orders: places ? 1 : 0, faults: hits }),
      ledger: (from = 0) => calls.slice(from),
      injectFault(fault: Fault) {
        faults.push(fault);
        return () => void (faults.includes(fault) && faults.splice(faults.indexOf(fault), 1));
      },
      clearFaults: () => void faults.splice(0),
      unanswered: () => (hungUntilMs === undefined ? 0 : 1),
      dropUnanswered: () => void done.push('dropped'),
    } as unknown as Exchange,
  };
  return { stage, calls, faults, done };
}

describe('an act', () => {
  test.each(Object.keys(ACTS) as ActName[])(
    '%s is over, with its faults, once calls are accepted again',
    async (name) => {
      const { stage, faults, done } = staged();
      const played = await playAct(name, stage, TIMING);
      expect(played).toMatchObject({ name, startMs: 0 });
      expect(played.trouble === undefined).toBe(name === 'calm');
      expect(played.endMs).toBeLessThan(TIMING.limitMs);
      expect(faults).toEqual([]);
      expect(done[0]).toBe('amnesty');
      expect(done.at(-1)).toBe('dropped');
    },
  );

  test('that refuses calls refuses them for its time, and the bot is watched for a while after it', async () => {
    const { stage, calls } = staged();
    const played = await playAct('maintenance', stage, TIMING);
    expect(played.trouble).toEqual({ fromMs: 0, toMs: 3_000 });
    expect(calls.filter(({ fault }) => fault === 'status').every(({ arrivedAtMs }) => arrivedAtMs <= 3_000)).toBe(true);
    expect(played.endMs).toBeGreaterThanOrEqual(3_500);
  });

  test('of a hang waits for the hung call to be given up, though others are accepted before', async () => {
    const { stage, calls } = staged({ callsOn: true });
    const played = await playAct('hang', stage, TIMING);
    const [hung] = calls.filter(({ fault }) => fault === 'hang');
    expect(played.endMs).toBeGreaterThanOrEqual((hung?.arrivedAtMs ?? 0) + 700 + TIMING.settleMs);
  });

  test('hits an order if the bot places any', async () => {
    const { stage, calls } = staged({ places: true });
    await playAct('reset', stage, TIMING);
    expect(calls.find(({ fault }) => fault === 'reset-body')).toMatchObject({ method: 'AddOrder' });
  });

  test('in which no call comes takes its limit, and nothing has gone wrong in it', async () => {
    const { stage, faults, done } = staged({ everyMs: 1e9 });
    const { trouble, endMs } = await playAct('restart', stage, TIMING);
    expect({ trouble, faults, endMs }).toEqual({ trouble: undefined, faults: [], endMs: 9_000 });
    expect(done).not.toContain('restart');
  });

  test('of a lockout closes the breakers afterwards and asks for no call', async () => {
    const { stage, done } = staged({ everyMs: 1e9 });
    expect((await playAct('lockout', stage, TIMING)).endMs).toBe(2_500);
    expect(done).toEqual(['amnesty', 'amnesty', 'dropped']);
  });
});

describe('the first call', () => {
  test('is waited for, and no longer than the limit', async () => {
    expect(await firstCall(staged().stage, 9_000, () => 0)).toBe(true);
    const { stage } = staged({ everyMs: 1e9 });
    expect(await firstCall(stage, 9_000, () => 2)).toBe(false);
    expect(stage.nowMs()).toBe(9_000);
  });

  test('is given up soon if leases are granted and no call comes', async () => {
    const { stage } = staged({ everyMs: 1e9 });
    expect(await firstCall(stage, 9_000, () => (stage.nowMs() > 1_000 ? 3 : 0))).toBe(false);
    expect(stage.nowMs()).toBeLessThan(3_100);
  });
});
