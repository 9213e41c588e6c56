import { startDaemon } from '../../daemon/daemon.ts';
import { createLog, type LogLevel } from '../../daemon/log.ts';
import { VERSION } from '../../version.ts';
import { directories } from '../directories.ts';
import { fail } from '../output.ts';

export interface ServeOptions {
  readonly stateDir?: string;
  readonly runtimeDir?: string;
  readonly separate: boolean;
  readonly logLevel: LogLevel;
}

/** Runs the daemon until it is told to stop. Rejects with ExitError where it cannot start. */
export async function serve({ stateDir, runtimeDir, separate, logLevel }: ServeOptions): Promise<void> {
  // A log that nobody reads any more must not end the daemon.
  process.stderr.on('error', () => {});
  const log = createLog({
    level: logLevel,
    journal: process.env['JOURNAL_STREAM'] !== undefined,
    write: (line) => process.stderr.write(line),
  });
  const found = directories({ stateDir, runtimeDir });
  const daemon = await startDaemon({
    ...found,
    separate,
    log,
    onFailed: (error) => {
      fail(error);
      // Nothing more may be granted, so nothing is waited for either.
      process.exit();
    },
  });
  log.info(`nonced ${VERSION} is ready: socket ${daemon.socket}, state ${found.stateDir}`);
  if (process.stderr.isTTY) {
    log.info('Try in another terminal: npx nonced nonce    npx nonced status    Stop with Ctrl-C.');
  }

  let stopping = false;
  const stop = async (signal: string) => {
    // Whoever asks twice does not want to wait for a disk.
    if (stopping) process.exit(1);
    stopping = true;
    log.info(`${signal}: stopping`);
    await daemon.stop();
    process.exit(0);
  };
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.on(signal, () => void stop(signal));
}
