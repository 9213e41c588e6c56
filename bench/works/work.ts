import type { Load } from '../load.ts';
import type { Peer } from '../peer.ts';

/** One load, put on every peer that takes it. */
export interface Case {
  readonly name: string;
  /** As a row or a column is headed. */
  readonly title: string;
  readonly load: Omit<Load, 'warmUpMs' | 'measureMs'>;
  /** `latency`: from asking to the end of the call. `hand-off`: from a release to the next holder's having its grant. */
  readonly measures: 'latency' | 'hand-off';
  takes(peer: Peer): boolean;
}

/** Cases that are asked for and shown together. */
export interface Work {
  /** As in `--work`. */
  readonly name: string;
  readonly title: string;
  readonly cases: readonly Case[];
  /** What of them says whether the work works at all. */
  readonly short: readonly Case[];
}

export const anyThatCan =
  (what: Load['what']) =>
  (peer: Peer): boolean =>
    peer.can.includes(what);
