/**
 * The call log: every call that ends, and every event that an operator should know of, in a file that outlives the
 * daemon. It is never on the path of a nonce: what the broker tells goes into a bounded list and is written later, one
 * write at a time. Whatever happens to the file, the broker does not notice. Lines that find no room are counted.
 */
import type { Clock, Timer } from '../../clock.ts';
import type { BrokerEvent, Nonce, ObservedEnd, ObservedRefusal } from '../../core/ports.ts';
import { subjectOf, textOf } from '../../core/record/event-text.ts';
import { type RefusalSum, RefusalSums } from '../../core/record/refusal-sums.ts';
import { CALL_LOG_FORMAT, CALL_LOG_MAGIC, type CallLogLine, encodeLine } from '../../protocol/call-log-lines.ts';
import { CallLogFile } from '../../store/call-log/call-log-file.ts';
import { type CallLogSteps, callLogStepsOnDisk } from '../../store/call-log/call-log-steps.ts';
import type { Log } from './log.ts';

/** How many lines wait for the disk, a few megabytes of memory. Further ones are dropped and counted. */
export const MOST_WAITING = 10_000;
/** Lines of one write. Encoding so many takes less than a millisecond. */
const LINES_A_WRITE = 250;
/** A line is in the file about this long after its call; a kill costs the lines of that time. */
const WRITE_AFTER_MS = 100;
/** Refusals of so long a time are added up in one line for each account and code. */
const ADD_UP_MS = 1_000;
const RETRY_AFTER_MS = 5_000;
/** The longest that a clean stop waits for the last lines. */
const CLOSE_WITHIN_MS = 1_000;

export interface CallLogPlace {
  readonly path: string;
  /** Of one file. The file before it, `PATH.1`, may take as much again. */
  readonly maxBytes: number;
}

/** The daemon that writes it. */
export interface CallLogAuthor {
  readonly version: string;
  readonly instance: string;
  readonly epoch: number;
  readonly pid: number;
  readonly bootId: string;
}

export interface CallLogOptions extends CallLogPlace {
  readonly author: CallLogAuthor;
  readonly clock: Clock;
  readonly log: Log;
  /** Replaced by tests, which make any of them fail. */
  readonly steps?: CallLogSteps;
}

type Waiting =
  /** Becomes a line only when it is written. */
  | { readonly kind: 'call'; readonly endedAtMs: number; readonly call: ObservedEnd }
  | { readonly kind: 'refused'; readonly sum: RefusalSum }
  | { readonly kind: 'line'; readonly line: CallLogLine };

export class CallLog {
  readonly #path: string;
  readonly #author: CallLogAuthor;
  readonly #startedAt: string;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #file: CallLogFile;
  readonly #waiting: Waiting[] = [];
  /** Times in it are on the wall clock. */
  readonly #refusals = new RefusalSums();
  #refusalTimer: Timer | undefined;
  /** The lines that found no room since the last one that did. */
  #dropped: { lines: number; readonly since: string } | undefined;
  /** Set from the first line that could not be written until lines are written as fast as they come. */
  #trouble: { dropped: number } | undefined;
  #second = { second: Number.NaN, text: '' };
  #timer: Timer | undefined;
  #writing: Promise<void> | undefined;
  #writingSinceMs: number | undefined;
  #isClosing = false;

