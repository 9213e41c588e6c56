import { adminSocket, askOnce } from '../../client/ask.ts';
import { type Clock, systemClock } from '../../clock.ts';
import { formatDuration } from '../../durations.ts';
import { EXIT, ExitError } from '../../errors.ts';
import type { ChangeResult, StatusResult } from '../../protocol/messages.ts';
import { type DrainEnd, holdersOf, linesOf, marksOf, untilQuiet } from '../drain/progress.ts';
import { readStatus } from '../status/reading.ts';
import type { Terminal } from '../terminal/terminal.ts';

export interface DrainOptions {
  /** Ends the drain. */
  readonly off: boolean;
  /** When to give up, in milliseconds; never if left out. */
  readonly wait?: number;
  readonly json: boolean;
  readonly socket?: string;
}

/** After this long without a change a person may wonder whether it still waits. */
const SAY_AGAIN_MS = 10_000;
const SIGNALS = { SIGINT: 130, SIGTERM: 143 } as const;

/** Lets only urgent calls begin, waits until none is under way, and says when the machine can be rebooted. */
export async function drain({ off, wait, json, socket }: DrainOptions, terminal: Terminal): Promise<void> {
  const path = adminSocket(socket);
  const change = await askOnce<ChangeResult>(path, 'drain', { draining: !off });
  if (off) {
    if (json) terminal.printJson(change);
    else terminal.printLine(change.before === 'draining' ? 'all calls may begin again' : 'it was not draining');
    return;
  }
  const stopSaying = sayAtSignal(terminal);
  const already = change.before === 'draining' ? ' already' : '';
  if (!json) terminal.printLine(`draining${already}: only urgent calls begin; requests that waited are refused`);
  const clock = systemClock();
  const busy = json ? () => {} : progress(clock, terminal);
  const look = () => readStatus(path, clock);
  const end = await untilQuiet({ clock, waitMs: wait, look, busy }).finally(stopSaying);
  if (json) printEnd(change, end, terminal);
  else sayEnd(end, terminal);
}

/** Lets a signal end the process with a word about the drain, until the function that it returns is called. */
function sayAtSignal(terminal: Terminal): () => void {
  const handlers = Object.entries(SIGNALS).map(([signal, code]) => {
    const end = () => {
      terminal.warn('the drain stays on; to end it: nonced drain --off');
      process.exit(code);
    };
    process.once(signal, end);
    return () => process.off(signal, end);
  });
  return () => {
    for (const remove of handlers) remove();
  };
}

/** Prints what is under way when it has changed, and now and then when it has not. */
function progress(clock: Clock, terminal: Terminal): (status: StatusResult) => void {
  let saidAtMs = Number.NEGATIVE_INFINITY;
  let said = '';
  return (status) => {
    const { leases, waiting } = status.totals;
    const marks = marksOf(status);
    if (leases === 0 && waiting === 0) return;
    if (marks === said && clock.monotonicMs() - saidAtMs < SAY_AGAIN_MS) return;
    said = marks;
    saidAtMs = clock.monotonicMs();
    for (const line of linesOf(status)) terminal.printLine(line);
  };
}

function sayEnd({ state, waitedMs, status }: DrainEnd, terminal: Terminal): void {
  switch (state) {
    case 'safe':
      terminal.printLine(terminal.paint('green', 'safe to reboot: no call is under way'));
      terminal.printLine(
        'An urgent call may still begin, and programs that draw bare nonces are not seen: stop those first.',
      );
      terminal.printLine('The restart ends the drain. To end it without one: nonced drain --off');
      return;
    case 'busy':
      for (const line of linesOf(status)) terminal.printLine(line);
      throw new ExitError(
        EXIT.tempFail,
        `still busy after ${formatDuration(waitedMs)}: do not reboot yet. The drain stays on; to go on waiting: nonced ` +
          'drain; to end it: nonced drain --off',
      );
    case 'ended':
      throw new ExitError(
        EXIT.tempFail,
        'do not reboot yet: another operator, or a restart of the daemon, has ended the drain, and calls begin again; ' +
          'see nonced status',
      );
  }
}

function printEnd(change: ChangeResult, { state, waitedMs, status }: DrainEnd, terminal: Terminal): void {
  const { leases, waiting } = status.totals;
  terminal.printJson({ ...change, state, waitedMs, leases, waiting, holders: holdersOf(status) });
  if (state !== 'safe') terminal.exitCode = EXIT.tempFail;
}
