import { execFileSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { closeSync, existsSync, readFileSync, statfsSync } from 'node:fs';
import { join } from 'node:path';
import { type Clock, systemClock } from '../clock.ts';
import { Broker, DEFAULT_LIMITS } from '../core/broker.ts';
import { holderText, textOf } from '../core/event-text.ts';
import { TOKEN_SEQUENCE } from '../core/ledger.ts';
import { DEFAULT_SEQUENCE, MAX_NONCE, NO_POLICIES, type Policies } from '../core/policies.ts';
import { describeProblem, startingState } from '../core/policy-plan.ts';
import type { DurableSequence, DurableState, Observer, Unit } from '../core/ports.ts';
import { describeUnit, nonceFloorAt } from '../core/sequence-clock.ts';
import { EXIT, ExitError } from '../errors.ts';
import { openAccountNotes } from '../store/account-notes.ts';
import { prepareRuntimeDirectory, prepareStateDirectory } from '../store/directories.ts';
import { acquireInstanceLock } from '../store/instance-lock.ts';
import { notesExist, openLeaseNotes } from '../store/lease-notes.ts';
import { leftovers, openStateFile, readStateFile, sweepOrphans } from '../store/state-file.ts';
import type { StateIdentity } from '../store/state-format.ts';
import { type StateFileSteps, stepsOnDisk } from '../store/state-steps.ts';
import { RELEASED_MS, VERSION } from '../version.ts';
import { callLine, isNoteworthy } from './call-line.ts';
import { ADMIN_SOCKET, BOT_SOCKET, SERVICE_RUNTIME_DIR } from './config.ts';
import type { Log } from './log.ts';
import { answers, checkSocketPath, type Listening, listen } from './server.ts';
import { NO_SOCKETS, type PassedSockets } from './service-manager.ts';
import { Switchboard } from './switchboard.ts';

const MAX_CONNECTIONS = 1_024;
const MAX_ADMIN_CONNECTIONS = 64;
/** Tokens are JavaScript numbers in many clients. */
export const MAX_TOKEN = 2n ** 53n - 1n;
const LOCK_WAIT_SECONDS = 1;
/** statfs(2): a file system in memory. */
const TMPFS = 0x01021994;

export interface DaemonOptions {
  readonly stateDir: string;
  readonly runtimeDir: string;
  /** The installation made the state: a missing one is a loss (I9). */
  readonly isService: boolean;
  /** Run beside the service, although it is another authority. */
  readonly separate: boolean;
  /** What is configured; left out: nothing. */
  readonly policies?: Policies;
  readonly log: Log;
  /** Something ended the daemon from within, and its sockets are closed. The process must end now, as it holds the locks. */
  readonly onFailed: (error: Error) => void;
  readonly clock?: Clock;
  /** What a write of the state does to the disk; for a test to leave a step out. */
  readonly storeSteps?: StateFileSteps;
  /** Sockets that systemd holds: nobody misses a connection while the daemon is away. */
  readonly passed?: PassedSockets;
}

export interface Daemon {
  readonly socket: string;
  readonly adminSocket: string;
  /** What it hands out and what is exclusive, in words. */
  terms(): string;
  /** In one line, for a person. */
  summary(): string;
  /** Grants are made, and the state can be written. */
  isHealthy(): boolean;
  /** Goes by other policies from now on. Rejects with ExitError where they do not fit the state; then nothing has changed. */
  follow(policies: Policies): Promise<void>;
  /** A new configuration is not to be followed, for a reason that is logged and shown by `status`. */
  refuse(problem: string): void;
  /** A clean stop: nothing is granted any more, the ceilings are written, the sockets are gone. */
  stop(): Promise<void>;
}

/** Identifies this boot of this machine: notes and clock readings of another one do not count. */
function readBootId(): string {
  try {
    // Written from sysctl(8); our tests run on Linux.
    if (process.platform === 'darwin')
      return execFileSync('sysctl', ['-n', 'kern.bootsessionuuid'], { encoding: 'utf8' }).trim();
    return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
  } catch (error) {
    throw new ExitError(EXIT.config, 'cannot tell one boot from another: no kernel.random.boot_id', {
      cause: error,
    });
  }
}

/**
 * Tells this machine from another, so that a copied state is noticed; undefined where the system has no machine-id(5).
 * A hash, as that page asks for: the id itself is nobody else's business.
 */
export function readMachine(): string | undefined {
  try {
    const id = readFileSync('/etc/machine-id', 'utf8').trim();
    return id === '' ? undefined : createHash('sha256').update(`nonced ${id}`).digest('hex').slice(0, 32);
  } catch {
    return undefined;
  }
}

/** What a first start, or `nonced init`, begins with. */
export function freshState(unit: Unit, wallMs: number): DurableState {
  const begin = (of: Unit, max: bigint): DurableSequence => ({ unit: of, ceiling: nonceFloorAt(wallMs, of), max });
  return {
    sequences: { [DEFAULT_SEQUENCE]: begin(unit, MAX_NONCE), [TOKEN_SEQUENCE]: begin('us', MAX_TOKEN) },
    accounts: new Map(),
    exclusive: 'global',
    anchor: undefined,
    seenWallMs: wallMs,
  };
}

/** Starts the daemon and answers once clients can connect. Rejects with ExitError and leaves nothing behind. */
export async function startDaemon(options: DaemonOptions): Promise<Daemon> {
  const { stateDir, runtimeDir, log, clock = systemClock(), passed = NO_SOCKETS, storeSteps = stepsOnDisk } = options;
  const socket = join(runtimeDir, BOT_SOCKET);
  const adminSocket = join(runtimeDir, ADMIN_SOCKET);
  checkSocketPath(socket);
  await refuseBesideService(options);

  // Undone in reverse order, at the end or where a step fails.
  const undo: (() => void)[] = [];
  const undoAll = () => {
    for (const step of undo.splice(0).reverse()) step();
  };
  try {
    const stateDirFd = prepareStateDirectory(stateDir);
    undo.push(() => closeSync(stateDirFd));
    const runtimeDirFd = prepareRuntimeDirectory(runtimeDir);
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
      log.warn(`${stateDir} is in memory (tmpfs): a reboot loses it, and with it the last nonces; put it on a disk`);
    }
    const bootId = readBootId();
    const reading = readStateFile(stateDir);
    const machine = readMachine();
    if (reading.kind === 'absent') refuseLostState(options, bootId, lock.foundLeftover);
    else refuseForeignState(stateDir, reading.state, machine);
    for (const name of sweepOrphans(stateDir)) log.info(`removed ${join(stateDir, name)}, left by a killed write`);

    const wallMs = clock.wallMs();
    if (reading.kind === 'absent' && wallMs < RELEASED_MS)
      throw wrongClock(wallMs, 'it is before this program was made');
    const before = reading.kind === 'absent' ? undefined : reading.state;
    const identity = {
      instance: before?.instance ?? randomBytes(16).toString('hex'),
      epoch: (before?.epoch ?? 0) + 1,
      pid: process.pid,
      socket,
      machine: machine ?? before?.machine,
    };
    const store = openStateFile({ dir: stateDir, dirFd: stateDirFd, identity, found: reading, steps: storeSteps });
    const { policies = NO_POLICIES } = options;
    const starting = startingState(before?.state ?? freshState('ns', wallMs), policies, (unit) =>
      nonceFloorAt(wallMs, unit),
    );
    if ('problem' in starting) {
      throw new ExitError(
        EXIT.config,
        before === undefined
          ? `there is no state in ${stateDir} yet, and the configuration needs one that is made by hand, with the unit of ` +
              `the sequence default: nonced init --floor now --unit UNIT --state-dir ${stateDir}. Then start again: ` +
              'where a further sequence is to be made, the message says how'
          : `the configuration does not fit the state: ${describeProblem(starting, stateDir)}`,
      );
    }
    const { state } = starting;
    for (const kept of starting.kept) log.warn(kept);
    if (before === undefined) {
      // The state comes first: notes without one would look as if it had been lost.
      const failure = await store.write(state);
      if (failure !== undefined) throw cannotStart(failure.error);
      log.warn(
        `first start: made a new state in ${stateDir}, in nanoseconds: nonces of 19 digits. If your keys have had fewer digits so far, stop now and read "a one-way door" in the README`,
      );
    }
    const opened = openLeaseNotes({ dir: runtimeDir, bootId, monotonicMs: clock.monotonicMs() });
    undo.push(() => opened.close());
    if (opened.found.damaged) log.warn(`${runtimeDir}/leases is damaged: all lanes stay closed for 2 s`);
    const accounts = openAccountNotes({ dir: runtimeDir, bootId, monotonicMs: clock.monotonicMs() });
    undo.push(() => accounts.close());

    let failed: Error | undefined;
    let onFailed = (error: Error): void => {
      failed = error;
    };
    const broker = new Broker({
      clock,
      bootId,
      state,
      store,
      notes: opened.notes,
      found: opened.found,
      accountNotes: accounts.notes,
      accountsFound: accounts.found,
      policies,
      onWritten: () => switchboard.arm(),
      observer: observerOf(log, (error) => onFailed(error)),
    });
    if (!broker.clockIsPlausible) throw wrongClock(wallMs, 'it is over 400 days past the last one this state has seen');
    const failure = failed ?? (await broker.start());
    if (failure !== undefined) throw cannotStart(failure);

    const switchboard = new Switchboard({
      clock,
      broker,
      waitingPerClient: DEFAULT_LIMITS.waitingPerClient,
      version: VERSION,
      instance: identity.instance,
      pid: identity.pid,
      epoch: identity.epoch,
      afterInput,
    });
    const listening: Listening[] = [];
    undo.push(() => {
      for (const listener of listening) listener.close();
    });
    for (const [path, role, mode, maxConnections] of [
      [adminSocket, 'admin', 0o600, MAX_ADMIN_CONNECTIONS],
      [socket, 'bot', 0o660, MAX_CONNECTIONS],
    ] as const) {
      listening.push(await listen({ path, descriptor: passed[role], role, mode, maxConnections }, switchboard, log));
    }
    // Looked at again: a note may have failed since the start, and nothing may be granted then.
    if (failed !== undefined) throw cannotStart(failed);
    broker.open();
    switchboard.arm();

    onFailed = (error) => {
      // The locks stay ours until the process is gone: a write of the state may be under way.
      for (const listener of listening) listener.close();
      options.onFailed(error);
    };
    return {
      socket,
      adminSocket,
      terms: () => termsOf(broker.status()),
      summary: () => summaryOf(broker.status()),
      isHealthy: () => !broker.isOverdue,
      async follow(policies) {
        const followed = await broker.follow(policies);
        switchboard.arm();
        if ('code' in followed) {
          throw new ExitError(EXIT.config, `it does not fit the state in ${stateDir}: ${followed.message}`);
        }
        for (const kept of followed.kept) log.warn(kept);
      },
      refuse: (problem) => broker.refuseConfiguration(problem),
      async stop() {
        const failure = await broker.stop();
        if (failure !== undefined)
          log.warn(`the last write failed, so the next start skips a reserve: ${failure.message}`);
        undoAll();
      },
    };
  } catch (error) {
    undoAll();
    throw error;
  }
}

