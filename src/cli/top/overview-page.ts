import type { LaneStatus, StatusResult } from '../../protocol/messages.ts';
import { cut } from '../terminal/width.ts';
import { type Column, tableLines } from './columns.ts';
import { sparkline } from './glyphs.ts';
import type { AccountRow, Snapshot } from './snapshot.ts';
import { durationText, rateText, type Space } from './space.ts';
import type { Sort, View } from './view.ts';

/** Widths at which durations up to "999 ms" and rates up to "9.9" do not move the columns beside them. */
const DURATION_WIDTH = 6;
const TREND_BARS = 24;
/** The share of the lanes, so that some accounts are always visible. */
const LANES_SHARE = 1 / 3;
const MARK = '> ';

/** Shows the lanes, and below them the accounts. */
export function overviewPage(snapshot: Snapshot, view: View, space: Space): string[] {
  const { status } = snapshot;
  if (status === undefined) return [];
  const laneRows = Math.max(1, Math.min(mostLanes(status), Math.floor(space.rows * LANES_SHARE) - 1));
  const lanes = lanesSection(status, view, { ...space, rows: laneRows + 1 });
  return [...lanes, '', ...accountsSection(snapshot, view, { ...space, rows: space.rows - lanes.length - 1 })];
}

/** Returns how many lanes can be busy: so much room is kept, or the page would jump with each call. */
function mostLanes({ exclusive, exchanges, accounts }: StatusResult): number {
  return exclusive === 'global' ? exchanges.length : accounts.length;
}

const LANE_COLUMNS: readonly Column<LaneStatus>[] = [
  { title: 'LANE', cell: ({ lane }) => lane, rank: 0, usually: 8, atLeast: 10 },
  { title: 'account', cell: accountText, rank: 0, usually: 10, atLeast: 10 },
  { title: 'holder', cell: ({ holders }) => nameText(holders[0]), rank: 1, usually: 10, atLeast: 10 },
  { title: 'pid', cell: ({ holders }) => String(holders[0]?.pid ?? '-'), rank: 5, align: 'right', usually: 5 },
  { title: 'label', cell: ({ holders }) => holders[0]?.label ?? '-', rank: 4, usually: 11, atLeast: 9 },
  { title: 'priority', cell: ({ holders }) => holders[0]?.priority ?? '-', rank: 6, usually: 10 },
  figure('for', 0, DURATION_WIDTH, ({ holders }) => durationText(holders[0]?.heldMs)),
  figure('left', 3, DURATION_WIDTH, ({ holders }) => durationText(holders[0]?.leftMs)),
  figure('waiting', 0, 0, ({ waiting }) => countText(waiting)),
  figure('oldest', 2, DURATION_WIDTH, ({ waiting, oldestWaitMs }) =>
    durationText(waiting > 0 ? oldestWaitMs : undefined),
  ),
  { title: 'waits first', cell: waiterText, rank: 7, usually: 24, atLeast: 16 },
];

function lanesSection(status: StatusResult, { filter }: View, { rows, columns, paint, glyphs }: Space): string[] {
  const matching = status.lanes.filter(({ lane, holders, waiters }) =>
    [lane, ...[...holders, ...waiters].map(({ account }) => account)].some((name) => matches(name, filter)),
  );
  // If not all fit, those that have waiters.
  const shown =
    matching.length < rows
      ? matching.toSorted((a, b) => (a.lane < b.lane ? -1 : 1))
      : matching.toSorted((a, b) => b.oldestWaitMs - a.oldestWaitMs).slice(0, rows - 1);
  const { heading, rows: busy } = tableLines(LANE_COLUMNS, shown, columns, glyphs);
  const lines = busy.length === 0 ? [paint('dim', 'no lane is busy')] : busy;
  return [paint('dim', heading), ...lines, ...new Array<string>(rows - 1 - lines.length).fill('')];
}

function accountText({ holders: [holder, ...others] }: LaneStatus): string {
  if (holder === undefined) return '-';
  return others.length > 0 ? `${holder.account} +${others.length}` : holder.account;
}

function nameText(client: { readonly name: string | null } | undefined): string {
  return client === undefined ? '-' : (client.name ?? 'unnamed');
}

function waiterText({ waiters: [waiter] }: LaneStatus): string {
  if (waiter === undefined) return '-';
  return `${waiter.account} (${nameText(waiter)})${waiter.paced ? ', paced' : ''}`;
}

