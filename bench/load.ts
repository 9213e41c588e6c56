import type { Connection } from './peer.ts';

/** What the clients of one cell do, the same for every peer. */
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
  /** Goes by before anything is measured. */
  readonly warmUpMs: number;
  readonly measureMs: number;
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

/** What a client process has seen. Times in nanoseconds since the load began. */
export interface Sample {
  readonly latenciesNs: Float64Array;
  /** How long those have waited who still do at the end: some peers let a caller wait for very long. */
  readonly waitingNs: Float64Array;
  /** Of each exclusive call that ended: when it had its grant, and when it gave it back. */
  readonly grantedAtNs: Float64Array;
  readonly releasedAtNs: Float64Array;
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

/** Puts the load on these connections and answers what it saw in the time to measure. */
export async function generate(connections: readonly Connection[], share: Share, beginsAtNs: number): Promise<Sample> {
  const { load, firstConnection } = share;
  const fromNs = beginsAtNs + load.warmUpMs * 1e6;
  const untilNs = fromNs + load.measureMs * 1e6;
  const latencies: number[] = [];
  /** When each caller began what it waits for; undefined between two calls. */
  const begun: (number | undefined)[] = [];
  const granted: number[] = [];
  const released: number[] = [];
  const callers = load.connections * load.outstanding;

  const repeat = async (caller: number, call: (turn: number) => Promise<void>) => {
    for (let turn = 0; ; turn++) {
      if (load.what === 'nonce' && load.pauseMs > 0) await sleep(load.pauseMs);
      const startedAtNs = nowNs();
      begun[caller] = startedAtNs;
      await call(turn);
      const endedAtNs = nowNs();
      if (endedAtNs >= untilNs) return;
      begun[caller] = undefined;
      if (endedAtNs >= fromNs) latencies.push(endedAtNs - startedAtNs);
    }
  };

  const drawNonces = ({ nonce }: Connection, caller: number) => {
    if (nonce === undefined) throw new Error(`${share.peer} has no bare nonce`);
    let last = -1n;
    return repeat(caller, async () => {
      const drawn = await nonce();
      // Several under way on one connection may be read in any order.
      if (load.outstanding === 1 && drawn <= last) throw new Error(`${share.peer} gave ${drawn} after ${last}`);
      last = drawn;
    });
  };

  const makeCalls = ({ exclusive }: Connection, caller: number) => {
    if (exclusive === undefined) throw new Error(`${share.peer} has no exclusive call`);
    const last = new Map<number, bigint>();
    return repeat(caller, (turn) => {
      const lane = (caller + turn * callers) % load.lanes;
      return exclusive(lane, (nonce) => {
        if (nonce <= (last.get(lane) ?? -1n)) throw new Error(`${share.peer} gave ${nonce} after ${last.get(lane)}`);
        last.set(lane, nonce);
        return load.pauseMs > 0 ? hold() : undefined;
      });
    });
  };

  const hold = async () => {
    const grantedAtNs = nowNs();
    await sleep(load.pauseMs);
    const releasedAtNs = nowNs();
    if (grantedAtNs < fromNs || releasedAtNs >= untilNs) return;
    granted.push(grantedAtNs - beginsAtNs);
    released.push(releasedAtNs - beginsAtNs);
  };

  await sleep((beginsAtNs - nowNs()) / 1e6);
  const callersOf = (connection: Connection, index: number) =>
    Array.from({ length: load.outstanding }, (_, outstanding) => {
      const caller = (firstConnection + index) * load.outstanding + outstanding;
      return load.what === 'nonce' ? drawNonces(connection, caller) : makeCalls(connection, caller);
    });
  await Promise.race([sleep((untilNs - nowNs()) / 1e6), Promise.all(connections.flatMap(callersOf))]);
  return {
    latenciesNs: Float64Array.from(latencies),
    waitingNs: Float64Array.from(
      begun.flatMap((beganAtNs) => (beganAtNs === undefined ? [] : [Math.max(0, untilNs - beganAtNs)])),
    ),
    grantedAtNs: Float64Array.from(granted),
    releasedAtNs: Float64Array.from(released),
  };
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, Math.max(0, ms)));
}
