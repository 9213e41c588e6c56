/** What happened in a stretch of time, as it was found: in the memory of a daemon, or in a call log. */
import type { EndedCallRecord, EventRecord, LaneStatus, StatusResult } from '../../protocol/messages.ts';
import { UNPRINTABLE } from '../../protocol/quote.ts';

/** How many calls a page shows: so many are drawn without a pause, in some ten megabytes. */
export const MOST_CALLS = 100_000;

/** A stretch of time by the wall clock. */
export interface Stretch {
  readonly fromMs: number;
  readonly toMs: number;
}

/** What is asked for; without an end, `toMs` is infinite. */
export interface Wanted extends Stretch {
  /** Undefined: all. */
  readonly accounts: ReadonlySet<string> | undefined;
}

export type CallState =
  | { readonly kind: 'ended'; readonly ended: EndedCallRecord['ended']; readonly outcome: EndedCallRecord['outcome'] }
  /** Under way at the end of the stretch. */
  | { readonly kind: 'held' }
  | { readonly kind: 'waiting' };

/** A call: first it waited, then it was held, until `endMs`. Nonces are in decimal digits. */
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
  /** Its outcome was told after its end. */
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

/** One life of a daemon. */
export interface Life {
  readonly epoch: number;
  readonly version: string;
  readonly pid: number;
  readonly startedAtMs: number;
  /** When it was last heard of; undefined while it lives. */
  readonly endedAtMs: number | undefined;
  /** It was told to stop. */
  readonly isCleanEnd: boolean;
}

/** Something is missing in a stretch of time: what, in words. */
export interface Gap extends Stretch {
  readonly text: string;
}

export interface Incident extends Stretch {
  /** When it was looked at. */
  readonly nowMs: number;
  /** Where it was found, in words. */
  readonly source: string;
  readonly lives: readonly Life[];
  /** By their ends, then those that are under way. */
  readonly calls: readonly Call[];
  readonly happenings: readonly Happening[];
  readonly gaps: readonly Gap[];
  /** What else a reader has to know, in words. */
  readonly notes: readonly string[];
}

/** When the call began to wait. */
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
  // A start is told by the daemon's life.
  return happening.kind !== 'started' && happening.atMs >= fromMs && happening.atMs <= toMs && isTheirs;
}

/** The calls under way that `status` tells of, at `nowMs`: who holds, and of each account and priority who is next. */
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

/** With what could garble a page or a terminal made a question mark: a call log may have been written by anybody. */
export function printable(text: string): string {
  return UNPRINTABLE.test(text) ? text.replaceAll(EVERY_UNPRINTABLE, '?') : text;
}

export function orNull(text: string | null): string | null {
  return text === null ? null : printable(text);
}

const EVERY_UNPRINTABLE = new RegExp(UNPRINTABLE, 'gu');
