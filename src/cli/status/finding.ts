/** 2: look now. 1: look soon. 0: worth knowing, and no reason for an alarm. */
export type Severity = 0 | 1 | 2;

/** Something unusual: the fact, and what to do about it. */
export interface Finding {
  readonly severity: Severity;
  readonly text: string;
  readonly todo: string;
  /** The command that shows more of it and changes nothing, if there is one. */
  readonly next: string | undefined;
}

/** A request that has waited for longer has something to tell. */
export const LONG_WAIT_MS = 10_000;
