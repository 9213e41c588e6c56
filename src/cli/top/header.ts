import { formatDuration } from '../../durations.ts';
import { findings } from '../status/findings.ts';
import { cut, harmless } from '../terminal/width.ts';
import { sparkline } from './glyphs.ts';
import { BUCKET_MS, BUCKETS } from './history.ts';
import type { Snapshot } from './snapshot.ts';
import { durationText, rateText, type Space } from './space.ts';
import type { View } from './view.ts';

/** How many findings are listed; the rest are counted. */
const MOST_NOTICES = 3;
/** "  5 min, max 99999/s" */
const TREND_WORDS_WIDTH = 19;

/**
 * Returns four lines: which daemon this is (it stays the same, so it need not be drawn again), what it does now, how
 * its calls are doing, and how many there were.
 */
export function header(snapshot: Snapshot, view: View, space: Space): string[] {
  const { status, total, time } = snapshot;
  const { columns, paint, glyphs } = space;
  const line = (text: string) => cut(text, columns, glyphs.cut);
  const clock = view.paused ? `paused at ${time}` : time;
  if (status === undefined) return ['nonced', line(clock), '', ''];
  const { totals, sequences, version, pid, epoch, exclusive, uptimeMs } = status;
  const leads = sequences.flatMap(({ leadMs }) => (leadMs === null ? [] : [leadMs]));
  const now = [
    `up ${formatDuration(uptimeMs)}`,
    `${totals.leases} held`,
    `${totals.waiting} waiting`,
    `${totals.connections} connections`,
    ...(leads.length === 0 ? [] : [`lead ${formatDuration(Math.max(...leads))}`]),
  ].join('   ');
  const timing = (name: string, figures: typeof total.wait) =>
    `${name} p50 ${durationText(figures?.p50)} p99 ${durationText(figures?.p99)}`;
  return [
    paint('bold', line(`nonced ${version}   pid ${pid}, epoch ${epoch}, exclusion ${exclusive}`)),
    besides(now, clock, space, view.paused),
    line([`${rateText(total.perSecond)} calls/s`, timing('wait', total.wait), timing('hold', total.hold)].join('   ')),
    trendLine(snapshot, space),
  ];
}

/** Adds the clock at the right end, if there is room. */
function besides(text: string, clock: string, { columns, paint, glyphs }: Space, emphasized: boolean): string {
  const shown = cut(text, columns - clock.length - 2, glyphs.cut);
  return shown.padEnd(columns - clock.length) + paint(emphasized ? 'yellow' : 'dim', clock);
}

/** Draws as many whole minutes as there is room for beside the words. */
function trendLine({ total }: Snapshot, { columns, paint, glyphs }: Space): string {
  const perMinute = 60_000 / BUCKET_MS;
  const minutes = Math.floor(Math.min(BUCKETS, columns - TREND_WORDS_WIDTH) / perMinute);
  const shown = total.trend.slice(-minutes * perMinute);
  const highest = rateText(Math.max(0, ...shown.map((value) => value ?? 0)));
  return `${paint('cyan', sparkline(shown, glyphs))}  ${paint('dim', `${minutes} min, max ${highest}/s`)}`;
}

/** Returns what is unusual, the worst first, a line each. */
export function notices({ status, silence, restartedAgoMs }: Snapshot, { columns, paint, glyphs }: Space): string[] {
  const found: { readonly style: 'red' | 'yellow'; readonly text: string }[] = [];
  if (silence !== undefined) {
    found.push({ style: 'red', text: `for ${formatDuration(silence.forMs)}: ${harmless(silence.problem)}` });
  }
  if (restartedAgoMs !== undefined && status !== undefined) {
    const text = `another daemon has answered for ${formatDuration(restartedAgoMs)}, epoch ${status.epoch}: its counts start from zero`;
    found.push({ style: 'yellow', text });
  }
  for (const { severity, text } of status === undefined ? [] : findings(status)) {
    found.push({ style: severity === 2 ? 'red' : 'yellow', text: harmless(text) });
  }
  const shown = found.length > MOST_NOTICES ? found.slice(0, MOST_NOTICES - 1) : found;
  const rest = found.length - shown.length;
  return [
    ...shown.map(({ style, text }) => paint(style, cut(`! ${text}`, columns, glyphs.cut))),
    ...(rest > 0 ? [paint('yellow', `! and ${rest} more: nonced status --check`)] : []),
  ];
}
