import { processText } from '../../process-text.ts';
import { isUnremarkable } from '../../terms.ts';
/** Turns calls and events into what is drawn: rows of bars, marks, and spans of time. Pure. */
import {
  accountOf,
  beginMs,
  type Call,
  type Happening,
  type Incident,
  type Refused,
  type Stretch,
} from './incident.ts';
import { isToAttend, refusedText } from './refused.ts';
import { clockTime } from './times.ts';

export type Grouping = 'account' | 'process';

/** A call that waited, or was held, for longer than this is slow. */
export const SLOW_MS = 5_000;
/** How many overlapping calls lie below each other at most. */
const MOST_TRACKS = 12;

/** A call in its place in a row. */
export interface Bar {
  readonly call: Call;
  readonly track: number;
}

export interface Row {
  readonly name: string;
  /** In the order of the beginning of their waits. */
  readonly bars: readonly Bar[];
  /** How many bars lie below each other at most. */
  readonly tracks: number;
}

/** Which rows something concerns: all, none, or the one with that index. */
export type Reach = 'all' | 'none' | number;

/** An event at a moment. */
export interface Mark {
  readonly atMs: number;
  readonly kind: string;
  readonly severity: Happening['severity'];
  /** A few words beside the mark. */
  readonly label: string;
  readonly text: string;
  readonly reach: Reach;
}

export type SpanKind = 'missing' | 'down' | 'paused' | 'quarantined' | 'drained' | 'outage' | 'disk' | 'clock';

/** A stretch of time in which something was unusual. */
export interface Span extends Stretch {
  readonly kind: SpanKind;
  readonly label: string;
  readonly reach: Reach;
}

/** Everything that is drawn. */
export interface Picture {
  readonly rows: readonly Row[];
  readonly marks: readonly Mark[];
  readonly spans: readonly Span[];
}

export function pictureOf(incident: Incident, by: Grouping): Picture {
  const rows = rowsOf(incident, by);
  const marks = [...marksOf(incident, rows), ...refusedMarks(incident, rows, by)].sort((a, b) => a.atMs - b.atMs);
  return { rows, marks, spans: spansOf(incident, rows) };
}

/** Returns whether a search for what went wrong should show the call. */
export function isToLookAt({ state, waitedMs, heldMs }: Call): boolean {
  if (waitedMs > SLOW_MS || heldMs > SLOW_MS) return true;
  return state.kind === 'ended' && (state.ended !== 'released' || !isUnremarkable(state.outcome));
}

/**
 * Returns a row for each account or process, by name; also for accounts that have only events, and for those whose
 * requests were all refused.
 */
export function rowsOf(
  { calls, happenings, refused }: Pick<Incident, 'calls' | 'happenings' | 'refused'>,
  by: Grouping,
): Row[] {
  const groups = new Map<string, Call[]>();
  const group = (name: string): Call[] => {
    const found = groups.get(name) ?? [];
    groups.set(name, found);
    return found;
  };
  for (const call of calls) group(by === 'account' ? call.account : processText(call.holder, call.pid)).push(call);
  if (by === 'account') {
    for (const happening of happenings) {
      const account = accountOf(happening);
      if (account !== undefined) group(account);
    }
  }
  for (const each of refused) {
    const name = rowNameOf(each, by);
    if (name !== undefined) group(name);
  }
  const names = [...groups.keys()].sort((a, b) => a.localeCompare(b, 'en', { numeric: true }));
  return names.map((name) => ({ name, ...packed(groups.get(name) ?? []) }));
}

/** Puts each call into the first free track, or, if none is free, into the one that is free soonest. */
function packed(calls: readonly Call[]): Omit<Row, 'name'> {
  const byBeginning = calls.map((call) => ({ call, fromMs: beginMs(call) })).sort((a, b) => a.fromMs - b.fromMs);
  const freeFromMs: number[] = [];
  const bars = byBeginning.map(({ call, fromMs }): Bar => {
    let track = freeFromMs.findIndex((freeMs) => freeMs <= fromMs);
    if (track < 0) track = freeFromMs.length < MOST_TRACKS ? freeFromMs.length : indexOfLeast(freeFromMs);
    freeFromMs[track] = Math.max(freeFromMs[track] ?? 0, call.endMs);
    return { call, track };
  });
  return { bars, tracks: Math.max(1, freeFromMs.length) };
}

