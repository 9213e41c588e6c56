import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import type { Clock, Timer } from '../../clock.ts';
import { EXIT, ExitError } from '../../errors.ts';
import type { BotEnd } from '../../rehearsal/judge.ts';
import { endGroup, signalGroup } from './process-group.ts';

export interface BotOptions {
  readonly command: readonly string[];
  readonly variables: NodeJS.ProcessEnv;
  /** File descriptor of where all that it says goes. */
  readonly output: number;
  readonly clock: Clock;
  /** The clock that its ends are told by. */
  readonly nowMs: () => number;
  /** Pause before it is started again, doubled with each end up to eight times as long; undefined: it is not. */
  readonly restartAfterMs: number | undefined;
  /** It has ended and is not started again. */
  readonly onGone: () => void;
}

const GRACE_MS = 5_000;

/** Somebody's bot in a process group of its own, started again as a supervisor would. */
export class SupervisedBot {
  /** Its ends that nobody asked for. */
  readonly ends: BotEnd[] = [];
  restarts = 0;
  readonly #options: BotOptions;
  #child: ChildProcess | undefined;
  /** Of the process group that is left to be ended. */
  #group: number | undefined;
  #hasRun = false;
  #restart: Timer | undefined;
  #isStopping = false;

  constructor(options: BotOptions) {
    this.#options = options;
  }

  /** Rejects with ExitError where the program cannot be run at all. */
  async start(): Promise<void> {
    const child = this.#spawn();
    try {
      await once(child, 'spawn');
    } catch (error) {
      const [file] = this.#options.command;
      throw new ExitError(EXIT.usage, `${file} cannot be run (${reasonOf(error)}); give a program, after --`);
    }
  }

  /** Ends it and all that it has started. */
  async stop(): Promise<void> {
    this.#isStopping = true;
    this.#restart?.cancel();
    if (this.#child !== undefined) await endGroup(this.#child, GRACE_MS, this.#options.clock);
  }

  /** Ends it without waiting for anything. */
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
    // Of a later start: the program has gone meanwhile, which is an end as well. The first one is told by `start`.
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
    // As a supervisor does: what it has left behind would call beside its successor.
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