const ACCOUNT_COLUMNS = ({ glyphs }: Space): readonly Column<AccountRow>[] => [
  { title: 'ACCOUNT', cell: ({ account }) => account, rank: 0, usually: 10, atLeast: 8 },
  { title: 'state', cell: stateText, rank: 0 },
  figure('calls/s', 0, 0, ({ figures }) => rateText(figures.perSecond)),
  figure('held', 2, 0, ({ held }) => (held === 0 ? '-' : String(held))),
  figure('waiting', 1, 0, ({ status }) => countText(status?.waiting)),
  figure('wait p50', 6, DURATION_WIDTH, ({ figures }) => durationText(figures.wait?.p50)),
  figure('wait p99', 3, DURATION_WIDTH, ({ figures }) => durationText(figures.wait?.p99)),
  figure('hold p50', 7, DURATION_WIDTH, ({ figures }) => durationText(figures.hold?.p50)),
  figure('hold p99', 5, DURATION_WIDTH, ({ figures }) => durationText(figures.hold?.p99)),
  figure('rejected', 4, 0, ({ status }) => countText(status?.rejected)),
  figure('pace', 8, 0, paceText),
  figure('last ok', 9, 0, ({ status }) => (status?.okAgoMs == null ? '-' : durationText(status.okAgoMs))),
  { title: 'last 2 min', cell: ({ figures }) => sparkline(figures.trend.slice(-TREND_BARS), glyphs), rank: 10 },
];

function figure<Item>(title: string, rank: number, usually: number, cell: Column<Item>['cell']): Column<Item> {
  return { title, cell, rank, align: 'right', usually };
}

function countText(count: number | undefined): string {
  return count === undefined || count === 0 ? '-' : String(count);
}

function paceText({ status }: AccountRow): string {
  const pace = status?.pace;
  return pace == null ? '' : `${pace.level.toFixed(1)} of ${pace.max}`;
}

function stateText({ status }: AccountRow): string {
  if (status === undefined) return '';
  if (status.breaker !== null) return 'quarantined';
  return status.paused ? 'paused' : '';
}

function accountsSection(snapshot: Snapshot, view: View, space: Space): string[] {
  const { rows, columns, paint, glyphs } = space;
  const accounts = listed(snapshot, view);
  if (accounts.length === 0) {
    const none = view.filter === '' ? 'no account is in use' : `no account has ${view.filter} in its name`;
    return [paint('dim', 'ACCOUNT'), paint('dim', none)];
  }
  const all = tableLines(ACCOUNT_COLUMNS(space), accounts, columns - MARK.length, glyphs);
  const unlisted = unlistedText(snapshot);
  const capacity = rows - 1 - unlisted.length;
  const fitting = accounts.length <= capacity ? capacity : capacity - 1;
  const selected = accounts.findIndex(({ account }) => account === view.selected);
  const first = Math.max(0, selected - fitting + 1);
  const lines = all.rows.slice(first, first + fitting).map((line, index) => {
    const row = accounts[first + index];
    const marked = first + index === selected ? MARK + line : `  ${line}`;
    if (row?.status?.breaker != null) return paint('red', marked);
    if (row?.status?.paused) return paint('yellow', marked);
    return first + index === selected ? paint('bold', marked) : marked;
  });
  const unseen = accounts.length - lines.length;
  const notes = [...(unseen > 0 ? [`and ${unseen} more (${glyphs.upDown}, or / to filter)`] : []), ...unlisted];
  return [
    paint('dim', `  ${all.heading}`),
    ...lines,
    ...notes.map((note) => paint('dim', cut(`  ${note}`, columns, glyphs.cut))),
  ];
}

/** Says how many accounts are missing: the daemon lists a hundred, and only the calls of the others are known. */
function unlistedText({ status }: Snapshot): string[] {
  if (status === undefined || status.accounts.length >= status.totals.accounts) return [];
  return [`${status.accounts.length} of ${status.totals.accounts} accounts are listed, and others that have calls`];
}

/** Returns the accounts that match the filter, in the order that was asked for. */
export function listed({ accounts }: Snapshot, { sort, reversed, filter }: View): readonly AccountRow[] {
  const value = SORT_VALUES[sort];
  const sorted = accounts
    .filter(({ account }) => matches(account, filter))
    .toSorted((a, b) => value(b) - value(a) || (a.account < b.account ? -1 : 1));
  return reversed ? sorted.reverse() : sorted;
}

/** Sorts the highest first, and equal ones by name. */
const SORT_VALUES: Readonly<Record<Sort, (row: AccountRow) => number>> = {
  name: () => 0,
  calls: ({ figures }) => figures.perSecond ?? -1,
  waiting: ({ status }) => status?.waiting ?? -1,
  wait: ({ figures }) => figures.wait?.p99 ?? -1,
  hold: ({ figures }) => figures.hold?.p99 ?? -1,
  rejected: ({ status }) => status?.rejected ?? -1,
};

function matches(account: string, filter: string): boolean {
  return account.toLowerCase().includes(filter.toLowerCase());
}
