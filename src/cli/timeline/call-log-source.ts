import { type FileHandle, open } from 'node:fs/promises';
import { askOnce } from '../../client/ask.ts';
import { EXIT, ExitError, NoncedError, systemErrorCode } from '../../errors.ts';
import {
  type CallLine,
  type CallLogLine,
  type DaemonLine,
  decodeLine,
  type EventLine,
  LONGEST_LINE_BYTES,
  type RefusedLine,
} from '../../protocol/call-log-lines.ts';
import type { StatusResult } from '../../protocol/messages.ts';
import {
  type Call,
  type Gap,
  type Happening,
  type Incident,
  isHappeningWanted,
  isWanted,
  type Life,
  MOST_CALLS,
  orNull,
  printable,
  underWay,
  type Wanted,
} from './incident.ts';
import { RefusedSums } from './refused.ts';
import { clockTime, dateTime } from './times.ts';

const NEWLINE = 0x0a;
const CHUNK_BYTES = 1 << 18;

export interface CallLogQuestion {
  readonly path: string;
  /** The socket on which its daemon may answer. */
  readonly socket: string;
  readonly wanted: Wanted;
  readonly wallMs: () => number;
  readonly mostCalls?: number;
}

/**
 * Reads from a call log, and from the file before it, what happened in a stretch of time; and from its daemon, if that
 * answers, what is under way. Rejects with ExitError if there is nothing to read.
 */
export async function fromCallLog(question: CallLogQuestion): Promise<Incident> {
  const { path, socket, wanted, wallMs, mostCalls = MOST_CALLS } = question;
  const reading = new Reading(wanted, mostCalls);
  for (const file of await openBoth(path)) {
    try {
      for await (const line of linesOf(file)) reading.add(line);
    } finally {
      await file.close();
    }
  }
  if (reading.first === undefined)
    throw new ExitError(EXIT.usage, `${path} is not a call log; name the file that nonced serve --call-log writes`);
  const nowMs = wallMs();
  return reading.incident(path, nowMs, isPast(wanted, nowMs) ? undefined : await statusAt(socket));
}

/** Returns whether everything that was under way then has ended. */
function isPast({ toMs }: Wanted, nowMs: number): boolean {
  return toMs < nowMs;
}

/** Opens both files, the older one first. */
async function openBoth(path: string): Promise<FileHandle[]> {
  // In this order a file that is renamed in between is found twice, and none is missed.
  const files = [await openIfThere(path), await openIfThere(`${path}.1`), await openIfThere(path)];
  const byIdentity = new Map<string, FileHandle>();
  for (const file of [files[1], files[0], files[2]]) {
    if (file === undefined) continue;
    const { dev, ino } = await file.stat();
    if (byIdentity.has(`${dev}:${ino}`)) await file.close();
    else byIdentity.set(`${dev}:${ino}`, file);
  }
  if (byIdentity.size === 0)
    throw new ExitError(
      EXIT.usage,
      `there is no call log at ${path}; name the file that nonced serve --call-log writes`,
    );
  return [...byIdentity.values()];
}

async function openIfThere(path: string): Promise<FileHandle | undefined> {
  try {
    const file = await open(path, 'r');
    if ((await file.stat()).isFile()) return file;
    await file.close();
    throw new ExitError(EXIT.usage, `${path} is not a regular file; name the call log itself`);
  } catch (error) {
    const code = systemErrorCode(error);
    if (code === 'ENOENT') return undefined;
    if (error instanceof ExitError) throw error;
    const reason = error instanceof Error ? error.message : String(error);
    if (code !== 'EACCES' && code !== 'EPERM') throw new ExitError(EXIT.ioError, `${path} cannot be read: ${reason}`);
    throw new ExitError(EXIT.noPermission, `you may not read ${path}; use sudo, or join its group`);
  }
}

