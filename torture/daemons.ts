import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { NONCED } from '../test/fixtures/daemon-process.ts';
import type { HistoryWriter } from './history.ts';
import type { Place } from './place.ts';

const LOG_CHARACTERS = 8_000;
const LOOK_EVERY_MS = 20;
/** The pause after a daemon that was never ready: the disk is full, or another daemon holds the state. */
const PAUSE_MS = 150;
/** A daemon that is just ending releases its lock a moment before it is gone. */
const GONE_WITHIN_MS = 1_000;

export interface Daemon {
  readonly child: ChildProcess;
  readonly pid: number;
  /** It has the same state, and a runtime directory of its own, where no client looks for it. */
  readonly beside: boolean;
  isReady: boolean;
  ended: number | string | undefined;
  /** How it was told to end, or `EIO` if its syncs are made to fail. */
  doomed: 'KILL' | 'TERM' | 'EIO' | undefined;
  log: string;
}

/** Starts a daemon whenever there is none, and watches that there is never more than one. */
export class Daemons {
  /** How daemons have ended, by exit code or signal. */
  readonly ends = new Map<string, number>();
  /** The configuration cannot be read, so a start is refused. */
  configIsBad = false;
  started = 0;
  readonly #place: Place;
  readonly #history: HistoryWriter;
  readonly #all = new Set<Daemon>();
  #stopped = false;

  constructor(place: Place, history: HistoryWriter) {
    this.#place = place;
    this.#history = history;
  }

