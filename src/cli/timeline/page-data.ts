import type { Outcome } from '../../terms.ts';

/**
 * What the script of the page is given, as JSON. It imports types alone, because the script is compiled for a browser. Calls
 * are columns, which is the least text, and what is said often is said once, in `texts`. -1 stands for nothing.
 */
export interface PageData {
  readonly fromMs: number;
  readonly toMs: number;
  /** How a call may have gone, the worse, the later, and a sign for each. */
  readonly kinds: readonly string[];
  readonly glyphs: readonly string[];
  /** The first of the kinds that are to be seen from far away. */
  readonly firstBadKind: number;
  readonly endings: readonly string[];
  readonly texts: readonly string[];
  readonly rows: readonly { readonly name: string; readonly tracks: number; readonly note: string }[];
  /** By row, then by the beginning of their waits. */
  readonly calls: CallColumns;
  readonly marks: readonly {
    readonly atMs: number;
    readonly kind: string;
    readonly severity: string;
    readonly label: string;
    readonly text: string;
    readonly reach: number;
  }[];
  readonly spans: readonly {
    readonly fromMs: number;
    readonly toMs: number;
    readonly kind: string;
    readonly label: string;
    readonly reach: number;
  }[];
}

export interface CallColumns {
  readonly row: readonly number[];
  readonly track: readonly number[];
  /** In milliseconds after `fromMs`. */
  readonly end: readonly number[];
  readonly waited: readonly number[];
  readonly held: readonly number[];
  /** Index in KINDS. */
  readonly kind: readonly number[];
  /** Index in LEASE_ENDS. */
  readonly ending: readonly number[];
  /** Indices in `texts`. */
  readonly account: readonly number[];
  readonly holder: readonly number[];
  readonly label: readonly number[];
  readonly priority: readonly number[];
  readonly pid: readonly number[];
  readonly nonce: readonly (string | -1)[];
  /** -1 also where it is the nonce itself. */
  readonly lastNonce: readonly (string | -1)[];
  /** 1: its outcome was told after its end. */
  readonly late: readonly number[];
  /** 1: who looks for what went wrong wants to see it. */
  readonly toLookAt: readonly number[];
}

/** How a call went: its outcome, or that it has none yet. */
export type CallKind = Outcome | 'waiting' | 'held';

/** For readers without colours, or who see red and green as one. The worse, the later. */
export const GLYPHS: Readonly<Record<CallKind, string>> = {
  unused: '',
  ok: '',
  unknown: '',
  waiting: '⋯',
  held: '▸',
  'rate-limited': '≫',
  unavailable: '∅',
  unsettled: '?',
  'locked-out': '■',
  'invalid-nonce': '✕',
};

/** In the order in which bars are drawn: of those that lie on each other, the last shows. */
export const KINDS = Object.keys(GLYPHS) as CallKind[];

export const FIRST_BAD_KIND = KINDS.indexOf('rate-limited');

export const REACH_ALL = -1;
export const REACH_NONE = -2;
