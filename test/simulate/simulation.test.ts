import { describe, expect, test } from 'vitest';
import { run } from '../../simulate/run.ts';
import { type Scenario, type Step, scenarioOf } from '../../simulate/scenario.ts';
import { cutDown, shrink } from '../../simulate/shrink.ts';
import { SEED, shareOf } from '../fixtures/effort.ts';

/** Two seconds of one processor, or twenty in a long run. `npm run simulate` goes further. */
const SEEDS = shareOf(2_000);
/** Far from those that `npm run simulate` begins with, and others for each commit. */
const FIRST_SEED = 1_000_000 + (SEED % 400_000) * SEEDS;
const GROUPS = 10;

describe('the whole of it, simulated: core, protocol, connections, store and client library', () => {
  // In groups, so that a failure names few seeds and progress shows.
  for (let group = 0; group < GROUPS; group++) {
    const from = FIRST_SEED + (group * SEEDS) / GROUPS;
    test(`I1 to I10 hold over seeds ${from} to ${from + SEEDS / GROUPS - 1}`, async () => {
      for (let seed = from; seed < from + SEEDS / GROUPS; seed++) {
        const { failure } = await run(scenarioOf(seed));
        expect(failure, `npm run simulate -- --seed ${seed}`).toBeUndefined();
      }
    });
  }

  test('a seed comes to the same history each time', async () => {
    for (const seed of [3, 17, 856, 1_741]) {
      const first = (await run(scenarioOf(seed))).history();
      // Another one in between, in case it leaves something behind.
      await run(scenarioOf(seed + 1));
      expect((await run(scenarioOf(seed))).history()).toEqual(first);
    }
  });

  test('grants, refusals, crashes and damage all happen', { timeout: 60_000 }, async () => {
    const happened = new Set<string>();
    for (let seed = 1; seed <= 150; seed++)
      for (const what of (await run(scenarioOf(seed))).coverage.keys()) happened.add(what);
    expect([...happened]).toEqual(
      expect.arrayContaining([
        'grants',
        'revoked',
        'WAIT_TIMEOUT',
        'CANCELLED',
        'LEASE_LOST',
        'kill',
        'clean stop',
        'power cut',
        'daemon stalled',
        'crash-bot',
        'stall-bot',
        'disk slow',
        'disk ENOSPC',
        'start refused: damaged',
        'start refused: lost',
        'start refused: foreign',
        'start refused: retired',
        'state repaired',
        'another instance serves',
        'clock set right',
        'connection broken',
        'clock back',
        'clock forward',
        'steal',
        'configuration edited',
      ]),
    );
  });
});

describe('a failing history', () => {
  const call = (atMs: number): Step => ({ atMs, kind: 'nonce', bot: 0, account: 'MASTER', count: 1 });

  test('is shrunk to the steps that it takes', { timeout: 60_000 }, async () => {
    // A state that is never brought back: the checker holds it against the daemon that it never serves again.
    const scenario: Scenario = {
      ...scenarioOf(1),
      bots: 1,
      steps: [call(10), call(20), { atMs: 1_000, kind: 'stall-daemon', ms: 10_000_000 }, call(1_500), call(2_000)],
    };
    const { failure } = await run(scenario);
    expect(failure?.invariant).toBe('rest');
    const { cut, run: shortest } = await shrink(scenario, 'rest');
    expect(cut.steps).toEqual([2]);
    expect(shortest.failure?.invariant).toBe('rest');
    expect((await run(cutDown(scenario, cut))).history()).toEqual(shortest.history());
  });
});
