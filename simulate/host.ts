import type { Timer } from '../src/clock.ts';
import { type AccountPolicy, DEFAULT_EXCHANGE, MAX_NONCE, type Policies } from '../src/core/accounts/policies.ts';
import { DEFAULT_SEQUENCE } from '../src/core/nonces/assignments.ts';
import { type Authority, openAuthority } from '../src/daemon/authority.ts';
import type { Log } from '../src/daemon/log/log.ts';
import { EXIT, ExitError } from '../src/errors.ts';
import { RELEASED_MS } from '../src/version.ts';
import { Accidents } from './accidents.ts';
import { Checker, type Ending } from './checker.ts';
import { SimulatedDisk, STATE_DIR } from './disk.ts';
import { readState } from './durable-states.ts';
import { History } from './history.ts';
import { RUNTIME_DIR, SimulatedMemory } from './memory.ts';
import { Network } from './network.ts';
import { Random } from './random.ts';
import { CONFIGS, type Config, type Effect, type Scenario } from './scenario.ts';
import { madeByHand, moved } from './state-bytes.ts';
import { MachineClock, Process, World } from './world.ts';

/** The longest wait between a failed write and the next one, and some slack. */
const RETRIED_MS = 6_000;
/** After a reboot, a clock that is further ahead of what the state has seen is not believed. */
const ABSURD_MS = 27 * 86_400_000;
/** How long the time service needs to set a clock that is so wrong that a daemon may refuse to start. */
const CLOCK_SET_IN_MS = 5_000;

/** The machine: its clocks, disk and memory, the daemon on it, and the service manager that starts it again. */
export class Host {
  readonly world = new World();
  readonly clock = new MachineClock(this.world);
  readonly history = new History(() => this.world.nowMs);
  readonly disk: SimulatedDisk;
  readonly memory = new SimulatedMemory();
  readonly network: Network;
  readonly checker: Checker;
  readonly random: Random;
  /** How often each fault has struck. */
  readonly struck = new Map<string, number>();
  /** Restarts what runs beside the daemon after a power cut, or when another instance answers. */
  readonly onRestart: (() => void)[] = [];
  /** The configuration in the file, and the one in effect. */
  config: Config;
  #inEffect: Config;
  daemon: Process | undefined;
  #authority: Authority | undefined;
  #killAt: { readonly effect: Effect; left: number } | undefined;
  #isOpen = false;
  /** Whether there was a lock already when the daemon took it. */
  #foundLock = false;
  #troubleEndedMs = -RETRIED_MS;
  #starts = 0;
  /** Whether the machine is off. */
  #isOff = false;
  readonly #isService: boolean;
  readonly accidents: Accidents;
  /** What tells it from other machines. */
  machine = '0'.repeat(32);
  #instance: string | undefined;
  #correction: Timer | undefined;

  constructor(scenario: Scenario) {
    this.random = new Random(scenario.seed, 1);
    this.config = CONFIGS[scenario.config] ?? CONFIGS[0];
    this.#inEffect = this.config;
    this.#isService = scenario.isService;
    // An installation makes the state; and a policy other than the default was set in an earlier run.
    const isPrepared = scenario.isService || scenario.policy !== 'global';
    if (!isPrepared) this.clock.step(scenario.clockOffMs);
    this.disk = new SimulatedDisk(this.world, new Random(scenario.seed, 2), new Random(scenario.seed, 4));
    this.accidents = new Accidents(this, new Random(scenario.seed, 6));
    this.disk.stepMs = scenario.stepMs;
    this.checker = new Checker(
      {
        nowMs: () => this.world.nowMs,
        wallMs: () => this.clock.wallMs(),
        uptimeMs: () => this.clock.uptimeMs(),
        possible: () => this.disk.possible(),
        hasTraces: () =>
          this.#isService ||
          this.disk.hasLock ||
          this.disk.temporaryFiles.length > 0 ||
          this.memory.has('leases') ||
          this.memory.has('state'),
        machine: () => this.machine,
        isDaemonRunning: () => this.daemon?.isRunning ?? false,
        isDiskAtRest: () => this.disk.isIdle && this.world.nowMs > this.#troubleEndedMs + RETRIED_MS,
        termsOf: (account) => {
          const { exchange = DEFAULT_EXCHANGE, pacing } = this.#inEffect.accounts[account] ?? {};
          return { exchange, pacing };
        },
        sequenceInFile: (account) => sequenceIn(this.config, account),
      },
      this.history,
    );
    this.network = new Network(this.world, new Random(scenario.seed, 3), this.checker);
    Object.assign(this.network.terms, {
      latencyMs: scenario.latencyMs,
      fragmentation: scenario.fragmentation,
      loss: scenario.loss,
    });
    this.disk.changed = () => {
      this.accidents.changed();
      this.checker.diskChanged();
    };
    if (isPrepared) {
      const identity = { instance: 'a'.repeat(32), machine: this.machine };
      this.disk.replaceBy(madeByHand(identity, this.clock.wallMs(), { exclusive: scenario.policy }));
    }
    this.disk.hit = (step) => this.#hit(step);
    this.memory.hit = () => this.#hit('note');
    this.memory.torn = (name) => {
      if (name === 'accounts') this.checker.breakersForgotten();
    };
    this.network.hit = () => this.#hit('wire');
  }

