import { askOnce } from '../../client/ask.ts';
import { surroundings } from '../../client/connection/host.ts';
import { findSocket } from '../../client/connection/socket-path.ts';
import { EXIT, ExitError } from '../../errors.ts';
import type { Terminal } from '../terminal/terminal.ts';
import { showLive } from '../top/live.ts';
import { printLines } from '../top/plain.ts';

export interface TopOptions {
  readonly interval: number;
  readonly socket?: string;
}

const LEAST_INTERVAL_MS = 100;
/** A daemon that takes longer is as good as none for a person who looks on. */
const ANSWER_WITHIN_MS = 3_000;

/** Shows what the daemon does until it is told to end: live on a terminal, elsewhere a line at each interval. */
export async function top({ interval, socket }: TopOptions, terminal: Terminal): Promise<void> {
  if (interval < LEAST_INTERVAL_MS) throw new ExitError(EXIT.usage, '--interval: give 100ms or more');
  const { path } = findSocket(socket, surroundings());
  const ask = <Result>(method: string, params: object) => askOnce<Result>(path, method, params, ANSWER_WITHIN_MS);
  if (canDraw(terminal)) {
    await showLive({ ask, intervalMs: interval, isUnicode: takesUnicode(terminal), paint: terminal.paint });
  } else {
    await printLines(ask, interval, terminal);
  }
}

function canDraw({ isInteractive, env }: Terminal): boolean {
  return process.stdin.isTTY === true && isInteractive && env['TERM'] !== 'dumb';
}

function takesUnicode({ env }: Terminal): boolean {
  const { LC_ALL, LC_CTYPE, LANG } = env;
  return /utf-?8/i.test(LC_ALL || LC_CTYPE || LANG || '');
}
