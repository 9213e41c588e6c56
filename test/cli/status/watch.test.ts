import { expect, test } from 'vitest';
import { paintOver, type Seen, watch } from '../../../src/cli/status/watch.ts';
import { unavailable } from '../../../src/client/connection/unavailable.ts';
import { settled } from '../../core/simulation.ts';
import { VirtualClock } from '../../fixtures/virtual-clock.ts';

const EVERY_MS = 2_000;

/** Watches what `answers` tell, one at each look, and answers what was shown. The last answer must be a defect. */
async function watched(answers: readonly (string | Error)[]): Promise<Seen<string>[]> {
  const clock = new VirtualClock();
  const shown: Seen<string>[] = [];
  let looks = 0;
  const ended = watch<string>({
    everyMs: EVERY_MS,
    clock,
    read: async () => {
      const answer = answers[looks++];
      if (typeof answer === 'string') return answer;
      throw answer;
    },
    show: (seen) => shown.push(seen),
  });
  const failed = ended.catch((error: unknown) => error);
  for (let look = 1; look < answers.length; look++) {
    await settled();
    expect(looks).toBe(look);
    clock.advance(EVERY_MS - 1);
    await settled();
    expect(looks).toBe(look);
    clock.advance(1);
  }
  expect(await failed).toBe(answers.at(-1));
  return shown;
}

const away = unavailable('/run/nonced/nonced.sock', undefined);
const defect = new Error('a defect');

test('it looks again after each interval', async () => {
  const startMs = new VirtualClock().wallMs();
  expect(await watched(['a', 'b', defect])).toEqual([
    { state: 'there', atMs: startMs, reading: 'a' },
    { state: 'there', atMs: startMs + EVERY_MS, reading: 'b' },
  ]);
});

test('while no daemon answers it says since when, and goes on when one does', async () => {
  const startMs = new VirtualClock().wallMs();
  expect(await watched(['a', away, away, 'b', away, defect])).toMatchObject([
    { state: 'there', reading: 'a' },
    { state: 'away', atMs: startMs + EVERY_MS, sinceMs: startMs + EVERY_MS, error: away },
    { state: 'away', atMs: startMs + 2 * EVERY_MS, sinceMs: startMs + EVERY_MS },
    { state: 'there', reading: 'b' },
    { state: 'away', sinceMs: startMs + 4 * EVERY_MS },
  ]);
});

test('it does not wait for a permission, which does not come by itself', async () => {
  const forbidden = unavailable('/run/nonced/nonced.sock', Object.assign(new Error('no'), { code: 'EACCES' }));
  expect(await watched([forbidden])).toEqual([]);
});

function painted(rows: number, lines: readonly string[]): string {
  let text = '';
  paintOver({ rows, write: (piece) => (text += piece) }, lines);
  return text;
}

test('a screen is painted in one piece over the last one, and leaves the terminal as it was', () => {
  const text = painted(24, ['one', 'two']);
  expect(text).toContain('\u001b[Hone\u001b[K\ntwo\u001b[K\n\u001b[J');
  const left = (on: string, off: string) => text.lastIndexOf(on) > text.lastIndexOf(off);
  expect(left('\u001b[?25h', '\u001b[?25l')).toBe(true);
  expect(left('\u001b[?7h', '\u001b[?7l')).toBe(true);
});

test('what does not fit is counted, and nothing scrolls', () => {
  const lines = Array.from({ length: 30 }, (_, n) => `line ${n}`);
  const text = painted(10, lines);
  expect(text.split('\n')).toHaveLength(10);
  expect(text).toContain('line 7');
  expect(text).not.toContain('line 8');
  expect(text).toContain('22 lines more');
});
