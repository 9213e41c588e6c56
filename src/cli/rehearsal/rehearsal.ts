import { randomBytes } from 'node:crypto';
import { closeSync, openSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Clock } from '../../clock.ts';
import {
  ACTS,
  type ActName,
  firstCall,
  type PlayedAct,
  playAct,
  type Stage,
  type Timing,
} from '../../rehearsal/acts.ts';
import { type Exchange, startExchange } from '../../rehearsal/exchange.ts';
import { findingsOf, notesOf } from '../../rehearsal/findings.ts';
import { HandedOut } from '../../rehearsal/handed-out.ts';
import { type Evidence, reportOf, sinsOf } from '../../rehearsal/judge.ts';
import type { ExclusionPolicy, Unit } from '../../terms.ts';
import { botEnvironment } from './environment.ts';
import { PrivateDaemon } from './private-daemon.ts';
import type { RehearsalReport } from './report-text.ts';
import { pauseUnless, Stopped } from './stop.ts';
import { SupervisedBot } from './supervised-bot.ts';

export interface Plan {
  readonly command: readonly string[];
  readonly acts: readonly ActName[];
  readonly timing: Timing;
  readonly accounts: readonly string[];
  readonly exclusive: ExclusionPolicy;
  readonly unit: Unit | undefined;
  readonly config: string | undefined;
  readonly isOwnClock: boolean;
  /** Undefined if the bot is not started again. */
  readonly restartAfterMs: number | undefined;
  /** Variables that the bot gets although they look like credentials. */
  readonly passed: readonly string[];
}

export interface Surroundings {
  /** An empty directory that no other user may enter. */
  readonly dir: string;
  readonly clock: Clock;
  readonly variables: NodeJS.ProcessEnv;
  /** Aborts when the rehearsal must end. */
  readonly interrupt: AbortSignal;
  /** Aborts when nothing may be waited for any more. */
  readonly kill: AbortSignal;
  readonly say: (text: string) => void;
}

/** By how much calls on a network may overtake each other. */
const NETWORK_MS = [5, 25] as const;

/** Puts a bot through the acts, and returns what it did. Whatever happens, nothing is left running. */
export async function runRehearsal(plan: Plan, around: Surroundings): Promise<RehearsalReport> {
  const { clock } = around;
  const originMs = clock.wallMs() - clock.monotonicMs();
  // The wall clock at the start plus the time since then: it does not step.
  const nowMs = () => originMs + clock.monotonicMs();
  const exchange = await startExchange(
    { keys: plan.accounts.map((account) => ({ account })), delayMs: NETWORK_MS },
    { nowMs, after: clock.after, random: randomBytes },
  );
  try {
    return await rehearseAt(exchange, nowMs, plan, around);
  } finally {
    await exchange.close();
  }
}

async function rehearseAt(
  exchange: Exchange,
  nowMs: () => number,
  plan: Plan,
  { clock, dir, interrupt, kill, say, variables }: Surroundings,
): Promise<RehearsalReport> {
  const stopping = new AbortController();
  const stop = (reason: Error) => stopping.abort(reason);
  interrupt.addEventListener('abort', () => stop(new Stopped('interrupted')), { once: true });
  const { unit, config, command, restartAfterMs } = plan;
  const daemon = new PrivateDaemon({ dir, clock, unit, config, stopping: stopping.signal, onFailed: stop }, variables);
  const environment = botEnvironment(variables, filesFor(exchange, daemon.socket, dir), plan.passed);
  const output = openSync(join(dir, 'bot.log'), 'a');
  const onGone = () => stop(new Stopped('gone'));
  const bot = new SupervisedBot({
    command,
    variables: environment.variables,
    output,
    clock,
    nowMs,
    restartAfterMs,
    onGone,
  });
  kill.addEventListener('abort', () => {
    bot.kill();
    daemon.abandon();
  });
  const stage: Stage = { exchange, daemon, nowMs, pause: pauseUnless(stopping.signal, clock) };
  const startMs = nowMs();
  const played: PlayedAct[] = [];
  let ending: RehearsalReport['ending'] = 'complete';
  try {
    await daemon.begin(plan.exclusive);
    if (environment.withheld.length > 0) say(`kept from the bot: ${environment.withheld.join(', ')} (--pass-env)`);
    say(
      `the exchange is ${exchange.url}, the daemon ${daemon.socket}; what the bot prints goes to ${join(dir, 'bot.log')}`,
    );
    await bot.start();
    const grants = () => new HandedOut(daemon.log()).grants;
    if (await firstCall(stage, plan.timing.limitMs, grants)) {
      for (const [index, act] of plan.acts.entries()) {
        say(`act ${index + 1} of ${plan.acts.length}, ${act}: ${ACTS[act]}`);
        played.push(await playAct(act, stage, plan.timing));
      }
    } else {
      ending = 'unheard';
    }
  } catch (reason) {
    // A step of an act may fail only because the rehearsal is being stopped.
    const cause = stopping.signal.aborted ? stopping.signal.reason : reason;
    if (!(cause instanceof Stopped)) throw cause;
    ending = cause.ending;
  } finally {
    await bot.stop();
    await daemon.stop();
    closeSync(output);
  }
  return judged(plan, { exchange, daemon, bot, played, ending, durationMs: nowMs() - startMs });
}

interface Left {
  readonly exchange: Exchange;
  readonly daemon: PrivateDaemon;
  readonly bot: SupervisedBot;
  readonly played: readonly PlayedAct[];
  readonly ending: RehearsalReport['ending'];
  readonly durationMs: number;
}

function judged(plan: Plan, { exchange, daemon, bot, played, ending, durationMs }: Left): RehearsalReport {
  const evidence: Evidence = {
    acts: played,
    calls: exchange.ledger(),
    handedOut: new HandedOut(daemon.log()),
    ends: bot.ends,
    isGone: ending === 'gone',
    // With a configuration, accounts may be on several exchanges, whose lanes `global` does not join.
    lanes: plan.exclusive === 'global' && plan.config !== undefined ? 'account' : plan.exclusive,
    isOwnClock: plan.isOwnClock,
  };
  const sins = sinsOf(evidence);
  const acts = reportOf(evidence, sins);
  const isHeard = ending !== 'interrupted' || evidence.calls.length > 0;
  return {
    ending,
    durationMs: Math.round(durationMs),
    acts,
    findings: isHeard ? findingsOf(evidence, sins, acts) : [],
    notes: notesOf(evidence, acts),
    restarts: bot.restarts,
  };
}

/** Writes the invented keys into files that no other user may read, in the form that the examples take. */
function filesFor({ url, keys }: Exchange, socket: string, dir: string) {
  const [first = { key: '', secret: '' }] = keys;
  const write = (name: string, text: string) => {
    const path = join(dir, name);
    writeFileSync(path, text, { mode: 0o600 });
    return path;
  };
  return {
    socket,
    url,
    key: first.key,
    secret: first.secret,
    keysFile: write('keys.json', `${JSON.stringify({ url, keys }, undefined, 2)}\n`),
    keyFile: write('key', `${first.key}\n`),
    secretFile: write('secret', `${first.secret}\n`),
  };
}
