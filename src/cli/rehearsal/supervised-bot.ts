import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import type { Clock, Timer } from '../../clock.ts';
import { EXIT, ExitError } from '../../errors.ts';
import type { BotEnd } from '../../rehearsal/judge.ts';
import { endGroup, signalGroup } from './process-group.ts';

export interface BotOptions {
  readonly command: readonly string[];
  readonly variables: NodeJS.ProcessEnv;
  /** The file descriptor that takes everything it prints. */
  readonly output: number;
  readonly clock: Clock;
  /** The clock for the times of its ends. */
  readonly nowMs: () => number;
  /** The pause before it is started again, doubled with each end up to eight times; undefined if it is not. */
  readonly restartAfterMs: number | undefined;
  /** Called when it has ended and is not started again. */
  readonly onGone: () => void;
}

const GRACE_MS = 5_000;

/** A bot in a process group of its own, started again as a supervisor would. */
export class SupervisedBot {
  /** The times when it ended by itself. */
  readonly ends: BotEnd[] = [];
  restarts = 0;
  readonly #options: BotOptions;
  #child: ChildProcess | undefined;
  /** The process group that still has to be ended. */
  #group: number | undefined;
  #hasRun = false;
  #restart: Timer | undefined;
  #isStopping = false;

  constructor(options: BotOptions) {
    this.#options = options;
  }

  /** Starts it. Rejects with ExitError if the program cannot be run at all. */
  async start(): Promise<void> {
    const child = this.#spawn();
    try {
      await once(child, 'spawn');
    } catch (error) {
      const [file] = this.#options.command;
      throw new ExitError(EXIT.usage, `${file} cannot be run (${reasonOf(error)}); give a program after --`);
    }
  }

  /** Ends it and everything that it has started. */
  async stop(): Promise<void> {
    this.#isStopping = true;
    this.#restart?.cancel();
    if (this.#child !== undefined) await endGroup(this.#child, GRACE_MS, this.#options.clock);
  }

  /** Ends it without waiting. */
  kill(): void {
    if (this.#group !== undefined) signalGroup(this.#group, 'SIGKILL');
  }

  #spawn(): ChildProcess {
    const { command, variables, output } = this.#options;
    const [file = '', ...args] = command;
    const child = spawn(file, args, { detached: true, stdio: ['ignore', output, output], env: variables });
    child.once('spawn', () => {
      this.#hasRun = true;
    });
    // At a later start the program is gone, which is an end, too. `start` reports the first failure.
    child.on('error', () => {
      if (child.pid === undefined && this.#hasRun) this.#ended(127);
    });
    child.once('exit', (code, signal) => this.#ended(code ?? signal ?? 0));
    this.#child = child;
    this.#group = child.pid;
    return child;
  }

  #ended(code: BotEnd['code']): void {
    const pid = this.#child?.pid;
    // As a supervisor does: what it has left behind would make calls beside its successor.
    if (pid !== undefined && !this.#isStopping) signalGroup(pid, 'SIGKILL');
    this.#child = undefined;
    if (this.#isStopping) return;
    const { clock, nowMs, restartAfterMs, onGone } = this.#options;
    this.ends.push({ atMs: nowMs(), code });
    if (restartAfterMs === undefined) {
      onGone();
      return;
    }
    const pauseMs = restartAfterMs * 2 ** Math.min(this.ends.length - 1, 3);
    this.#restart = clock.after(pauseMs, () => {
      this.restarts += 1;
      this.#spawn();
    });
  }
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