function indexOfLeast(numbers: readonly number[]): number {
  return numbers.indexOf(Math.min(...numbers));
}

/** Returns the starts of the daemon and the events that an operator should know, by time. */
export function marksOf({ lives, happenings, fromMs, toMs }: Incident, rows: readonly Row[]): Mark[] {
  const starts = lives
    .filter(({ startedAtMs }) => startedAtMs >= fromMs && startedAtMs <= toMs)
    .map(({ startedAtMs, epoch, pid, version }): Mark => {
      const before = lives.find((life) => life.epoch === epoch - 1);
      const how =
        before === undefined
          ? ''
          : before.isCleanEnd
            ? '; the one before was stopped'
            : '; the one before was killed or failed';
      return {
        atMs: startedAtMs,
        kind: 'started',
        severity: before === undefined || before.isCleanEnd ? 'info' : 'warn',
        label: `start ${epoch}`,
        text: `nonced ${version} was started (epoch ${epoch}, pid ${pid})${how}`,
        reach: 'all',
      };
    });
  const events = happenings.map((happening): Mark => {
    const { atMs, kind, severity, text } = happening;
    return { atMs, kind, severity, label: labelOf(happening), text, reach: reachOf(rows, happening) };
  });
  return [...starts, ...events].sort((a, b) => a.atMs - b.atMs);
}

/** The kind of the marks of what was refused, which have a table of their own. */
export const REFUSED = 'refused';

/** Returns a mark for what was refused in one second, or in a longer time if there are very many. */
function refusedMarks({ refused }: Incident, rows: readonly Row[], by: Grouping): Mark[] {
  return refused.map((each): Mark => {
    const index = rows.findIndex(({ name }) => name === rowNameOf(each, by));
    return {
      atMs: each.toMs,
      kind: REFUSED,
      severity: isToAttend(each) || each.longestWaitMs > SLOW_MS ? 'warn' : 'info',
      label: each.count === 1 ? each.code : `${each.code} ×${each.count}`,
      text: refusedText(each),
      reach: index < 0 ? 'none' : index,
    };
  });
}

/** Returns what was refused by the name of its row. */
export function refusedByRow(refused: readonly Refused[], by: Grouping): ReadonlyMap<string, readonly Refused[]> {
  const found = new Map<string, Refused[]>();
  for (const each of refused) {
    const name = rowNameOf(each, by);
    if (name === undefined) continue;
    const ofRow = found.get(name) ?? [];
    ofRow.push(each);
    found.set(name, ofRow);
  }
  return found;
}

/** Returns the name of the row that it belongs to; undefined if it belongs to none. */
function rowNameOf({ account, holder, pid }: Refused, by: Grouping): string | undefined {
  return by === 'account' ? (account ?? undefined) : processText(holder, pid);
}

function reachOf(rows: readonly Row[], happening: Happening): Reach {
  const account = accountOf(happening);
  if (account === undefined) return 'all';
  const index = rows.findIndex(({ name }) => name === account);
  return index < 0 ? 'none' : index;
}

interface Pair {
  readonly kind: SpanKind;
  readonly of: string;
  readonly until: string;
  readonly label: string;
  /** Whether it outlasts a restart of the daemon. */
  readonly isDurable: boolean;
}

/** Spans that begin with one event and end with another. One without an end goes on to the end of the page. */
const PAIRS: readonly Pair[] = [
  { kind: 'paused', of: 'paused', until: 'resumed', label: 'paused', isDurable: true },
  { kind: 'quarantined', of: 'breaker-changed', until: 'breaker-changed', label: 'quarantined', isDurable: true },
  { kind: 'drained', of: 'drain-changed', until: 'drain-changed', label: 'drained', isDurable: false },
  { kind: 'outage', of: 'exchange-changed', until: 'exchange-changed', label: 'exchange down', isDurable: false },
  { kind: 'disk', of: 'write-failed', until: 'write-recovered', label: 'state cannot be written', isDurable: false },
  { kind: 'clock', of: 'clock-changed', until: 'clock-changed', label: 'clock trouble', isDurable: false },
];

