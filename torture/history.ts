import { closeSync, existsSync, openSync, readSync, writeSync } from 'node:fs';

/** What one process has seen. `t` is CLOCK_MONOTONIC in milliseconds, which all processes of a machine share. */
export type Entry = { readonly t: number } & (
  | { readonly k: 'begun'; readonly pid: number }
  /** A request is about to be sent; it may never be answered. */
  | { readonly k: 'asked'; readonly what: string }
  | DrawnEntry
  /** The holder has stopped using its lease, and is about to say so. */
  | { readonly k: 'releasing'; readonly token: string }
  /** What the daemon answered to a release that was asked at `asked`. */
  | {
      readonly k: 'released';
      readonly token: string;
      readonly asked: number;
      readonly epoch: number;
      readonly wasLive: boolean;
    }
  /** The lease was taken away. */
  | { readonly k: 'lost'; readonly token: string; readonly epoch: number; readonly why: string }
  /** The daemon has said, in this epoch, that the lease goes on, at least to `endsAt`. */
  | { readonly k: 'confirmed'; readonly token: string; readonly epoch: number; readonly endsAt: number }
  | { readonly k: 'refused'; readonly what: string; readonly code: string }
  /** Somebody who does not hold this lease tried to use it; `code` is what the daemon said. */
  | { readonly k: 'intruded'; readonly token: string; readonly what: string; readonly code: string }
  // Of the one who makes the trouble.
  | { readonly k: 'spawned' | 'ready'; readonly pid: number }
  | { readonly k: 'signal'; readonly pid: number; readonly signal: string }
  | { readonly k: 'ended'; readonly pid: number; readonly code: number | string }
  | { readonly k: 'client-ends'; readonly client: string }
  | { readonly k: 'fault'; readonly kind: string; readonly detail?: string }
  | { readonly k: 'switching' | 'switched'; readonly policy: string }
  | { readonly k: 'paused' | 'resuming'; readonly account: string }
  /** What the daemon's clock shows from then on, as far as it is to be followed. */
  | { readonly k: 'clock'; readonly wallMs: number }
  | StateEntry
  | { readonly k: 'found'; readonly invariant: string; readonly what: string }
);

/** Nonces that have come. It is on disk before anything is done with them. */
export interface DrawnEntry {
  readonly t: number;
  readonly k: 'drawn';
  readonly kind: 'grant' | 'next' | 'nonce';
  /** When it was asked for. */
  readonly asked: number;
  /** The daemon that was known when it was asked for, and the one that has answered. */
  readonly askedOf: number;
  readonly epoch: number;
  readonly account: string;
  readonly nonce: string;
  readonly count: number;
  readonly token?: string;
  readonly priority?: string;
  /** Before this the lease does not end by itself. */
  readonly endsAt?: number;
}

/** The state file as it was found by a reading that began at `t`. */
export interface StateEntry {
  readonly t: number;
  readonly k: 'state';
  /** Of the daemon that wrote it. */
  readonly pid: number;
  readonly epoch: number;
  readonly instance: string;
  readonly ceilings: Readonly<Record<string, string>>;
}

/** An entry with the name of the process that saw it. */
export type Told<Kind extends Entry['k'] = Entry['k']> = Extract<Entry, { readonly k: Kind }> & {
  readonly who: string;
};

/** CLOCK_MONOTONIC in milliseconds. */
export function nowMs(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}

type Without<T, Key extends string> = T extends unknown ? Omit<T, Key> : never;
/** An entry that gets its time when it is written. */
export type Untimed = Without<Entry, 't'>;

/** Writes a history. What has been written outlives the process, whatever kills it. */
export class HistoryWriter {
  readonly #descriptor: number;

  constructor(path: string) {
    this.#descriptor = openSync(path, 'a');
  }

  /** Answers when it was. */
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

  /** What has come since the last time. A line that its writer was killed in is left out. */
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
    // Its writer was killed in it, and its successor has begun right behind.
    const again = line.lastIndexOf('{"t":');
    return again > 0 ? parsed(line.slice(again)) : undefined;
  }
}
