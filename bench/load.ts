import type { Connection } from './peer.ts';

/** Whether the calls of a stretch are the first of their processes, or come after a warm-up. */
export type Heat = 'cold' | 'hot';

/** What the clients of one cell do, the same for every peer. Calls are counted in each client process. */
export interface Load {
  readonly what: 'nonce' | 'exclusive';
  /** Connections, over all client processes. */
  readonly connections: number;
  /** Calls under way on each connection at any time. */
  readonly outstanding: number;
  /** `exclusive` only: how many lanes the callers go round. */
  readonly lanes: number;
  /** How long each call holds its lane, or how long is waited before each nonce. */
  readonly pauseMs: number;
  /** How many of the first calls are measured: the cold ones. */
  readonly coldCalls: number;
  /** How many calls come before the hot ones, the cold ones among them. */
  readonly warmUpCalls: number;
  /** How many calls are measured after that: the hot ones. */
  readonly hotCalls: number;
  /** Ends each of the three stretches for a peer that is too slow to get its calls done. */
  readonly atMostMs: number;
}

/** What one client process is to do. */
export interface Share {
  readonly peer: string;
  readonly endpoint: string;
  readonly load: Load;
  /** How many of the connections are its own, and how many come before them. */
  readonly connections: number;
  readonly firstConnection: number;
}

/** What a client process has seen in a stretch. Times in nanoseconds, by the clock that all processes share. */
export interface Sample {
  readonly latenciesNs: Float64Array;
  /** How long those have waited who still do at the end: some peers let a caller wait for very long. */
  readonly waitingNs: Float64Array;
  /** Of each exclusive call that ended: when it had its grant, and when it gave it back. */
  readonly grantedAtNs: Float64Array;
  readonly releasedAtNs: Float64Array;
}

/** A part of the time under load, in which calls are counted. */
export interface Stretch {
  readonly fromNs: number;
  /** Ends the stretch in this process, once so many calls have ended in it. */
  readonly calls: number;
  readonly atMostMs: number;
}

/** When a stretch began and ended, for all processes. */
export interface Span {
  readonly fromNs: number;
  readonly untilNs: number;
}

/** Nanoseconds by a clock that all processes of this machine share. */
export function nowNs(): number {
  return Number(process.hrtime.bigint());
}

/** First calls of a lane that are under way at once on a connection: ten connections use no more than 500 accounts. */
const FIRST_CALLS = 50;

/**
 * Uses every lane once where callers go round many: an account that is new to the daemon is written down before its
 * first nonce, which happens once in its life and is not what is measured.
 */
export async function introduce(connections: readonly Connection[], { load, firstConnection }: Share): Promise<void> {
  if (load.lanes <= load.connections * load.outstanding) return;
  const introduceOn = async ({ exclusive }: Connection, index: number) => {
    const stride = load.connections * FIRST_CALLS;
    for (let first = firstConnection + index; first < load.lanes; first += stride) {
      const lanes = Array.from({ length: FIRST_CALLS }, (_, nth) => first + nth * load.connections);
      await Promise.all(lanes.filter((lane) => lane < load.lanes).map((lane) => exclusive?.(lane, () => {})));
    }
  };
  await Promise.all(connections.map(introduceOn));
}

/** The callers of one client process. They go on from the first stretch until the process ends. */
export class Callers {
  readonly #connections: readonly Connection[];
  readonly #share: Share;
  /** When each caller began what it waits for; undefined between two calls. */
  readonly #begun: (number | undefined)[] = [];
  /** Of the calls of this stretch. */
  #endedAtNs: number[] = [];
  #latenciesNs: number[] = [];
  #grantedAtNs: number[] = [];
  #releasedAtNs: number[] = [];
  #isLoaded = false;
  #fromNs = Number.POSITIVE_INFINITY;
  #left = 0;
  #enough: () => void = () => {};

  constructor(connections: readonly Connection[], share: Share) {
    this.#connections = connections;
    this.#share = share;
  }

