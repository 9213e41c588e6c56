import { type Clock, systemClock, type Timer } from '../../clock.ts';
import { NoncedError } from '../../errors.ts';
import { describe } from '../terminal/output.ts';
import { type Ask, Feed } from './feed.ts';
import { ASCII, UNICODE } from './glyphs.ts';
import { linesOf } from './layout.ts';
import { listed } from './overview-page.ts';
import { openScreen } from './screen.ts';
import { type Snapshot, Watch } from './snapshot.ts';
import type { Paint } from './space.ts';
import { FIRST_VIEW, type Key, press, type View } from './view.ts';

export interface LiveOptions {
  readonly ask: Ask;
  readonly intervalMs: number;
  /** Whether the terminal takes UTF-8. */
  readonly isUnicode: boolean;
  readonly paint: Paint;
}

/** Shows what the daemon does until it is told to quit, and then ends the process. Rejects with a defect. */
export async function showLive({ ask, intervalMs, isUnicode, paint }: LiveOptions): Promise<never> {
  const clock = systemClock();
  const feed = new Feed(ask);
  const watch = new Watch();
  const now = () => watch.snapshot(clock.monotonicMs(), timeOfDay(clock));
  let view = FIRST_VIEW;
  let shown: Snapshot = now();
  const pause = new Pause(clock);

  const quit = (code: number): never => {
    screen.close();
    process.exit(code);
  };
  const draw = () => {
    const { columns, rows } = screen;
    screen.draw(linesOf(shown, view, { columns, rows, paint, glyphs: isUnicode ? UNICODE : ASCII }));
  };
  const key = (pressed: Key) => {
    if (pressed.ctrl && pressed.name === 'z') return screen.suspend();
    const accounts = listed(shown, view).map(({ account }) => account);
    const next = press(view, pressed, { accounts, calls: shown.opened?.calls.length ?? 0 });
    if (next === 'quit') return quit(0);
    const reads = openedIn(next) !== openedIn(view) || (view.paused && !next.paused);
    view = next;
    draw();
    if (reads) pause.end();
  };
  const screen = openScreen(process.stdin, process.stdout, { key, spoiled: draw, gone: () => quit(0) });
  const signals = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 } as const;
  for (const [signal, code] of Object.entries(signals)) process.once(signal, () => quit(code));

  for (;;) {
    try {
      watch.heard(await feed.read(openedIn(view)), clock.monotonicMs());
    } catch (error) {
      // A defect of ours: the terminal is given back first, so that the message can be read.
      if (!(error instanceof NoncedError)) {
        screen.close();
        throw error;
      }
      watch.heardNothing(describe(error), clock.monotonicMs());
    }
    if (!view.paused) {
      shown = now();
      draw();
    }
    await pause.begin(intervalMs);
  }
}

function openedIn({ page }: View): string | undefined {
  const shown = page.kind === 'help' ? page.before : page;
  return shown.kind === 'account' ? shown.account : undefined;
}

function timeOfDay(clock: Clock): string {
  return new Date(clock.wallMs()).toTimeString().slice(0, 8);
}

/** The pause between two readings, which can be cut short. */
class Pause {
  readonly #clock: Clock;
  #timer: Timer | undefined;
  #over: () => void = () => {};
  #isShort = false;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  async begin(ms: number): Promise<void> {
    if (!this.#isShort) {
      await new Promise<void>((resolve) => {
        this.#over = resolve;
        this.#timer = this.#clock.after(ms, resolve);
      });
    }
    this.#timer?.cancel();
    this.#isShort = false;
  }

  /** Ends the present pause, or skips the next one. */
  end(): void {
    this.#isShort = true;
    this.#over();
  }
}