  get isOpen(): boolean {
    return this.#isOpen;
  }

  get isServing(): boolean {
    return this.#isOpen && this.daemon?.isRunning === true;
  }

  strike(fault: string): void {
    this.struck.set(fault, (this.struck.get(fault) ?? 0) + 1);
  }

  /** Ends the turn and judges it. Throws a Violation. */
  judge(): void {
    this.checker.timePassed();
    this.checker.endTurn();
  }

  // The daemon.

  /** Starts the daemon as `startDaemon` does, on this machine instead of the real one. */
  start(): void {
    if (this.daemon !== undefined || this.#isOff) return;
    this.#starts += 1;
    const daemon = new Process(`daemon ${this.#starts}`, this.world, this.clock);
    this.daemon = daemon;
    const bytes = this.disk.read();
    const isDamaged = this.accidents.wrong === 'damaged';
    this.checker.daemonStarts(bytes, isDamaged);
    const config = this.config;
    this.#foundLock = this.disk.lock();
    this.#open(daemon, config).then(
      (authority) => {
        if (daemon.isAlive) this.#opened(daemon, authority, config, bytes);
      },
      (error: unknown) => {
        if (!(error instanceof ExitError)) throw error;
        if (daemon.isAlive) this.#refused(error);
      },
    );
  }

  #open(daemon: Process, config: Config): Promise<Authority> {
    return openAuthority({
      stateDir: STATE_DIR,
      stateDirFd: 3,
      runtimeDir: RUNTIME_DIR,
      traces: { isService: this.#isService, lock: this.#foundLock },
      bootId: this.clock.bootId,
      machine: this.machine,
      self: {
        instance: this.#starts.toString(16).padStart(32, '0'),
        pid: 4711,
        socket: `${RUNTIME_DIR}/nonced.sock`,
      },
      clock: daemon,
      files: {
        directory: this.disk.directory,
        storeSteps: this.disk.stepsFor(daemon),
        notes: { steps: this.memory.steps, capacity: 64 },
      },
      policies: policiesOf(config),
      log: this.#log,
      onFailed: (error) => {
        // As the process ends then: its sockets are closed and its lock is gone, all in this turn.
        if (this.daemon === daemon) this.#failed(error);
      },
      afterInput: (done) => daemon.defer(done),
    });
  }

