import { type Clock, systemClock } from '../../clock.ts';
import { formatDuration } from '../../durations.ts';
import { NoncedError } from '../../errors.ts';
import { CHECK, type CheckResult, checkOf, headOf } from '../status/check-line.ts';
import { isNotPermitted, type Reading, read, readStatus, readWhole, trustedSocket } from '../status/reading.ts';
import { screenOf } from '../status/screen.ts';
import { paintOver, type Seen, watch } from '../status/watch.ts';
import { describe, paint, printJson, printJsonLine, printLine } from '../terminal/output.ts';
import { wrapped } from '../terminal/table.ts';

export interface StatusOptions {
  readonly json: boolean;
  readonly check: boolean;
  /** Show what is left out otherwise. */
  readonly all: boolean;
  /** Look again and again, so often. */
  readonly watch?: number;
  readonly socket?: string;
}

/** Shows what the daemon is doing: once, again and again, or with `check` as a line and an exit code for monitoring. */
export async function status(options: StatusOptions): Promise<void> {
  const clock = systemClock();
  if (options.check) await check(options.socket, clock);
  else if (options.json) await printStatus(options, clock);
  else await showStatus(options, clock);
}

async function printStatus({ socket, watch: everyMs }: StatusOptions, clock: Clock): Promise<void> {
  const path = trustedSocket(socket);
  const look = () => readStatus(path, clock);
  if (everyMs === undefined) {
    printJson(await look());
    return;
  }
  await watch({
    everyMs,
    clock,
    read: look,
    show: (seen) => printJsonLine(seen.state === 'there' ? seen.reading : { error: errorOf(seen.error) }),
  });
}

function errorOf(error: Error): object {
  return { code: error instanceof NoncedError ? error.code : 'UNAVAILABLE', message: error.message };
}

async function showStatus({ socket, all, watch: everyMs }: StatusOptions, clock: Clock): Promise<void> {
  const path = trustedSocket(socket);
  const look = () => read(path, clock);
  if (everyMs === undefined) {
    printLines(screenOf(await look(), { width: widthOfOutput(), all }));
    return;
  }
  const linesOf = (seen: Seen<Reading>) =>
    seen.state === 'there' ? screenOf(seen.reading, { width: widthOfOutput(), all }) : awayLines(seen, widthOfOutput());
  const show = process.stdout.isTTY ? repainting(everyMs, linesOf) : printing(linesOf);
  await watch({ everyMs, clock, read: look, show });
}

const widthOfOutput = () => (process.stdout.isTTY ? process.stdout.columns : Number.POSITIVE_INFINITY);

/** Blocks one after the other, for a file or a pipe. */
function printing(linesOf: (seen: Seen<Reading>) => string[]): (seen: Seen<Reading>) => void {
  return (seen) => printLines([`--- ${new Date(seen.atMs).toISOString()}`, ...linesOf(seen)]);
}

/** One screen, painted over the last one, and also when the terminal is given another size. */
function repainting(everyMs: number, linesOf: (seen: Seen<Reading>) => string[]): (seen: Seen<Reading>) => void {
  let last: Seen<Reading> | undefined;
  const repaint = () => {
    if (last === undefined) return;
    const title = `${timeOf(last.atMs)}, every ${formatDuration(everyMs)}; Ctrl-C ends it`;
    paintOver(process.stdout, [paint('dim', title), ...linesOf(last)]);
  };
  process.stdout.on('resize', repaint);
  return (seen) => {
    last = seen;
    repaint();
  };
}

function printLines(lines: readonly string[]): void {
  for (const line of lines) printLine(line);
}

function awayLines({ sinceMs, error }: Seen<unknown> & { state: 'away' }, width: number): string[] {
  return wrapped(`no daemon since ${timeOf(sinceMs)}: ${error.message}`, width, '! ', '  ').map((line) =>
    paint('red', line),
  );
}

/** As the clock on the wall shows it. */
const timeOf = (ms: number): string => new Date(ms).toTimeString().slice(0, 8);

async function check(socket: string | undefined, clock: Clock): Promise<void> {
  let found: { readonly result: CheckResult; readonly line: string };
  try {
    found = checkOf(await readWhole(trustedSocket(socket), clock));
  } catch (error) {
    // To look is not permitted to whoever asks; that says nothing of the daemon. All else would stop the bots as well.
    const result = isNotPermitted(error) ? 'unknown' : 'critical';
    found = { result, line: headOf(result, describe(error)) };
  }
  // A plugin says all on standard output.
  printLine(found.line);
  process.exitCode = CHECK[found.result];
}
