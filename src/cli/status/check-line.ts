import type { StatusResult } from '../../protocol/messages.ts';
import { LONG_WAIT_MS } from './finding.ts';
import { findings, LONG_LEAD_MS } from './findings.ts';
import type { Reading } from './reading.ts';

/** The exit codes of monitoring plugins. */
export const CHECK = { ok: 0, warning: 1, critical: 2, unknown: 3 } as const;

export type CheckResult = keyof typeof CHECK;

/** How many findings are listed; further ones are counted. */
const SHOWN = 8;

/** Returns the line that monitoring plugins print, and the result. */
export function checkOf({ status, unlistedQuarantined }: Pick<Reading, 'status' | 'unlistedQuarantined'>): {
  readonly result: CheckResult;
  readonly line: string;
} {
  const found = findings(status, { unlisted: unlistedQuarantined }).filter(({ severity }) => severity > 0);
  const worst = found[0]?.severity ?? 0;
  const result = worst === 2 ? 'critical' : worst === 1 ? 'warning' : 'ok';
  const { leases, waiting } = status.totals;
  const texts = found.slice(0, SHOWN).map(({ text }) => text);
  if (found.length > SHOWN) texts.push(`and ${found.length - SHOWN} more`);
  const text = found.length > 0 ? texts.join('; ') : `${leases} held, ${waiting} waiting`;
  return { result, line: `${headOf(result, text)} | ${figuresOf(status)}` };
}

/** Returns the beginning of the line, which is all of it if nothing could be looked at. */
export function headOf(result: CheckResult, text: string): string {
  // A bar begins the performance data, and a line break a second line.
  return `NONCED ${result.toUpperCase()} - ${text.replaceAll('|', '/').replaceAll(/\s+/g, ' ')}`;
}

/** Returns `label=value[unit];[warn];[crit];[min]` for each figure, in the format of plugins. */
function figuresOf({ totals, lanes, sequences, accounts, durability }: StatusResult): string {
  const oldestWaitMs = Math.max(0, ...lanes.map((lane) => lane.oldestWaitMs));
  const longestHoldMs = Math.max(0, ...lanes.flatMap(({ holders }) => holders.map(({ heldMs }) => heldMs)));
  const leadsMs = sequences.flatMap(({ leadMs }) => leadMs ?? []);
  const total = (of: (account: StatusResult['accounts'][number]) => number) =>
    accounts.reduce((sum, account) => sum + of(account), 0);
  return [
    `held=${totals.leases};;;0`,
    `longest_hold=${seconds(longestHoldMs)};;;0`,
    `waiting=${totals.waiting};;;0`,
    `oldest_wait=${seconds(oldestWaitMs)};${LONG_WAIT_MS / 1000};;0`,
    // Behind the clock is usual, and not an alarm.
    ...(leadsMs.length > 0 ? [`lead=${seconds(Math.max(...leadsMs))};~:${LONG_LEAD_MS / 1000}`] : []),
    `rejected_1h=${total(({ rejectedLastHour }) => rejectedLastHour)};0;;0`,
    `rejected=${total(({ rejected }) => rejected)}c`,
    `expired=${total(({ expired }) => expired)}c`,
    `grants=${totals.grants}c`,
    `nonces=${totals.nonces}c`,
    `writes=${durability.writes}c`,
  ].join(' ');
}

const seconds = (ms: number): string => `${(ms / 1000).toFixed(3)}s`;
