import { Bot } from './bot.ts';
import { Violation } from './checker.ts';
import { Exchange } from './exchange.ts';
import { Host } from './host.ts';
import { RawPeer } from './raw-peer.ts';
import { BEGINS_MS, CONFIGS, type Scenario, type Step } from './scenario.ts';
import { forgetStorages, rememberStorages } from './storages.ts';
import { Process } from './world.ts';

/** After the last step everything works again, and everything that waits must end, also a siege, call by call. */
const HEALING_MS = 300_000;
/** A run that has not come to rest by then never does. */
const MOST_TURNS = 200_000;

export interface Failure {
  /** The invariant, or `defect` for an error that the code under test has thrown. */
  readonly invariant: string;
  readonly message: string;
}

export interface Run {
  readonly failure: Failure | undefined;
  /** How often each fault struck, each kind of answer was given, and so on. */
  readonly coverage: ReadonlyMap<string, number>;
  readonly turns: number;
  /** Virtual time. */
  readonly lastedMs: number;
  history(): readonly string[];
}

/** Takes the unhandled rejections of the run that is under way. There is never more than one run. */
let unhandled: ((error: unknown) => void) | undefined;
let isListening = false;

/**
 * Runs a scenario, from the first start of the daemon to the last answer. The same scenario always has the same result.
 */
export async function run(scenario: Scenario): Promise<Run> {
  if (!isListening) {
    isListening = true;
    rememberStorages();
    process.on('unhandledRejection', (error) => unhandled?.(error));
  }
  const host = new Host(scenario);
  const { world, history } = host;
  let failure: Failure | undefined;
  const defect = (error: unknown): void => {
    failure ??= {
      invariant: 'defect',
      message: error instanceof Error ? (error.stack ?? error.message) : String(error),
    };
  };
  unhandled = defect;
  const exchange = new Exchange(host);
  const bots = Array.from(
    { length: scenario.bots },
    (_, number) => new Bot(host, exchange, number, scenario.seed, defect),
  );
  const operator = new Process('operator', world, host.clock);
  for (const step of scenario.steps) {
    world.after(step.atMs - BEGINS_MS, () => {
      history.note('step', step);
      take(step, host, exchange, bots, operator);
    });
  }
  const endOfStepsMs = (scenario.steps.at(-1)?.atMs ?? 0) - BEGINS_MS;
  world.after(endOfStepsMs + 1, () => {
    history.note('everything works again');
    host.endTrouble();
    host.disk.stepMs = 0.25;
    host.memory.trouble = undefined;
  });
  host.start();
  const turnEnded = (): boolean => {
    try {
      host.judge();
      if (world.turns > MOST_TURNS) throw new Violation('rest', 'it never comes to rest');
    } catch (error) {
      if (!(error instanceof Violation)) throw error;
      failure ??= { invariant: error.invariant, message: error.message };
    }
    return failure !== undefined;
  };
  try {
    await world.run(endOfStepsMs + HEALING_MS, turnEnded);
    if (failure === undefined) {
      host.checker.atEnd();
      if (!host.isServing) throw new Violation('rest', 'no daemon serves although everything works');
      for (const { unsettled, process } of bots) {
        for (const { kind } of unsettled) throw new Violation('client', `an ${kind} of ${process.name} never settles`);
      }
    }
  } catch (error) {
    if (error instanceof Violation) failure = { invariant: error.invariant, message: error.message };
    else defect(error);
  }
  unhandled = undefined;
  // Nothing of this run may go on in the next one.
  for (const { process } of bots) process.die();
  host.daemon?.die();
  forgetStorages();
  if (failure !== undefined) history.note(`${failure.message}`);
  const coverage = new Map([...host.struck, ...host.checker.coverage()]);
  return { failure, coverage, turns: world.turns, lastedMs: world.nowMs, history: () => history.lines() };
}

