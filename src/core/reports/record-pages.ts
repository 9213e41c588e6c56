/** What is remembered of calls and events, a page at a time, for whoever reads on from where it stopped. */

import type { RecentCalls } from '../record/recent-calls.ts';
import type { RecentEvents } from '../record/recent-events.ts';
import type { Page } from '../record/ring.ts';
import { described } from './why.ts';

/** Calls that have ended, of one account or of all; without `after`, the last ones. Never with their tokens. */
export function callsPage(
  ended: RecentCalls,
  {
    after,
    limit,
    account,
  }: { readonly after?: number | undefined; readonly limit: number; readonly account?: string | undefined },
  nowMs: number,
) {
  const page = ended.after(after, limit, account);
  return {
    calls: page.items.map(({ serial, item }) => ({
      serial,
      lane: item.lane,
      exclusive: item.exclusive,
      ...described(item, nowMs),
    })),
    ...readOn(page),
  };
}

/** Events; without `after`, the last ones. */
export function eventsPage(
  { happenings }: RecentEvents,
  { after, limit }: { readonly after?: number | undefined; readonly limit: number },
  nowMs: number,
) {
  const page = happenings.after(after, limit);
  return {
    events: page.items.map(({ serial, item: { kind, severity, subject, text, atMs } }) => ({
      serial,
      kind,
      severity,
      subject: subject ?? null,
      text,
      agoMs: Math.round(nowMs - atMs),
    })),
    ...readOn(page),
  };
}

function readOn({ lastSerial, missed }: Page<unknown>) {
  return { after: lastSerial, missed };
}
