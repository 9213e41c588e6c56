import { ACTS, type ActName, isWell, type PlayedAct } from './acts.ts';
import { parseNonce } from './exchange-keys.ts';
import type { WitnessedCall } from './exchange-witness.ts';
import type { HandedOut } from './handed-out.ts';
import { repeatedOrders } from './orders.ts';

/** An end of the bot that the rehearsal did not ask for. */
export interface BotEnd {
  readonly atMs: number;
  readonly code: number | NodeJS.Signals;
}

/** What is judged after a rehearsal. Times are those of the exchange's clock. */
export interface Evidence {
  readonly acts: readonly PlayedAct[];
  /** Every private call, in the order of arrival. */
  readonly calls: readonly WitnessedCall[];
  readonly handedOut: HandedOut;
  readonly ends: readonly BotEnd[];
  /** Whether it was not started again after its last end. */
  readonly isGone: boolean;
  /** What may have only one call at a time: everything, each account, or nothing. */
  readonly lanes: 'global' | 'account' | 'off';
  /** Whether the bot's programs make their own nonces on purpose. */
  readonly isOwnClock: boolean;
}

/** What the bot did in one act. */
export interface ActReport {
  readonly act: ActName;
  readonly title: string;
  /** False if no call came that could go wrong. */
  readonly happened: boolean;
  readonly calls: number;
  readonly accepted: number;
  readonly rejectedNonces: number;
  readonly ordersTwice: number;
  /** Calls with a nonce that the daemon never handed out. */
  readonly withoutGrant: number;
  /** Calls that arrived while another call of their lane was under way. */
  readonly overlaps: number;
  /** The longest time without an accepted call. */
  readonly longestStallMs: number;
  /** From when calls could be accepted again to the first that was; null if none was, or nothing went wrong. */
  readonly recoveredMs: number | null;
}

/** The calls by what was wrong with them. A call belongs to the act in which it arrived. */
export interface Sins {
  readonly rejectedNonces: readonly WitnessedCall[];
  readonly ordersTwice: readonly WitnessedCall[];
  readonly withoutGrant: readonly WitnessedCall[];
  readonly overlaps: readonly WitnessedCall[];
  /** Calls with a nonce that an earlier call had already carried. */
  readonly nonceTwice: readonly WitnessedCall[];
  /** Calls that were made after several answers of a lockout. */
  readonly calledOn: readonly WitnessedCall[];
  /** Calls that waited for an answer until the rehearsal cut them off: nothing else would have ended them. */
  readonly endless: readonly WitnessedCall[];
  /** Calls with an unknown key or a wrong signature, so that the exchange cannot tell who made them. */
  readonly foreign: readonly WitnessedCall[];
}

/** The exchange sees that a client gave up a call a little later than the client's next call. */
const ABANDONED_SLACK_MS = 250;
/** A bot that still calls after so many answers of a lockout ignores it. */
const LOCKOUT_ANSWERS = 3;

export function sinsOf({ calls, handedOut, lanes, isOwnClock }: Evidence): Sins {
  const carried = new Set<string>();
  const nonceTwice: WitnessedCall[] = [];
  for (const call of calls) {
    if (call.nonce === undefined) continue;
    const carrier = `${call.key} ${call.nonce}`;
    if (carried.has(carrier)) nonceTwice.push(call);
    carried.add(carrier);
  }
  return {
    rejectedNonces: calls.filter(({ verdict, fault }) => verdict === 'invalid-nonce' && fault !== 'invalid-nonce'),
    ordersTwice: repeatedOrders(calls),
    withoutGrant: isOwnClock ? [] : calls.filter(({ nonce }) => nonce !== undefined && !isHandedOut(nonce, handedOut)),
    overlaps: overlapsOf(calls, lanes),
    nonceTwice,
    calledOn: calledOn(calls),
    endless: calls.filter(({ fault, abandoned }) => fault === 'hang' && !abandoned),
    foreign: calls.filter(({ verdict }) => verdict === 'invalid-key' || verdict === 'invalid-signature'),
  };
}

export function reportOf({ acts, calls }: Evidence, sins: Sins): ActReport[] {
  return acts.map(({ name, startMs, endMs, trouble }) => {
    const within = (list: readonly WitnessedCall[]) => list.filter((call) => isWithin(call, { startMs, endMs }));
    const accepted = within(calls).filter((call) => isWell(call, startMs));
    const after = trouble && calls.find((call) => isWell(call, trouble.toMs));
    return {
      act: name,
      title: ACTS[name],
      happened: name === 'calm' || trouble !== undefined,
      calls: within(calls).length,
      accepted: accepted.length,
      rejectedNonces: within(sins.rejectedNonces).length,
      ordersTwice: within(sins.ordersTwice).length,
      withoutGrant: within(sins.withoutGrant).length,
      overlaps: within(sins.overlaps).length,
      longestStallMs: longestGap([startMs, ...accepted.map(({ arrivedAtMs }) => arrivedAtMs), endMs]),
      recoveredMs:
        trouble === undefined || after === undefined || after.arrivedAtMs > endMs
          ? null
          : after.arrivedAtMs - trouble.toMs,
    };
  });
}

export function isWithin({ arrivedAtMs }: WitnessedCall, act: Pick<PlayedAct, 'startMs' | 'endMs'>): boolean {
  return act.startMs <= arrivedAtMs && arrivedAtMs < act.endMs;
}

function isHandedOut(written: string, handedOut: HandedOut): boolean {
  const nonce = parseNonce(written);
  return nonce !== undefined && handedOut.has(nonce);
}

function overlapsOf(calls: readonly WitnessedCall[], lanes: Evidence['lanes']): WitnessedCall[] {
  if (lanes === 'off') return [];
  const busyUntil = new Map<string, number>();
  return calls.filter((call) => {
    // It is unknown who made it.
    if (call.account === undefined) return false;
    const lane = lanes === 'global' ? '' : call.account;
    const until = busyUntil.get(lane) ?? Number.NEGATIVE_INFINITY;
    const slackMs = call.abandoned ? ABANDONED_SLACK_MS : 0;
    const endMs = (call.completedAtMs ?? Number.POSITIVE_INFINITY) - slackMs;
    busyUntil.set(lane, Math.max(until, endMs));
    return call.arrivedAtMs < until;
  });
}

function calledOn(calls: readonly WitnessedCall[]): WitnessedCall[] {
  const answers = new Map<string, number>();
  return calls.filter((call) => {
    if (call.verdict !== 'locked-out') {
      if (call.verdict === 'accepted') answers.delete(call.key);
      return false;
    }
    const before = answers.get(call.key) ?? 0;
    answers.set(call.key, before + 1);
    return before >= LOCKOUT_ANSWERS;
  });
}

function longestGap(moments: readonly number[]): number {
  return moments.slice(1).reduce((longest, at, index) => Math.max(longest, at - (moments[index] ?? at)), 0);
}