function take(step: Step, host: Host, exchange: Exchange, bots: readonly Bot[], operator: Process): void {
  if ('bot' in step) {
    const bot = bots[step.bot];
    host.strike(step.kind);
    if (step.kind === 'crash-bot') bot?.crash(step.downMs);
    else if (step.kind === 'stall-bot') bot?.stall(step.ms);
    else if (step.kind === 'cut-off-bot') exchange.cutOff(step.bot, step.ms);
    else bot?.perform(step);
    return;
  }
  switch (step.kind) {
    case 'kill':
      if (host.isOpen) host.strike('kill');
      host.end('killed');
      break;
    case 'kill-at':
      host.killAt(step.effect, step.nth);
      break;
    case 'stop':
      host.stop();
      break;
    case 'stall-daemon': {
      const { daemon } = host;
      if (daemon === undefined) break;
      host.strike('daemon stalled');
      daemon.stop();
      host.checker.stalled(step.ms);
      host.world.after(step.ms, () => daemon.continue());
      break;
    }
    case 'power-cut':
      if (host.isOff) break;
      host.strike('power cut');
      host.powerCut(step.downMs, step.offMs);
      break;
    case 'disk-trouble':
      host.strike(`disk ${step.trouble}`);
      host.diskTrouble(step.trouble, step.ms);
      break;
    case 'slow-disk': {
      const { stepMs } = host.disk;
      host.strike('disk slow');
      host.checker.stalled(step.ms + 10_000);
      host.disk.stepMs = step.stepMs;
      host.world.after(step.ms, () => {
        host.disk.stepMs = Math.min(stepMs, 15);
      });
      break;
    }
    case 'notes-trouble':
      host.strike(`notes ${step.trouble}`);
      host.memory.trouble = step.trouble;
      host.checker.notesDamaged('perhaps');
      host.world.after(400, () => {
        host.memory.trouble = undefined;
      });
      break;
    case 'damage-notes':
      host.damageNotes(step.file, step.at);
      break;
    case 'damage-state':
      host.accidents.damage(step.how, step.at);
      break;
    case 'lose-state':
      host.accidents.lose(step.left);
      break;
    case 'lose-notes':
      host.loseNotes();
      break;
    case 'replace-state':
      host.accidents.replace(step.by);
      break;
    case 'wall-step':
      host.strike(step.ms > 0 ? 'clock forward' : 'clock back');
      host.clock.step(step.ms);
      host.checker.wallStepped();
      break;
    case 'pause-machine':
      host.strike('machine paused');
      host.clock.pause(step.ms);
      host.checker.wallStepped();
      break;
    case 'suspend':
      host.strike('suspend');
      host.clock.suspend(step.ms);
      break;
    case 'break':
      if (host.network.breakOne()) host.strike('connection broken');
      break;
    case 'foreign-use':
      host.strike('foreign use of a key');
      exchange.foreignUse(step.account);
      break;
    case 'exchange-down':
      host.strike('exchange down');
      exchange.goDown(step.ms);
      break;
    case 'edit':
      host.strike(step.config === 0 ? 'configuration lost' : 'configuration edited for the next start');
      host.edit(CONFIGS[step.config] ?? CONFIGS[0]);
      break;
    case 'configure':
      host.strike('configuration edited');
      host.configure(CONFIGS[step.config] ?? CONFIGS[0]);
      break;
    default:
      operate(step, host, operator);
  }
}

/** Asks what operators ask for on their own socket. */
function operate(step: Step, host: Host, operator: Process): void {
  const peer = new RawPeer(host.network, operator, 'admin', 'msgpack');
  host.strike(step.kind);
  switch (step.kind) {
    case 'pause':
      peer.request('pause', { account: step.account });
      break;
    case 'resume':
      peer.request('resume-account', { account: step.account });
      break;
    case 'exclude':
      peer.request('set-exclusive', { policy: step.policy });
      break;
    case 'advance': {
      const account = step.account === undefined ? {} : { account: step.account };
      const target = step.by === undefined ? { to: 'now' } : { by: BigInt(step.by) };
      if (step.by === undefined) host.checker.clockIsLoose();
      peer.request('advance', { ...account, ...target, maxLeadMs: 3_600_000 });
      break;
    }
  }
  operator.after(20_000, () => peer.close());
}
