import type { Clock } from '../../clock.ts';
import { formatDuration } from '../../durations.ts';
import type { LaneStatus, StatusResult } from '../../protocol/messages.ts';
import { tableOf } from '../terminal/table.ts';

const LOOK_EVERY_MS = 200;
/**
 * For this long nothing may be held or granted before it is safe: a bot that closes positions makes one urgent call
 * after the other, and nothing is held between two of them.
 */
export const QUIET_MS = 1_000;
const SHOWN = 10;

export interface DrainEnd {
  /** `busy`: the time ran out first. `ended`: another operator, or a restart of the daemon, ended the drain. */
  readonly state: 'safe' | 'busy' | 'ended';
  readonly waitedMs: number;
  readonly status: StatusResult;
}

export interface DrainWait {
  readonly clock: Clock;
  /** Undefined if it may take any time. */
  readonly waitMs: number | undefined;
  look(): Promise<StatusResult>;
  /** Called after each look that did not end the wait. */
  busy(status: StatusResult): void;
}

/** Waits until no call is under way. Rejects as `look` does. */
export async function untilQuiet({
  clock,
  waitMs = Number.POSITIVE_INFINITY,
  look,
  busy,
}: DrainWait): Promise<DrainEnd> {
  const beganMs = clock.monotonicMs();
  let quiet: { readonly sinceMs: number; readonly grants: number } | undefined;
  for (;;) {
    const status = await look();
    const nowMs = clock.monotonicMs();
    const end = (state: DrainEnd['state']): DrainEnd => ({ state, waitedMs: Math.round(nowMs - beganMs), status });
    const { leases, waiting, grants } = status.totals;
    if (status.drainingForMs === null) return end('ended');
    if (leases > 0 || waiting > 0) quiet = undefined;
    else if (quiet?.grants !== grants) quiet = { sinceMs: nowMs, grants };
    else if (nowMs - quiet.sinceMs >= QUIET_MS) return end('safe');
    // If it has just become quiet, one second more shows whether it stays so.
    if (nowMs - beganMs >= waitMs + (quiet === undefined ? 0 : QUIET_MS)) return end('busy');
    busy(status);
    await new Promise<void>((resolve) => clock.after(LOOK_EVERY_MS, resolve));
  }
}

export type DrainHolder = LaneStatus['holders'][number] & { readonly lane: string };

export function holdersOf({ lanes }: StatusResult): DrainHolder[] {
  return lanes.flatMap(({ lane, holders }) => holders.map((holder) => ({ lane, ...holder })));
}

/** Returns what is still under way, and whose it is. */
export function linesOf(status: StatusResult): string[] {
  const { leases, waiting } = status.totals;
  if (leases === 0) {
    return [`no call is under way, but ${waiting === 0 ? 'urgent ones keep coming' : requests(waiting)}`];
  }
  const holders = holdersOf(status);
  const rows = holders
    .slice(0, SHOWN)
    .map(({ account, name, pid, label, heldMs, leftMs }) => [
      `  ${account}`,
      name ?? '-',
      String(pid ?? '-'),
      label ?? '-',
      formatDuration(heldMs),
      formatDuration(leftMs),
    ]);
  const more = leases > rows.length ? [`  and ${leases - rows.length} more`] : [];
  const table = tableOf([['  account', 'process', 'pid', 'label', 'held', 'left'], ...rows]);
  return [leases === 1 ? '1 call is under way:' : `${leases} calls are under way:`, ...table, ...more];
}

const requests = (waiting: number) => (waiting === 1 ? '1 request waits' : `${waiting} requests wait`);

/** Returns a text that differs when the set of calls differs, however long they have been under way. */
export function marksOf(status: StatusResult): string {
  const calls = holdersOf(status).map(({ account, pid, nonce, label }) => [account, pid, String(nonce), label]);
  return JSON.stringify([status.totals.leases, status.totals.waiting > 0, calls]);
}
