import type { Exchange } from './exchange.ts';
import type { Fault, FaultKind } from './exchange-faults.ts';
import type { WitnessedCall } from './exchange-witness.ts';

/** What a rehearsal puts a bot through, in this order, and the words for it. */
export const ACTS = {
  calm: 'nothing goes wrong',
  hang: 'one call is never answered',
  'rate-limit': 'every call is refused for the call rate',
  maintenance: 'the exchange answers HTTP 503',
  reset: 'one connection breaks in the middle of an answer',
  kill: 'the daemon is killed (kill -9) and started again',
  restart: 'the daemon is restarted while a call is under way',
  // The last one: a bot that does as the daemon says makes no call for a quarter of an hour.
  lockout: 'every key is locked out for a while',
} as const;

export type ActName = keyof typeof ACTS;

export interface Timing {
  readonly calmMs: number;
  /** How long calls are refused for the call rate, and for a lockout. */
  readonly refusedMs: number;
  readonly maintenanceMs: number;
  /** How long the call takes during which the daemon is restarted. */
  readonly slowMs: number;
  /** How long a bot is watched once its calls are accepted again. */
  readonly settleMs: number;
  /** How long to wait for a call to go wrong, and for one to be accepted again. */
  readonly limitMs: number;
}

/** What an act is played with. Every promise rejects once the rehearsal is stopped. */
export interface Stage {
  readonly exchange: Exchange;
  /** `kill` and `restart` resolve when the daemon answers again. `amnesty` closes all circuit breakers. */
  readonly daemon: { kill(): Promise<void>; restart(): Promise<void>; amnesty(): Promise<void> };
  readonly nowMs: () => number;
  pause(ms: number): Promise<void>;
}

/** An act that was played. Times are those of the exchange's clock. */
export interface PlayedAct {
  readonly name: ActName;
  readonly startMs: number;
  readonly endMs: number;
  /** When it went wrong, and from when calls could be accepted again; undefined if nothing went wrong. */
  readonly trouble: { readonly fromMs: number; readonly toMs: number } | undefined;
}

const LOOK_EVERY_MS = 25;

/** A bot that was granted so many leases and has made no call here calls somewhere else. */
const SILENT_GRANTS = 3;
const SILENT_MS = 2_000;

/**
 * Waits for the first call of the bot. Returns false if none came in time. It returns sooner, to keep the harm small,
 * if leases were granted and no call came: then the bot calls a real exchange.
 */
export async function firstCall({ exchange, pause, nowMs }: Stage, limitMs: number, grants: () => number) {
  const deadlineMs = nowMs() + limitMs;
  let silentFromMs: number | undefined;
  while (exchange.report().calls === 0) {
    if (silentFromMs === undefined && grants() >= SILENT_GRANTS) silentFromMs = nowMs();
    if (nowMs() >= Math.min(deadlineMs, (silentFromMs ?? Number.POSITIVE_INFINITY) + SILENT_MS)) return false;
    await pause(LOOK_EVERY_MS);
  }
  return true;
}

/** Plays one act to its end: the trouble, the first call that is accepted after it, and some time of watching. */
export async function playAct(name: ActName, stage: Stage, timing: Timing): Promise<PlayedAct> {
  const { exchange, daemon, nowMs, pause } = stage;
  const startMs = nowMs();
  const first = exchange.report().calls;
  // An account that an earlier act left quarantined would sit out this one.
  await daemon.amnesty();
  const trouble = await makeTrouble(name, stage, timing);
  if (trouble !== undefined) {
    const { toMs } = trouble;
    const isOver = () => exchange.unanswered() === 0 && exchange.ledger(first).some((call) => isWell(call, toMs));
    if (mustRecover(name)) await until(isOver, timing.limitMs, stage);
    await pause(timing.settleMs);
  }
  exchange.clearFaults();
  // A bot without a time limit of its own waits for ever, and would sit out all later acts.
  exchange.dropUnanswered();
  return { name, startMs, endMs: nowMs(), trouble };
}

/** Whether a correct bot makes calls again soon after the act. */
export function mustRecover(name: ActName): boolean {
  return name !== 'calm' && name !== 'lockout';
}

/** Whether the call came after `fromMs` and was accepted, and its answer was not spoilt. */
export function isWell({ arrivedAtMs, verdict, fault }: WitnessedCall, fromMs: number): boolean {
  return arrivedAtMs >= fromMs && verdict === 'accepted' && (fault === undefined || fault === 'delay');
}

async function makeTrouble(name: ActName, stage: Stage, timing: Timing): Promise<PlayedAct['trouble']> {
  const { daemon, nowMs, pause } = stage;
  switch (name) {
    case 'calm':
      await pause(timing.calmMs);
      return undefined;
    case 'hang':
      return hitOne({ kind: 'hang', carriedOut: true }, stage, timing);
    case 'reset':
      return hitOne({ kind: 'reset-body' }, stage, timing);
    case 'rate-limit':
      return during({ kind: 'rate-limited' }, timing.refusedMs, stage);
    case 'lockout': {
      const { fromMs } = await during({ kind: 'locked-out' }, timing.refusedMs, stage);
      // Otherwise the daemon would let the accounts rest for a quarter of an hour, as a real lockout requires.
      await daemon.amnesty();
      return { fromMs, toMs: nowMs() };
    }
    case 'maintenance':
      return during({ kind: 'status', status: 503 }, timing.maintenanceMs, stage);
    case 'kill': {
      const fromMs = nowMs();
      await daemon.kill();
      return { fromMs, toMs: fromMs };
    }
    case 'restart': {
      const hit = await waitForHit({ kind: 'delay', delayMs: timing.slowMs }, timing.limitMs, stage);
      if (hit === undefined) return undefined;
      const fromMs = nowMs();
      await daemon.restart();
      return { fromMs, toMs: fromMs };
    }
  }
}

async function during(fault: Fault, ms: number, { exchange, nowMs, pause }: Stage) {
  const fromMs = nowMs();
  const end = exchange.injectFault(fault);
  await pause(ms);
  end();
  return { fromMs, toMs: nowMs() };
}

/** Hits an order if the bot places any, where it hurts most; otherwise the next call. */
async function hitOne(fault: Fault, stage: Stage, { limitMs }: Timing): Promise<PlayedAct['trouble']> {
  const placesOrders = stage.exchange.report().orders > 0;
  const hit =
    (placesOrders && (await waitForHit({ ...fault, method: 'AddOrder' }, limitMs / 2, stage))) ||
    (await waitForHit(fault, limitMs, stage));
  return hit === undefined ? undefined : { fromMs: hit, toMs: hit };
}

/** Injects the fault for one call. Returns when it hit one; undefined if none came in time. */
async function waitForHit(fault: Fault, limitMs: number, stage: Stage): Promise<number | undefined> {
  const { exchange, nowMs } = stage;
  const hits = (kind: FaultKind) => exchange.report().faults[kind] ?? 0;
  const before = hits(fault.kind);
  const takeBack = exchange.injectFault({ ...fault, calls: 1 });
  const hasHit = await until(() => hits(fault.kind) > before, limitMs, stage);
  takeBack();
  return hasHit ? nowMs() : undefined;
}

async function until(
  isSo: () => boolean,
  limitMs: number,
  { nowMs, pause }: Pick<Stage, 'nowMs' | 'pause'>,
): Promise<boolean> {
  const deadlineMs = nowMs() + limitMs;
  while (!isSo()) {
    if (nowMs() >= deadlineMs) return false;
    await pause(LOOK_EVERY_MS);
  }
  return true;
}