  /** The daemon that serves, if one does. */
  get serving(): Daemon | undefined {
    for (const daemon of this.#all) if (daemon.isReady && !daemon.beside && daemon.ended === undefined) return daemon;
    return undefined;
  }

  get running(): Daemon[] {
    return [...this.#all].filter(({ ended }) => ended === undefined);
  }

  /** Keeps a daemon running until `stop`. */
  async supervise(): Promise<void> {
    while (!this.#stopped) {
      if (!this.running.some(({ beside }) => !beside)) {
        const daemon = this.start();
        while (!this.#stopped && daemon.ended === undefined && !daemon.isReady) await sleep(LOOK_EVERY_MS);
        if (daemon.ended !== undefined && !daemon.isReady && daemon.doomed === undefined) await sleep(PAUSE_MS);
      }
      await sleep(LOOK_EVERY_MS);
    }
  }

  /** Starts another daemon, whether or not there is one. */
  start(beside = false): Daemon {
    const { stateDir, runtimeDir, otherRuntimeDir, config, environment } = this.#place;
    const directories = ['--state-dir', stateDir, '--runtime-dir', beside ? otherRuntimeDir : runtimeDir];
    this.#lookAtState();
    const child = spawn(process.execPath, [NONCED, 'serve', '--separate', '--config', config, ...directories], {
      stdio: ['ignore', 'ignore', 'pipe'],
      // Not in our process group: Ctrl-C is only for us.
      detached: true,
      env: { ...process.env, ...environment },
    });
    const daemon: Daemon = {
      child,
      pid: child.pid ?? -1,
      beside,
      isReady: false,
      ended: undefined,
      doomed: undefined,
      log: '',
    };
    this.#all.add(daemon);
    this.started += 1;
    this.#history.write({ k: 'spawned', pid: daemon.pid });
    child.stderr?.setEncoding('utf8').on('data', (text: string) => this.#said(daemon, text));
    child.once('error', (error) => this.#found('daemon', `cannot be started: ${error.message}`));
    child.once('exit', (code, signal) => this.#ended(daemon, code ?? signal ?? 'unknown'));
    return daemon;
  }

  signal(daemon: Daemon, signal: 'SIGKILL' | 'SIGTERM'): void {
    this.doom(daemon, signal === 'SIGKILL' ? 'KILL' : 'TERM');
    daemon.child.kill(signal);
  }

  /** Notes that the daemon may end from now on, and how. */
  doom(daemon: Daemon, how: 'KILL' | 'TERM' | 'EIO'): void {
    if (daemon.doomed !== 'TERM' || how === 'KILL') daemon.doomed = how;
    this.#history.write({ k: 'signal', pid: daemon.pid, signal: `SIG${how}` });
  }

  stop(): void {
    this.#stopped = true;
    for (const { child } of this.running) {
      child.kill('SIGCONT');
      child.kill('SIGKILL');
    }
  }

  #said(daemon: Daemon, text: string): void {
    daemon.log = (daemon.log + text).slice(-LOG_CHARACTERS);
    if (daemon.isReady || !daemon.log.includes(' is ready')) return;
    daemon.isReady = true;
    this.#history.write({ k: 'ready', pid: daemon.pid });
    for (const other of this.running) if (other !== daemon && other.isReady) void this.#watchForTwo(other, daemon);
  }

  /** Two are ready: checks that the earlier one is about to be gone. */
  async #watchForTwo(earlier: Daemon, later: Daemon): Promise<void> {
    for (let waitedMs = 0; waitedMs < GONE_WITHIN_MS; waitedMs += LOOK_EVERY_MS) {
      if (earlier.ended !== undefined || later.ended !== undefined || isGone(earlier.pid)) return;
      await sleep(LOOK_EVERY_MS);
    }
    if (this.#stopped) return;
    this.#found('one daemon', `pid ${later.pid} serves beside pid ${earlier.pid}, which is still alive`);
  }

  #ended(daemon: Daemon, code: number | string): void {
    daemon.ended = code;
    this.#all.delete(daemon);
    this.#history.write({ k: 'ended', pid: daemon.pid, code });
    this.#lookAtState();
    this.ends.set(String(code), (this.ends.get(String(code)) ?? 0) + 1);
    if (this.#stopped || this.#isExpected(daemon, code)) return;
    const last = daemon.log.trim().split('\n').slice(-4).join(' | ');
    this.#found('ends', `the daemon ended with ${code} without any reason: ${last}`);
  }

  #isExpected({ doomed, log }: Daemon, code: number | string): boolean {
    switch (code) {
      case 'SIGKILL':
        return doomed === 'KILL' || doomed === 'TERM';
      // A signal that comes before it listens for it ends it at once.
      case 'SIGTERM':
      case 0:
        return doomed === 'TERM' || doomed === 'KILL' || doomed === 'EIO';
      case 74:
        return doomed === 'EIO' || log.includes('EIO');
      case 75:
        return true;
      case 78:
        return this.configIsBad;
      // When told twice to stop, it does not wait for the disk.
      case 1:
        return doomed === 'TERM';
      default:
        return false;
    }
  }

  #lookAtState(): void {
    lookAtState(this.#place, this.#history);
  }

  #found(invariant: string, what: string): void {
    this.#history.write({ k: 'found', invariant, what });
  }
}

/** Writes what the state file says to the history. A state that cannot be read whole is a violation. */
export function lookAtState({ stateDir }: Place, history: HistoryWriter): void {
  const path = `${stateDir}/state.json`;
  const t = Number(process.hrtime.bigint()) / 1e6;
  try {
    const { pid, epoch, instance, sequences } = JSON.parse(readFileSync(path, 'utf8')) as {
      pid: number;
      epoch: number;
      instance: string;
      sequences: Readonly<Record<string, { ceiling: string }>>;
    };
    const ceilings = Object.fromEntries(Object.entries(sequences).map(([name, { ceiling }]) => [name, ceiling]));
    history.write({ k: 'state', pid, epoch, instance, ceilings }, t);
  } catch (error) {
    history.write({ k: 'found', invariant: 'I9', what: `the state cannot be read: ${(error as Error).message}` }, t);
  }
}

function isGone(pid: number): boolean {
  try {
    return /^\d+ \(.*\) [ZX]/.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
  } catch {
    return true;
  }
}
