import { systemClock } from '../../clock.ts';
import { formatDuration } from '../../durations.ts';
import { NoncedError } from '../../errors.ts';
import { findings } from '../status/findings.ts';
import { describe } from '../terminal/output.ts';
import type { Terminal } from '../terminal/terminal.ts';
import { type Ask, Feed } from './feed.ts';
import type { Percentiles } from './history.ts';
import { type Snapshot, Watch } from './snapshot.ts';

/** Prints a line at each interval until it is told to end, for output that is not a terminal. Rejects with a defect. */
export async function printLines(ask: Ask, intervalMs: number, terminal: Terminal): Promise<never> {
  const clock = systemClock();
  const feed = new Feed(ask);
  const watch = new Watch();
  for (;;) {
    try {
      watch.heard(await feed.read(undefined), clock.monotonicMs());
    } catch (error) {
      if (!(error instanceof NoncedError)) throw error;
      watch.heardNothing(describe(error), clock.monotonicMs());
    }
    const time = new Date(clock.wallMs()).toISOString();
    terminal.printLine(lineOf(watch.snapshot(clock.monotonicMs(), time)));
    await new Promise<void>((resolve) => clock.after(intervalMs, resolve));
  }
}

/** Returns the line for one moment. */
export function lineOf({ time, status, total, silence, restartedAgoMs }: Snapshot): string {
  if (silence !== undefined) return `${time}  ${silence.problem}`;
  if (status === undefined) return time;
  const parts = [
    `${total.perSecond === undefined ? '-' : total.perSecond.toFixed(1)} calls/s`,
    `wait ${textOf(total.wait)}`,
    `hold ${textOf(total.hold)}`,
    `${status.totals.leases} held`,
    `${status.totals.waiting} waiting`,
    // Once, with the first reading from it.
    ...(restartedAgoMs === 0 ? [`! another daemon, epoch ${status.epoch}`] : []),
    ...findings(status).map(({ text }) => `! ${text}`),
  ];
  return `${time}  ${parts.join('  ')}`;
}

function textOf(percentiles: Percentiles | undefined): string {
  return percentiles === undefined
    ? 'p50 - p99 -'
    : `p50 ${formatDuration(percentiles.p50)} p99 ${formatDuration(percentiles.p99)}`;
}