function termsOf({ sequences, exclusive }: ReturnType<Broker['status']>): string {
  const units = sequences.map(({ name, unit }) => `${name} in ${describeUnit(unit)}`);
  return `sequence ${units.join(', ')}; exclusion ${exclusive}`;
}

function summaryOf({ totals, sequences, durability, exclusive }: ReturnType<Broker['status']>): string {
  const leads = sequences.map(({ name, leadMs }) => (leadMs === null ? name : `${name} ${leadText(leadMs)}`));
  const trouble = durability.state === 'durable' ? '' : `; CANNOT WRITE THE STATE: ${durability.problem}`;
  return (
    `${totals.accounts} accounts, ${totals.leases} held, ${totals.waiting} waiting, ${totals.grants} granted, ` +
    `exclusion ${exclusive}; last nonce: ${leads.join(', ')}${trouble}`
  );
}

function leadText(leadMs: number): string {
  const seconds = Math.abs(leadMs / 1000).toFixed(1);
  return leadMs > 0 ? `${seconds} s ahead of the clock` : `${seconds} s ago`;
}

/** Two authorities for one key are worse than none. */
async function refuseBesideService({ runtimeDir, separate }: DaemonOptions): Promise<void> {
  const service = join(SERVICE_RUNTIME_DIR, BOT_SOCKET);
  if (separate || runtimeDir === SERVICE_RUNTIME_DIR || !existsSync(service) || !(await answers(service))) return;
  throw new ExitError(
    EXIT.tempFail,
    `the service answers on ${service}, and two authorities for one key are worse than none; use that one, ` +
      'or say --separate if no key is used with both',
  );
}

