import { describe, expect, test } from 'vitest';
import { NonceSequence } from '../../../src/core/nonces/nonce-sequence.ts';
import { nonceFloorAt } from '../../../src/core/nonces/sequence-clock.ts';
import type { Unit } from '../../../src/terms.ts';

const WALL_MS = Date.UTC(2026, 5, 1);
const MAX = 2n ** 63n - 1n;
const RESERVE_MS = 5_000;
const UNITS: readonly Unit[] = ['ns', 'us', 'ms', 's', 'counter'];

const sequenceOf = (unit: Unit, ceiling: bigint, max = MAX) => new NonceSequence('default', { unit, ceiling, max });

/** Draws, making a raised ceiling durable whenever that is needed. Returns the first nonce and how many writes it took. */
function draw(sequence: NonceSequence, wallMs: number, count = 1): { nonce: bigint; writes: number } {
  const floor = nonceFloorAt(wallMs, sequence.unit);
  for (let writes = 0; writes < 5; writes += 1) {
    const taken = sequence.take(floor, count, false);
    if (taken.kind === 'taken') return { nonce: taken.nonce, writes };
    if (taken.kind === 'exhausted') throw new Error('exhausted');
    sequence.adopt(sequence.propose(floor, 0n));
  }
  throw new Error(`no ceiling lets ${count} ${sequence.unit} nonces through`);
}

