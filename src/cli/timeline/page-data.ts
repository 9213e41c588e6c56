import type { Outcome } from '../../terms.ts';

/**
 * What the page's script gets, as JSON. This file imports only types, because the script is compiled for a browser.
 * Calls are columns, which takes the least text, and repeated texts stand once in `texts`. -1 stands for nothing.
 */
export interface PageData {
  readonly fromMs: number;
  readonly toMs: number;
  /** How a call may have gone, from best to worst, and a sign for each. */
  readonly kinds: readonly string[];
  readonly glyphs: readonly string[];
  /** The first kind that must be visible even if its bar is too short. */
  readonly firstBadKind: number;
  readonly endings: readonly string[];
  readonly texts: readonly string[];
  readonly rows: readonly { readonly name: string; readonly tracks: number; readonly note: string }[];
  /** In the order of rows, and within a row of the beginning of their waits. */
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
  /** Also -1 if it is the nonce itself. */
  readonly lastNonce: readonly (string | -1)[];
  /** 1 if its outcome was reported after its end. */
  readonly late: readonly number[];
  /** 1 if a search for what went wrong should show it. */
  readonly toLookAt: readonly number[];
}

/** The outcome of a call, or its state if it has none yet. */
export type CallKind = Outcome | 'waiting' | 'held';

/** The signs, from best to worst: not every reader can tell the colours apart. */
export const GLYPHS: Readonly<Record<CallKind, string>> = {
  unused: '',
  ok: '',
  unknown: '–',
  waiting: '⋯',
  held: '▸',
  'rate-limited': '≫',
  unavailable: '∅',
  unsettled: '?',
  'locked-out': '■',
  'invalid-nonce': '✕',
};

/** In the order in which bars are drawn; where they overlap, the last one shows. */
export const KINDS = Object.keys(GLYPHS) as CallKind[];

export const FIRST_BAD_KIND = KINDS.indexOf('rate-limited');

export const REACH_ALL = -1;
export const REACH_NONE = -2;
