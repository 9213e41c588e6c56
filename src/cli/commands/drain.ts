import { adminSocket, askOnce } from '../../client/ask.ts';
import { type Clock, systemClock } from '../../clock.ts';
import { formatDuration } from '../../durations.ts';
import { EXIT, ExitError } from '../../errors.ts';
import type { ChangeResult, StatusResult } from '../../protocol/messages.ts';
import { type DrainEnd, holdersOf, linesOf, marksOf, untilQuiet } from '../drain/progress.ts';
import { readStatus } from '../status/reading.ts';
import { paint, printJson, printLine, warn } from '../terminal/output.ts';

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
export async function drain({ off, wait, json, socket }: DrainOptions): Promise<void> {
  const path = adminSocket(socket);
  const change = await askOnce<ChangeResult>(path, 'drain', { draining: !off });
  if (off) {
    if (json) printJson(change);
    else printLine(change.before === 'draining' ? 'all calls may begin again' : 'it was not draining');
    return;
  }
  for (const [signal, code] of Object.entries(SIGNALS)) {
    process.once(signal, () => {
      warn('the drain stays on; to end it: nonced drain --off');
      process.exit(code);
    });
  }
  const already = change.before === 'draining' ? ' already' : '';
  if (!json) printLine(`draining${already}: only urgent calls begin; requests that waited are refused`);
  const clock = systemClock();
  const busy = json ? () => {} : progress(clock);
  const end = await untilQuiet({ clock, waitMs: wait, look: () => readStatus(path, clock), busy });
  if (json) printEnd(change, end);
  else sayEnd(end);
}

/** Prints what is under way when it has changed, and now and then when it has not. */
function progress(clock: Clock): (status: StatusResult) => void {
  let saidAtMs = Number.NEGATIVE_INFINITY;
  let said = '';
  return (status) => {
    const { leases, waiting } = status.totals;
    const marks = marksOf(status);
    if (leases === 0 && waiting === 0) return;
    if (marks === said && clock.monotonicMs() - saidAtMs < SAY_AGAIN_MS) return;
    said = marks;
    saidAtMs = clock.monotonicMs();
    for (const line of linesOf(status)) printLine(line);
  };
}

function sayEnd({ state, waitedMs, status }: DrainEnd): void {
  switch (state) {
    case 'safe':
      printLine(paint('green', 'safe to reboot: no call is under way'));
      printLine('An urgent call may still begin, and programs that draw bare nonces are not seen: stop those first.');
      printLine('The restart ends the drain. To end it without one: nonced drain --off');
      return;
    case 'busy':
      for (const line of linesOf(status)) printLine(line);
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

function printEnd(change: ChangeResult, { state, waitedMs, status }: DrainEnd): void {
  const { leases, waiting } = status.totals;
  printJson({ ...change, state, waitedMs, leases, waiting, holders: holdersOf(status) });
  if (state !== 'safe') process.exitCode = EXIT.tempFail;
}
