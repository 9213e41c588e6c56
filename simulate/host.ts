import { Broker, DEFAULT_LIMITS } from '../src/core/broker.ts';
import { textOf } from '../src/core/event-text.ts';
import {
  type AccountPolicy,
  DEFAULT_EXCHANGE,
  DEFAULT_SEQUENCE,
  MAX_NONCE,
  type Policies,
} from '../src/core/policies.ts';
import { startingState } from '../src/core/policy-plan.ts';
import type { DurableState, Observer } from '../src/core/ports.ts';
import { nonceFloorAt } from '../src/core/sequence-clock.ts';
import { freshState } from '../src/daemon/opening.ts';
import { Switchboard } from '../src/daemon/switchboard.ts';
import { openAccountNotes } from '../src/store/account-notes.ts';
import { openLeaseNotes } from '../src/store/lease-notes.ts';
import { openStateFile, type StateFileReading } from '../src/store/state-file.ts';
import { parseState } from '../src/store/state-format.ts';
import { Checker } from './checker.ts';
import { SimulatedDisk, STATE_DIR } from './disk.ts';
import { readState } from './durable-states.ts';
import { History } from './history.ts';
import { RUNTIME_DIR, SimulatedMemory } from './memory.ts';
import { Network } from './network.ts';
import { Random } from './random.ts';
import { CONFIGS, type Config, type Effect, type Scenario } from './scenario.ts';
import { MachineClock, Process, World } from './world.ts';

/** What keeps a daemon from starting. */
type Refusal = 'damaged' | 'unwritable' | 'clock' | 'configuration';

/** After a failed write the longest rest before the next, and a little. */
const RETRIED_MS = 6_000;