/** Returns the spans in the order of their beginnings. */
export function spansOf(incident: Incident, rows: readonly Row[]): Span[] {
  const { fromMs, toMs, gaps, lives } = incident;
  const missing = gaps.map((gap): Span => ({ ...stretch(gap), kind: 'missing', label: gap.text, reach: 'all' }));
  const down = lives.flatMap(({ endedAtMs, isCleanEnd, epoch }): Span[] => {
    if (endedAtMs === undefined) return [];
    const next = lives.find((life) => life.epoch > epoch);
    const how = isCleanEnd ? 'stopped' : 'last heard of';
    const label = `no daemon: ${how} at ${clockTime(endedAtMs)}`;
    return [{ fromMs: endedAtMs, toMs: next?.startedAtMs ?? toMs, kind: 'down', label, reach: 'all' }];
  });
  const pairs = PAIRS.flatMap((pair) => pairsOf(incident, rows, pair));
  return [...missing, ...down, ...pairs]
    .filter((span) => span.toMs > fromMs && span.fromMs < toMs && span.toMs > span.fromMs)
    .map((span) => ({ ...span, fromMs: Math.max(fromMs, span.fromMs), toMs: Math.min(toMs, span.toMs) }))
    .sort((a, b) => a.fromMs - b.fromMs);
}

const stretch = ({ fromMs, toMs }: Stretch): Stretch => ({ fromMs, toMs });

function pairsOf({ happenings, lives, toMs }: Incident, rows: readonly Row[], pair: Pair): Span[] {
  const spans: Span[] = [];
  const open = new Map<string | null, Happening>();
  const close = (begin: Happening, endMs: number) => {
    const label = begin.subject === null ? pair.label : `${pair.label}: ${begin.subject}`;
    spans.push({ fromMs: begin.atMs, toMs: endMs, kind: pair.kind, label, reach: reachOf(rows, begin) });
    open.delete(begin.subject);
  };
  const restarts = pair.isDurable ? [] : lives.map(({ startedAtMs }) => startedAtMs);
  for (const happening of happenings) {
    const { kind, subject, atMs } = happening;
    for (const begin of open.values()) {
      const restartMs = restarts.find((startMs) => startMs > begin.atMs && startMs <= atMs);
      if (restartMs !== undefined) close(begin, restartMs);
    }
    const begin = open.get(subject);
    // If both have the same name, the good news is the end.
    const isEnd = kind === pair.until && (pair.of !== pair.until || happening.severity === 'info');
    if (isEnd && begin !== undefined) close(begin, atMs);
    else if (kind === pair.of && !isEnd && begin === undefined) open.set(subject, happening);
  }
  for (const begin of open.values()) close(begin, restarts.find((startMs) => startMs > begin.atMs) ?? toMs);
  return spans;
}

function labelOf({ kind, subject, severity, text }: Happening): string {
  const isGood = severity === 'info' || severity === 'debug';
  const what = subject ?? '';
  switch (kind) {
    case 'paused':
    case 'resumed':
      return `${kind} ${what}`;
    case 'breaker-changed':
      return isGood ? `${what} let through` : `${what} quarantined`;
    case 'exchange-changed':
      return isGood ? `exchange ${what} up` : `exchange ${what} down`;
    case 'caller-changed':
      return isGood ? 'a program let through' : 'a program held back';
    case 'drain-changed':
      return isGood ? 'drain ended' : 'drain';
    case 'exclusion-changed':
      return `exclusion ${(text.split(': ').at(-1) ?? '').replace('->', '→')}`;
    case 'advanced':
      return `advanced ${what}`;
    case 'clock-changed':
      return isGood ? 'clock followed' : 'clock step';
    case 'ahead':
      return 'ahead of the clock';
    case 'register-filled':
      return 'little room for accounts';
    case 'instance-refused':
      return 'a bot refuses this daemon';
    case 'key-changed':
      return `new key ${what}`;
    case 'write-failed':
      return 'disk trouble';
    case 'write-recovered':
      return 'disk again';
    case 'configured':
      return 'configured';
    case 'configuration-refused':
      return 'configuration refused';
    default:
      return kind;
  }
}
