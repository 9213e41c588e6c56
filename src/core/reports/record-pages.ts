/** What is remembered of calls and events, a page at a time, for a program that reads on from where it stopped. */
import type { BrokerParts } from '../leases/broker-parts.ts';
import type { Page } from '../record/ring.ts';
import { describedRefusals } from './refusals.ts';
import { described } from './why.ts';

export interface EventsAsked {
  /** The serial number after which the page begins. By default the page has the last ones. */
  readonly after?: number | undefined;
  readonly limit: number;
}

export interface CallsAsked extends EventsAsked {
  /** By default all accounts. */
  readonly account?: string | undefined;
}

/** Returns calls that have ended, never with their tokens. */
export function callsPage({ clock, recentCalls }: BrokerParts, { after, limit, account }: CallsAsked) {
  const nowMs = clock.monotonicMs();
  const page = recentCalls.after(after, limit, account);
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

/** Returns what happened that an operator should know of. */
export function eventsPage({ clock, recentEvents }: BrokerParts, { after, limit }: EventsAsked) {
  const nowMs = clock.monotonicMs();
  const page = recentEvents.happenings.after(after, limit);
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

/** Returns what was refused, added up by second, account and code. */
export function refusalsPage({ clock, recentRefusals }: BrokerParts, { after, limit }: EventsAsked) {
  const nowMs = clock.monotonicMs();
  const page = recentRefusals.seconds.after(after, limit);
  return {
    refusals: page.items.map(({ serial, item }) => ({ serial, ...describedRefusals(item, nowMs) })),
    ...readOn(page),
  };
}

function readOn({ lastSerial, missed }: Page<unknown>) {
  return { after: lastSerial, missed };
}
