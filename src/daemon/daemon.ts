import { randomBytes } from 'node:crypto';
import { closeSync, existsSync, statfsSync } from 'node:fs';
import { join } from 'node:path';
import { type Clock, systemClock } from '../clock.ts';
import { NO_POLICIES, type Policies } from '../core/accounts/policies.ts';
import { asError, EXIT, ExitError } from '../errors.ts';
import { isServiceInstalled, SERVICE_RUNTIME_DIR, SERVICE_SOCKET } from '../service-places.ts';
import { prepareRuntimeDirectory, prepareStateDirectory, removeMade } from '../store/directories.ts';
import { acquireInstanceLock } from '../store/lock/instance-lock.ts';
import { leaveSign, refuseSecondState } from '../store/state/other-state.ts';
import { leftovers, readStateFile, sweepOrphans } from '../store/state/state-file.ts';
import { type StateFileSteps, stepsOnDisk } from '../store/state/state-steps.ts';
import { openAuthority } from './authority.ts';
import { ADMIN_SOCKET, BOT_SOCKET } from './host/directories.ts';
import { readBootId, readMachine } from './host/machine.ts';
import { NO_SOCKETS, type PassedSockets } from './host/systemd.ts';
import { CallLog, type CallLogPlace } from './log/call-log.ts';
import type { Log } from './log/log.ts';
import { summaryOf, termsOf } from './log/summary.ts';
import { type Listening, listen } from './sockets/server.ts';
import { answers, checkSocketPath } from './sockets/unix-listener.ts';
import { watchPlaces } from './watch.ts';

const MAX_CONNECTIONS = 1_024;
const MAX_ADMIN_CONNECTIONS = 64;
const LOCK_WAIT_SECONDS = 1;
/** The type of a file system in memory, as statfs(2) returns it. */
const TMPFS = 0x01021994;

export interface DaemonOptions {
  readonly stateDir: string;
  readonly runtimeDir: string;
  /** The installation made the state, so a missing one is a loss (I9). */
  readonly isService: boolean;
  /** Where the state of a user's own daemon would be without XDG_STATE_HOME; undefined for any other. */
  readonly homeStateDir?: string | undefined;
  /** Runs beside the service, although it is another authority. */
  readonly separate: boolean;
  /** What is configured; nothing if left out. */
  readonly policies?: Policies;
  readonly log: Log;
  /** Called when the daemon has failed and its sockets are closed. The process must end now, for it holds the locks. */
  readonly onFailed: (error: Error) => void;
  readonly clock?: Clock;
  /** What a write of the state does to the disk; tests leave a step out. */
  readonly storeSteps?: StateFileSteps;
  /** Where every call that ends is written down; nowhere if left out. */
  readonly callLog?: CallLogPlace | undefined;
  /** Sockets that systemd holds: clients that connect while the daemon is away wait there. */
  readonly passed?: PassedSockets;
}

export interface Daemon {
  readonly socket: string;
  readonly adminSocket: string;
  /** Returns the units and the exclusion policy in words. */
  terms(): string;
  /** Returns a summary of one line, for a person. */
  summary(): string;
  /** Whether grants are made and the state can be written. */
  isHealthy(): boolean;
  /**
   * Follows other policies from now on. Rejects with ExitError if they do not fit the state; then nothing has changed.
   */
  follow(policies: Policies): Promise<void>;
  /** To be called when the call log was moved away. Without one it does nothing. */
  reopenCallLog(): void;
  /** Whether a write of the state or of the call log may never end. process.exit() would wait for it. */
  isHung(): boolean;
  /** Notes why a new configuration is not followed: the log and `nonced status` show it. */
  refuse(problem: string): void;
  /**
   * Stops cleanly: grants nothing more, writes the ceilings and the call log, closes the sockets. Rejects with ExitError,
   * after all of it, if the state was not ours any more.
   */
  stop(): Promise<void>;
}

