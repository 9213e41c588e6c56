import { styleText } from 'node:util';
import { describe, exitCodeOf } from './output.ts';

/** What the command line needs of the process that runs it. Node's `process` is one. */
export interface Host {
  readonly stdout: TextStream;
  readonly stderr: TextStream;
  readonly env: Readonly<Record<string, string | undefined>>;
  exitCode?: number | string | null | undefined;
}

interface TextStream {
  readonly isTTY?: boolean;
  readonly columns?: number;
  write(text: string): unknown;
}

type Style = Parameters<typeof styleText>[0];

/** Returns the text in a style, or as it is if colours are not wanted. */
export type Paint = (style: Style, text: string) => string;

/**
 * Where a command reads its environment, prints, and leaves its exit code.
 *
 * What only a process has is not here, and the commands that need it use `process`: signals, the streams that `exec`
 * hands to its program, the screen of `top`, the daemon's log and its umask, and the search for the daemon's socket,
 * which the clients share.
 */
export class Terminal {
  readonly #host: Host;
  /** For standard output. */
  readonly paint: Paint;

  constructor(host: Host) {
    this.#host = host;
    this.paint = (style, text) => this.#painted(style, text, host.stdout);
  }

  get env(): Host['env'] {
    return this.#host.env;
  }

  /** Whether standard output is a terminal. */
  get isInteractive(): boolean {
    return this.#host.stdout.isTTY === true;
  }

  /** How wide a line may be; without end if standard output is not a terminal. */
  get columns(): number {
    return this.isInteractive ? (this.#host.stdout.columns ?? 80) : Number.POSITIVE_INFINITY;
  }

  set exitCode(code: number) {
    this.#host.exitCode = code;
  }

  print(text: string): void {
    this.#host.stdout.write(text);
  }

  printLine(text = ''): void {
    this.print(`${text}\n`);
  }

  /** Prints nonces as decimal strings: 19 digits are more than a JSON number keeps. */
  printJson(value: unknown): void {
    this.printLine(JSON.stringify(value, (_key, part) => (typeof part === 'bigint' ? String(part) : part), 2));
  }

  /** Writes to standard error. */
  say(text: string): void {
    this.#host.stderr.write(text);
  }

  // Every message on standard error begins with the program's name: it may stand among those of other programs.

  note(text: string): void {
    this.say(`nonced: ${text}\n`);
  }

  warn(text: string): void {
    this.say(`nonced: ${this.#painted('yellow', 'warning:', this.#host.stderr)} ${text}\n`);
  }

  printError(text: string): void {
    this.say(`${this.#painted('red', 'nonced:', this.#host.stderr)} ${text}\n`);
  }

  /** Prints what went wrong and sets the exit code for it. */
  fail(error: unknown): void {
    this.exitCode = exitCodeOf(error);
    this.printError(describe(error));
  }

  /** Returns the text in colour if `stream` is a terminal and NO_COLOR is not set. */
  #painted(style: Style, text: string, stream: TextStream): string {
    if (stream.isTTY !== true || this.env['NO_COLOR']) return text;
    // Node would look at this process's standard output, whatever the text is for.
    return styleText(style, text, { validateStream: false });
  }
}
