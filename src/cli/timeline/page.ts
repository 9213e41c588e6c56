/** The page: one file that loads nothing, and in which only its own scripts run. */

import { createHash } from 'node:crypto';
import { formatDuration } from '../../durations.ts';
import { VERSION } from '../../version.ts';
import type { Assets } from './assets.ts';
import { indicesOf, kindOf, pageDataOf } from './columns.ts';
import { escapeHtml, escapeJson } from './html.ts';
import type { Call, Incident } from './incident.ts';
import { type CallKind, GLYPHS, KINDS } from './page-data.ts';
import { isToAttend } from './refused.ts';
import { type Grouping, isToLookAt, type Picture, pictureOf, refusedByRow } from './rows.ts';
import { callsTable, eventsTable, longest, longestWait, refusedTable, rowsTable } from './tables.ts';
import { dateTime, stretchText } from './times.ts';

export function renderPage(incident: Incident, by: Grouping, { style, scripts }: Assets): string {
  const { fromMs, toMs, nowMs, source, calls, refused } = incident;
  const picture = pictureOf(incident, by);
  const when = stretchText(fromMs, toMs);
  // Nothing is loaded, and only scripts and styles with these hashes are used, whatever a bot calls itself.
  const policy = [
    "default-src 'none'",
    `style-src ${hashOf(style)}`,
    `script-src ${scripts.map(hashOf).join(' ')}`,
    "base-uri 'none'",
    "form-action 'none'",
  ].join('; ');
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="referrer" content="no-referrer">
<title>nonced timeline, ${escapeHtml(when)}</title>
<style>${style}</style>
</head>
<body>
<header>
<h1>${escapeHtml(when)}</h1>
<p>${escapeHtml(`${formatDuration(toMs - fromMs)}, from the ${source}; made at ${dateTime(nowMs)} UTC by nonced ${VERSION}`)}</p>
</header>
<main>
${figures(incident)}
${notices(incident)}
${pictureSection(calls, picture)}
${callsTable(calls, indicesOf(picture))}
${refusedTable(refused)}
${eventsTable(picture.marks)}
${rowsTable(picture.rows, refusedByRow(refused, by), by === 'account' ? 'Accounts' : 'Processes')}
</main>
<div id="tip" role="status" hidden></div>
<script type="application/json" id="data">${escapeJson(pageDataOf(incident, picture))}</script>
${scripts.map((script) => `<script>${script}</script>`).join('\n')}
</body>
</html>
`;
}

function hashOf(text: string): string {
  return `'sha256-${createHash('sha256').update(text).digest('base64')}'`;
}

function figures({ calls, refused, lives, fromMs, toMs }: Incident): string {
  const ended = calls.filter(({ state }) => state.kind === 'ended');
  const rejected = calls.filter((call) => kindOf(call) === 'invalid-nonce').length;
  const otherwise = ended.filter(({ state }) => state.kind === 'ended' && state.ended !== 'released').length;
  const starts = lives.filter(({ startedAtMs }) => startedAtMs >= fromMs && startedAtMs <= toMs).length;
  const all: readonly (readonly [string, string, boolean])[] = [
    [calls.length.toLocaleString('en'), calls.length === 1 ? 'call' : 'calls', false],
    [rejected.toLocaleString('en'), rejected === 1 ? 'nonce rejected' : 'nonces rejected', rejected > 0],
    [otherwise.toLocaleString('en'), 'not released', otherwise > 0],
    [refused.reduce((sum, { count }) => sum + count, 0).toLocaleString('en'), 'refused', refused.some(isToAttend)],
    [longestWait(calls, refused), 'longest wait', false],
    [longest(calls.map(({ heldMs }) => heldMs)), 'longest hold', false],
    [String(starts), starts === 1 ? 'start of the daemon' : 'starts of the daemon', false],
  ];
  const items = all.map(
    ([value, name, isBad]) => `<li${isBad ? ' class="bad"' : ''}><b>${escapeHtml(value)}</b> ${escapeHtml(name)}</li>`,
  );
  return `<ul id="figures">${items.join('')}</ul>`;
}

/** Lists what is missing, before readers draw conclusions from what is there. */
function notices({ gaps, notes }: Incident): string {
  const texts = [...gaps.map(({ text }) => text), ...notes];
  if (texts.length === 0) return '';
  return `<ul id="notices" aria-label="What is missing">${texts.map((text) => `<li>${escapeHtml(text)}</li>`).join('')}</ul>`;
}

function pictureSection(calls: readonly Call[], { rows, marks }: Picture): string {
  if (rows.length === 0 && marks.length === 0) return '<p class="none">No call or event is known in this time.</p>';
  const toLookAt = calls.filter(isToLookAt).length;
  const about =
    `${rows.length} rows, with time from left to right. ${calls.length} calls, ${toLookAt} of them to look at, ` +
    `${marks.length} events. The tables below say the same in words.`;
  return `<section id="picture" aria-label="Timeline">
<div id="tools">
<div id="legend" role="group" aria-label="Which calls are shown">${legend(calls)}</div>
<div id="buttons" role="group" aria-label="What is shown">
<output id="shown"></output>
<button data-do="previous" title="Previous call to look at (p)">‹ to look at</button>
<button data-do="next" title="Next call to look at (n)">to look at ›</button>
<button data-do="left" title="Earlier (←)" aria-label="Earlier">←</button>
<button data-do="right" title="Later (→)" aria-label="Later">→</button>
<button data-do="out" title="Zoom out (−)" aria-label="Zoom out">−</button>
<button data-do="in" title="Zoom in (+)" aria-label="Zoom in">+</button>
<button data-do="all" title="All (0)">all</button>
</div>
</div>
<div id="plot" tabindex="0" role="application" aria-label="${escapeHtml(about)}" aria-describedby="keys">
<div id="stage"><canvas id="canvas"></canvas><canvas id="pointer"></canvas></div>
</div>
<p id="keys">Drag to select a time. Zoom with Ctrl and the wheel, move with Shift and the wheel, double-click to see everything.
Keys: + − ← → 0; n and p go to the next and the previous call to look at; Escape closes.</p>
<noscript><p class="none">A script draws the picture, and scripts are off. The tables below need none.</p></noscript>
</section>`;
}

const NAMES: Partial<Readonly<Record<CallKind, string>>> = {
  held: 'under way',
  waiting: 'still waiting',
  unknown: 'unknown: did not say how it ended',
};

/** Returns the legend, with counts. Kinds without calls are left out. */
function legend(calls: readonly Call[]): string {
  const counts = new Map<CallKind, number>();
  for (const call of calls) counts.set(kindOf(call), (counts.get(kindOf(call)) ?? 0) + 1);
  const kinds = KINDS.filter((kind) => counts.has(kind)).reverse();
  const buttons = kinds.map((kind) => {
    const count = counts.get(kind)?.toLocaleString('en');
    const swatch = `<i class="swatch" data-kind="${kind}" aria-hidden="true">${GLYPHS[kind]}</i>`;
    return `<button data-kind="${kind}" aria-pressed="true">${swatch}${NAMES[kind] ?? kind} <b>${count}</b></button>`;
  });
  const waited = '<span><i class="swatch wait" aria-hidden="true"></i>the wait before it</span>';
  const capped = calls.some(({ state }) => state.kind === 'ended' && state.ended !== 'released');
  const cap = capped ? '<span><i class="swatch cap" aria-hidden="true"></i>not released</span>' : '';
  return `${buttons.join('')}${waited}${cap}`;
}
