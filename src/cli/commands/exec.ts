import { type ChildProcess, spawn } from 'node:child_process';
import { constants } from 'node:os';
import { connect, type Grant, type Nonced } from '../../client/index.ts';
import { type Clock, systemClock } from '../../clock.ts';
import { formatDuration } from '../../durations.ts';
import { EXIT, ExitError, systemErrorCode } from '../../errors.ts';
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
    const unit = options.ownClock ? await defaultUnit(client) : undefined;
    const grant = await acquire(client, options, unit, clock);
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

async function defaultUnit(client: Nonced): Promise<Unit> {
  const { sequences } = await client.status();
  return sequences.find(({ name }) => name === 'default')?.unit ?? 'ns';
}

/**
 * Acquires a lease. For a program that makes its own nonces it waits until the sequence is not ahead of the clock:
 * otherwise others may have been granted nonces above those that the program will make. The lane is free during that
 * wait.
 */
async function acquire(client: Nonced, options: ExecOptions, ownUnit: Unit | undefined, clock: Clock): Promise<Grant> {
  const { account, priority, unit, label, wait = DEFAULT_WAIT_MS, maxHold } = options;
  const deadlineMs = clock.monotonicMs() + wait;
  for (;;) {
    const waitMs = Math.max(0, Math.floor(deadlineMs - clock.monotonicMs()));
    const ttlMs = Math.min(RENEWED_TTL_MS, Math.max(maxHold, 1));
    const grant = await client.acquire({ account, priority, unit, label, waitMs, ttlMs });
    const leadMs = ownUnit === undefined ? 0 : nonceTimeMs(grant.nonce, ownUnit) - clock.wallMs();
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
  const child = spawn(file, args, {
    stdio: 'inherit',
    env: { ...terminal.env, NONCED_NONCE: String(grant.nonce), NONCED_ACCOUNT: grant.account },
  });
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
    child.once('exit', (code, signal) => resolve(code ?? 128 + (signal === null ? 0 : constants.signals[signal])));
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