/** Starts the daemon. Resolves once clients can connect. Rejects with ExitError, and then leaves nothing behind. */
export async function startDaemon(options: DaemonOptions): Promise<Daemon> {
  const { stateDir, runtimeDir, isService, policies = NO_POLICIES, log, callLog: place } = options;
  const { clock = systemClock(), passed = NO_SOCKETS, storeSteps = stepsOnDisk } = options;
  const socket = join(runtimeDir, BOT_SOCKET);
  const adminSocket = join(runtimeDir, ADMIN_SOCKET);
  checkSocketPath(socket, '--runtime-dir');
  await refuseBesideService(options);
  const own = { stateDir, homeStateDir: options.homeStateDir };
  refuseSecondState(own);

  let callLog: CallLog | undefined;
  // A start that is refused leaves no directory behind.
  const made: string[] = [];
  const madeForRuntime: string[] = [];
  // Undone in reverse order, at the end or when a step fails.
  const undo: (() => void)[] = [];
  const undoAll = () => {
    for (const step of undo.splice(0).reverse()) step();
  };
  try {
    const stateDirFd = prepareStateDirectory(stateDir, made);
    undo.push(() => closeSync(stateDirFd));
    const runtimeDirFd = prepareRuntimeDirectory(runtimeDir, madeForRuntime);
    undo.push(() => closeSync(runtimeDirFd));
    const lock = acquireInstanceLock({
      stateDir,
      stateDirFd,
      runtimeDir,
      runtimeDirFd,
      waitSeconds: LOCK_WAIT_SECONDS,
      onCompromised: (error) => log.warn(`${stateDir}: the lock directory is not ours any more: ${error.message}`),
    });
    undo.push(() => lock.release());

    if (statfsSync(stateDir).type === TMPFS) {
      log.warn(
        `${stateDir} is in memory (tmpfs): a reboot loses it, and with it the last nonces; put it on a local disk`,
      );
    }
    const listening: Listening[] = [];
    const authority = await openAuthority({
      stateDir,
      stateDirFd,
      runtimeDir,
      traces: { isService, lock: lock.foundLeftover },
      bootId: readBootId(),
      machine: readMachine(),
      self: { instance: randomBytes(16).toString('hex'), pid: process.pid, socket },
      clock,
      files: {
        directory: {
          read: () => readStateFile(stateDir),
          temporaryFiles: () => leftovers(stateDir).temporaryFiles,
          sweep: () => sweepOrphans(stateDir).map((name) => join(stateDir, name)),
        },
        storeSteps,
      },
      policies,
      log,
      beginCallLog:
        place &&
        ((author) => {
          callLog = new CallLog({ ...place, author, clock, log });
          return callLog;
        }),
      onFailed(error) {
        // The locks stay until the process ends: a write of the state may be under way.
        for (const listener of listening) listener.close();
        options.onFailed(error);
      },
      afterInput,
    });
    undo.push(() => authority.close());
    lock.stateIsThere();
    const { broker, switchboard } = authority;
    undo.push(() => {
      for (const listener of listening) listener.close();
    });
    for (const [path, role, mode, maxConnections] of [
      [adminSocket, 'admin', 0o600, MAX_ADMIN_CONNECTIONS],
      [socket, 'bot', 0o660, MAX_CONNECTIONS],
    ] as const) {
      listening.push(await listen({ path, descriptor: passed[role], role, mode, maxConnections }, switchboard, log));
    }
    const watch = watchPlaces({
      clock,
      runtimeDir,
      runtimeDirFd,
      sockets: listening,
      log,
      // Like a crash, and not a clean stop: what that would note may have no place any more.
      onLost: (error) => broker.fail(error),
    });
    undo.push(() => watch.cancel());
    authority.open();
    const unsigned = leaveSign(own);
    if (unsigned !== undefined) {
      log.warn(
        `no sign of ${stateDir} could be left in ${own.homeStateDir}, where a start without XDG_STATE_HOME looks: ` +
          `${asError(unsigned).message}; give both the same --state-dir`,
      );
    }
    return {
      socket,
      adminSocket,
      terms: () => termsOf(broker.status()),
      summary: () => summaryOf(broker.status()),
      isHealthy: () => !broker.isOverdue,
      follow: (policies) => authority.follow(policies),
      reopenCallLog: () => callLog?.reopen(),
      isHung: () => broker.isWriteSlow || (callLog?.isHung ?? false),
      refuse: (problem) => broker.refuseConfiguration(problem),
      async stop() {
        watch.cancel();
        try {
          await authority.stop();
        } finally {
          await callLog?.close();
          undoAll();
        }
      },
    };
  } catch (error) {
    await callLog?.close();
    undoAll();
    removeMade(madeForRuntime);
    removeMade(made);
    throw error;
  }
}

/** Refuses to start beside the service: two authorities for one key are worse than none. */
async function refuseBesideService({ runtimeDir, separate }: DaemonOptions): Promise<void> {
  if (separate || runtimeDir === SERVICE_RUNTIME_DIR) return;
  if (existsSync(SERVICE_SOCKET) && (await answers(SERVICE_SOCKET))) {
    throw new ExitError(
      EXIT.tempFail,
      `the service answers on ${SERVICE_SOCKET}, and two daemons for one key are worse than none; use the service, ` +
        'or add --separate if no key is used with both',
    );
  }
  if (!isServiceInstalled(existsSync)) return;
  throw new ExitError(
    EXIT.config,
    'nonced is installed as a service on this host, and two daemons for one key are worse than none; find out why the ' +
      'service is down with `sudo nonced doctor`, and start it with `sudo systemctl start nonced`, or add --separate ' +
      'if no key is used with both',
  );
}

// One turn of the event loop each: to accept a connection, to read from it, to act on what was read.
const TURNS_FOR_INPUT = 3;

function afterInput(done: () => void, turns = TURNS_FOR_INPUT): void {
  setImmediate(() => (turns > 1 ? afterInput(done, turns - 1) : done()));
}