  /** Counts the calls of a stretch, and resolves with when it has ended here. The load goes on. */
  async count({ fromNs, calls, atMostMs }: Stretch): Promise<number> {
    this.#endedAtNs = [];
    this.#latenciesNs = [];
    this.#grantedAtNs = [];
    this.#releasedAtNs = [];
    this.#fromNs = fromNs;
    this.#left = calls;
    const enough = new Promise<void>((resolve) => {
      this.#enough = resolve;
    });
    await sleep((fromNs - nowNs()) / 1e6);
    if (!this.#isLoaded) this.#begin();
    await Promise.race([enough, sleep(atMostMs)]);
    return nowNs();
  }

  /** Returns what was seen in this part of the last stretch. */
  sample({ fromNs, untilNs }: Span): Sample {
    const ended = this.#endedAtNs.map((endedAtNs, index) => {
      const latencyNs = this.#latenciesNs[index] ?? Number.NaN;
      return { latencyNs, beganAtNs: endedAtNs - latencyNs, isInTime: endedAtNs < untilNs };
    });
    const waiting = [
      ...this.#begun.flatMap((beganAtNs) => (beganAtNs === undefined ? [] : [beganAtNs])),
      // The load has gone on since.
      ...ended.flatMap(({ isInTime, beganAtNs }) => (isInTime ? [] : [beganAtNs])),
    ].filter((beganAtNs) => beganAtNs < untilNs);
    const held = this.#grantedAtNs.flatMap((grantedAtNs, index) => {
      const releasedAtNs = this.#releasedAtNs[index] ?? Number.NaN;
      return grantedAtNs >= fromNs && releasedAtNs < untilNs ? [{ grantedAtNs, releasedAtNs }] : [];
    });
    return {
      latenciesNs: Float64Array.from(ended.flatMap(({ isInTime, latencyNs }) => (isInTime ? [latencyNs] : []))),
      waitingNs: Float64Array.from(waiting, (beganAtNs) => untilNs - beganAtNs),
      grantedAtNs: Float64Array.from(held, ({ grantedAtNs }) => grantedAtNs),
      releasedAtNs: Float64Array.from(held, ({ releasedAtNs }) => releasedAtNs),
    };
  }

  #begin(): void {
    this.#isLoaded = true;
    const { load, firstConnection } = this.#share;
    this.#connections.forEach((connection, index) => {
      for (let outstanding = 0; outstanding < load.outstanding; outstanding++) {
        const caller = (firstConnection + index) * load.outstanding + outstanding;
        // Never ends. An error ends the process, and with it the run.
        if (load.what === 'nonce') this.#drawNonces(connection, caller);
        else this.#makeCalls(connection, caller);
      }
    });
  }

  async #repeat(caller: number, call: (turn: number) => Promise<void>): Promise<never> {
    const { load } = this.#share;
    for (let turn = 0; ; turn++) {
      if (load.what === 'nonce' && load.pauseMs > 0) await sleep(load.pauseMs);
      const startedAtNs = nowNs();
      this.#begun[caller] = startedAtNs;
      await call(turn);
      const endedAtNs = nowNs();
      this.#begun[caller] = undefined;
      if (endedAtNs < this.#fromNs) continue;
      this.#endedAtNs.push(endedAtNs);
      this.#latenciesNs.push(endedAtNs - startedAtNs);
      this.#left -= 1;
      if (this.#left === 0) this.#enough();
      // A peer without a socket would let nothing else happen in this process.
      if (this.#left <= 0) await breath();
    }
  }

  #drawNonces({ nonce }: Connection, caller: number): Promise<never> {
    const { peer, load } = this.#share;
    if (nonce === undefined) throw new Error(`${peer} has no bare nonce`);
    let last = -1n;
    return this.#repeat(caller, async () => {
      const drawn = await nonce();
      // Several under way on one connection may be read in any order.
      if (load.outstanding === 1 && drawn <= last) throw new Error(`${peer} gave ${drawn} after ${last}`);
      last = drawn;
    });
  }

  #makeCalls({ exclusive }: Connection, caller: number): Promise<never> {
    const { peer, load } = this.#share;
    if (exclusive === undefined) throw new Error(`${peer} has no exclusive call`);
    const callers = load.connections * load.outstanding;
    const last = new Map<number, bigint>();
    return this.#repeat(caller, (turn) => {
      const lane = (caller + turn * callers) % load.lanes;
      return exclusive(lane, (nonce) => {
        if (nonce <= (last.get(lane) ?? -1n)) throw new Error(`${peer} gave ${nonce} after ${last.get(lane)}`);
        last.set(lane, nonce);
        return load.pauseMs > 0 ? this.#hold(load.pauseMs) : undefined;
      });
    });
  }

  async #hold(pauseMs: number): Promise<void> {
    const grantedAtNs = nowNs();
    await sleep(pauseMs);
    this.#grantedAtNs.push(grantedAtNs);
    this.#releasedAtNs.push(nowNs());
  }
}

function breath(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, Math.max(0, ms)));
}