/** The machine: its clocks, disk and memory, the daemon that runs on it or not, and whoever starts it again. */
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
  /** What runs beside the daemon, and ends with the power. */
  readonly onPowerCut: (() => void)[] = [];
  /** The file with the configuration, and what of it is in effect. */
  config: Config;
  #inEffect: Config;
  daemon: Process | undefined;
  #broker: Broker | undefined;
  #switchboard: Switchboard | undefined;
  #killAt: { readonly effect: Effect; left: number } | undefined;
  #isOpen = false;
  #isDamaged = false;
  #undamaged: Buffer | undefined;
  #lastWhole: Buffer | undefined;
  #troubleEndedMs = -RETRIED_MS;
  #starts = 0;
  /** The machine is off. */
  #isOff = false;
  readonly #policy: Scenario['policy'];

  constructor(scenario: Scenario) {
    this.random = new Random(scenario.seed, 1);
    this.config = CONFIGS[scenario.config] ?? CONFIGS[0];
    this.#inEffect = this.config;
    this.#policy = scenario.policy;
    this.disk = new SimulatedDisk(this.world, new Random(scenario.seed, 2));
    this.disk.stepMs = scenario.stepMs;
    this.checker = new Checker(
      {
        nowMs: () => this.world.nowMs,
        wallMs: () => this.clock.wallMs(),
        uptimeMs: () => this.clock.uptimeMs(),
        possible: () => this.disk.possible(),
        isDaemonRunning: () => this.daemon?.isRunning ?? false,
        isDiskAtRest: () => this.disk.isIdle && this.world.nowMs > this.#troubleEndedMs + RETRIED_MS,
        termsOf: (account) => {
          const { exchange = DEFAULT_EXCHANGE, pacing } = this.#inEffect.accounts[account] ?? {};
          return { exchange, pacing };
        },
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
      const bytes = this.disk.read();
      // The last thing in it is a line end, without which it would pass for JSON and not for a state.
      const isWhole = typeof readState(bytes) !== 'string' && bytes?.at(-1) === 0x0a;
      if (!this.#isDamaged && isWhole) this.#lastWhole = bytes;
      this.checker.diskChanged();
    };
    this.disk.hit = (step) => this.#hit(step);
    this.memory.hit = () => this.#hit('note');
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

  /** Ends the turn: what has become of it is judged. Throws a Violation. */
  judge(): void {
    this.checker.timePassed();
    this.checker.endTurn();
  }

  // The daemon.

  /** As `startDaemon` puts it together, with this machine in place of the real one. */
  start(): void {
    if (this.daemon !== undefined || this.#isOff) return;
    this.#starts += 1;
    const daemon = new Process(`daemon ${this.#starts}`, this.world, this.clock);
    this.daemon = daemon;
    this.#compose(daemon).then((refusal) => {
      if (refusal !== undefined && daemon.isAlive) this.#refused(refusal);
    });
  }

  async #compose(daemon: Process): Promise<Refusal | undefined> {
    const bytes = this.disk.read();
    const reading = readingOf(bytes);
    if (reading === undefined) return 'damaged';
    const wasDamaged = this.#isDamaged;
    const wallMs = daemon.wallMs();
    const before = reading.kind === 'state' ? reading.state : undefined;
    const identity = {
      instance: before?.instance ?? '0123456789abcdef0123456789abcdef',
      epoch: (before?.epoch ?? 0) + 1,
      pid: 4711,
      socket: `${RUNTIME_DIR}/nonced.sock`,
    };
    const steps = this.disk.stepsFor(daemon);
    const store = openStateFile({ dir: STATE_DIR, dirFd: 3, identity, found: reading, steps });
    const config = this.config;
    const policies = policiesOf(config);
    const fresh: DurableState = { ...freshState('ns', wallMs), exclusive: this.#policy };
    const starting = startingState(before?.state ?? fresh, policies, (unit) => nonceFloorAt(wallMs, unit));
    if ('problem' in starting) return 'configuration';
    const { state } = starting;
    if (before === undefined && (await store.write(state)) !== undefined) return 'unwritable';
    const place = { dir: RUNTIME_DIR, bootId: this.clock.bootId, steps: this.memory.steps };
    const leases = openLeaseNotes({ ...place, monotonicMs: daemon.monotonicMs(), capacity: 64 });
    const accounts = openAccountNotes({ ...place, monotonicMs: daemon.monotonicMs(), capacity: 64 });
    let failed: Error | undefined;
    const broker = new Broker({
      clock: daemon,
      bootId: this.clock.bootId,
      state,
      store,
      notes: leases.notes,
      found: leases.found,
      accountNotes: accounts.notes,
      accountsFound: accounts.found,
      policies,
      onWritten: () => switchboard.arm(),
      observer: this.#observer((error) => {
        failed = error;
        // As with `onFailed`: sockets are closed and the process ends, both in this turn.
        if (this.daemon === daemon && this.#isOpen) this.end(`failed, ${error.message}`);
      }),
    });
    if (!broker.clockIsPlausible) return 'clock';
    const failure = failed ?? (await broker.start());
    if (failure !== undefined) return 'unwritable';
    const switchboard: Switchboard = new Switchboard({
      clock: daemon,
      broker,
      waitingPerClient: DEFAULT_LIMITS.waitingPerClient,
      version: '0.0.0',
      instance: identity.instance,
      pid: identity.pid,
      epoch: identity.epoch,
      afterInput: (done) => daemon.defer(done),
    });
    if (!daemon.isAlive) return undefined;
    this.network.listen(daemon, switchboard);
    this.#broker = broker;
    this.#switchboard = switchboard;
    this.#isOpen = true;
    this.#follow(config);
    this.#undamaged = undefined;
    this.checker.daemonOpened(bytes ?? this.disk.read(), wasDamaged);
    broker.open();
    switchboard.arm();
    return undefined;
  }

  #observer(failed: (error: Error) => void): Observer {
    return {
      failed,
      observe: (event) => this.history.note(textOf(event).text),
    };
  }

  #refused(refusal: Refusal): void {
    this.history.note(`the daemon does not start: ${refusal}`);
    this.strike(`start refused: ${refusal}`);
    this.#gone(`refused, ${refusal}`, true, 1_000);
    if (refusal !== 'damaged') return;
    // Its operator brings back what was there; or, after a write that was cut short, what was there before.
    this.disk.replaceBy(this.#undamaged ?? this.#lastWhole);
    this.#isDamaged = false;
  }

  /** The process ends, at whatever point it is, and is started again soon. */
  end(how: string, againInMs = this.random.between(5, 600)): void {
    if (this.daemon === undefined) return;
    this.#gone(how, true, againInMs);
  }

  #gone(how: string, keepsNotes: boolean, againInMs: number | undefined): void {
    const daemon = this.daemon;
    this.daemon = undefined;
    this.#broker = undefined;
    this.#switchboard = undefined;
    this.#isOpen = false;
    this.#killAt = undefined;
    this.disk.killed();
    this.checker.daemonDied(how, keepsNotes, how.startsWith('killed at'));
    daemon?.die();
    if (againInMs !== undefined) this.world.after(againInMs, () => this.start());
  }

  /** A clean stop; it ends when its last write does. */
  stop(): void {
    const daemon = this.daemon;
    const broker = this.#broker;
    if (daemon === undefined || broker === undefined) return;
    this.strike('clean stop');
    this.history.note('the daemon is told to stop');
    this.checker.daemonStops();
    broker.stop().then(() => {
      if (this.daemon === daemon) this.end('stopped');
    });
  }

  killAt(effect: Effect, nth: number): void {
    this.#killAt = { effect, left: nth };
  }

  /** Called before an effect of the daemon's; answers false where it dies of it, and the effect is lost. */
  #hit(effect: Effect): boolean {
    if (this.daemon === undefined) return false;
    if (this.#killAt?.effect !== effect) return true;
    this.#killAt.left -= 1;
    if (this.#killAt.left > 0) return true;
    this.strike(`killed at ${effect}`);
    this.end(`killed at ${effect}`);
    return false;
  }

  /** An operator edits the configuration, and the daemon is told. */
  configure(config: Config): void {
    this.config = config;
    const daemon = this.daemon;
    const switchboard = this.#switchboard;
    this.#broker?.follow(policiesOf(config)).then((followed) => {
      if (this.daemon !== daemon) return;
      if (!('code' in followed)) this.#follow(config);
      switchboard?.arm();
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
    this.#gone('power cut', false, undefined);
    for (const tell of this.onPowerCut) tell();
    this.disk.cut();
    this.memory.reboot();
    this.clock.reboot(downMs, offMs);
    this.checker.rebooted();
    if (offMs !== 0) this.checker.wallStepped();
    if (offMs < -60_000 || offMs > 0) this.checker.clockIsLoose();
    this.world.after(downMs, () => {
      this.#isOff = false;
      this.start();
    });
    if (offMs < -60_000) {
      // Its time service corrects a clock that has lost its battery.
      this.world.after(downMs + 5_000, () => this.clock.step(-offMs));
    }
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

  /** A byte of the notes is damaged while no daemon runs. */
  damageNotes(file: 'leases' | 'accounts', at: number): void {
    this.end('killed for an accident');
    const slots = [0, ...this.memory.used(file)];
    const slot = slots[at % slots.length] ?? 0;
    if (!this.memory.damage(file, slot + (at % 124))) return;
    this.strike(`notes of ${file} damaged`);
    if (file === 'leases') this.checker.notesDamaged('for certain');
    else this.checker.breakersForgotten();
  }

  /** The state is damaged while no daemon runs: the next one must refuse it (I9). */
  damageState(how: 'flip' | 'cut' | 'empty', at: number): void {
    this.end('killed for an accident');
    const bytes = this.disk.read();
    if (bytes === undefined || this.#isDamaged || readingOf(bytes) === undefined) return;
    const damaged =
      how === 'cut' ? bytes.subarray(0, at % bytes.length) : how === 'empty' ? Buffer.alloc(0) : flipped(bytes, at);
    this.#undamaged = bytes;
    this.#isDamaged = true;
    this.disk.replaceBy(damaged);
    this.strike(`state damaged: ${how}`);
  }
}

/** A digit becomes another: the likeliest damage to be taken for a state. */
function flipped(bytes: Buffer, at: number): Buffer {
  const copy = Buffer.from(bytes);
  let index = at % copy.length;
  while (!isDigit(copy.readUInt8(index))) index = (index + 1) % copy.length;
  copy.writeUInt8(0x30 + ((copy.readUInt8(index) - 0x30 + 1 + (at % 8)) % 10), index);
  return copy;
}

const isDigit = (byte: number): boolean => byte >= 0x30 && byte <= 0x39;

/** Undefined for a state that must be refused (I9). */
function readingOf(bytes: Buffer | undefined): StateFileReading | undefined {
  if (bytes === undefined) return { kind: 'absent' };
  const parsed = parseState(bytes);
  return parsed.kind === 'state' ? { ...parsed, bytes } : undefined;
}

function policiesOf({ sequences, accounts }: Config): Policies {
  const of = (account: string): AccountPolicy => {
    const { exchange = DEFAULT_EXCHANGE, sequence = DEFAULT_SEQUENCE, pacing } = accounts[account] ?? {};
    return { exchange, sequence, pacing };
  };
  return { sequences: new Map(sequences.map((name) => [name, { unit: 'ns', max: MAX_NONCE }])), of };
}
