import { adminSocket, askOnce } from '../../client/ask.ts';
import { type Clock, systemClock } from '../../clock.ts';
import { formatDuration } from '../../durations.ts';
import { EXIT, ExitError } from '../../errors.ts';
import type { ChangeResult, StatusResult } from '../../protocol/messages.ts';
import { type DrainEnd, holdersOf, linesOf, marksOf, untilQuiet } from '../drain/progress.ts';
import { readStatus } from '../status/reading.ts';
import { paint, printJson, printLine, warn } from '../terminal/output.ts';

export interface DrainOptions {
  /** Let all calls begin again. */
  readonly off: boolean;
  /** Give up after so long; left out: never. */
  readonly wait?: number;
  readonly json: boolean;
  readonly socket?: string;
}

/** Nothing has changed for so long that a person may wonder whether it still waits. */
const SAY_AGAIN_MS = 10_000;
const SIGNALS = { SIGINT: 130, SIGTERM: 143 } as const;

/** Lets only urgent calls begin, waits until none is under way, and says when the machine can be rebooted. */
export async function drain({ off, wait, json, socket }: DrainOptions): Promise<void> {
  const path = adminSocket(socket);
  const change = await askOnce<ChangeResult>(path, 'drain', { draining: !off });
  if (off) {
    if (json) printJson(change);
    else printLine(change.before === 'draining' ? 'all calls are let through again' : 'it was not draining');
    return;
  }
  for (const [signal, code] of Object.entries(SIGNALS)) {
    process.once(signal, () => {
      warn('the drain stays on; nonced drain --off ends it');
      process.exit(code);
    });
  }
  const already = change.before === 'draining' ? ' already' : '';
  if (!json) printLine(`draining${already}: only urgent calls begin, those that waited are refused`);
  const clock = systemClock();
  const busy = json ? () => {} : progress(clock);
  const end = await untilQuiet({ clock, waitMs: wait, look: () => readStatus(path, clock), busy });
  if (json) printEnd(change, end);
  else sayEnd(end);
}

/** Says what is under way when that has changed, and now and then when it has not. */
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
      printLine('An urgent call may still begin, and a program that draws bare nonces is not seen: stop those first.');
      printLine('The restart ends the drain, and so does: nonced drain --off');
      return;
    case 'busy':
      for (const line of linesOf(status)) printLine(line);
      throw new ExitError(
        EXIT.tempFail,
        `still busy after ${formatDuration(waitedMs)}, do not reboot yet; the drain stays on: ` +
          'wait on with nonced drain, or end it with nonced drain --off',
      );
    case 'ended':
      throw new ExitError(
        EXIT.tempFail,
        'do not reboot yet: the drain was ended meanwhile, by somebody else or by a restart of the daemon, and calls ' +
          'begin again; see nonced status',
      );
  }
}

function printEnd(change: ChangeResult, { state, waitedMs, status }: DrainEnd): void {
  const { leases, waiting } = status.totals;
  printJson({ ...change, state, waitedMs, leases, waiting, holders: holdersOf(status) });
  if (state !== 'safe') process.exitCode = EXIT.tempFail;
}
