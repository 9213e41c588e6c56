import { askOnce } from '../../client/ask.ts';
import { NoncedError } from '../../errors.ts';
import {
  type CallsResult,
  type EventsResult,
  MAX_PAGE,
  type RefusalsResult,
  type StatusResult,
} from '../../protocol/messages.ts';
import {
  type Call,
  type Gap,
  type Happening,
  type Incident,
  isHappeningWanted,
  isWanted,
  orNull,
  printable,
  type Refused,
  underWay,
  type Wanted,
} from './incident.ts';
import { RefusedSums } from './refused.ts';
import { clockTime } from './times.ts';

/** More pages than the daemon remembers. Reading stops there if calls end faster than they are read. */
const MOST_PAGES = 20;

/** Reads what the daemon remembers of a stretch of time. Rejects with NoncedError. */
export async function fromMemory(socket: string, wanted: Wanted, wallMs: () => number): Promise<Incident> {
  // First, so that a call that ends meanwhile is also among the ended ones, where it is recognised.
  const status = await askOnce<StatusResult>(socket, 'status', {});
  const nowMs = wallMs();
  const { calls, missed } = await endedCalls(socket, wallMs);
  const { events } = await askOnce<EventsResult>(socket, 'events', { limit: MAX_PAGE });
  const eventsAtMs = wallMs();
  const refused = await refusedRequests(socket, wanted, wallMs);

  const known = new Set(calls.map(({ account, nonce }) => `${account} ${nonce}`));
  const live = underWay(status, nowMs).filter(
    ({ account, nonce }) => nonce === null || !known.has(`${account} ${nonce}`),
  );
  const startedAtMs = nowMs - status.uptimeMs;
  const { epoch, version, pid } = status;
  const happenings = events.map(
    ({ kind, severity, subject, text, agoMs }): Happening => ({
      atMs: eventsAtMs - agoMs,
      kind,
      severity,
      subject: orNull(subject),
      text: printable(text),
    }),
  );
  return {
    fromMs: wanted.fromMs,
    toMs: Math.min(wanted.toMs, nowMs),
    nowMs,
    source: `memory of the daemon (nonced ${version}, pid ${pid}, epoch ${epoch})`,
    lives: [{ epoch, version: printable(version), pid, startedAtMs, endedAtMs: undefined, isCleanEnd: false }],
    calls: [...calls, ...live].filter((call) => isWanted(call, wanted)),
    happenings: happenings.filter((happening) => isHappeningWanted(happening, wanted)),
    refused,
    gaps: gapsOf(wanted, { calls, missed, startedAtMs, epoch }),
    notes: [],
  };
}

async function endedCalls(socket: string, wallMs: () => number): Promise<{ calls: Call[]; missed: number }> {
  const calls: Call[] = [];
  let after = 0;
  let missed = 0;
  for (let pages = 0; pages < MOST_PAGES; pages += 1) {
    const page = await askOnce<CallsResult>(socket, 'calls', { after, limit: MAX_PAGE });
    const nowMs = wallMs();
    for (const { nonce, lastNonce, agoMs, ended, outcome, ...call } of page.calls) {
      calls.push({
        account: printable(call.account),
        holder: orNull(call.holder),
        pid: call.pid,
        label: orNull(call.label),
        priority: call.priority,
        nonce: nonce === null ? null : String(nonce),
        lastNonce: lastNonce === null ? null : String(lastNonce),
        waitedMs: call.waitedMs,
        heldMs: call.heldMs,
        endMs: nowMs - agoMs,
        state: { kind: 'ended', ended, outcome },
        late: call.late,
      });
    }
    // Calls that were forgotten between two pages count, too, although they are not from the beginning.
    missed += page.missed;
    after = page.after;
    if (page.calls.length < MAX_PAGE) break;
  }
  return { calls, missed };
}

/** Returns nothing if the daemon is too old to remember what it refused. */
async function refusedRequests(socket: string, wanted: Wanted, wallMs: () => number): Promise<Refused[]> {
  const sums = new RefusedSums(wanted);
  let after = 0;
  for (let pages = 0; pages < MOST_PAGES; pages += 1) {
    let page: RefusalsResult;
    try {
      page = await askOnce<RefusalsResult>(socket, 'refusals', { after, limit: MAX_PAGE });
    } catch (error) {
      if (error instanceof NoncedError && error.code === 'UNSUPPORTED') return [];
      throw error;
    }
    const nowMs = wallMs();
    for (const { serial: _, agoMs, forMs, ...refused } of page.refusals) {
      sums.add({
        ...refused,
        account: orNull(refused.account),
        lastAccount: orNull(refused.lastAccount),
        code: printable(refused.code),
        holder: orNull(refused.holder),
        label: orNull(refused.label),
        fromMs: nowMs - agoMs - forMs,
        toMs: nowMs - agoMs,
      });
    }
    after = page.after;
    if (page.refusals.length < MAX_PAGE) break;
  }
  return sums.all;
}

interface Remembered {
  readonly calls: readonly Call[];
  readonly missed: number;
  readonly startedAtMs: number;
  readonly epoch: number;
}

function gapsOf({ fromMs, toMs }: Wanted, { calls, missed, startedAtMs, epoch }: Remembered): Gap[] {
  const gaps: Gap[] = [];
  if (startedAtMs > fromMs && epoch > 1) {
    gaps.push({
      fromMs,
      toMs: Math.min(startedAtMs, toMs),
      text:
        `The daemon started at ${clockTime(startedAtMs)} and remembers nothing from before. ` +
        'A call log would: nonced serve --call-log FILE.',
    });
  }
  const oldestMs = calls[0]?.endMs ?? fromMs;
  if (missed > 0 && oldestMs > fromMs) {
    gaps.push({
      fromMs: Math.max(fromMs, startedAtMs),
      toMs: Math.min(oldestMs, toMs),
      text:
        `The daemon remembers the last ${calls.length.toLocaleString('en')} calls: ` +
        `${missed.toLocaleString('en')} that ended before ${clockTime(oldestMs)} are missing.`,
    });
  }
  return gaps;
}