  constructor({ path, maxBytes, author, clock, log, steps = callLogStepsOnDisk }: CallLogOptions) {
    this.#path = path;
    this.#author = author;
    this.#startedAt = this.#iso(clock.wallMs());
    this.#clock = clock;
    this.#log = log;
    this.#file = new CallLogFile({
      path,
      maxBytes,
      steps,
      magic: CALL_LOG_MAGIC,
      header: () => encodeLine(this.#header()),
      onReplaced: () => log.warn(`${path} was moved away or removed; the call log goes on in a new file`),
    });
  }

  observe(event: BrokerEvent): void {
    // The call itself has a line already.
    if (event.kind === 'rejected') return;
    const { severity, text } = textOf(event);
    const line = { kind: event.kind, severity, subject: subjectOf(event) ?? null, text };
    this.#add({ kind: 'line', line: { type: 'event', ...this.#now(), ...line } });
  }

  ended(call: ObservedEnd): void {
    const nowMs = this.#clock.wallMs();
    const endedAtMs = call.late ? Math.round(nowMs - (this.#clock.monotonicMs() - call.endedAtMs)) : nowMs;
    // A copy, as the call is now: an outcome that comes late makes a further line.
    this.#add({ kind: 'call', endedAtMs, call: { ...call } });
  }

  refused(refusal: ObservedRefusal): void {
    this.#refusals.add(refusal, this.#clock.wallMs());
    if (this.#refusalTimer !== undefined || this.#isClosing) return;
    this.#refusalTimer = this.#clock.after(ADD_UP_MS, () => this.#tellRefusals());
  }

  /** To be called when the file was moved away, or when what was wrong with it is repaired. */
  reopen(): void {
    this.#file.reopen();
    this.#timer?.cancel();
    this.#timer = undefined;
    if (this.#waiting.length > 0) this.#writeAfter(0);
  }

  /** Whether a write has been under way for so long that it may never end. Waiting for it could take for ever. */
  get isHung(): boolean {
    const sinceMs = this.#writingSinceMs;
    return sinceMs !== undefined && this.#clock.monotonicMs() - sinceMs >= CLOSE_WITHIN_MS;
  }

  /** Writes what is left, for at most a second. Never rejects. */
  async close(): Promise<void> {
    this.#isClosing = true;
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#tellRefusals();
    this.#add({ kind: 'line', line: { type: 'stop', ...this.#now() } });
    let isLate = false;
    await new Promise<void>((resolve) => {
      const deadline = this.#clock.after(CLOSE_WITHIN_MS, () => {
        isLate = true;
        resolve();
      });
      const finished = this.#finish(() => isLate);
      void finished.then(() => {
        deadline.cancel();
        resolve();
      });
    });
    const lost = this.#waiting.length + (this.#dropped?.lines ?? 0);
    if (lost > 0) this.#log.warn(`the last ${lost} lines of the call log ${this.#path} could not be written`);
  }

  async #finish(isLate: () => boolean): Promise<void> {
    await this.#writing;
    while (!isLate() && this.#waiting.length > 0 && (await this.#writeSome()));
    if (!isLate()) await this.#file.close();
  }

  #tellRefusals(): void {
    this.#refusalTimer?.cancel();
    this.#refusalTimer = undefined;
    for (const sum of this.#refusals.take()) this.#add({ kind: 'refused', sum });
  }

  #add(waiting: Waiting): void {
    if (this.#waiting.length >= MOST_WAITING) {
      this.#dropped ??= { lines: 0, since: this.#now().at };
      this.#dropped.lines += 1;
      this.#inTrouble('calls end faster than the disk takes their lines');
      return;
    }
    this.#waiting.push(waiting);
    this.#writeAfter(WRITE_AFTER_MS);
  }

  #writeAfter(delayMs: number): void {
    if (this.#isClosing || this.#timer !== undefined || this.#writing !== undefined) return;
    this.#timer = this.#clock.after(delayMs, () => {
      this.#timer = undefined;
      this.#writing = this.#writeMost();
    });
  }

  async #writeMost(): Promise<void> {
    let isWritten = true;
    do isWritten = await this.#writeSome();
    while (isWritten && this.#waiting.length >= LINES_A_WRITE);
    this.#writing = undefined;
    if (this.#waiting.length > 0) this.#writeAfter(isWritten ? WRITE_AFTER_MS : RETRY_AFTER_MS);
  }

  /** Writes the first lines that wait. Returns false if that failed; what could not be written goes on waiting. */
  async #writeSome(): Promise<boolean> {
    const lines = this.#waiting.slice(0, LINES_A_WRITE).map((waiting) => encodeLine(this.#lineOf(waiting)));
    this.#writingSinceMs = this.#clock.monotonicMs();
    const { written, failure } = await this.#file.append(lines);
    this.#writingSinceMs = undefined;
    // Looked at again: more lines may have come during the write, but behind these.
    this.#waiting.splice(0, written);
    if (this.#dropped !== undefined && this.#waiting.length < MOST_WAITING) {
      const { lines: dropped, since } = this.#dropped;
      if (this.#trouble !== undefined) this.#trouble.dropped += dropped;
      this.#dropped = undefined;
      // This line stands where they are missing: later lines come after it.
      this.#waiting.push({ kind: 'line', line: { type: 'dropped', ...this.#now(), lines: dropped, since } });
    }
    if (failure !== undefined) this.#inTrouble(failure.message);
    else if (this.#waiting.length < MOST_WAITING / 2) this.#outOfTrouble();
    return failure === undefined;
  }

  #inTrouble(problem: string): void {
    if (this.#trouble !== undefined) return;
    this.#trouble = { dropped: 0 };
    this.#log.warn(
      `the call log ${this.#path} cannot be written: ${problem}; trying again every ${RETRY_AFTER_MS / 1000} s. ` +
        `Calls go on; ${MOST_WAITING} lines are kept, further ones are dropped`,
    );
  }

  #outOfTrouble(): void {
    if (this.#trouble === undefined) return;
    const { dropped } = this.#trouble;
    this.#trouble = undefined;
    const cost = dropped === 0 ? 'nothing was dropped' : `${dropped} lines were dropped`;
    this.#log.info(`the call log ${this.#path} is written again; ${cost}`);
  }

  #lineOf(waiting: Waiting): CallLogLine {
    switch (waiting.kind) {
      case 'line':
        return waiting.line;
      case 'refused':
        return this.#refusedLine(waiting.sum);
      case 'call':
        return this.#callLine(waiting.call, waiting.endedAtMs);
    }
  }

  #refusedLine({ account, code, count, sinceMs, lastAtMs, longestWaitMs, last }: RefusalSum): CallLogLine {
    return {
      type: 'refused',
      at: this.#iso(lastAtMs),
      epoch: this.#author.epoch,
      since: this.#iso(sinceMs),
      account: account ?? null,
      lastAccount: last.account ?? null,
      code,
      count,
      longestWaitMs: Math.round(longestWaitMs),
      holder: last.holder ?? null,
      pid: last.pid ?? null,
      label: last.label ?? null,
      text: last.text,
    };
  }

  #callLine(call: ObservedEnd, endedAtMs: number): CallLogLine {
    return {
      type: 'call',
      at: this.#iso(endedAtMs),
      epoch: this.#author.epoch,
      account: call.account,
      lane: call.lane,
      exclusive: call.exclusive,
      holder: call.holder ?? null,
      pid: call.pid ?? null,
      label: call.label ?? null,
      priority: call.priority,
      nonce: decimal(call.nonce),
      lastNonce: decimal(call.lastNonce),
      waitedMs: Math.round(call.waitedMs),
      heldMs: Math.round(call.endedAtMs - call.grantedAtMs),
      ended: call.ended,
      outcome: call.outcome,
      late: call.late,
    };
  }

  #header(): CallLogLine {
    const { version, instance, pid, bootId } = this.#author;
    const author = { format: CALL_LOG_FORMAT, version, instance, pid, boot: bootId, startedAt: this.#startedAt };
    return { type: 'daemon', ...this.#now(), ...author };
  }

  #now() {
    return { at: this.#iso(this.#clock.wallMs()), epoch: this.#author.epoch };
  }

  /**
   * The same as toISOString, which costs as much as the rest of a line: most lines share the second of the line before.
   */
  #iso(ms: number): string {
    const second = Math.floor(ms / 1000);
    if (second !== this.#second.second) {
      this.#second = { second, text: new Date(second * 1000).toISOString().slice(0, -'000Z'.length) };
    }
    return `${this.#second.text}${String(ms - second * 1000).padStart(3, '0')}Z`;
  }
}

function decimal(nonce: Nonce | undefined): string | null {
  return nonce === undefined ? null : String(nonce);
}
