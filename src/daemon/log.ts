/** Severities, as syslog(3) and journald number them. */
const PRIORITY = { error: 3, warn: 4, info: 6, debug: 7 } as const;

export type LogLevel = keyof typeof PRIORITY;

export interface Log {
  error(message: string): void;
  warn(message: string): void;
  info(message: string): void;
  debug(message: string): void;
  /** Whether anybody reads `debug`: making up a line for every call costs more than the call. */
  readonly isDebug: boolean;
}

export interface LogOptions {
  /** Nothing below it is written. */
  readonly level: LogLevel;
  /** The journal takes the severity from a prefix; a person is shown it as a word where it matters. */
  readonly journal: boolean;
  readonly write: (line: string) => void;
}

/** One line an event. A line break within a message would let its author forge the next line, so it is made a space. */
export function createLog({ level, journal, write }: LogOptions): Log {
  const at = (severity: LogLevel) => (message: string) => {
    if (PRIORITY[severity] > PRIORITY[level]) return;
    const prefix = journal ? `<${PRIORITY[severity]}>` : severity === 'info' ? '' : `${severity}: `;
    write(`${prefix}${message.replaceAll(/[\r\n]+/g, ' ')}\n`);
  };
  return { error: at('error'), warn: at('warn'), info: at('info'), debug: at('debug'), isDebug: level === 'debug' };
}
