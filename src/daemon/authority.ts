import type { Clock, Timer } from '../clock.ts';
import type { Policies } from '../core/accounts/policies.ts';
import { Broker, DEFAULT_LIMITS } from '../core/broker.ts';
import { TOKEN_SEQUENCE } from '../core/nonces/ledger.ts';
import type { DurableState, NotedLease, NotesFound } from '../core/ports.ts';
import { asError, EXIT, ExitError } from '../errors.ts';
import { stateCommand } from '../store/directories.ts';
import { openAccountNotes } from '../store/notes/account-notes.ts';
import { type LeaseNotesOptions, notesExist, openLeaseNotes } from '../store/notes/lease-notes.ts';
import { writeStateNote } from '../store/notes/state-note.ts';
import { openStateFile, type StateFileReading, type StateNoteWriter } from '../store/state/state-file.ts';
import type { StateFileSteps } from '../store/state/state-steps.ts';
import { VERSION } from '../version.ts';
import { leftBehind } from './left-behind.ts';
import type { CallLog, CallLogAuthor } from './log/call-log.ts';
import type { Log } from './log/log.ts';
import { observerOf } from './log/observer.ts';
import { type Findings, implausibleClock, openingOf, type Traces } from './opening.ts';
import { Switchboard } from './sockets/switchboard.ts';

/** How often it looks whether another program has touched the state. */
const LOOK_EVERY_MS = 5_000;

export interface AuthorityOptions extends Pick<Findings, 'stateDir' | 'runtimeDir' | 'machine' | 'self' | 'policies'> {
  /** The descriptor of `stateDir` that is locked. The caller closes it. */
  readonly stateDirFd: number;
  /** The traces of an earlier state that the caller knows of. */
  readonly traces: Pick<Traces, 'isService' | 'lock'>;
  readonly bootId: string;
  readonly clock: Clock;
  readonly files: AuthorityFiles;
  readonly log: Log;
  /** Begins the call log, if one is kept. Called at most once, before anything happens that belongs in it. */
  readonly beginCallLog?: ((author: CallLogAuthor) => CallLog) | undefined;
  /** Called at most once, and only after `open`: nothing is granted any more, and the process must end. */
  readonly onFailed: (error: Error) => void;
  /** Calls back once all input that had arrived by now has been handed to the switchboard. */
  readonly afterInput: (done: () => void) => void;
}

/** What it does to files, so that a simulation can do without them. */
export interface AuthorityFiles {
  readonly directory: StateDirectory;
  readonly storeSteps: StateFileSteps;
  /** If left out, the notes are on disk, and as many as a daemon may need. */
  readonly notes?: Pick<LeaseNotesOptions, 'steps' | 'capacity'>;
}

/** What a start looks at and clears away in the state directory. Each function may throw ExitError. */
export interface StateDirectory {
  /** I9: reads the state, whole or not at all. */
  read(): StateFileReading;
  /** Returns the names of the files that killed writes left behind. */
  temporaryFiles(): readonly string[];
  /** Removes those files and returns their paths. */
  sweep(): readonly string[];
}

/**
 * What hands out the nonces: a daemon without its locks, sockets and process. A simulated machine starts it by the same
 * steps as a real one.
 */
export interface Authority {
  readonly broker: Broker;
  /** Takes connections. They wait until the authority is open. */
  readonly switchboard: Switchboard;
  /** Begins to grant. Throws if something has failed since the start. */
  open(): void;
  /** Follows other policies. Rejects with ExitError if they do not fit the state; then nothing has changed. */
  follow(policies: Policies): Promise<void>;
  /** Stops cleanly: grants nothing more and writes the ceilings. Rejects with ExitError if the state is not ours any more. */
  stop(): Promise<void>;
  /** Closes the notes and leaves them for the next daemon. */
  close(): void;
}

/**
 * Reads the state, decides whether a daemon may start with it, and makes durable that this one has. Must be called
 * under the instance lock. Rejects with ExitError, and then leaves nothing open.
 */