/** I9: a state that is gone although there was one is never made anew. */
function refuseLostState({ stateDir, runtimeDir, isService }: DaemonOptions, bootId: string, lockFound: boolean): void {
  const evidence = isService
    ? 'the service was installed with one'
    : lockFound
      ? 'a lock of an earlier daemon lies there'
      : leftovers(stateDir).temporaryFiles.length > 0
        ? 'an unfinished write of an earlier daemon lies there'
        : notesExist(runtimeDir, bootId)
          ? `an earlier daemon of this boot left notes in ${runtimeDir}`
          : undefined;
  if (evidence === undefined) return;
  throw new ExitError(
    EXIT.config,
    `${stateDir} has no state.json, but ${evidence}: it was lost. Bring it back; or, if no nonce was ever higher ` +
      'than the clock, make one of the same unit as before (count the digits of the last nonce that was sent: 19 ns, ' +
      `16 us, 13 ms, 10 s): nonced init --floor now --unit UNIT --state-dir ${stateDir}`,
  );
}

/** Two hosts with one state would hand out the same nonces. */
function refuseForeignState(stateDir: string, found: StateIdentity, machine: string | undefined): void {
  if (found.retiredAtMs !== undefined) {
    throw new ExitError(
      EXIT.config,
      `the state in ${stateDir} was retired on ${new Date(found.retiredAtMs).toISOString()}: its authority moved to ` +
        'another host; use that one, or run `nonced adopt` to take it over here',
    );
  }
  if (machine === undefined || found.machine === undefined || found.machine === machine) return;
  throw new ExitError(
    EXIT.config,
    `the state in ${stateDir} belongs to another machine, which may still hand out its nonces; ` +
      'run `nonced retire` there, copy the state again, and run `nonced adopt` here',
  );
}