  #opened(daemon: Process, authority: Authority, config: Config, bytes: Buffer | undefined): void {
    this.network.listen(daemon, authority.switchboard);
    this.#authority = authority;
    this.#isOpen = true;
    this.#follow(config);
    this.accidents.served();
    this.checker.daemonOpened(bytes ?? this.disk.read());
    this.#restartStrangers();
    authority.open();
  }

  /** Restarts the programs that knew another instance: they never trust this one. */
  #restartStrangers(): void {
    const state = readState(this.disk.read());
    if (typeof state === 'string') return;
    const isOther = this.#instance !== undefined && this.#instance !== state.instance;
    this.#instance = state.instance;
    if (!isOther) return;
    this.strike('another instance serves');
    this.world.after(this.random.between(0, 3_000), () => {
      for (const tell of this.onRestart) tell();
    });
  }

  readonly #log: Log = {
    error: (message) => this.history.note(`error: ${message}`),
    warn: (message) => this.history.note(`warning: ${message}`),
    info: (message) => this.history.note(message),
    debug: () => {},
    isDebug: false,
  };

  #refused({ exitCode, message }: ExitError): void {
    this.history.note(`the daemon does not start: ${exitCode}, ${message}`);
    this.strike(`start refused: ${this.accidents.wrong ?? exitCode}`);
    this.checker.daemonRefused(exitCode === EXIT.config);
    const isClockWrong = this.clock.wallMs() < RELEASED_MS || this.clock.offMs > ABSURD_MS;
    if (exitCode === EXIT.tempFail && isClockWrong) this.world.after(CLOCK_SET_IN_MS, () => this.setClockRight());
    this.#endByItself(`refused, ${exitCode}`, exitCode === EXIT.config ? undefined : 1_000);
    if (exitCode !== EXIT.config) return;
    this.world.after(this.#isMisplaced() ? this.#place() : this.accidents.repair(), () => this.start());
  }

  #isMisplaced(): boolean {
    return this.accidents.wrong === undefined && this.#misplaced().length > 0;
  }

  /** Returns the accounts that the file would move. */
  #misplaced(): readonly string[] {
    const state = readState(this.disk.read());
    if (typeof state === 'string') return [];
    return state.unplaced.filter((account) => state.sequenceOf(account) !== sequenceIn(this.config, account));
  }

  /** Calls an operator, who lets accounts stay by lines in the file, or moves them. Returns in how many milliseconds. */
  #place(): number {
    const inMs = this.random.between(1_000, 4_000);
    this.world.after(inMs - 1, () => {
      if (this.daemon !== undefined || !this.#isMisplaced()) return;
      for (const account of this.#misplaced()) {
        const bytes = this.disk.read();
        const state = readState(bytes);
        if (bytes === undefined || typeof state === 'string') return;
        const sequence = sequenceIn(this.config, account);
        const done = this.random.chance(0.5) ? moved(bytes, account, sequence, this.clock.wallMs()) : undefined;
        if (done === undefined) {
          this.strike('account kept by the file');
          this.config = keeping(this.config, account, state.sequenceOf(account) ?? DEFAULT_SEQUENCE);
        } else {
          this.strike('account moved by an operator');
          this.history.note('an operator moves an account', { account, sequence });
          this.disk.replaceBy(done.bytes);
          this.checker.accountMoved(account, done.next);
        }
      }
    });
    return inMs;
  }

  /** Ends the process with an error. The service manager starts it again, unless an operator is needed. */
  #failed(error: Error): void {
    const isForOperator = error instanceof ExitError && error.exitCode === EXIT.config;
    this.#endByItself(`failed, ${error.message}`, isForOperator ? undefined : this.#soon());
    if (isForOperator) this.world.after(this.accidents.repair(), () => this.start());
  }

  /** Ends the process by itself. It removes its lock, unless that is the evidence that the state was lost. */
  #endByItself(how: string, againInMs: number | undefined): void {
    if (!this.#foundLock || this.disk.read() !== undefined) this.disk.unlock();
    this.#gone(how, 'by itself', againInMs);
  }

  /** Kills the process wherever it is, and starts it again soon. */
  end(how: string, ending: Ending = 'killed'): void {
    if (this.daemon !== undefined) this.#gone(how, ending, this.#soon());
  }

  #soon(): number {
    return this.random.between(5, 600);
  }

  #gone(how: string, ending: Ending, againInMs: number | undefined): void {
    const daemon = this.daemon;
    this.daemon = undefined;
    this.#authority = undefined;
    this.#isOpen = false;
    this.#killAt = undefined;
    this.disk.killed();
    this.checker.daemonDied(how, ending);
    daemon?.die();
    if (againInMs !== undefined) this.world.after(againInMs, () => this.start());
  }

  /** Stops the daemon cleanly. It ends when its last write does. */
  stop(): void {
    const daemon = this.daemon;
    const authority = this.#authority;
    if (daemon === undefined || authority === undefined) return;
    this.strike('clean stop');
    this.history.note('the daemon is told to stop');
    this.checker.daemonStops();
    authority.stop().then(
      () => {
        if (this.daemon === daemon) this.#endByItself('stopped', this.#soon());
      },
      (error: Error) => {
        if (this.daemon === daemon) this.#failed(error);
      },
    );
  }

  killAt(effect: Effect, nth: number): void {
    this.#killAt = { effect, left: nth };
  }

  /** Called before an effect of the daemon. Returns false if the daemon is killed there, and the effect is lost. */
  #hit(effect: Effect): boolean {
    if (this.daemon === undefined) return false;
    if (this.#killAt?.effect !== effect) return true;
    this.#killAt.left -= 1;
    if (this.#killAt.left > 0) return true;
    this.strike(`killed at ${effect}`);
    this.end(`killed at ${effect}`, 'killed in mid-turn');
    return false;
  }

  /** Edits the configuration, and forgets to tell the daemon. */
  edit(config: Config): void {
    this.config = config;
  }

  /** Edits the configuration and tells the daemon, as an operator does. */
  configure(config: Config): void {
    this.config = config;
    const daemon = this.daemon;
    const followed = (): void => {
      if (this.daemon === daemon) this.#follow(config);
    };
    // If it is not followed, nothing changes.
    this.#authority?.follow(policiesOf(config)).then(followed, (error: unknown) => {
      if (!(error instanceof ExitError)) throw error;
    });
  }

  #follow(config: Config): void {
    this.checker.reconfigured(config !== this.#inEffect);
    this.#inEffect = config;
  }

  // The machine.

  powerCut(downMs: number, offMs: number): void {
    this.history.note('the power is cut');
    this.#isOff = true;
    this.#gone('power cut', 'power cut', undefined);
    for (const tell of this.onRestart) tell();
    this.disk.cut();
    this.memory.reboot();
    this.accidents.notesLost();
    this.clock.reboot(downMs, offMs);
    this.checker.rebooted();
    const isAbsurd = offMs > ABSURD_MS;
    if (offMs !== 0 && !isAbsurd) this.checker.wallStepped();
    if (offMs < -60_000 || (offMs > 0 && !isAbsurd)) this.checker.clockIsLoose();
    this.world.after(downMs, () => {
      this.#isOff = false;
      this.start();
    });
    if (offMs < -60_000) {
      // The time service corrects a clock that has lost its battery.
      this.#correction?.cancel();
      this.#correction = this.world.after(downMs + CLOCK_SET_IN_MS, () => this.clock.step(-offMs));
    }
  }

  /** Sets the wall clock right. */
  setClockRight(): void {
    this.#correction?.cancel();
    if (this.clock.offMs === 0) return;
    this.history.note('the clock is set right');
    this.strike('clock set right');
    this.clock.step(-this.clock.offMs);
    this.checker.clockSetRight();
  }

  get isOff(): boolean {
    return this.#isOff;
  }

  diskTrouble(trouble: NonNullable<SimulatedDisk['trouble']>, ms: number): void {
    this.disk.trouble = trouble;
    this.#troubleEndedMs = Number.POSITIVE_INFINITY;
    if (trouble === 'short-write') this.checker.shortWrites();
    this.world.after(ms, () => this.endTrouble());
  }

  endTrouble(): void {
    if (this.disk.trouble === undefined) return;
    this.disk.trouble = undefined;
    this.#troubleEndedMs = this.world.nowMs;
  }

  /** Deletes the runtime directory under a daemon that serves, as the logout of its user does. */
  loseNotes(): void {
    if (!this.isServing) return;
    this.end('killed for an accident');
    this.memory.clear();
    this.strike('runtime directory lost');
    this.checker.notesDamaged('for certain');
    this.checker.breakersForgotten();
    this.accidents.notesLost();
  }

  /** Damages a byte of the notes while no daemon runs. */
  damageNotes(file: 'leases' | 'accounts', at: number): void {
    this.end('killed for an accident');
    const slots = [0, ...this.memory.used(file)];
    const slot = slots[at % slots.length] ?? 0;
    if (!this.memory.damage(file, slot + (at % 124))) return;
    this.strike(`notes of ${file} damaged`);
    if (file === 'leases') this.checker.notesDamaged('for certain');
    else this.checker.breakersForgotten();
  }
}

function sequenceIn({ accounts }: Config, account: string): string {
  return accounts[account]?.sequence ?? DEFAULT_SEQUENCE;
}

/** Returns the configuration with the lines that let an account stay on its sequence. */
function keeping({ sequences, accounts }: Config, account: string, sequence: string): Config {
  const others = sequence === DEFAULT_SEQUENCE ? [] : [sequence];
  return {
    sequences: [...new Set([...sequences, ...others])],
    accounts: { ...accounts, [account]: { ...accounts[account], sequence } },
  };
}

function policiesOf({ sequences, accounts }: Config): Policies {
  const of = (account: string): AccountPolicy => {
    const { exchange = DEFAULT_EXCHANGE, sequence = DEFAULT_SEQUENCE, pacing } = accounts[account] ?? {};
    return { exchange, sequence, pacing };
  };
  return { sequences: new Map(sequences.map((name) => [name, { unit: 'ns', max: MAX_NONCE }])), of };
}