/** Reads the lines of a file. A line that is too long for a call log is cut. */
async function* linesOf(file: FileHandle): AsyncIterable<string> {
  const chunk = Buffer.alloc(CHUNK_BYTES);
  let rest = Buffer.alloc(0);
  for (;;) {
    const { bytesRead } = await file.read(chunk, 0, chunk.length, null);
    if (bytesRead === 0) break;
    let from = 0;
    for (let end = chunk.indexOf(NEWLINE); end >= 0 && end < bytesRead; end = chunk.indexOf(NEWLINE, from)) {
      yield Buffer.concat([rest, chunk.subarray(from, end)]).toString();
      rest = Buffer.alloc(0);
      from = end + 1;
    }
    const room = LONGEST_LINE_BYTES - rest.length;
    rest = Buffer.concat([rest, chunk.subarray(from, Math.min(bytesRead, from + room))]);
  }
  // The daemon may be writing this line at the moment.
  if (rest.length > 0) yield rest.toString();
}

/** Returns undefined if no daemon answers. */
async function statusAt(socket: string): Promise<StatusResult | undefined> {
  try {
    return await askOnce<StatusResult>(socket, 'status', {});
  } catch (error) {
    if (error instanceof NoncedError) return undefined;
    throw error;
  }
}

/** What has been read of a call log, line by line. */
class Reading {
  readonly #wanted: Wanted;
  readonly #mostCalls: number;
  /** The calls, in the order of their ends, by the key that a line with a late outcome has too. */
  readonly #calls = new Map<string, Call>();
  #seen = 0;
  readonly #happenings: Happening[] = [];
  readonly #refused: RefusedSums;
  readonly #gaps: Gap[] = [];
  readonly #headers = new Map<number, DaemonLine>();
  /** When each daemon was last heard of, and whether it stopped cleanly. */
  readonly #heard = new Map<number, { atMs: number; isClean: boolean }>();
  #unreadable = 0;
  #first: CallLogLine | undefined;
  #last: CallLogLine | undefined;

  constructor(wanted: Wanted, mostCalls: number) {
    this.#wanted = wanted;
    this.#mostCalls = mostCalls;
    this.#refused = new RefusedSums(wanted);
  }

  get first(): CallLogLine | undefined {
    return this.#first;
  }

