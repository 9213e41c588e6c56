import { type Clock, systemClock } from '../../clock.ts';
import { EXIT, ExitError, NoncedError, refusal } from '../../errors.ts';
import { CHECK, type CheckResult, checkOf, headOf } from '../status/check-line.ts';
import { howToTypeHere } from '../status/how-to-type.ts';
import { isNotPermitted, read, readStatus, readWhole, trustedSocket } from '../status/reading.ts';
import { screenOf } from '../status/screen.ts';
import { describe, printJson, printLine } from '../terminal/output.ts';

export interface StatusOptions {
  readonly json: boolean;
  readonly check: boolean;
  /** Show what is left out otherwise. */
  readonly all: boolean;
  /** It looked again and again, in 0.1. */
  readonly watch?: string | true;
  readonly socket?: string;
}

/** Shows what the daemon is doing, or with `check` prints a line and sets an exit code for monitoring. */
export async function status(options: StatusOptions): Promise<void> {
  const { socket, all, watch } = options;
  if (watch !== undefined) throw new ExitError(EXIT.usage, '--watch is gone; run nonced top instead');
  const clock = systemClock();
  if (options.check) await check(socket, clock);
  else if (options.json) printJson(await readStatus(trustedSocket(socket), clock));
  else await showStatus(socket, all, clock);
}

async function showStatus(socket: string | undefined, all: boolean, clock: Clock): Promise<void> {
  const type = howToTypeHere(socket);
  const reading = await read(trustedSocket(socket), clock).catch((error: unknown) => {
    throw withNext(error, type.look('doctor'));
  });
  const width = process.stdout.isTTY ? process.stdout.columns : Number.POSITIVE_INFINITY;
  for (const line of screenOf(reading, { width, all }, type)) printLine(line);
}

/** Returns the error; if it says that no daemon answers, with the command that finds out why. */
function withNext(error: unknown, next: string): unknown {
  if (!(error instanceof NoncedError && error.code === 'UNAVAILABLE')) return error;
  const message = `${error.message}; to see what is wrong: ${next}`;
  return new NoncedError(refusal('UNAVAILABLE', message), { cause: error.cause });
}

async function check(socket: string | undefined, clock: Clock): Promise<void> {
  let found: { readonly result: CheckResult; readonly line: string };
  try {
    found = checkOf(await readWhole(trustedSocket(socket), clock));
  } catch (error) {
    // That this user may not look says nothing about the daemon. Everything else would stop the bots as well.
    const result = isNotPermitted(error) ? 'unknown' : 'critical';
    found = { result, line: headOf(result, describe(error)) };
  }
  // Monitoring reads standard output.
  printLine(found.line);
  process.exitCode = CHECK[found.result];
}
