/** What the picture shows, in words and numbers: for readers who cannot see it, and for searching and copying. */
import { formatDuration } from '../../durations.ts';
import { kindOf } from './columns.ts';
import { escapeHtml } from './html.ts';
import type { Call, Refused } from './incident.ts';
import { GLYPHS } from './page-data.ts';
import { askerText, byAccountAndCode, whoseText } from './refused.ts';
import { isToLookAt, type Mark, REFUSED, type Row, SLOW_MS } from './rows.ts';
import { clockTime } from './times.ts';

/** How many rows a table has at most: a browser lays out more of them slowly, and no reader would look at them all. */
const MOST_LISTED = 500;

/** Lists the rejected and slow calls, the latest first. By `indices` the page's script finds each. */
export function callsTable(calls: readonly Call[], indices: ReadonlyMap<Call, number>): string {
  const found = calls.filter(isToLookAt).sort((a, b) => b.endMs - a.endMs);
  // A rejected call is never left out in favour of a slow one.
  const worst = found.filter((call) => kindOf(call) === 'invalid-nonce').slice(0, MOST_LISTED);
  const others = found.filter((call) => kindOf(call) !== 'invalid-nonce').slice(0, MOST_LISTED - worst.length);
  const listed = [...worst, ...others].sort((a, b) => b.endMs - a.endMs);
  const about = `Calls that are not known to have succeeded, or that waited or were held for over ${formatDuration(SLOW_MS)}, the latest first.`;
  const cut =
    found.length > listed.length ? ` ${listed.length} of ${found.length.toLocaleString('en')} are listed.` : '';
  return section(
    'calls',
    'Calls to look at',
    `${about}${cut}`,
    ['ended at', 'account', 'holder', 'pid', 'label', 'priority', 'nonce', 'waited', 'held', 'ended', 'outcome'],
    listed.map((call) => ({
      attributes: `data-at="${Math.round(call.endMs)}" data-call="${indices.get(call)}" data-kind="${kindOf(call)}"`,
      cells: [
        call.state.kind === 'ended' ? clockTime(call.endMs) : '',
        call.account,
        call.holder ?? '',
        String(call.pid ?? ''),
        call.label ?? '',
        call.priority,
        nonceText(call),
        formatDuration(call.waitedMs),
        formatDuration(call.heldMs),
        call.state.kind === 'ended' ? call.state.ended : 'under way',
        outcomeText(call),
      ],
    })),
  );
}

/** Lists the requests that ended without a nonce or lease. */
export function refusedTable(refused: readonly Refused[]): string {
  const sums = byAccountAndCode(refused);
  const listed = sums.slice(0, MOST_LISTED);
  const cut = sums.length > listed.length ? ` ${listed.length} of ${sums.length.toLocaleString('en')} are listed.` : '';
  return section(
    'refused',
    'Refused',
    `Requests that got no nonce or lease: refused, or ended while they waited. By account and code, the latest first.${cut}`,
    ['account', 'code', 'times', 'first', 'last', 'longest wait', 'by'],
    listed.map((each) => ({
      attributes: `data-at="${Math.round(each.toMs)}"`,
      cells: [
        whoseText(each),
        each.code,
        each.count.toLocaleString('en'),
        clockTime(each.fromMs),
        clockTime(each.toMs),
        each.longestWaitMs === 0 ? '' : formatDuration(each.longestWaitMs),
        askerText(each),
      ],
    })),
  );
}

export function eventsTable(all: readonly Mark[]): string {
  // Many refusals would leave no room for the rest.
  const marks = all.filter(({ kind }) => kind !== REFUSED);
  const listed = marks.slice(-MOST_LISTED).reverse();
  const cut = marks.length > listed.length ? ` The last ${listed.length} of ${marks.length.toLocaleString('en')}.` : '';
  return section(
    'events',
    'Events',
    `Starts of the daemon, and what an operator should know, the latest first.${cut}`,
    ['at', '', 'what'],
    listed.map(({ atMs, severity, text }) => ({
      attributes: `data-at="${Math.round(atMs)}" data-severity="${escapeHtml(severity)}"`,
      cells: [clockTime(atMs), severity === 'info' || severity === 'debug' ? '' : severity, text],
    })),
  );
}

export function rowsTable(
  rows: readonly Row[],
  refused: ReadonlyMap<string, readonly Refused[]>,
  heading: string,
): string {
  return section(
    'rows',
    heading,
    '',
    ['name', 'calls', 'rejected', 'to look at', 'refused', 'longest wait', 'longest hold'],
    rows.map(({ name, bars }) => {
      const calls = bars.map(({ call }) => call);
      const without = refused.get(name) ?? [];
      return {
        attributes: '',
        cells: [
          name,
          calls.length.toLocaleString('en'),
          String(calls.filter((call) => kindOf(call) === 'invalid-nonce').length),
          String(calls.filter(isToLookAt).length),
          without.reduce((sum, { count }) => sum + count, 0).toLocaleString('en'),
          longestWait(calls, without),
          longest(calls.map(({ heldMs }) => heldMs)),
        ],
      };
    }),
  );
}

/** Returns the longest wait, also of those that ended without a lease. */
export function longestWait(calls: readonly Call[], refused: readonly Refused[]): string {
  return longest([...calls.map(({ waitedMs }) => waitedMs), ...refused.map(({ longestWaitMs }) => longestWaitMs)]);
}

export function longest(durationsMs: readonly number[]): string {
  return durationsMs.length === 0 ? '-' : formatDuration(durationsMs.reduce((a, b) => Math.max(a, b)));
}

interface TableRow {
  readonly attributes: string;
  readonly cells: readonly string[];
}

function section(
  id: string,
  heading: string,
  about: string,
  columns: readonly string[],
  rows: readonly TableRow[],
): string {
  const paragraph = about === '' ? '' : `<p>${escapeHtml(about)}</p>`;
  const title = `<h2 id="${id}-heading">${escapeHtml(heading)}</h2>${paragraph}`;
  if (rows.length === 0) return `<section id="${id}">${title}<p class="none">None.</p></section>`;
  const head = columns.map((column) => `<th scope="col">${escapeHtml(column)}</th>`).join('');
  const body = rows
    .map(
      ({ attributes, cells }) =>
        `<tr ${attributes}>${cells.map((cell) => `<td>${escapeHtml(cell)}</td>`).join('')}</tr>`,
    )
    .join('\n');
  return (
    `<section id="${id}">${title}<div class="scroll" tabindex="0" role="region" aria-labelledby="${id}-heading">` +
    `<table><thead><tr>${head}</tr></thead><tbody>\n${body}\n</tbody></table></div></section>`
  );
}

function nonceText({ nonce, lastNonce }: Call): string {
  if (nonce === null) return '';
  return lastNonce === null || lastNonce === nonce ? nonce : `${nonce} to ${lastNonce}`;
}

function outcomeText(call: Call): string {
  const kind = kindOf(call);
  const told = call.late ? ' (reported late)' : '';
  return `${GLYPHS[kind]} ${kind}${told}`.trim();
}
