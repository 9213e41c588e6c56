import { askOnce } from '../../client/ask.ts';
import { surroundings } from '../../client/connection/host.ts';
import { checkOwner, findSocket } from '../../client/connection/socket-path.ts';
import { isForbidden, isUnavailable } from '../../client/connection/unavailable.ts';
import type { Clock } from '../../clock.ts';
import {
  type CallsResult,
  type EndedCallRecord,
  MAX_PAGE,
  type MetricsResult,
  type StatusResult,
} from '../../protocol/messages.ts';

/** The data for the screen. */
export interface Reading {
  readonly status: StatusResult;
  /** The calls that ended last; empty if no account waits for another. */
  readonly calls: readonly EndedCallRecord[];
  /** Quarantined accounts past the hundred that a status lists. */
  readonly unlistedQuarantined: readonly string[];
}

/** A daemon that is restarted is back within this time. If none runs, a person waits this long. */
const RESTART_MS = 1_000;
const TRY_EVERY_MS = 50;
/** A daemon that takes longer hangs, and a monitoring plugin must say so before it is killed itself. */
const ANSWER_WITHIN_MS = 5_000;

/** Returns the socket to ask. Throws UNAVAILABLE if another user could have made it. */
export function trustedSocket(asked: string | undefined): string {
  const around = surroundings();
  const place = findSocket(asked, around);
  checkOwner(place, around);
  return place.path;
}

/** Reads the status, and waits for a daemon that is restarted. Rejects with NoncedError. */
export async function readStatus(path: string, clock: Clock): Promise<StatusResult> {
  const untilMs = clock.monotonicMs() + RESTART_MS;
  for (;;) {
    try {
      return await askOnce<StatusResult>(path, 'status', {}, ANSWER_WITHIN_MS);
    } catch (error) {
      if (!isAway(error) || clock.monotonicMs() >= untilMs) throw error;
    }
    await new Promise<void>((resolve) => clock.after(TRY_EVERY_MS, resolve));
  }
}

/** Returns whether no daemon answers but one may soon. A missing permission does not come by waiting. */
export function isAway(error: unknown): boolean {
  return error instanceof Error && isUnavailable(error) && !isNotPermitted(error);
}

/** Returns whether this user may not connect. */
export function isNotPermitted(error: unknown): boolean {
  return error instanceof Error && error.cause instanceof Error && isForbidden(error.cause);
}

/** Reads the status, and what it leaves out that a reader must know. */
export async function readWhole(path: string, clock: Clock): Promise<Pick<Reading, 'status' | 'unlistedQuarantined'>> {
  const status = await readStatus(path, clock);
  if (status.totals.accounts <= status.accounts.length) return { status, unlistedQuarantined: [] };
  const { accounts } = await askOnce<MetricsResult>(path, 'metrics', {}, ANSWER_WITHIN_MS);
  const listed = new Set(status.accounts.map(({ account }) => account));
  const unlisted = accounts.filter(({ account, quarantined }) => quarantined && !listed.has(account));
  return { status, unlistedQuarantined: unlisted.map(({ account }) => account) };
}

/** Reads everything that the screen shows. */
export async function read(path: string, clock: Clock): Promise<Reading> {
  const whole = await readWhole(path, clock);
  const { exclusive, totals } = whole.status;
  // Five hundred calls cost the daemon milliseconds, so they are read only if accounts may wait for each other.
  if (exclusive !== 'global' || totals.accounts < 2) return { ...whole, calls: [] };
  const { calls } = await askOnce<CallsResult>(path, 'calls', { limit: MAX_PAGE }, ANSWER_WITHIN_MS);
  return { ...whole, calls };
}
