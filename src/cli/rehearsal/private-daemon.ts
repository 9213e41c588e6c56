import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, existsSync, openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { askOnce } from '../../client/ask.ts';
import type { Clock } from '../../clock.ts';
import { EXIT, ExitError } from '../../errors.ts';
import type { StatusResult } from '../../protocol/messages.ts';
import type { ExclusionPolicy, Unit } from '../../terms.ts';
import { mainFile, thisProgram } from '../systemd/program.ts';
import { endGroup, signalGroup } from './process-group.ts';

export interface PrivateDaemonOptions {
  /** For its directories and its log. */
  readonly dir: string;
  readonly clock: Clock;
  /** The unit of its first state; if left out, that of the configuration, or else the daemon's default. */
  readonly unit: Unit | undefined;
  readonly config: string | undefined;
  /** Aborts when it must not be started or waited for any more. */
  readonly stopping: AbortSignal;
  /** Called when it has ended by itself. */
  readonly onFailed: (error: ExitError) => void;
}

const LOOK_EVERY_MS = 20;
const GRACE_MS = 10_000;
/** Variables of a service manager, which are meant for this process and not for its daemon. */
const OF_A_SERVICE = /^(CONFIGURATION|STATE|RUNTIME)_DIRECTORY$|^(JOURNAL_STREAM|NOTIFY_SOCKET)$|^(LISTEN|WATCHDOG)_/;

/** A daemon with directories of its own, which may be killed. Its log names every nonce that it hands out. */
export class PrivateDaemon {
  readonly socket: string;
  readonly logFile: string;
  readonly #options: PrivateDaemonOptions;
  readonly #directories: readonly string[];
  readonly #admin: string;
  readonly #environment: NodeJS.ProcessEnv;
  #child: ChildProcess | undefined;
  /** The process group that still has to be ended. */
  #group: number | undefined;

  constructor(options: PrivateDaemonOptions, variables: NodeJS.ProcessEnv) {
    const { dir } = options;
    this.#options = options;
    this.logFile = join(dir, 'daemon.log');
    this.socket = join(dir, 'run/nonced.sock');
    this.#admin = join(dir, 'run/admin.sock');
    this.#directories = ['--state-dir', join(dir, 'state'), '--runtime-dir', join(dir, 'run')];
    this.#environment = Object.fromEntries(Object.entries(variables).filter(([name]) => !OF_A_SERVICE.test(name)));
  }

  /** Starts it for the first time. Rejects with ExitError and what the daemon printed. */
  async begin(exclusive: ExclusionPolicy): Promise<void> {
    const { unit } = this.#options;
    if (unit !== undefined) {
      const args = ['state', 'init', '--floor', 'now', '--unit', unit, ...this.#directories];
      const { status, stderr } = spawnSync(process.execPath, [mainFile(thisProgram().packageDir), ...args], {
        env: this.#environment,
        encoding: 'utf8',
      });
      if (status !== 0) throw new ExitError(EXIT.tempFail, `no state can be made for the rehearsal: ${stderr.trim()}`);
    }
    await this.#start();
    await askOnce(this.#admin, 'set-exclusive', { policy: exclusive });
  }

  async kill(): Promise<void> {
    await this.#end('SIGKILL');
    await this.#start();
  }

  async restart(): Promise<void> {
    await this.#end('SIGTERM');
    await this.#start();
  }

  /** Closes every circuit breaker. */
  async amnesty(): Promise<void> {
    const { accounts } = await askOnce<StatusResult>(this.#admin, 'status', {});
    for (const { account, breaker } of accounts) {
      if (breaker !== null) await askOnce(this.#admin, 'resume-account', { account });
    }
  }

  async stop(): Promise<void> {
    const child = this.#child;
    this.#child = undefined;
    if (child !== undefined) await endGroup(child, GRACE_MS, this.#options.clock);
  }

  /** Ends it without waiting. */
  abandon(): void {
    if (this.#group !== undefined) signalGroup(this.#group, 'SIGKILL');
  }

  /** Returns everything that it has logged; empty before it was started. */
  log(): string {
    return existsSync(this.logFile) ? readFileSync(this.logFile, 'utf8') : '';
  }

  async #start(): Promise<void> {
    const { config, clock, stopping } = this.#options;
    stopping.throwIfAborted();
    const args = ['serve', '--separate', '--log-level', 'debug', ...this.#directories];
    if (config !== undefined) args.push('--config', config);
    // A file and not a pipe: what it has written is still there if it is killed the next moment.
    const log = openSync(this.logFile, 'a');
    const child = spawn(process.execPath, [mainFile(thisProgram().packageDir), ...args], {
      detached: true,
      stdio: ['ignore', 'ignore', log],
      env: this.#environment,
    });
    closeSync(log);
    this.#child = child;
    this.#group = child.pid;
    let ended: ExitError | undefined;
    child.once('exit', (code, signal) => {
      ended = this.#failure(code, signal);
      if (this.#child === child) this.#options.onFailed(ended);
    });
    while (!(await this.#answers())) {
      stopping.throwIfAborted();
      if (ended !== undefined) throw ended;
      await new Promise<void>((resolve) => clock.after(LOOK_EVERY_MS, resolve));
    }
  }

  async #answers(): Promise<boolean> {
    try {
      await askOnce(this.#admin, 'status', {});
      return true;
    } catch {
      return false;
    }
  }

  async #end(signal: NodeJS.Signals): Promise<void> {
    const child = this.#child;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    this.#child = undefined;
    const ended = once(child, 'exit');
    child.kill(signal);
    await ended;
  }

  #failure(code: number | null, signal: NodeJS.Signals | null): ExitError {
    const [last = 'it printed nothing'] = this.log().trimEnd().split('\n').slice(-1);
    const how = code === null ? `by ${signal}` : `with exit code ${code}`;
    const exitCode = Object.values(EXIT).find((known) => known === code) ?? EXIT.tempFail;
    return new ExitError(exitCode, `the daemon of the rehearsal ended ${how}: ${last}`);
  }
}