  add(text: string): void {
    const line = decodeLine(text);
    if (line === undefined && text !== '') this.#unreadable += 1;
    if (line === undefined || line === 'unknown') return;
    this.#first ??= line;
    this.#last = line;
    const atMs = Date.parse(line.at);
    // Such a line is written up to a second after the last request in it.
    if (line.type === 'refused') this.#addRefused(line, atMs);
    else this.#heard.set(line.epoch, { atMs, isClean: line.type === 'stop' });
    const { fromMs, toMs } = this.#wanted;
    switch (line.type) {
      case 'daemon':
        if (!this.#headers.has(line.epoch)) this.#headers.set(line.epoch, line);
        return;
      case 'call':
        this.#addCall(line, atMs);
        return;
      case 'event':
        this.#addEvent(line, atMs);
        return;
      case 'dropped': {
        const sinceMs = Date.parse(line.since);
        if (atMs < fromMs || sinceMs > toMs) return;
        const lines = `${line.lines.toLocaleString('en')} ${line.lines === 1 ? 'line' : 'lines'} of the call log`;
        const text = `${lines} could not be written from ${clockTime(sinceMs)} to ${clockTime(atMs)}.`;
        this.#gaps.push({ fromMs: Math.max(fromMs, sinceMs), toMs: Math.min(toMs, atMs), text });
        return;
      }
      case 'refused':
      case 'stop':
        return;
    }
  }

  #addRefused({ epoch, since, account, lastAccount, code, count, longestWaitMs, ...asker }: RefusedLine, atMs: number) {
    const heard = this.#heard.get(epoch);
    this.#heard.set(epoch, { atMs: Math.max(atMs, heard?.atMs ?? atMs), isClean: false });
    this.#refused.add({
      account: orNull(account),
      lastAccount: orNull(lastAccount),
      code: printable(code),
      count,
      longestWaitMs,
      fromMs: Date.parse(since),
      toMs: atMs,
      holder: orNull(asker.holder),
      pid: asker.pid,
      label: orNull(asker.label),
    });
  }

  #addEvent({ kind, severity, subject, text }: EventLine, atMs: number): void {
    const happening = { atMs, kind: printable(kind), severity, subject: orNull(subject), text: printable(text) };
    if (isHappeningWanted(happening, this.#wanted)) this.#happenings.push(happening);
  }

  #addCall(line: CallLine, endMs: number): void {
    const { account, holder, pid, label, priority, nonce, lastNonce, waitedMs, heldMs, ended, outcome, late } = line;
    const call: Call = {
      account: printable(account),
      holder: orNull(holder),
      pid,
      label: orNull(label),
      priority,
      nonce,
      lastNonce,
      waitedMs,
      heldMs,
      endMs,
      state: { kind: 'ended', ended, outcome },
      late,
    };
    if (!isWanted(call, this.#wanted)) return;
    const key = JSON.stringify([line.epoch, account, nonce, pid, waitedMs, heldMs]);
    if (!this.#calls.has(key)) this.#seen += 1;
    this.#calls.set(key, call);
    if (this.#calls.size <= this.#mostCalls) return;
    const [oldest] = this.#calls.keys();
    if (oldest !== undefined) this.#calls.delete(oldest);
  }

  incident(path: string, nowMs: number, status: StatusResult | undefined): Incident {
    const author = [...this.#headers.values()].at(-1);
    const isAuthor = status !== undefined && status.instance === author?.instance && status.epoch === author.epoch;
    const calls = [...this.#calls.values()];
    const live = isAuthor ? underWay(status, nowMs).filter((call) => isWanted(call, this.#wanted)) : [];
    const notes: string[] = [];
    if (this.#unreadable > 0) {
      const lines = this.#unreadable === 1 ? 'One line' : `${this.#unreadable.toLocaleString('en')} lines`;
      notes.push(`${lines} of the call log cannot be read: cut off by a crash, or changed.`);
    }
    if (!isPast(this.#wanted, nowMs) && !isAuthor) {
      const who = status === undefined ? 'no daemon answers' : 'the daemon that answers does not write it';
      const at = dateTime(Date.parse(this.#last?.at ?? ''));
      notes.push(`The call log ends at ${at}, and ${who}, so calls under way are not known.`);
    }
    return {
      fromMs: this.#wanted.fromMs,
      toMs: Math.min(this.#wanted.toMs, nowMs),
      nowMs,
      source: `call log ${printable(path)}`,
      lives: [...this.#headers.values()].map((header) => {
        const mayLive = header === author && (isAuthor || isPast(this.#wanted, nowMs));
        return this.#lifeOf(header, mayLive);
      }),
      calls: [...calls, ...live],
      happenings: this.#happenings,
      refused: this.#refused.all,
      gaps: [...this.#missingAtBeginning(calls), ...this.#gaps],
      notes,
    };
  }

  #missingAtBeginning(calls: readonly Call[]): Gap[] {
    const { fromMs, toMs } = this.#wanted;
    const gaps: Gap[] = [];
    const beginsMs = Date.parse(this.#first?.at ?? '');
    if (beginsMs > fromMs) {
      gaps.push({ fromMs, toMs: Math.min(beginsMs, toMs), text: `The call log begins at ${dateTime(beginsMs)}.` });
    }
    const [oldest] = calls;
    if (this.#seen > calls.length && oldest !== undefined) {
      const shown = `The last ${calls.length.toLocaleString('en')} of ${this.#seen.toLocaleString('en')} calls are shown.`;
      gaps.push({ fromMs, toMs: oldest.endMs, text: `${shown} For the others, choose a shorter time or one account.` });
    }
    return gaps;
  }

  #lifeOf({ epoch, version, pid, startedAt }: DaemonLine, mayLive: boolean): Life {
    const { atMs, isClean = false } = this.#heard.get(epoch) ?? {};
    const endedAtMs = mayLive && !isClean ? undefined : atMs;
    return {
      epoch,
      version: printable(version),
      pid,
      startedAtMs: Date.parse(startedAt),
      endedAtMs,
      isCleanEnd: isClean,
    };
  }
}
