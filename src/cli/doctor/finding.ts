/** The checks, in the order of the report. Scripts may rely on these names, and on the marks. */
export const CHECKS = [
  'platform',
  'flock',
  'clock',
  'socket',
  'path',
  'group',
  'processes',
  'answer',
  'status',
  'version',
  'sequences',
  'instance',
  'others',
  'service',
  'units',
  'disk',
  'state',
] as const;

export type CheckName = (typeof CHECKS)[number];

/** From good to bad. `skipped`: it does not apply, or cannot be tested here. */
export type Mark = 'ok' | 'skipped' | 'warning' | 'failed';

/** Something unusual, with its cure. */
export interface Finding {
  readonly mark: 'warning' | 'failed';
  readonly fact: string;
  readonly fix: string;
  /** The commands to type, in this order. */
  readonly commands: readonly string[];
}

export interface Check {
  readonly check: CheckName;
  readonly mark: Mark;
  /** What was found, or why it was not tested, in one line. */
  readonly says: string;
  /** Empty if it is `ok` or `skipped`. */
  readonly findings: readonly Finding[];
}

export function warning(fact: string, fix: string, ...commands: readonly string[]): Finding {
  return { mark: 'warning', fact, fix, commands };
}

export function failure(fact: string, fix: string, ...commands: readonly string[]): Finding {
  return { mark: 'failed', fact, fix, commands };
}

export function skipped(check: CheckName, why: string): Check {
  return { check, mark: 'skipped', says: why, findings: [] };
}

/** Returns a check that is as bad as the worst of its findings. Without any it is ok, and `says` is its line. */
export function judged(check: CheckName, says: string, findings: readonly (Finding | undefined)[] = []): Check {
  const found = findings.filter((finding) => finding !== undefined);
  const worst = found.find(({ mark }) => mark === 'failed') ?? found[0];
  return { check, mark: worst?.mark ?? 'ok', says: worst?.fact ?? says, findings: found };
}

/** Returns the exit code, on the scale of `status --check`: 0 all is well, 1 look soon, 2 something is broken. */
export function severityOf(checks: readonly Check[]): 0 | 1 | 2 {
  if (checks.some(({ mark }) => mark === 'failed')) return 2;
  return checks.some(({ mark }) => mark === 'warning') ? 1 : 0;
}
