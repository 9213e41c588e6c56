import { formatDuration } from '../../durations.ts';
import type { AccountStatus, LaneStatus, StatusResult } from '../../protocol/messages.ts';
import { tableOf, tableWithin } from '../terminal/table.ts';
import type { Paint } from '../terminal/terminal.ts';

/** The room that a section of the screen has. */
export interface Room {
  readonly width: number;
  /** Leave nothing out. */
  readonly all: boolean;
  readonly paint: Paint;
}

/** Returns how wide a table may be: as wide as it needs if nothing may be left out. */
const roomOf = ({ width, all }: Room) => (all ? Number.POSITIVE_INFINITY : width);

/** How many of a kind are shown unless all are asked for. */
export const SHOWN = 12;
/** How many waiters, or holders, of one lane are shown. */
const SHOWN_IN_A_LANE = 5;

/** Shows the holders and waiters of each lane, the lane with the longest wait first. */
export function laneSection({ lanes }: StatusResult, room: Room): string[] {
  const { all } = room;
  if (lanes.length === 0) return ['No call is under way or waiting.'];
  const byWait = [...lanes].sort((a, b) => b.oldestWaitMs - a.oldestWaitMs);
  const shown = byWait.slice(0, all ? byWait.length : SHOWN);
  const heading = ['LANE', '', 'account', 'process', 'pid', 'label', 'for', ''];
  const table = tableOf([heading, ...shown.flatMap((lane) => rowsOf(lane, all))], roomOf(room));
  return [...headed(table, room.paint), ...more(byWait.length - shown.length, 'lanes', all)];
}

function rowsOf({ lane, holders, waiting, waiters }: LaneStatus, all: boolean): string[][] {
  const listed = all ? Number.POSITIVE_INFINITY : SHOWN_IN_A_LANE;
  const rows = holders
    .slice(0, listed)
    .map((holder) => [
      'held',
      ...callerCells(holder),
      formatDuration(holder.heldMs),
      `${formatDuration(holder.leftMs)} left`,
    ]);
  if (holders.length > listed) rows.push(['held', `and ${holders.length - listed} more`]);
  const shown = waiters.slice(0, listed);
  for (const waiter of shown) {
    const notes = [waiter.priority === 'normal' ? [] : waiter.priority, waiter.paced ? 'paced' : []].flat();
    rows.push(['waits', ...callerCells(waiter), formatDuration(waiter.waitedMs), notes.join(', ')]);
  }
  if (waiting > shown.length) rows.push(['waits', `and ${waiting - shown.length} more`]);
  return rows.map((cells, index) => padded([index === 0 ? lane : '', ...cells]));
}

/** Returns as many cells as the heading has. */
const padded = (cells: readonly string[]) => [...cells, ...Array<string>(8 - cells.length).fill('')];

function callerCells({
  account,
  name,
  pid,
  label,
}: Pick<LaneStatus['waiters'][number], 'account' | 'name' | 'pid' | 'label'>): string[] {
  return [account, name ?? '-', String(pid ?? '-'), label ?? '-'];
}

const NOTHING = '-';
const orNothing = (count: number) => (count === 0 ? NOTHING : String(count));

/** The columns. Without room, those on the right are left out first; a column that says nothing is always left out. */
const ACCOUNT_COLUMNS: readonly (readonly [title: string, cellOf: (account: AccountStatus) => string])[] = [
  ['ACCOUNT', ({ account }) => account],
  ['last ok', lastOkText],
  ['rejected/h', ({ rejectedLastHour }) => orNothing(rejectedLastHour)],
  ['expired', ({ expired }) => orNothing(expired)],
  ['waiting', ({ waiting }) => orNothing(waiting)],
  ['pace', ({ pace }) => paceText(pace)],
  ['calls', ({ grants }) => String(grants)],
  ['nonces', ({ nonces }) => String(nonces)],
  ['sequence', ({ sequence }) => sequence],
];
const LEAST_COLUMNS = 6;

/** Shows the accounts: first those in trouble, then those that were used last. */
export function accountSection({ accounts, totals }: StatusResult, room: Room): string[] {
  const { all, paint } = room;
  if (accounts.length === 0) return [];
  const byInterest = [...accounts].sort((a, b) => interestOf(b) - interestOf(a) || a.idleMs - b.idleMs);
  const shown = byInterest.slice(0, all ? byInterest.length : SHOWN);
  const columns = ACCOUNT_COLUMNS.filter(([, cellOf]) => shown.some((each) => cellOf(each) !== NOTHING));
  const rowsOfCells = shown.map((each) => columns.map(([, cellOf]) => cellOf(each)));
  const table = tableWithin([columns.map(([name]) => name), ...rowsOfCells], roomOf(room), LEAST_COLUMNS);
  const [title = '', ...rows] = headed(table, paint);
  const painted = rows.map((row, index) => (isStopped(shown[index]) ? paint('red', row) : row));
  // The daemon lists a hundred accounts, and says how many there are.
  return [title, ...painted, ...more(totals.accounts - shown.length, 'accounts', all)];
}

function isStopped(account: AccountStatus | undefined): boolean {
  return account !== undefined && (account.breaker !== null || account.paused);
}

function interestOf(account: AccountStatus): number {
  if (isStopped(account)) return 3;
  if (account.rejectedLastHour > 0 || account.waiting > 0) return 2;
  return account.expired > 0 || (account.pace?.nextFreeMs ?? 0) > 0 ? 1 : 0;
}

function lastOkText({ okAgoMs, grants }: AccountStatus): string {
  if (okAgoMs !== null) return formatDuration(okAgoMs);
  return grants === 0 ? NOTHING : 'none';
}

function paceText(pace: AccountStatus['pace']): string {
  if (pace === null) return NOTHING;
  const next = pace.nextFreeMs === 0 ? '' : `, ${formatDuration(pace.nextFreeMs)}`;
  return `${pace.level.toFixed(1)}/${pace.max}${next}`;
}

/** Shows where the nonces are. */
export function sequenceSection({ sequences }: StatusResult, { width, paint }: Room): string[] {
  if (sequences.length === 0) return [];
  const rows = sequences.map(({ name, unit, last, ceiling, leadMs, issued }) => [
    name,
    unit,
    String(last),
    String(ceiling),
    leadMs === null ? '-' : formatDuration(leadMs),
    String(issued),
  ]);
  return headed(tableOf([['SEQUENCE', 'unit', 'last', 'ceiling', 'lead', 'issued'], ...rows], width), paint);
}

function headed([heading = '', ...rows]: readonly string[], paint: Paint): string[] {
  return [paint('dim', heading), ...rows];
}

function more(count: number, what: string, all: boolean): string[] {
  return count > 0 ? [`and ${count} more ${what}${all ? '' : '; --all'}`] : [];
}
