import { type Clock, systemClock } from '../../clock.ts';
import { EXIT, ExitError, NoncedError, refusal } from '../../errors.ts';
import { CHECK, type CheckResult, checkOf, headOf } from '../status/check-line.ts';
import { howToTypeHere } from '../status/how-to-type.ts';
import { isNotPermitted, read, readStatus, readWhole, trustedSocket } from '../status/reading.ts';
import { screenOf } from '../status/screen.ts';
import { describe } from '../terminal/output.ts';
import type { Terminal } from '../terminal/terminal.ts';

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
export async function status(options: StatusOptions, terminal: Terminal): Promise<void> {
  const { socket, all, watch } = options;
  if (watch !== undefined) throw new ExitError(EXIT.usage, '--watch is gone; run nonced top instead');
  const clock = systemClock();
  if (options.check) await check(socket, clock, terminal);
  else if (options.json) terminal.printJson(await readStatus(trustedSocket(socket), clock));
  else await showStatus(socket, all, clock, terminal);
}

async function showStatus(socket: string | undefined, all: boolean, clock: Clock, terminal: Terminal): Promise<void> {
  const { columns, paint, env } = terminal;
  const type = howToTypeHere(socket, env);
  const reading = await read(trustedSocket(socket), clock).catch((error: unknown) => {
    throw withNext(error, type.look('doctor'));
  });
  for (const line of screenOf(reading, { width: columns, all, paint }, type)) terminal.printLine(line);
}

/** Returns the error; if it says that no daemon answers, with the command that finds out why. */
function withNext(error: unknown, next: string): unknown {
  // Some say so themselves.
  if (!(error instanceof NoncedError && error.code === 'UNAVAILABLE') || error.message.includes('nonced doctor')) {
    return error;
  }
  const message = `${error.message}; to see what is wrong: ${next}`;
  return new NoncedError(refusal('UNAVAILABLE', message), { cause: error.cause });
}

async function check(socket: string | undefined, clock: Clock, terminal: Terminal): Promise<void> {
  let found: { readonly result: CheckResult; readonly line: string };
  try {
    found = checkOf(await readWhole(trustedSocket(socket), clock));
  } catch (error) {
    // That this user may not look says nothing about the daemon. Everything else would stop the bots as well.
    const result = isNotPermitted(error) ? 'unknown' : 'critical';
    found = { result, line: headOf(result, describe(error)) };
  }
  // Monitoring reads standard output.
  terminal.printLine(found.line);
  terminal.exitCode = CHECK[found.result];
}