function wrongClock(wallMs: number, why: string): ExitError {
  return new ExitError(
    EXIT.tempFail,
    `the clock says ${new Date(wallMs).toISOString()}, but ${why}; set it (timedatectl), ` +
      'or if it is right run: nonced init --floor now',
  );
}

function cannotStart(error: Error): ExitError {
  if (error instanceof ExitError) return error;
  return new ExitError(EXIT.tempFail, `the state cannot be written: ${error.message}; make room on the disk`, {
    cause: error,
  });
}

function observerOf(log: Log, failed: (error: Error) => void): Observer {
  const observer: Observer = {
    failed,
    observe(event) {
      const { severity, text } = textOf(event);
      log[severity](text);
    },
    ended(call) {
      if (isNoteworthy(call)) log.info(callLine(call));
      else if (log.isDebug) log.debug(callLine(call));
    },
  };
  if (!log.isDebug) return observer;
  return {
    ...observer,
    granted: (call) => log.debug(`granted ${call.nonce} to ${holderText(call)} for account ${call.account}`),
  };
}

// Accepting a connection, reading from it, and acting on what was read take a turn of the event loop each.
const TURNS_FOR_INPUT = 3;

function afterInput(done: () => void, turns = TURNS_FOR_INPUT): void {
  setImmediate(() => (turns > 1 ? afterInput(done, turns - 1) : done()));
}
