import { emitKeypressEvents } from 'node:readline';
import type { ReadStream, WriteStream } from 'node:tty';
import { framePainted, RESTORE } from '../terminal/paint.ts';
import type { Key } from './view.ts';

export interface Handlers {
  key(key: Key): void;
  /** The screen no longer shows what was drawn: it has another size, or another program wrote on it. */
  spoiled(): void;
  /** The terminal is gone. */
  gone(): void;
}

/** The terminal, taken over until `close`, which leaves it as it was. */
export interface Screen {
  readonly columns: number;
  readonly rows: number;
  draw(lines: readonly string[]): void;
  /** Gives the terminal back, stops the process as Ctrl-Z does, and takes the terminal again when it is continued. */
  suspend(): void;
  close(): void;
}

/** The part of the process that a screen uses. */
export type ProcessSignals = Pick<NodeJS.EventEmitter, 'on' | 'off'> & {
  kill(pid: number, signal: string): unknown;
  readonly pid: number;
};

const ENTER = '\u001b[?1049h\u001b[?25l\u001b[H\u001b[2J';
const LEAVE = `${RESTORE}\u001b[?1049l`;

/** The size of a terminal that does not report one. */
const USUAL_COLUMNS = 80;
const USUAL_ROWS = 24;

/**
 * Takes the alternate screen of the terminal, without cursor, and its keys. However the process ends, except by a
 * signal that it cannot catch, the terminal is given back first: `exit` also comes after an uncaught error.
 */
export function openScreen(
  input: ReadStream,
  output: WriteStream,
  handlers: Handlers,
  around: ProcessSignals = process,
): Screen {
  let isOurs = false;
  let shown: readonly string[] | undefined;
  const enter = () => {
    if (isOurs) return;
    isOurs = true;
    input.setRawMode(true);
    output.write(ENTER);
    shown = [];
  };
  const leave = () => {
    if (!isOurs) return;
    isOurs = false;
    output.write(LEAVE);
    // The terminal may be gone already.
    if (!input.destroyed) input.setRawMode(false);
  };
  const spoiled = () => {
    if (!isOurs) return;
    shown = undefined;
    handlers.spoiled();
  };
  const continued = () => {
    // A shell sets its own mode while we are stopped, however we were.
    leave();
    enter();
    handlers.spoiled();
  };
  const pressed = (text: string | undefined, { name, ctrl }: { name?: string; ctrl: boolean }) =>
    handlers.key({ name, text, ctrl });
  emitKeypressEvents(input);
  input.on('keypress', pressed).on('end', handlers.gone).on('error', handlers.gone);
  output.on('resize', spoiled).on('error', handlers.gone);
  around.on('SIGCONT', continued);
  around.on('exit', leave);
  enter();
  input.resume();
  return {
    get columns() {
      // Not to the last column: erasing to the end of the line would take its character.
      return (output.columns || USUAL_COLUMNS) - 1;
    },
    get rows() {
      // The cursor rests on a row of its own below: what another program writes there spoils no line.
      return (output.rows || USUAL_ROWS) - 1;
    },
    draw(lines) {
      if (!isOurs) return;
      const painted = framePainted(lines, shown);
      if (painted !== '') output.write(painted);
      shown = lines;
    },
    suspend() {
      leave();
      around.kill(around.pid, 'SIGTSTP');
    },
    close() {
      leave();
      input.pause();
      input.off('keypress', pressed);
      around.off('SIGCONT', continued);
      around.off('exit', leave);
    },
  };
}
