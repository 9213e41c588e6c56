/** What happened in a stretch of time, according to a daemon's memory or a call log. */
import type { EndedCallRecord, EventRecord, LaneStatus, StatusResult } from '../../protocol/messages.ts';
import { UNPRINTABLE } from '../../protocol/quote.ts';

/** How many calls a page shows at most: they are drawn without a pause, and take some ten megabytes. */
export const MOST_CALLS = 100_000;

/** A stretch of time, by the wall clock. */
export interface Stretch {
  readonly fromMs: number;
  readonly toMs: number;
}

/** What was asked for; without an end, `toMs` is infinite. */
export interface Wanted extends Stretch {
  /** Undefined for all. */
  readonly accounts: ReadonlySet<string> | undefined;
}

export type CallState =
  | { readonly kind: 'ended'; readonly ended: EndedCallRecord['ended']; readonly outcome: EndedCallRecord['outcome'] }
  /** It was under way at the end of the stretch. */
  | { readonly kind: 'held' }
  | { readonly kind: 'waiting' };

/** A call, which waited and was then held until `endMs`. Nonces are in decimal digits. */
export interface Call {
  readonly account: string;
  readonly holder: string | null;
  readonly pid: number | null;
  readonly label: string | null;
  readonly priority: string;
  readonly nonce: string | null;
  readonly lastNonce: string | null;
  readonly waitedMs: number;
  readonly heldMs: number;
  readonly endMs: number;
  readonly state: CallState;
  /** Its outcome was reported after its end. */
  readonly late: boolean;
}

export interface Happening {
  readonly atMs: number;
  readonly kind: string;
  readonly severity: EventRecord['severity'];
  /** The account, exchange or sequence that it happened to. */
  readonly subject: string | null;
  readonly text: string;
}

/** Requests of one account, with one code, that ended without a nonce or lease: the first at `fromMs`, the last at `toMs`. */
export interface Refused extends Stretch {
  /** Null for those that are not told apart, and that named none. */
  readonly account: string | null;
  readonly code: string;
  readonly count: number;
  readonly longestWaitMs: number;
  /** What the last of them named, and what asked. */
  readonly lastAccount: string | null;
  readonly holder: string | null;
  readonly pid: number | null;
  readonly label: string | null;
}

/** One life of a daemon. */
export interface Life {
  readonly epoch: number;
  readonly version: string;
  readonly pid: number;
  readonly startedAtMs: number;
  /** When it was last heard of; undefined while it runs. */
  readonly endedAtMs: number | undefined;
  /** It was told to stop. */
  readonly isCleanEnd: boolean;
}

/** A stretch of time in which something is missing; `text` says what. */
export interface Gap extends Stretch {
  readonly text: string;
}

export interface Incident extends Stretch {
  /** When this was put together. */
  readonly nowMs: number;
  /** Where it comes from, in words. */
  readonly source: string;
  readonly lives: readonly Life[];
  /** In the order of their ends; those under way come last. */
  readonly calls: readonly Call[];
  readonly happenings: readonly Happening[];
  /** By time. */
  readonly refused: readonly Refused[];
  readonly gaps: readonly Gap[];
  /** What else a reader must know, in words. */
  readonly notes: readonly string[];
}

/** Returns when the call began to wait. */
export function beginMs({ endMs, heldMs, waitedMs }: Call): number {
  return endMs - heldMs - waitedMs;
}

export function isWanted(call: Call, { fromMs, toMs, accounts }: Wanted): boolean {
  return call.endMs >= fromMs && beginMs(call) <= toMs && (accounts?.has(call.account) ?? true);
}

/** Events whose subject is an account. */
const OF_AN_ACCOUNT: readonly string[] = ['paused', 'resumed', 'breaker-changed', 'key-changed'];

export function accountOf({ kind, subject }: Happening): string | undefined {
  return OF_AN_ACCOUNT.includes(kind) ? (subject ?? undefined) : undefined;
}

export function isHappeningWanted(happening: Happening, { fromMs, toMs, accounts }: Wanted): boolean {
  const account = accountOf(happening);
  const isTheirs = account === undefined || accounts === undefined || accounts.has(account);
  // The life of a daemon shows its start.
  return happening.kind !== 'started' && happening.atMs >= fromMs && happening.atMs <= toMs && isTheirs;
}

/**
 * Returns the calls under way at `nowMs` from a status: all holders, and the next waiter of each account and priority.
 */
export function underWay({ lanes }: Pick<StatusResult, 'lanes'>, nowMs: number): Call[] {
  return lanes.flatMap(({ holders, waiters }: LaneStatus) => [
    ...holders.map((holder): Call => {
      const { waitedMs, heldMs } = holder;
      const nonce = holder.nonce === null ? null : String(holder.nonce);
      return {
        ...whoOf(holder),
        nonce,
        lastNonce: nonce,
        waitedMs,
        heldMs,
        endMs: nowMs,
        state: { kind: 'held' },
        late: false,
      };
    }),
    ...waiters.map((waiter): Call => {
      const { waitedMs } = waiter;
      const nothing = { nonce: null, lastNonce: null, heldMs: 0, late: false };
      return { ...whoOf(waiter), ...nothing, waitedMs, endMs: nowMs, state: { kind: 'waiting' } };
    }),
  ]);
}

function whoOf(call: LaneStatus['waiters'][number] | LaneStatus['holders'][number]) {
  const { account, name, pid, label, priority } = call;
  return { account: printable(account), holder: orNull(name), pid, label: orNull(label), priority };
}

/** Replaces what could garble a page or a terminal by question marks: a call log may come from anywhere. */
export function printable(text: string): string {
  return UNPRINTABLE.test(text) ? text.replaceAll(EVERY_UNPRINTABLE, '?') : text;
}

export function orNull(text: string | null): string | null {
  return text === null ? null : printable(text);
}

const EVERY_UNPRINTABLE = new RegExp(UNPRINTABLE, 'gu');
