import { fstatSync } from 'node:fs';
import { resolve } from 'node:path';
import { systemClock } from '../../clock.ts';
import { NO_POLICIES } from '../../core/accounts/policies.ts';
import { type Daemon, startDaemon } from '../../daemon/daemon.ts';
import { isJournal, passedSockets } from '../../daemon/host/systemd.ts';
import { createLog, type Log, type LogFormat, type LogLevel, type LogReader } from '../../daemon/log/log.ts';
import { EXIT, ExitError } from '../../errors.ts';
import { VERSION } from '../../version.ts';
import type { RenamedOptions } from '../command-line/old-names.ts';
import { directories } from '../directories.ts';
import { type ConfigurationFile, configurationFile, problemsOf, readConfiguration } from '../serve/configuration.ts';
import { reportToSystemd } from '../serve/systemd-report.ts';
import { describe, exitCodeOf, unblockErrors } from '../terminal/output.ts';
import type { Terminal } from '../terminal/terminal.ts';

export interface ServeOptions extends RenamedOptions {
  readonly stateDir?: string;
  readonly runtimeDir?: string;
  readonly separate: boolean;
  readonly config?: string;
  readonly checkConfig: boolean;
  readonly logLevel: LogLevel;
  readonly logFormat: LogFormat;
  readonly callLog?: string;
  readonly callLogSize: number;
}

/** Runs the daemon until it is told to stop. If it cannot start, it logs why and sets the exit code. */
export async function serve(options: ServeOptions, terminal: Terminal): Promise<void> {
  const { stateDir, runtimeDir, separate, logLevel, logFormat, callLog, callLogSize, oldNames } = options;
  const file = configurationFile(options.config, terminal.env);
  if (options.checkConfig) {
    for (const text of oldNames) terminal.note(text);
    await checkConfiguration(file, directories({ stateDir, runtimeDir }, terminal.env).stateDir, terminal);
    return;
  }
  // No other user may write to what a library creates in our directories.
  process.umask(0o077);
  unblockErrors();
  const clock = systemClock();
  const log = createLog({
    level: logLevel,
    format: logFormat,
    reader: logReader(),
    stream: process.stderr,
    wallMs: clock.wallMs,
  });
  for (const text of oldNames) log.warn(text);
  const found = directories({ stateDir, runtimeDir }, terminal.env);
  // To the log, so that an alert on its severity sees it.
  const failed = (error: unknown) => {
    log.error(describe(error));
    terminal.exitCode = exitCodeOf(error);
  };
  let started: Daemon | undefined;
  try {
    started = await startDaemon({
      ...found,
      policies: await readConfiguration(file),
      separate,
      log,
      callLog: callLog ? { path: resolve(callLog), maxBytes: callLogSize } : undefined,
      passed: passedSockets(process.env, process.pid),
      onFailed: (error) => {
        failed(error);
        // Nothing more may be granted, so there is nothing to wait for.
        end(started);
      },
    });
  } catch (error) {
    failed(error);
    return;
  }
  const daemon = started;
  log.info(`nonced ${VERSION} is ready: socket ${daemon.socket}, state ${found.stateDir}; ${daemon.terms()}`);
  if (process.stderr.isTTY) {
    log.info('Try in another terminal: npx nonced nonce    npx nonced status    Stop with Ctrl-C.');
  }

  const tellSystemd = reportToSystemd(daemon, log, clock);
  let stopping = false;
  const stop = async (signal: string) => {
    if (stopping) {
      // Asked twice, it does not wait for a disk. process.exit() would: it joins the thread that hangs in a write.
      log.warn(`${signal} again: ended before the last write, so the next start skips some seconds of nonces`);
      kill();
    }
    stopping = true;
    log.info(`${signal}: stopping`);
    tellSystemd.stopping();
    terminal.exitCode = 0;
    await daemon.stop().catch(failed);
    end(daemon);
  };
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => void stop(signal));
  process.on('SIGHUP', () => {
    daemon.reopenCallLog();
    if (file !== undefined) void reload(daemon, file, log);
    // Without either there is nothing to reload: the terminal is gone.
    else if (!callLog) void stop('SIGHUP');
  });
}

function logReader(): LogReader {
  if (isJournal(process.env, fstatSync(process.stderr.fd, { bigint: true }))) return 'journald';
  return process.stderr.isTTY ? 'terminal' : 'other';
}

/** Ends the process, which releases its locks. */
function end(daemon: Daemon | undefined): never {
  // A thread that hangs in a write would keep process.exit() waiting, and every later daemon with it.
  if (daemon?.isHung()) kill();
  process.exit();
}

/** Ends the process at once, whatever its threads wait for. Its locks go with it and not sooner. */
function kill(): never {
  process.kill(process.pid, 'SIGKILL');
  // Not reached: a process does not survive its own SIGKILL.
  process.exit();
}

async function reload(daemon: Daemon, file: ConfigurationFile, log: Log): Promise<void> {
  try {
    const policies = await readConfiguration(file);
    await daemon.follow(policies);
    log.info(
      policies === NO_POLICIES
        ? `${file.path} is not there: nothing is configured from now on`
        : `${file.path} was read again and is in effect from now on`,
    );
  } catch (error) {
    daemon.refuse(describe(error));
  }
}

async function checkConfiguration(
  file: ConfigurationFile | undefined,
  stateDir: string,
  terminal: Terminal,
): Promise<void> {
  if (file === undefined) throw new ExitError(EXIT.usage, 'name the configuration: --config FILE');
  const { isThere, problems, unseen } = await problemsOf(file, stateDir);
  if (problems.length === 0) {
    const fact = isThere ? `${file.path} is valid` : `${file.path} is not there, so nothing is configured`;
    terminal.printLine(
      unseen === undefined
        ? `${fact}${isThere ? ' and' : ', and that'} fits the state in ${stateDir}`
        : `${fact}. Whether that fits the state in ${stateDir} is not known: ${unseen}`,
    );
    return;
  }
  for (const problem of problems) terminal.printError(problem);
  terminal.exitCode = EXIT.config;
}