export async function openAuthority(options: AuthorityOptions): Promise<Authority> {
  const { stateDir, runtimeDir, bootId, clock, files, log, policies } = options;
  const { directory, storeSteps, notes } = files;
  const reading = directory.read();
  const left = leftBehind(reading.kind === 'state' ? reading.state : undefined, {
    runtimeDir,
    bootId,
    steps: notes?.steps,
  });
  const { noted } = left;
  const wallMs = clock.wallMs();
  const traces = (): Traces => ({
    ...options.traces,
    temporaryFiles: directory.temporaryFiles().length > 0,
    notes: notesExist(runtimeDir, bootId, notes?.steps) || noted.some((note) => note.stateDir === stateDir),
  });
  const found = reading.kind === 'state' ? reading : { ...reading, traces: traces() };
  const command = (command: string) => stateCommand(command, stateDir);
  const opening = openingOf({ ...options, reading: found, noted, wallMs, stateCommand: command });
  if ('refusal' in opening) throw opening.refusal;
  const { state, identity, isFirst, warnings } = opening;
  for (const path of directory.sweep()) log.info(`removed ${path}, left by a killed write`);

  const { stateDirFd: dirFd } = options;
  const store = openStateFile({
    dir: stateDir,
    dirFd,
    identity,
    found: reading,
    steps: storeSteps,
    note: stateNoteWriter({ runtimeDir, stateDir, bootId }, notes?.steps, log),
  });
  if (isFirst) {
    // The state comes first: notes without a state would look as if it had been lost.
    const failure = await store.write(state);
    if (failure !== undefined) throw cannotStart(failure.error);
  }
  for (const warning of warnings) log.warn(warning);

  const place = { dir: runtimeDir, bootId, monotonicMs: clock.monotonicMs(), ...notes };
  const opened: { close(): void }[] = [];
  const close = () => {
    for (const notes of opened.splice(0)) notes.close();
  };
  try {
    const leases = openLeaseNotes({ ...place, expected: left.hasLeases && left.elsewhere === undefined });
    opened.push(leases);
    const found = together(leases.found, left.elsewhere);
    if (found.damaged) log.warn(closedFor2s(runtimeDir, leases.isNew));
    // The notes there will not be looked at again.
    for (const lease of left.elsewhere?.leases ?? []) leases.notes.note(lease);
    if (isOlderThan(found.leases, state)) log.warn(setBack(stateDir));
    const accounts = openAccountNotes(place);
    opened.push(accounts);
    let isOpen = false;
    let failed: Error | undefined;
    let nextLook: Timer | undefined;
    const lookLater = () => {
      nextLook = clock.after(LOOK_EVERY_MS, () => void look());
    };
    const look = async () => {
      const failure = await store.look();
      // Looked at again: it may have been stopped meanwhile.
      if (nextLook === undefined) return;
      if (failure === undefined) lookLater();
      else broker.fail(failure.error);
    };
    const callLog = options.beginCallLog?.({ ...identity, version: VERSION, bootId });
    const broker = new Broker({
      clock,
      bootId,
      state,
      store,
      notes: leases.notes,
      found,
      accountNotes: accounts.notes,
      accountsFound: accounts.found,
      policies,
      observer: observerOf(log, callLog, (error) => {
        failed = error;
        if (isOpen) options.onFailed(error);
      }),
    });
    if (!broker.clockIsPlausible) throw implausibleClock({ wallMs, stateCommand: command });
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
      afterInput: options.afterInput,
    });
    return {
      broker,
      switchboard,
      open() {
        // Looked at again: a note may have failed since the start, and nothing may be granted then.
        if (failed !== undefined) throw cannotStart(failed);
        isOpen = true;
        broker.open();
        lookLater();
      },
      async follow(policies) {
        const followed = await broker.follow(policies, command);
        if ('code' in followed) {
          if (followed.code !== 'BAD_REQUEST') throw new ExitError(EXIT.tempFail, followed.message);
          throw new ExitError(EXIT.config, `it does not fit the state in ${stateDir}: ${followed.message}`);
        }
        for (const kept of followed.kept) log.warn(kept);
      },
      async stop() {
        nextLook?.cancel();
        nextLook = undefined;
        if (!broker.mayHaveHolders) store.leaveNoLeases();
        const failure = await broker.stop();
        if (failure instanceof ExitError && failure.exitCode === EXIT.config) throw failure;
        if (failure !== undefined)
          log.warn(`the last write failed, so the next start skips some seconds of nonces: ${failure.message}`);
      },
      close() {
        nextLook?.cancel();
        nextLook = undefined;
        close();
      },
    };
  } catch (error) {
    close();
    throw error;
  }
}

function together(here: NotesFound, elsewhere: NotesFound | undefined): NotesFound {
  if (elsewhere === undefined) return here;
  const leases = new Map([...elsewhere.leases, ...here.leases].map((lease) => [lease.token, lease]));
  const damaged = here.damaged || elsewhere.damaged;
  return { leases: [...leases.values()], damaged, stranded: new Set(elsewhere.leases.map(({ token }) => token)) };
}

function closedFor2s(runtimeDir: string, areMissing: boolean): string {
  return areMissing
    ? `the leases of the last daemon of this boot are not noted in ${runtimeDir}: all lanes stay closed for 2 s`
    : `${runtimeDir}/leases is damaged: all lanes stay closed for 2 s`;
}

/** Returns what notes the durable state, and says once why it cannot. */
function stateNoteWriter(
  place: Parameters<typeof writeStateNote>[0],
  steps: LeaseNotesOptions['steps'],
  log: Log,
): StateNoteWriter {
  let hasFailed = false;
  return (bytes) => {
    try {
      writeStateNote(place, bytes, steps);
    } catch (error) {
      if (!hasFailed)
        log.warn(`the state cannot be noted, so a rollback might go unnoticed: ${asError(error).message}`);
      hasFailed = true;
      throw error;
    }
  };
}

/** Whether leases were granted that the state does not know of. */
function isOlderThan(leases: readonly NotedLease[], { sequences }: DurableState): boolean {
  const ceiling = sequences[TOKEN_SEQUENCE]?.ceiling ?? 0n;
  return leases.some(({ token }) => token >= ceiling);
}

function setBack(stateDir: string): string {
  return (
    `leases of this boot are newer than the state in ${stateDir}: is it a backup, or made by hand? If nonces were ever ` +
    'ahead of the clock, or are counted, raise them before they are rejected: nonced advance'
  );
}

function cannotStart(error: Error): ExitError {
  if (error instanceof ExitError) return error;
  const fact = `the state cannot be written: ${error.message}`;
  return new ExitError(EXIT.tempFail, `${fact}; make room on the disk, then start again`, { cause: error });
}
