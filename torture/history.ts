import { closeSync, existsSync, openSync, readSync, writeSync } from 'node:fs';

/**
 * Something that a process has seen. `t` is CLOCK_MONOTONIC in milliseconds, which all processes of a machine share.
 */
export type Entry = { readonly t: number } & (
  | { readonly k: 'begun'; readonly pid: number }
  /** A request is about to be sent. It may never be answered. */
  | { readonly k: 'asked'; readonly what: string }
  | DrawnEntry
  /** The holder has stopped using its lease and is about to release it. */
  | { readonly k: 'releasing'; readonly token: string }
  /** The daemon's answer to a release that was sent at `asked`. */
  | {
      readonly k: 'released';
      readonly token: string;
      readonly asked: number;
      readonly epoch: number;
      readonly wasLive: boolean;
    }
  /** The lease was taken away. */
  | { readonly k: 'lost'; readonly token: string; readonly epoch: number; readonly why: string }
  /** The daemon of this epoch has said that the lease lasts at least until `endsAt`. */
  | { readonly k: 'confirmed'; readonly token: string; readonly epoch: number; readonly endsAt: number }
  | { readonly k: 'refused'; readonly what: string; readonly code: string }
  /** A connection that does not hold this lease tried to use it. `code` is the daemon's answer. */
  | { readonly k: 'intruded'; readonly token: string; readonly what: string; readonly code: string }
  // From the process that makes the faults.
  | { readonly k: 'spawned' | 'ready'; readonly pid: number }
  | { readonly k: 'signal'; readonly pid: number; readonly signal: string }
  | { readonly k: 'ended'; readonly pid: number; readonly code: number | string }
  | { readonly k: 'client-ends'; readonly client: string }
  | { readonly k: 'fault'; readonly kind: string; readonly detail?: string }
  | { readonly k: 'switching' | 'switched'; readonly policy: string }
  | { readonly k: 'paused' | 'resuming'; readonly account: string }
  /** What the daemon's clock shows from then on, as far as the daemon should follow it. */
  | { readonly k: 'clock'; readonly wallMs: number }
  | StateEntry
  | { readonly k: 'found'; readonly invariant: string; readonly what: string }
);

/** Nonces that have come. The entry is written before they are used. */
export interface DrawnEntry {
  readonly t: number;
  readonly k: 'drawn';
  readonly kind: 'grant' | 'next' | 'nonce';
  /** When they were asked for. */
  readonly asked: number;
  /** The epoch that was known when they were asked for, and the one of the daemon that answered. */
  readonly askedOf: number;
  readonly epoch: number;
  readonly account: string;
  readonly nonce: string;
  readonly count: number;
  readonly token?: string;
  readonly priority?: string;
  /** The lease does not end by itself before this. */
  readonly endsAt?: number;
}

/** The state file, as a reading that began at `t` found it. */
export interface StateEntry {
  readonly t: number;
  readonly k: 'state';
  /** The pid of the daemon that wrote it. */
  readonly pid: number;
  readonly epoch: number;
  readonly instance: string;
  readonly ceilings: Readonly<Record<string, string>>;
}

/** An entry with the name of the process that saw it. */
export type Told<Kind extends Entry['k'] = Entry['k']> = Extract<Entry, { readonly k: Kind }> & {
  readonly who: string;
};

/** Returns CLOCK_MONOTONIC in milliseconds. */
export function nowMs(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}

type Without<T, Key extends string> = T extends unknown ? Omit<T, Key> : never;
/** An entry that gets its time when it is written. */
export type Untimed = Without<Entry, 't'>;

/** Writes a history. What was written outlives the process, whatever kills it. */
export class HistoryWriter {
  readonly #descriptor: number;

  constructor(path: string) {
    this.#descriptor = openSync(path, 'a');
  }

  /** Writes an entry and returns its time. */
  write(entry: Untimed, t = nowMs()): number {
    writeSync(this.#descriptor, `${JSON.stringify({ t, ...entry })}\n`);
    return t;
  }

  close(): void {
    closeSync(this.#descriptor);
  }
}

/** Reads a history while it is being written. */
export class HistoryReader {
  readonly #path: string;
  readonly #who: string;
  readonly #chunk = Buffer.alloc(1 << 18);
  #descriptor: number | undefined;
  #at = 0;
  #rest = '';

  constructor(path: string, who: string) {
    this.#path = path;
    this.#who = who;
  }

  /** Returns what has come since the last call. A line in which its writer was killed is left out. */
  read(): Told[] {
    if (this.#descriptor === undefined) {
      if (!existsSync(this.#path)) return [];
      this.#descriptor = openSync(this.#path, 'r');
    }
    const entries: Told[] = [];
    for (;;) {
      const length = readSync(this.#descriptor, this.#chunk, 0, this.#chunk.length, this.#at);
      if (length === 0) return entries;
      this.#at += length;
      const lines = (this.#rest + this.#chunk.toString('latin1', 0, length)).split('\n');
      this.#rest = lines.pop() ?? '';
      for (const line of lines) {
        const entry = parsed(line);
        if (entry !== undefined) entries.push({ ...entry, who: this.#who });
      }
    }
  }

  close(): void {
    if (this.#descriptor !== undefined) closeSync(this.#descriptor);
  }
}

function parsed(line: string): Entry | undefined {
  try {
    return JSON.parse(line) as Entry;
  } catch {
    // Its writer was killed in it, and the next one has begun right behind.
    const again = line.lastIndexOf('{"t":');
    return again > 0 ? parsed(line.slice(again)) : undefined;
  }
}
