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

/** What the screen is made of. */
export interface Reading {
  readonly status: StatusResult;
  /** The last ones that ended; none where no account waits for another. */
  readonly calls: readonly EndedCallRecord[];
  /** Quarantined accounts past the hundred that a status lists. */
  readonly unlistedQuarantined: readonly string[];
}

/** A daemon that is just being restarted is back within it; where none runs, a person waits for this. */
const RESTART_MS = 1_000;
const TRY_EVERY_MS = 50;
/** One that takes longer hangs, and a monitoring plugin must say so before it is ended itself. */
const ANSWER_WITHIN_MS = 5_000;

/** Where to ask. Rejects with UNAVAILABLE where somebody else could have made what is there. */
export function trustedSocket(asked: string | undefined): string {
  const around = surroundings();
  const place = findSocket(asked, around);
  checkOwner(place, around);
  return place.path;
}

/** Rejects with NoncedError. */
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

/** No daemon answers, and one may yet: permission, which does not come by waiting, is not what is missing. */
export function isAway(error: unknown): boolean {
  return error instanceof Error && isUnavailable(error) && !isNotPermitted(error);
}

/** Whoever asks may not connect. */
export function isNotPermitted(error: unknown): boolean {
  return error instanceof Error && error.cause instanceof Error && isForbidden(error.cause);
}

/** A status, and what it leaves out that its reader must know. */
export async function readWhole(path: string, clock: Clock): Promise<Pick<Reading, 'status' | 'unlistedQuarantined'>> {
  const status = await readStatus(path, clock);
  if (status.totals.accounts <= status.accounts.length) return { status, unlistedQuarantined: [] };
  const { accounts } = await askOnce<MetricsResult>(path, 'metrics', {}, ANSWER_WITHIN_MS);
  const listed = new Set(status.accounts.map(({ account }) => account));
  const unlisted = accounts.filter(({ account, quarantined }) => quarantined && !listed.has(account));
  return { status, unlistedQuarantined: unlisted.map(({ account }) => account) };
}

/** All that the screen shows. */
export async function read(path: string, clock: Clock): Promise<Reading> {
  const whole = await readWhole(path, clock);
  const { exclusive, totals } = whole.status;
  // Five hundred calls are milliseconds of the daemon's time: asked for only where accounts may wait for each other.
  if (exclusive !== 'global' || totals.accounts < 2) return { ...whole, calls: [] };
  const { calls } = await askOnce<CallsResult>(path, 'calls', { limit: MAX_PAGE }, ANSWER_WITHIN_MS);
  return { ...whole, calls };
}
