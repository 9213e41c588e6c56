import { asError } from '../../errors.ts';
import type { CallLogSteps, OpenCallLog, Sight } from './call-log-steps.ts';

const NEWLINE = 0x0a;

export interface CallLogFileOptions {
  readonly path: string;
  /** Before a file would grow beyond this it is renamed to `PATH.1`, over the `PATH.1` before it. */
  readonly maxBytes: number;
  /** The beginning of every call log. A file that begins differently is left alone. */
  readonly magic: string;
  readonly steps: CallLogSteps;
  /** Returns the first line of each file and of what this process writes. It begins with `magic`. */
  readonly header: () => string;
  /** Called when the file was moved or removed without `reopen`; a new one is begun. */
  readonly onReplaced: () => void;
}

export interface Appended {
  /** How many of the lines, counted from the first, are whole in the file. */
  readonly written: number;
  /** Why the rest is not. */
  readonly failure: Error | undefined;
}

/**
 * Appends lines to a file of limited size. Nothing is ever overwritten or cut off: what a crash or a full disk left of
 * a line stays, and the next line begins on a line of its own. Nothing is synced: a power cut costs the last seconds.
 * The caller keeps to one call at a time.
 */
export class CallLogFile {
  readonly #options: CallLogFileOptions;
  #open: OpenCallLog | undefined;
  /** What must be written before the next line. */
  #before: Preamble = { kind: 'nothing' };
  #isReplacementExpected = false;

  constructor(options: CallLogFileOptions) {
    this.#options = options;
  }

  /** Appends lines, which are given without their ends. Never rejects. */
  async append(lines: readonly string[]): Promise<Appended> {
    let before = '';
    let bytes = Buffer.alloc(0);
    let offset = 0;
    try {
      const text = lines.map(ended).join('');
      const header = ended(this.#options.header());
      const file = await this.#ready(Buffer.byteLength(text) + Buffer.byteLength(header));
      before = preambleText(this.#before, header);
      bytes = Buffer.from(before + text);
      while (offset < bytes.length) {
        const written = await file.append(bytes, offset);
        if (written === 0) throw new Error(`${this.#options.path} takes no more bytes`);
        offset += written;
      }
      this.#before = { kind: 'nothing' };
      return { written: lines.length, failure: undefined };
    } catch (error) {
      // What the failed write left is looked at when the file is opened again.
      await this.close();
      // One byte more counts: a line that lacks only its end gets it before the next line.
      const whole = linesIn(bytes.subarray(0, offset + 1)) - linesIn(Buffer.from(before));
      return {
        written: Math.max(0, whole),
        failure: asError(error),
      };
    }
  }

  /** To be called when the file was moved away on purpose: `onReplaced` is not called then. */
  reopen(): void {
    this.#isReplacementExpected = true;
  }

  /** Never rejects. */
  async close(): Promise<void> {
    const file = this.#open;
    this.#open = undefined;
    try {
      await file?.close();
    } catch {
      // What was written is written.
    }
  }

  /** Returns the file to write to, with room for so many bytes. Rejects if it cannot be opened. */
  async #ready(bytes: number): Promise<OpenCallLog> {
    const { path, maxBytes, steps, onReplaced } = this.#options;
    const found = await steps.look(path);
    if (this.#open !== undefined && found?.identity !== this.#open.identity) {
      await this.close();
      if (!this.#isReplacementExpected) onReplaced();
    }
    this.#isReplacementExpected = false;
    this.#open ??= await this.#begin(found);
    if (found === undefined) return this.#open;
    // Emptied while it was open, as log rotation by copying does.
    if (found.size === 0) this.#before = { kind: 'header', begun: 0 };
    if (found.size === 0 || found.size + bytes <= maxBytes) return this.#open;
    await this.close();
    await steps.rename(path, `${path}.1`);
    this.#open = await this.#begin(undefined);
    return this.#open;
  }

  async #begin(found: Sight | undefined): Promise<OpenCallLog> {
    const { path, magic, steps } = this.#options;
    this.#before = { kind: 'header', begun: 0 };
    if (found === undefined) return steps.create(path);
    if (found.kind !== 'file') throw new Error(`${path} is ${NO_FILE[found.kind]}; move it away or name another file`);
    const file = await steps.open(path);
    try {
      if (file.identity !== found.identity) throw new Error(`${path} was replaced just now`);
      const beginning = (await file.beginning(magic.length)).toString();
      // A crash may have cut it short, but it must not be a state, a configuration or any other file.
      if (!magic.startsWith(beginning)) {
        throw new Error(`${path} is not a call log; move it away or name another file`);
      }
      // A header that was cut within its first bytes is continued, or the file would not begin as a call log does.
      if (beginning.length < magic.length) this.#before = { kind: 'header', begun: beginning.length };
      else if ((await file.lastByte()) !== NEWLINE) this.#before = { kind: 'line-end-and-header' };
      return file;
    } catch (error) {
      await file.close();
      throw error;
    }
  }
}

type Preamble =
  | { readonly kind: 'nothing' }
  /** Without its first `begun` bytes, which are there already. */
  | { readonly kind: 'header'; readonly begun: number }
  | { readonly kind: 'line-end-and-header' };

function preambleText(preamble: Preamble, header: string): string {
  switch (preamble.kind) {
    case 'nothing':
      return '';
    case 'header':
      return header.slice(preamble.begun);
    case 'line-end-and-header':
      return `\n${header}`;
  }
}

const ended = (line: string): string => `${line}\n`;

const NO_FILE = { directory: 'a directory', link: 'a symbolic link', other: 'not a regular file' } as const;

function linesIn(bytes: Uint8Array): number {
  let lines = 0;
  for (const byte of bytes) if (byte === NEWLINE) lines += 1;
  return lines;
}
