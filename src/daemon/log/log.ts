/** Severities, as syslog(3) and journald number them. */
const PRIORITY = { error: 3, warn: 4, info: 6, debug: 7 } as const;

/** So much may lie unread, in characters, before lines are dropped; they are dropped until half of it has been read. */
const MAX_UNREAD = 1_048_576;

export type LogLevel = keyof typeof PRIORITY;
export type LogFormat = 'text' | 'json';

/** What a program may want to read of a line, apart from its message. Undefined values are left out. */
export type LogFields = Readonly<Record<string, string | number | undefined>>;

export interface Log {
  error(message: string): void;
  warn(message: string): void;
  info(message: string, fields?: LogFields): void;
  debug(message: string, fields?: LogFields): void;
  /** Whether anybody reads `debug`: making up a line for every call costs more than the call. */
  readonly isDebug: boolean;
}

/** Where lines go. One that nobody reads must neither block nor throw. */
export interface LogStream {
  /** What was written and not taken yet. */
  readonly writableLength: number;
  write(line: string): unknown;
  on(event: 'drain', listener: () => void): unknown;
}

export interface LogOptions {
  /** Nothing below it is written. */
  readonly level: LogLevel;
  readonly format: LogFormat;
  /** The journal takes the severity from a prefix; a person is shown it as a word where it matters. */
  readonly journal: boolean;
  readonly stream: LogStream;
  readonly wallMs: () => number;
}

/**
 * One line an event. While nobody reads them, lines are dropped rather than kept, so that a log that stands still
 * neither stops the daemon nor fills its memory; how many were is told as soon as somebody reads again.
 */
export function createLog({ level, format, journal, stream, wallMs }: LogOptions): Log {
  let dropped = 0;
  const lineOf = (severity: LogLevel, message: string, fields: LogFields = {}) => {
    const prefix = journal ? `<${PRIORITY[severity]}>` : '';
    if (format === 'json') {
      const time = new Date(wallMs()).toISOString();
      return `${prefix}${JSON.stringify({ time, level: severity, message, ...fields })}\n`;
    }
    const word = journal || severity === 'info' ? '' : `${severity}: `;
    return `${prefix}${word}${onOneLine(message)}${logfmt(fields)}\n`;
  };
  const tellDropped = () => {
    if (dropped === 0) return;
    const line = lineOf('warn', `${dropped} lines dropped: nobody read the log`);
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

/** A line break within a message would let its author forge the next line. */
function onOneLine(message: string): string {
  return message.replaceAll(/[\r\n]+/g, ' ');
}

function logfmt(fields: LogFields): string {
  return Object.entries(fields)
    .map(([key, value]) => (value === undefined ? '' : ` ${key}=${quoted(String(value))}`))
    .join('');
}

/** As it is where it is one plain word; otherwise in quotes, with what would end them escaped. */
function quoted(text: string): string {
  return /^[^\s"=\\]+$/.test(text) ? text : JSON.stringify(text);
}
