import type { Clock } from '../../clock.ts';
import { isAway } from './reading.ts';

/** What a look at the daemon has found, and when, on the wall clock. */
export type Seen<R> =
  | { readonly state: 'there'; readonly atMs: number; readonly reading: R }
  | { readonly state: 'away'; readonly atMs: number; readonly sinceMs: number; readonly error: Error };

export interface WatchOptions<R> {
  readonly everyMs: number;
  readonly clock: Clock;
  read(): Promise<R>;
  show(seen: Seen<R>): void;
}

/** Looks again and again, also while no daemon answers. Rejects with whatever else goes wrong, and ends no other way. */
export async function watch<R>({ everyMs, clock, read, show }: WatchOptions<R>): Promise<never> {
  let awaySinceMs: number | undefined;
  for (;;) {
    try {
      const reading = await read();
      awaySinceMs = undefined;
      show({ state: 'there', atMs: clock.wallMs(), reading });
    } catch (error) {
      if (!isAway(error)) throw error;
      const atMs = clock.wallMs();
      awaySinceMs ??= atMs;
      show({ state: 'away', atMs, sinceMs: awaySinceMs, error: error as Error });
    }
    await new Promise<void>((resolve) => clock.after(everyMs, resolve));
  }
}

/** A terminal, as far as a screen is painted on it. */
export interface Terminal {
  readonly rows: number;
  write(text: string): unknown;
}

const BEGIN = '\u001b[?25l\u001b[?7l\u001b[H';
const END_OF_LINE = '\u001b[K\n';
const END = '\u001b[J\u001b[?7h\u001b[?25h';

/**
 * Paints `lines` over what the terminal showed, in one piece and without scrolling. Cursor and line breaks are as they
 * were after each, so that whatever ends the program leaves nothing to be put right.
 */
export function paintOver(terminal: Terminal, lines: readonly string[]): void {
  // The cursor rests on the last line.
  const room = Math.max(1, terminal.rows - 1);
  const hidden = lines.length - room + 1;
  const shown = lines.length <= room ? lines : [...lines.slice(0, room - 1), `… ${hidden} lines more than fit here`];
  terminal.write(BEGIN + shown.map((line) => line + END_OF_LINE).join('') + END);
}
