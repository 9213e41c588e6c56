import type { EndedCallRecord } from '../../protocol/messages.ts';
import { isUnremarkable } from '../../terms.ts';
import { cut, harmless } from '../terminal/width.ts';
import { type Column, tableLines } from './columns.ts';
import type { Snapshot } from './snapshot.ts';
import { durationText, rateText, type Space } from './space.ts';
import type { Page } from './view.ts';

const CALL_COLUMNS: readonly Column<EndedCallRecord>[] = [
  { title: 'AGO', cell: ({ agoMs }) => durationText(agoMs), rank: 0, align: 'right', usually: 9 },
  { title: 'holder', cell: ({ holder }) => holder ?? '-', rank: 0, usually: 10, atLeast: 8 },
  { title: 'pid', cell: ({ pid }) => String(pid ?? '-'), rank: 8, align: 'right' },
  { title: 'label', cell: ({ label }) => label ?? '', rank: 5, atLeast: 8 },
  { title: 'priority', cell: ({ priority }) => priority, rank: 7 },
  { title: 'waited', cell: ({ waitedMs }) => durationText(waitedMs), rank: 4, align: 'right', usually: 6 },
  { title: 'held', cell: ({ heldMs }) => durationText(heldMs), rank: 3, align: 'right', usually: 6 },
  { title: 'ended', cell: ({ ended }) => ended, rank: 6, usually: 'disconnected'.length },
  { title: 'outcome', cell: outcomeText, rank: 0, usually: 'invalid-nonce'.length },
  { title: 'nonce', cell: ({ nonce }) => String(nonce ?? '-'), rank: 9 },
];

/** Shows how one account is doing, and its last calls, the latest first. */
export function accountPage(
  { accounts, opened }: Snapshot,
  { account, offset }: Page & { kind: 'account' },
  { rows, columns, paint, glyphs }: Space,
): string[] {
  const row = accounts.find((one) => one.account === account);
  const status = row?.status;
  const figures = [
    `${rateText(row?.figures.perSecond)} calls/s`,
    `${row?.held ?? 0} held`,
    `${status?.waiting ?? 0} waiting`,
    `wait p99 ${durationText(row?.figures.wait?.p99)}`,
    `hold p99 ${durationText(row?.figures.hold?.p99)}`,
    ...(status === undefined ? [] : [`sequence ${status.sequence}, exchange ${status.exchange}`]),
  ];
  const top = [
    `${paint('bold', cut(harmless(account), columns, glyphs.cut))}`,
    cut(figures.join('   '), columns, glyphs.cut),
    paint(
      'dim',
      cut(`nonced why ${harmless(account)} tells the probable cause of a rejected nonce`, columns, glyphs.cut),
    ),
    '',
  ];
  if (opened?.account !== account) return [...top, paint('dim', 'not read yet')];
  if (opened.calls.length === 0) return [...top, paint('dim', 'no call of it is remembered')];
  const capacity = Math.max(1, rows - top.length - 1);
  const first = Math.min(offset, Math.max(0, opened.calls.length - capacity));
  const shown = opened.calls.slice(first, first + capacity);
  const { heading, rows: lines } = tableLines(CALL_COLUMNS, shown, columns, glyphs);
  return [...top, paint('dim', heading), ...lines.map((line, index) => coloured(line, shown[index], paint))];
}

function outcomeText({ outcome, late }: EndedCallRecord): string {
  return late ? `${outcome} (late)` : outcome;
}

function coloured(line: string, call: EndedCallRecord | undefined, paint: Space['paint']): string {
  if (call === undefined || isUnremarkable(call.outcome)) return line;
  return paint(call.outcome === 'invalid-nonce' || call.outcome === 'locked-out' ? 'red' : 'yellow', line);
}
