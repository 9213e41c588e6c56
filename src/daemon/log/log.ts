/** The severities by their numbers in syslog(3) and journald. */
const PRIORITY = { error: 3, warn: 4, info: 6, debug: 7 } as const;

/** Lines are dropped once this many characters are unread, and until half of them have been read. */
const MAX_UNREAD = 1_048_576;

export type LogLevel = keyof typeof PRIORITY;
export type LogFormat = 'text' | 'json';

/**
 * What reads the lines. journald takes the severity from a numeric prefix. On a terminal a line begins as those of the
 * commands do. Anything else gets the severity as a word, except for `info`.
 */
export type LogReader = 'journald' | 'terminal' | 'other';

const ON_TERMINAL = { error: 'nonced: ', warn: 'nonced: warning: ', info: '', debug: 'debug: ' } as const;

/** What a program may want to read besides the message. Undefined values are left out. */
export type LogFields = Readonly<Record<string, string | number | undefined>>;

export interface Log {
  error(message: string): void;
  warn(message: string): void;
  info(message: string, fields?: LogFields): void;
  debug(message: string, fields?: LogFields): void;
  /** Whether `debug` is written. Composing a line for every call costs more than the call. */
  readonly isDebug: boolean;
}

/** Where lines go. It must neither block nor throw while nothing reads it. */
export interface LogStream {
  /** How much was written and not read yet. */
  readonly writableLength: number;
  write(line: string): unknown;
  on(event: 'drain', listener: () => void): unknown;
}

export interface LogOptions {
  /** Nothing less severe is written. */
  readonly level: LogLevel;
  readonly format: LogFormat;
  readonly reader: LogReader;
  readonly stream: LogStream;
  readonly wallMs: () => number;
}

/**
 * Returns a log that writes one line for each event. While nothing reads them, lines are dropped rather than kept, so
 * that a log that stands still neither stops the daemon nor fills its memory. Once they are read again, a line says how
 * many were dropped.
 */
export function createLog({ level, format, reader, stream, wallMs }: LogOptions): Log {
  let dropped = 0;
  const lineOf = (severity: LogLevel, message: string, fields: LogFields = {}) => {
    const prefix = reader === 'journald' ? `<${PRIORITY[severity]}>` : '';
    if (format === 'json') {
      const time = new Date(wallMs()).toISOString();
      return `${prefix}${JSON.stringify({ time, level: severity, message, ...fields })}\n`;
    }
    return `${prefix}${wordFor(reader, severity)}${onOneLine(message)}${logfmt(fields)}\n`;
  };
  const tellDropped = () => {
    if (dropped === 0) return;
    const line = lineOf('warn', `${dropped} lines dropped: nothing read the log`);
    dropped = 0;
    stream.write(line);
  };
  stream.on('drain', tellDropped);
  const at = (severity: LogLevel) => (message: string, fields?: LogFields) => {
    if (PRIORITY[severity] > PRIORITY[level]) return;
    if (stream.writableLength > (dropped > 0 ? MAX_UNREAD / 2 : MAX_UNREAD)) {
      dropped += 1;
      return;
    }
    tellDropped();
    stream.write(lineOf(severity, message, fields));
  };
  return { error: at('error'), warn: at('warn'), info: at('info'), debug: at('debug'), isDebug: level === 'debug' };
}

function wordFor(reader: LogReader, severity: LogLevel): string {
  switch (reader) {
    case 'journald':
      return '';
    case 'terminal':
      return ON_TERMINAL[severity];
    case 'other':
      return severity === 'info' ? '' : `${severity}: `;
  }
}

/** Keeps a message on one line: with a line break in it, its author could forge the next line. */
function onOneLine(message: string): string {
  return message.replaceAll(/[\r\n]+/g, ' ');
}

function logfmt(fields: LogFields): string {
  return Object.entries(fields)
    .map(([key, value]) => (value === undefined ? '' : ` ${key}=${quoted(String(value))}`))
    .join('');
}

/** Returns one plain word as it is, and other text in quotes, with everything escaped that would end them. */
function quoted(text: string): string {
  return /^[^\s"=\\]+$/.test(text) ? text : JSON.stringify(text);
}
