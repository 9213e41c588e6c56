import { asError } from '../../errors.ts';
import type { CallLogSteps, OpenCallLog, Sight } from './call-log-steps.ts';

const NEWLINE = 0x0a;

export interface CallLogFileOptions {
  readonly path: string;
  /** It is renamed to `PATH.1` rather than grow beyond; the one that was there is gone then. */
  readonly maxBytes: number;
  /** What every journal begins with; a file that holds something else is left alone. */
  readonly magic: string;
  readonly steps: CallLogSteps;
  /** The first line of a file, and of what this process writes. Begins with `magic`. */
  readonly header: () => string;
  /** Somebody has moved or removed the file and has not said so; a new one is begun. */
  readonly onReplaced: () => void;
}

export interface Appended {
  /** How many of the lines, from the first on, are whole in the file. */
  readonly written: number;
  /** Why the rest is not. */
  readonly failure: Error | undefined;
}

/**
 * Lines appended to a file that cannot grow without end. Nothing is ever overwritten or cut off: what a crash or a full
 * disk left of a line stays, and the next line begins on a line of its own. Nothing is synced: a power cut costs the
 * last seconds. The caller keeps to one call at a time.
 */
export class CallLogFile {
  readonly #options: CallLogFileOptions;
  #open: OpenCallLog | undefined;
  /** What has to be written before the next line. */
  #before: Preamble = { kind: 'nothing' };
  #isReplacementExpected = false;

  constructor(options: CallLogFileOptions) {
    this.#options = options;
  }

  /** Appends lines without their ends. Never rejects. */
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
        if (written === 0) throw new Error(`${this.#options.path} takes no more`);
        offset += written;
      }
      this.#before = { kind: 'nothing' };
      return { written: lines.length, failure: undefined };
    } catch (error) {
      // What has come of it is looked at when it is opened again.
      await this.close();
      // With the byte that comes next: a line that wants for nothing but its end gets that with the next one.
      const whole = linesIn(bytes.subarray(0, offset + 1)) - linesIn(Buffer.from(before));
      return {
        written: Math.max(0, whole),
        failure: asError(error),
      };
    }
  }

  /** Whoever rotates the file has moved it away: no reason to wonder. */
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
      // Whatever was written is written.
    }
  }

  /** The file to write to, with room for so many bytes. Rejects where there is none. */
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
    // Emptied under our hands, by who has copied it elsewhere.
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
      // Cut short by a crash it may be, but it must be no state, no configuration, and nobody's notes.
      if (!magic.startsWith(beginning)) {
        throw new Error(`${path} holds something else than a journal; move it away or name another file`);
      }
      // A header that was cut within its first bytes goes on where it ends, or the file would begin as no journal does.
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
  /** But for so many bytes that are there already. */
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
