import type { Load } from '../load.ts';
import type { Peer } from '../peer.ts';

/** What a load is like, without how much of it there is. */
export type Shape = Omit<Load, keyof Amount>;

/** How much of a load there is. */
export type Amount = Pick<Load, 'coldCalls' | 'warmUpCalls' | 'hotCalls' | 'atMostMs'>;

/** One load, put on every peer that takes it. */
export interface Case {
  readonly name: string;
  /** As its table is headed. */
  readonly title: string;
  /** What is timed, if not the call from asking to its end: from a release until the next caller has its grant. */
  readonly times: 'call' | 'hand-off';
  /** Undefined: it is nothing for this peer. */
  load(peer: Peer): Shape | undefined;
}

/** Cases that are asked for and shown together. */
export interface Work {
  /** As in `--work`. */
  readonly name: string;
  readonly cases: readonly Case[];
  /** What of it says whether it works at all. */
  readonly short: readonly Case[];
}

/** The case, for these peers alone. */
export function onlyFor(peers: readonly string[], each: Case): Case {
  return { ...each, load: (peer) => (peers.includes(peer.name) ? each.load(peer) : undefined) };
}

/** The load, for all that can take it. */
export const forAllThatCan =
  (shape: Shape) =>
  ({ can }: Peer): Shape | undefined =>
    can.includes(shape.what) ? shape : undefined;
