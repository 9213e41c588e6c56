import { scaleLog } from 'd3-scale';
import { line } from 'd3-shape';
import { absolute } from './comparison.ts';
import type { Results } from './results.ts';

/** One figure of one work, for all peers, over the number of clients. */
export interface Panel {
  readonly title: string;
  readonly series: readonly Series[];
}

export interface Series {
  readonly peer: string;
  readonly points: readonly Point[];
}

export interface Point {
  readonly clients: number;
  readonly value: number;
}

/** All that was measured of these, by the number of clients in its name. */
const ROWS = [
  { title: 'Bare nonce', cases: /^nonce-(\d+)$/ },
  { title: 'Exclusive call, one lane', cases: /^call-(\d+)$/ },
] as const;

const COLUMNS = [
  { title: 'a second', of: 'perSecond' },
  { title: 'p99, µs', of: 'p99Us' },
] as const;

/** Row by row. Works that were not measured have no panel. */
export function panelsOf(results: Results): readonly (readonly Panel[])[] {
  return ROWS.map(({ title, cases }) =>
    COLUMNS.map((column) => ({
      title: `${title}: ${column.title}`,
      series: results.peers.filter(isDrawn).flatMap((peer): Series[] => {
        const points = pointsOf(results, cases, peer.name, column.of);
        return points.length === 0 ? [] : [{ peer: peer.name, points }];
      }),
    })),
  ).filter((row) => row.some(({ series }) => series.length > 0));
}

/** The floor is so far off that the others would be pressed into a few lines. */
function isDrawn({ name }: { readonly name: string }): boolean {
  return name !== 'counter';
}

function pointsOf(results: Results, cases: RegExp, peer: string, figure: 'perSecond' | 'p99Us'): readonly Point[] {
  const found = new Set(
    results.cells.filter((cell) => cell.peer === peer && cell.heat === 'hot').map((cell) => cell.case),
  );
  return [...found]
    .flatMap((name): Point[] => {
      const clients = Number(cases.exec(name)?.[1]);
      const value = absolute(results, { case: name, peer }, figure)?.median;
      return Number.isNaN(clients) || value === undefined ? [] : [{ clients, value }];
    })
    .sort((a, b) => a.clients - b.clients);
}

const PANEL = { width: 380, height: 250 };
const MARGIN = { top: 34, right: 16, bottom: 36, left: 48 };
const LEGEND_WIDTH = 290;
const LEGEND_LINE = 20;

interface Stroke {
  readonly colour: string;
  readonly width?: number;
  readonly dashes?: string;
}

const OURS = '#c2185b';
const STROKES: Readonly<Record<string, Stroke>> = {
  nonced: { colour: OURS, width: 3 },
  'nonced-protocol': { colour: OURS, dashes: '5 3' },
  echo: { colour: '#616161' },
  'echo-c': { colour: '#616161', dashes: '2 3' },
  redis: { colour: '#1e88e5' },
  'redis-everysec': { colour: '#1e88e5', dashes: '5 3' },
  'redis-always': { colour: '#0d47a1' },
  redlock: { colour: '#00acc1' },
  postgres: { colour: '#2e7d32' },
  etcd: { colour: '#7e57c2' },
  file: { colour: '#6d4c41' },
  sqlite: { colour: '#ef6c00' },
  counter: { colour: '#bdbdbd', dashes: '1 3' },
};

/** Throughput and tail of each work over the number of clients, as an SVG document. Both axes are logarithmic. */
export function chart(results: Results): string {
  const rows = panelsOf(results);
  const columns = Math.max(1, ...rows.map((row) => row.length));
  const [width, height] = [columns * PANEL.width + LEGEND_WIDTH, Math.max(1, rows.length) * PANEL.height];
  const shown = results.peers.filter(({ name }) =>
    rows.flat().some(({ series }) => series.some(({ peer }) => peer === name)),
  );
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" ` +
      'font-family="system-ui, sans-serif" font-size="12" fill="#212121">',
    '<title>Throughput and tail over the number of clients</title>',
    `<rect width="${width}" height="${height}" fill="#ffffff"/>`,
    ...rows.flatMap((row, y) => row.map((panel, x) => at(x * PANEL.width, y * PANEL.height, drawn(panel)))),
    at(
      columns * PANEL.width + 8,
      MARGIN.top,
      shown.map(({ name, title }, index) => legend(name, title, index)).join('\n'),
    ),
    '</svg>',
    '',
  ].join('\n');
}

function drawn({ title, series }: Panel): string {
  const points = series.flatMap((one) => one.points);
  const clients = [...new Set(points.map((point) => point.clients))].sort((a, b) => a - b);
  const values = points.map(({ value }) => value);
  const x = scaleLog([Math.min(...clients), Math.max(...clients)], [MARGIN.left, PANEL.width - MARGIN.right]);
  const y = scaleLog([Math.min(...values), Math.max(...values)], [PANEL.height - MARGIN.bottom, MARGIN.top]).nice();
  const curve = line<Point>(
    (point) => x(point.clients),
    (point) => y(point.value),
  ).digits(1);
  const tens = y.ticks().filter((tick) => Number.isInteger(Math.log10(tick)));
  return [
    `<text x="${MARGIN.left}" y="18" font-weight="600">${escaped(title)}</text>`,
    ...tens.map((tick) => across(y(tick), tick.toLocaleString('en', { notation: 'compact' }))),
    ...clients.map((count) => label(x(count), PANEL.height - MARGIN.bottom + 18, 'middle', String(count))),
    label((MARGIN.left + PANEL.width) / 2, PANEL.height - 4, 'middle', 'clients'),
    ...series.toReversed().map(({ peer, points }) => `<path d="${curve(points)}" fill="none" ${strokeOf(peer)}/>`),
    ...series
      .toReversed()
      .flatMap(({ peer, points }) =>
        points.map(
          ({ clients, value }) =>
            `<circle cx="${x(clients).toFixed(1)}" cy="${y(value).toFixed(1)}" r="2.5" fill="${strokeFor(peer).colour}"/>`,
        ),
      ),
  ].join('\n');
}

/** A line of the grid, with its number. */
function across(y: number, text: string): string {
  const rule = `<line x1="${MARGIN.left}" x2="${PANEL.width - MARGIN.right}" y1="${y.toFixed(1)}" y2="${y.toFixed(1)}" stroke="#e0e0e0"/>`;
  return rule + label(MARGIN.left - 6, y + 4, 'end', text);
}

function legend(peer: string, title: string, index: number): string {
  const y = index * LEGEND_LINE;
  return `<line x1="0" x2="28" y1="${y}" y2="${y}" ${strokeOf(peer)}/>${label(36, y + 4, 'start', title)}`;
}

function label(x: number, y: number, anchor: 'start' | 'middle' | 'end', text: string): string {
  return `<text x="${x.toFixed(1)}" y="${y.toFixed(1)}" text-anchor="${anchor}">${escaped(text)}</text>`;
}

function at(x: number, y: number, content: string): string {
  return `<g transform="translate(${x} ${y})">\n${content}\n</g>`;
}

function strokeFor(peer: string): Stroke {
  return STROKES[peer] ?? { colour: '#000000' };
}

function strokeOf(peer: string): string {
  const { colour, width = 1.5, dashes } = strokeFor(peer);
  return `stroke="${colour}" stroke-width="${width}"${dashes === undefined ? '' : ` stroke-dasharray="${dashes}"`}`;
}

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('"', '&quot;');
}
