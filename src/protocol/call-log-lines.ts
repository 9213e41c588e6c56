/**
 * The call log of a daemon: one JSON object a line, in UTF-8. Its format is a promise to everyone who reads it with
 * programs of their own (docs/log.md): keys and types of lines may be added; none is removed or changes its meaning.
 */
import { LEASE_ENDS, OUTCOMES, PRIORITIES } from '../terms.ts';
import type { EndedCallRecord, EventRecord, RefusalsRecord } from './messages.ts';

export const CALL_LOG_FORMAT = 1;

/** The first bytes of every call log, and of no other file on a host. */
export const CALL_LOG_MAGIC = '{"type":"daemon"';

/** Readers pass over longer lines. No real line is nearly as long. */
export const LONGEST_LINE_BYTES = 65_536;

interface Line {
  /** Wall time in ISO 8601 with milliseconds, as all times here. */
  readonly at: string;
  /** The epoch of the daemon that wrote it. */
  readonly epoch: number;
}

/** Names the daemon that writes what follows: at the start of each daemon and at the beginning of each file. */
export interface DaemonLine extends Line {
  readonly type: 'daemon';
  readonly format: number;
  readonly version: string;
  readonly instance: string;
  readonly pid: number;
  /** The boot's id. */
  readonly boot: string;
  readonly startedAt: string;
}

/**
 * A call that ended at `at`. An outcome that comes after the end makes a further line with `late`, which replaces the
 * earlier one of the same epoch, account, nonce, waitedMs and heldMs. Nonces are decimal strings: a JSON number does
 * not keep 19 digits.
 */
export interface CallLine extends Line, Omit<EndedCallRecord, 'serial' | 'agoMs' | 'nonce' | 'lastNonce'> {
  readonly type: 'call';
  readonly nonce: string | null;
  readonly lastNonce: string | null;
}

export interface EventLine extends Line, Omit<EventRecord, 'serial' | 'agoMs'> {
  readonly type: 'event';
}

/**
 * Requests that ended without a nonce or lease, of one account and with one code: so many from `since` on, all within
 * about a second; the last at `at`. `account` is null for those that are not told apart, and that named none.
 */
export interface RefusedLine extends Line, Omit<RefusalsRecord, 'serial' | 'agoMs' | 'forMs'> {
  readonly type: 'refused';
  readonly since: string;
  /** What the client of the last one was told. */
  readonly text: string;
}

/** Says that `lines` calls and events from `since` on are missing here: they could not be written in time. */
export interface DroppedLine extends Line {
  readonly type: 'dropped';
  readonly lines: number;
  readonly since: string;
}

/** A clean stop. A daemon whose last line is of another type was killed or failed. */
export interface StopLine extends Line {
  readonly type: 'stop';
}

export type CallLogLine = DaemonLine | CallLine | EventLine | RefusedLine | DroppedLine | StopLine;

/**
 * Returns the line as it is written, without its end. `type` must be the first key of a header: CALL_LOG_MAGIC is its
 * beginning.
 */
export function encodeLine(line: CallLogLine): string {
  return JSON.stringify(line);
}

/**
 * Reads a line. Returns `unknown` for a type that a later version writes, and undefined for a line that is cut short,
 * damaged, or not of a call log.
 */
export function decodeLine(text: string): CallLogLine | 'unknown' | undefined {
  let fields: unknown;
  try {
    fields = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (typeof fields !== 'object' || fields === null || Array.isArray(fields)) return undefined;
  return lineOf(new Fields(fields as Readonly<Record<string, unknown>>));
}

function lineOf(fields: Fields): CallLogLine | 'unknown' | undefined {
  try {
    const line = { at: fields.time('at'), epoch: fields.count('epoch') };
    const type = fields.text('type');
    switch (type) {
      case 'daemon':
        return {
          type,
          ...line,
          format: fields.count('format'),
          version: fields.text('version'),
          instance: fields.text('instance'),
          pid: fields.count('pid'),
          boot: fields.text('boot'),
          startedAt: fields.time('startedAt'),
        };
      case 'call':
        return {
          type,
          ...line,
          account: fields.text('account'),
          lane: fields.text('lane'),
          exclusive: fields.flag('exclusive'),
          holder: fields.orNull('holder', () => fields.text('holder')),
          pid: fields.orNull('pid', () => fields.count('pid')),
          label: fields.orNull('label', () => fields.text('label')),
          priority: fields.oneOf('priority', PRIORITIES),
          nonce: fields.orNull('nonce', () => fields.nonce('nonce')),
          lastNonce: fields.orNull('lastNonce', () => fields.nonce('lastNonce')),
          waitedMs: fields.count('waitedMs'),
          heldMs: fields.count('heldMs'),
          ended: fields.oneOf('ended', LEASE_ENDS),
          outcome: fields.oneOf('outcome', OUTCOMES),
          late: fields.flag('late'),
        };
      case 'event':
        return {
          type,
          ...line,
          kind: fields.text('kind'),
          severity: fields.oneOf('severity', SEVERITIES),
          subject: fields.orNull('subject', () => fields.text('subject')),
          text: fields.text('text'),
        };
      case 'refused':
        return {
          type,
          ...line,
          since: fields.time('since'),
          account: fields.orNull('account', () => fields.text('account')),
          lastAccount: fields.orNull('lastAccount', () => fields.text('lastAccount')),
          // Later versions may have more codes.
          code: fields.text('code'),
          count: fields.count('count'),
          longestWaitMs: fields.count('longestWaitMs'),
          holder: fields.orNull('holder', () => fields.text('holder')),
          pid: fields.orNull('pid', () => fields.count('pid')),
          label: fields.orNull('label', () => fields.text('label')),
          text: fields.text('text'),
        };
      case 'dropped':
        return { type, ...line, lines: fields.count('lines'), since: fields.time('since') };
      case 'stop':
        return { type, ...line };
      default:
        return 'unknown';
    }
  } catch (error) {
    if (error instanceof WrongField) return undefined;
    throw error;
  }
}

const SEVERITIES = ['error', 'warn', 'info', 'debug'] as const;

class WrongField extends Error {}

/** The fields of an object from outside. Each reader throws WrongField if its field is missing or of another type. */
class Fields {
  readonly #values: Readonly<Record<string, unknown>>;

  constructor(values: Readonly<Record<string, unknown>>) {
    this.#values = values;
  }

  text(key: string): string {
    const value = this.#values[key];
    if (typeof value !== 'string') throw new WrongField(key);
    return value;
  }

  flag(key: string): boolean {
    const value = this.#values[key];
    if (typeof value !== 'boolean') throw new WrongField(key);
    return value;
  }

  count(key: string): number {
    const value = this.#values[key];
    if (!Number.isSafeInteger(value) || (value as number) < 0) throw new WrongField(key);
    return value as number;
  }

  time(key: string): string {
    const text = this.text(key);
    if (!Number.isFinite(Date.parse(text))) throw new WrongField(key);
    return text;
  }

  nonce(key: string): string {
    const text = this.text(key);
    if (!/^\d{1,20}$/.test(text)) throw new WrongField(key);
    return text;
  }

  oneOf<T extends string>(key: string, words: readonly T[]): T {
    const found = words.find((word) => word === this.#values[key]);
    if (found === undefined) throw new WrongField(key);
    return found;
  }

  orNull<T>(key: string, read: () => T): T | null {
    return this.#values[key] === null ? null : read();
  }
}
