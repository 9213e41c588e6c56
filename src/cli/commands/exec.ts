import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { accessSync, constants, statSync } from 'node:fs';
import { constants as system } from 'node:os';
import { join } from 'node:path';
import { askOnce } from '../../client/ask.ts';
import { connect, type Grant, type Nonced } from '../../client/index.ts';
import { type Clock, systemClock } from '../../clock.ts';
import { formatDuration } from '../../durations.ts';
import { EXIT, ExitError, systemErrorCode } from '../../errors.ts';
import type { WhyResult } from '../../protocol/messages.ts';
import { NONCES_PER_SECOND, type Priority, type Unit } from '../../terms.ts';
import type { Terminal } from '../terminal/terminal.ts';

export interface ExecOptions {
  readonly account: string;
  readonly priority: Priority;
  readonly unit?: Unit;
  readonly wait?: number;
  readonly maxHold: number;
  readonly ownClock: boolean;
  readonly label?: string;
  readonly socket?: string;
}

interface Around {
  readonly clock: Clock;
  readonly terminal: Terminal;
}

const KILL_AFTER_MS = 5_000;
/** If the sequence is at most this far ahead of the clock, the program waits with the lease in hand. */
const SHORT_LEAD_MS = 20;
const DEFAULT_WAIT_MS = 30_000;
const RENEWED_TTL_MS = 10_000;
/** What a shell exits with if it cannot find, or cannot run, a program. */
const NOT_FOUND = 127;
const NOT_EXECUTABLE = 126;

const PASSED_ON: readonly NodeJS.Signals[] = ['SIGTERM', 'SIGHUP', 'SIGUSR1', 'SIGUSR2', 'SIGINT', 'SIGQUIT'];
const FROM_THE_TERMINAL: readonly NodeJS.Signals[] = ['SIGINT', 'SIGQUIT'];

/** Runs `command` while it holds the account's exclusive call, and exits as the command does. */
export async function exec(command: readonly string[], options: ExecOptions, terminal: Terminal): Promise<void> {
  const clock = systemClock();
  const client = await connect({ name: `nonced exec`, socket: options.socket });
  try {
    const grant = await acquire(client, options, clock);
    let exitCode: number;
    try {
      exitCode = await run(command, grant, options, { clock, terminal });
    } finally {
      await grant.release('unknown', { usedOwnClock: options.ownClock });
    }
    terminal.exitCode = exitCode;
  } finally {
    await client.close();
  }
}

/**
 * Acquires a lease. For a program that makes its own nonces it waits until the sequence is not ahead of the clock:
 * otherwise others may have been granted nonces above those that the program will make. The lane is free during that
 * wait.
 */
async function acquire(client: Nonced, options: ExecOptions, clock: Clock): Promise<Grant> {
  const { account, priority, unit, label, wait = DEFAULT_WAIT_MS, maxHold } = options;
  const deadlineMs = clock.monotonicMs() + wait;
  for (;;) {
    const waitMs = Math.max(0, Math.floor(deadlineMs - clock.monotonicMs()));
    const ttlMs = Math.min(RENEWED_TTL_MS, Math.max(maxHold, 1));
    const grant = await client.acquire({ account, priority, unit, label, waitMs, ttlMs });
    const leadMs = options.ownClock ? await leadOf(client, grant, clock) : 0;
    if (leadMs <= SHORT_LEAD_MS) {
      if (leadMs > 0) await sleep(clock, leadMs);
      return grant;
    }
    await grant.release('unused');
    if (clock.monotonicMs() + leadMs > deadlineMs) {
      throw new ExitError(
        EXIT.tempFail,
        `the sequence is ${formatDuration(leadMs)} ahead of the clock, longer than the wait of ${formatDuration(wait)}; ` +
          'wait longer (--wait), or let the program use NONCED_NONCE instead of --own-clock',
      );
    }
    await sleep(clock, leadMs);
  }
}

/**
 * Returns how far the account's own sequence is ahead of the clock. Throws ExitError if the daemon does not follow the
 * clock: the program would send nonces that are far above those that others are granted next.
 */
async function leadOf(client: Nonced, { account, nonce }: Grant, clock: Clock): Promise<number> {
  const { unit } = await askOnce<WhyResult>(client.socket, 'why', { account });
  const { state, offMs } = (await client.status()).clock;
  if (state === 'not-followed') {
    throw new ExitError(
      EXIT.tempFail,
      `the clock has jumped ${formatDuration(offMs)} ahead and nonced does not follow it, so a program with a clock of its ` +
        'own would send nonces from the future; set the clock or, if it is right: nonced advance --to now',
    );
  }
  return nonceTimeMs(nonce, unit) - clock.wallMs();
}

/**
 * Returns when the clock reaches `nonce`, in milliseconds since the Unix epoch, rounded up. Throws ExitError for a
 * counter.
 */
function nonceTimeMs(nonce: bigint, unit: Unit): number {
  if (unit === 'counter')
    throw new ExitError(EXIT.usage, 'the sequence is a counter and does not follow the clock; leave out --own-clock');
  return Math.ceil(Number((nonce * 1_000_000n) / NONCES_PER_SECOND[unit]) / 1000);
}