describe('NonceSequence', () => {
  test('nanosecond nonces have 19 digits and follow the clock', () => {
    const sequence = sequenceOf('ns', nonceFloorAt(WALL_MS, 'ns'));
    const { nonce } = draw(sequence, WALL_MS);
    expect(String(nonce)).toHaveLength(19);
    const later = draw(sequence, WALL_MS + 1_000).nonce;
    expect(later).toBe(BigInt(WALL_MS + 1_001) * 1_000_000n);
  });

  test.each([
    ['ns', 19],
    ['us', 16],
    ['ms', 13],
    ['s', 10],
  ] as const)('a nonce in %s has %i digits', (unit, digits) => {
    expect(String(draw(sequenceOf(unit, 0n), WALL_MS).nonce)).toHaveLength(digits);
  });

  test('a counter starts at its ceiling and goes up by one, at any clock', () => {
    const sequence = sequenceOf('counter', 42n);
    expect([1, 2, 3].map((n) => draw(sequence, WALL_MS + n * 10_000).nonce)).toEqual([42n, 43n, 44n]);
  });

  test.each(UNITS)('I2: within one instant of %s each nonce is greater than the one before', (unit) => {
    const sequence = sequenceOf(unit, nonceFloorAt(WALL_MS, unit));
    let last = -1n;
    for (let n = 0; n < 2_000; n += 1) {
      const { nonce } = draw(sequence, WALL_MS);
      expect(nonce > last).toBe(true);
      last = nonce;
    }
  });

  test('count draws consecutive nonces, and the next one lies behind all of them', () => {
    const sequence = sequenceOf('ns', 0n);
    const { nonce } = draw(sequence, WALL_MS, 1_000);
    expect(sequence.last).toBe(nonce + 999n);
    expect(draw(sequence, WALL_MS).nonce).toBe(nonce + 1_000n);
    expect(sequence.issued).toBe(1_001);
  });

  test.each(UNITS)('a thousand nonces of %s at once need one write, also long after the last one', (unit) => {
    const sequence = sequenceOf(unit, nonceFloorAt(WALL_MS - 3_600_000, unit));
    expect(draw(sequence, WALL_MS, 1_000).writes).toBe(1);
  });

  test('I1: nothing at or above the ceiling is handed out, also not the last of several', () => {
    const floor = 1_000n;
    const sequence = sequenceOf('ms', 1_000n);
    expect(sequence.take(floor, 1, false).kind).toBe('needs-ceiling');
    sequence.adopt({ ceiling: 1_010n, halfway: 1_010n });
    expect(sequence.take(floor, 11, false).kind).toBe('needs-ceiling');
    expect(sequence.take(floor, 10, false)).toEqual({ kind: 'taken', nonce: 1_000n });
    expect(sequence.take(floor, 1, false).kind).toBe('needs-ceiling');
    expect(sequence.last).toBe(1_009n);
  });

  test('I1: a ceiling that is only proposed is not used', () => {
    const sequence = sequenceOf('ns', 1n);
    sequence.propose(nonceFloorAt(WALL_MS, 'ns'), 0n);
    expect(sequence.ceiling).toBe(1n);
    expect(sequence.take(nonceFloorAt(WALL_MS, 'ns'), 1, false).kind).toBe('needs-ceiling');
  });

  test('I10: neither a proposal nor its adoption lowers the ceiling, at any clock', () => {
    const sequence = sequenceOf('ns', nonceFloorAt(WALL_MS, 'ns'));
    const proposal = sequence.propose(nonceFloorAt(0, 'ns'), 0n);
    expect(proposal.ceiling >= sequence.ceiling).toBe(true);
    sequence.adopt({ ceiling: 5n, halfway: 5n });
    expect(sequence.ceiling).toBe(nonceFloorAt(WALL_MS, 'ns'));
  });

  test('I2: with the clock back it goes on from the last nonce', () => {
    const sequence = sequenceOf('ns', 0n);
    const { nonce } = draw(sequence, WALL_MS);
    expect(draw(sequence, WALL_MS - 3_600_000).nonce).toBe(nonce + 1n);
    expect(draw(sequence, 0).nonce).toBe(nonce + 2n);
  });

  test('the last nonce below max is handed out, and none past it', () => {
    const sequence = sequenceOf('counter', 8n, 10n);
    expect([1, 2, 3].map(() => draw(sequence, WALL_MS).nonce)).toEqual([8n, 9n, 10n]);
    expect(sequence.take(0n, 1, false).kind).toBe('exhausted');
    expect(sequence.take(0n, 1, true).kind).toBe('exhausted');
    expect(sequence.wantsRaise).toBe(false);
  });

  test('several at once that do not fit below max are refused, and fewer that do are still handed out', () => {
    const sequence = sequenceOf('counter', 8n, 10n);
    expect(sequence.take(0n, 4, false).kind).toBe('exhausted');
    expect(draw(sequence, WALL_MS, 3).nonce).toBe(8n);
  });

  test('a new ceiling is five seconds ahead of the clock, with room for the waiters', () => {
    for (const unit of ['ns', 'us', 'ms'] as const) {
      const sequence = sequenceOf(unit, 0n);
      draw(sequence, WALL_MS);
      expect(sequence.ceiling).toBe(nonceFloorAt(WALL_MS + RESERVE_MS, unit) + 1n);
    }
  });

  test('a raise is wanted once half of the reserve is gone, and not before', () => {
    const sequence = sequenceOf('ns', 0n);
    draw(sequence, WALL_MS);
    expect(sequence.take(nonceFloorAt(WALL_MS + 2_400, 'ns'), 1, false).kind).toBe('taken');
    expect(sequence.wantsRaise).toBe(false);
    expect(sequence.take(nonceFloorAt(WALL_MS + 2_600, 'ns'), 1, false).kind).toBe('taken');
    expect(sequence.wantsRaise).toBe(true);
  });

  test('the margin of a sequence ahead of its clock grows with its use and stops at 65,536', () => {
    const sequence = sequenceOf('ns', nonceFloorAt(WALL_MS, 'ns'));
    const behindMs = WALL_MS - 3_600_000;
    draw(sequence, behindMs);
    expect(sequence.ceiling - sequence.last <= 4n).toBe(true);
    let writes = 0;
    for (let n = 0; n < 100_000; n += 1) {
      const drawn = draw(sequence, behindMs);
      writes += drawn.writes;
      if (sequence.wantsRaise) {
        writes += 1;
        sequence.adopt(sequence.propose(nonceFloorAt(behindMs, 'ns'), 0n));
      }
    }
    expect(sequence.ceiling - sequence.last <= 65_538n).toBe(true);
    expect(sequence.ceiling - sequence.last > 30_000n).toBe(true);
    expect(writes).toBeLessThan(40);
  });

  test.each(UNITS)(
    'I10: a hundred crashes with a few %s nonces each leave it no further ahead than one reserve and thrice the use',
    (unit) => {
      let ceiling = nonceFloorAt(WALL_MS, unit);
      const begun = ceiling;
      let used = 0n;
      for (let crash = 0; crash < 100; crash += 1) {
        const sequence = sequenceOf(unit, ceiling);
        const floor = nonceFloorAt(WALL_MS + crash, unit);
        // A start raises what time has left behind.
        if (sequence.outdated(floor)) sequence.adopt(sequence.propose(floor, 0n));
        for (let n = 0; n < 5; n += 1) {
          draw(sequence, WALL_MS + crash);
          if (sequence.wantsRaise) sequence.adopt(sequence.propose(floor, 0n));
          used += 1n;
        }
        ceiling = sequence.ceiling;
      }
      const fromTime = unit === 'counter' ? begun : nonceFloorAt(WALL_MS + 100 + RESERVE_MS, unit);
      expect(ceiling <= fromTime + 4n * used).toBe(true);
    },
  );

  test('I10: crashes without any use do not move a sequence that is ahead of its clock', () => {
    let ceiling = nonceFloorAt(WALL_MS + 3_600_000, 'ns');
    const begun = ceiling;
    for (let crash = 0; crash < 100; crash += 1) {
      const sequence = sequenceOf('ns', ceiling);
      if (sequence.outdated(nonceFloorAt(WALL_MS, 'ns')))
        sequence.adopt(sequence.propose(nonceFloorAt(WALL_MS, 'ns'), 0n));
      ceiling = sequence.ceiling;
    }
    expect(ceiling).toBe(begun);
  });

  test('sparing: with the clock past the ceiling it goes on from the last nonce, and only inside the ceiling (I1)', () => {
    const sequence = sequenceOf('ms', 1_000n);
    sequence.adopt({ ceiling: 1_010n, halfway: 1_005n });
    expect(sequence.take(5_000n, 3, false).kind).toBe('needs-ceiling');
    expect(sequence.take(5_000n, 3, true)).toEqual({ kind: 'taken', nonce: 1_000n });
    expect(sequence.take(5_000n, 7, true)).toEqual({ kind: 'taken', nonce: 1_003n });
    expect(sequence.take(5_000n, 1, true).kind).toBe('needs-ceiling');
  });

  test('sparing follows the clock while that is inside the ceiling', () => {
    const sequence = sequenceOf('ms', 1_000n);
    sequence.adopt({ ceiling: 1_010n, halfway: 1_005n });
    expect(sequence.take(1_004n, 1, true)).toEqual({ kind: 'taken', nonce: 1_004n });
  });

  test('I10: a lift only ever raises', () => {
    const sequence = sequenceOf('ns', 100n);
    sequence.lift(50n);
    expect(sequence.last).toBe(99n);
    sequence.lift(200n);
    expect(sequence.last).toBe(199n);
    expect(draw(sequence, 0).nonce >= 200n).toBe(true);
  });

  test('the reserve proposed for a lift lies behind it', () => {
    const sequence = sequenceOf('ns', 100n);
    const lifted = nonceFloorAt(WALL_MS, 'ns');
    const proposal = sequence.propose(0n, lifted);
    expect(proposal.ceiling > lifted).toBe(true);
    sequence.adopt(proposal);
    sequence.lift(lifted);
    expect(sequence.take(0n, 1, false)).toEqual({ kind: 'taken', nonce: lifted });
  });

  test('without a draw since the last raise nothing is wanted: an idle sequence is never written', () => {
    const sequence = sequenceOf('ns', 0n);
    draw(sequence, WALL_MS);
    sequence.adopt(sequence.propose(nonceFloorAt(WALL_MS + 10_000, 'ns'), 0n));
    expect(sequence.wantsRaise).toBe(false);
    expect(sequence.drawnSinceRaise).toBe(false);
  });
});