/** Runs the program under the lease and returns its exit code. */
async function run(
  command: readonly string[],
  grant: Grant,
  options: ExecOptions,
  { clock, terminal }: Around,
): Promise<number> {
  const [file = '', ...args] = command;
  // Before the program runs: a signal in between would end only us, and the program would go on without its lease.
  const stopPassing = passSignalsOn((signal) => child.kill(signal));
  const env = { ...terminal.env, NONCED_NONCE: String(grant.nonce), NONCED_ACCOUNT: grant.account };
  const child = mayBeTied(file, env)
    ? spawn('setpriv', ['--pdeathsig', 'KILL', '--', ...guarded(command, env)], { stdio: 'inherit', env })
    : spawn(file, args, { stdio: 'inherit', env });
  const ended = childEnd(child, terminal);
  const stopRenewing = keepRenewed(grant, options.maxHold, { clock, terminal });
  let overdue = false;
  let kill = clock.after(options.maxHold, () => {
    overdue = true;
    terminal.warn(`${file} has held the call for ${formatDuration(options.maxHold)} (--max-hold); ending it`);
    child.kill('SIGTERM');
    kill = clock.after(KILL_AFTER_MS, () => child.kill('SIGKILL'));
  });
  try {
    const exitCode = await ended;
    return overdue ? EXIT.tempFail : exitCode;
  } finally {
    kill.cancel();
    stopRenewing();
    stopPassing();
  }
}

/**
 * Whether the program can be killed by the kernel when this process is: its lease ends then. That takes the setpriv of
 * util-linux. A program that cannot be run is left to spawn(), which says why.
 */
function mayBeTied(file: string, env: NodeJS.ProcessEnv): boolean {
  const paths = file.includes('/') ? [file] : (env['PATH'] ?? '').split(':').map((dir) => join(dir || '.', file));
  if (process.platform !== 'linux' || !paths.some(isProgram)) return false;
  return spawnSync('setpriv', ['--pdeathsig', 'KILL', '--', 'true'], { stdio: 'ignore', env }).status === 0;
}

function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false;
  }
}

/**
 * Lets a shell look, before the program runs, whether this process died before the kernel was told to kill its child. Some
 * shells drop variables with names that are not theirs, so with such a variable that moment is left unguarded.
 */
function guarded(command: readonly string[], env: NodeJS.ProcessEnv): readonly string[] {
  if (!Object.keys(env).every((name) => /^[A-Za-z_][A-Za-z0-9_]*$/.test(name))) return command;
  return ['/bin/sh', '-c', '[ "$PPID" = "$0" ] && exec "$@"', String(process.pid), ...command];
}

function childEnd(child: ChildProcess, terminal: Terminal): Promise<number> {
  return new Promise((resolve) => {
    child.once('error', (error) => {
      // A failed kill is reported here too. Only a program that never ran has no pid.
      if (child.pid !== undefined) return;
      const notFound = systemErrorCode(error) === 'ENOENT';
      terminal.warn(
        notFound ? `${child.spawnfile}: no such program` : `${child.spawnfile} cannot be run: ${error.message}`,
      );
      resolve(notFound ? NOT_FOUND : NOT_EXECUTABLE);
    });
    child.once('exit', (code, signal) => resolve(code ?? 128 + (signal === null ? 0 : system.signals[signal])));
  });
}

/**
 * Renews the lease until `maxHoldMs` and the grace before the kill are over. A lost lease is only a warning: the
 * program goes on.
 */
function keepRenewed(grant: Grant, maxHoldMs: number, { clock, terminal }: Around): () => void {
  const untilMs = clock.monotonicMs() + maxHoldMs + KILL_AFTER_MS;
  let stopped = false;
  const lost = () => {
    if (!stopped) terminal.warn('the lease was lost: another program may be calling with this key now');
  };
  grant.signal.addEventListener('abort', lost);
  const renewSoon = () =>
    clock.after(grant.ttlMs / 3, async () => {
      const leftMs = untilMs - clock.monotonicMs();
      if (stopped || grant.signal.aborted || leftMs <= 0) return;
      // A renewal that fails shows as a lost lease.
      await grant.renew(Math.max(1, Math.ceil(Math.min(RENEWED_TTL_MS, leftMs)))).catch(() => {});
      if (!stopped) timer = renewSoon();
    });
  let timer = renewSoon();
  return () => {
    stopped = true;
    timer.cancel();
    grant.signal.removeEventListener('abort', lost);
  };
}

function passSignalsOn(passOn: (signal: NodeJS.Signals) => void): () => void {
  const handlers = PASSED_ON.map((signal) => {
    // The terminal also sends these to the program, which is in our process group.
    const alreadySent = FROM_THE_TERMINAL.includes(signal) && process.stdin.isTTY;
    const pass = () => {
      if (!alreadySent) passOn(signal);
    };
    process.on(signal, pass);
    return () => process.off(signal, pass);
  });
  return () => {
    for (const remove of handlers) remove();
  };
}

function sleep(clock: Clock, ms: number): Promise<void> {
  return new Promise((resolve) => {
    clock.after(ms, resolve);
  });
}
