import { formatDuration } from '../../durations.ts';
import type { StatusResult } from '../../protocol/messages.ts';
import { wrapped } from '../terminal/table.ts';
import type { Paint } from '../terminal/terminal.ts';
import type { Finding } from './finding.ts';
import { findings } from './findings.ts';
import { foreignWaits } from './foreign-waits.ts';
import type { HowToType } from './how-to-type.ts';
import type { Reading } from './reading.ts';
import { accountSection, laneSection, type Room, SHOWN, sequenceSection } from './sections.ts';

/**
 * Returns what a person needs to see, in this order: what is unusual, who holds and waits, the accounts, the nonces,
 * and which command to run next.
 */
export function screenOf(reading: Reading, room: Room, type: HowToType): string[] {
  const { status, unlistedQuarantined } = reading;
  const found = findings(status, { unlisted: unlistedQuarantined, type });
  const sections = [
    [...titleOf(status, room), ...findingLines(found, room)],
    laneSection(status, room),
    accountSection(status, room),
    foreignLines(reading, room, type),
    sequenceSection(status, room),
    [nextLine(found, type, room.paint)],
  ];
  return sections.filter((lines) => lines.length > 0).flatMap((lines, index) => (index === 0 ? lines : ['', ...lines]));
}

/** Returns the command that shows more of the worst finding. */
function nextLine(found: readonly Finding[], type: HowToType, paint: Paint): string {
  const next = found.find((finding) => finding.next !== undefined)?.next;
  if (next !== undefined) return `next: ${paint('bold', next)}`;
  return paint('dim', `next: ${type.look('top')} (live), ${type.look('doctor')} (if a bot gets no nonces)`);
}

function titleOf(status: StatusResult, { width, paint }: Room): string[] {
  const { version, pid, uptimeMs, epoch, exclusive, totals, durability } = status;
  const title = `${paint('bold', `nonced ${version}`)}  pid ${pid}, up ${formatDuration(uptimeMs)}, epoch ${epoch}, `;
  const counts =
    `${totals.leases} held, ${totals.waiting} waiting; ${totals.grants} calls granted, ${totals.nonces} nonces ` +
    `(${totals.noncesPerSecond.toFixed(1)}/s), ${totals.connections} connections, ${durability.writes} writes`;
  return [`${title}exclusion ${paint('bold', exclusive)}`, ...wrapped(counts, width)];
}

const STYLE = ['dim', 'yellow', 'red'] as const;

function findingLines(found: readonly Finding[], { width, all, paint }: Room): string[] {
  if (found.length === 0) return [paint('green', 'nothing unusual')];
  const shown = found.slice(0, all ? found.length : SHOWN);
  const lines = shown.flatMap(({ severity, text, todo }) => {
    const fact = wrapped(text, width, severity === 0 ? '- ' : '! ', '  ');
    return [...fact.map((line) => paint(STYLE[severity], line)), ...wrapped(todo, width, '    ')];
  });
  if (shown.length < found.length) lines.push(`and ${found.length - shown.length} more of this kind; --all`);
  return ['', ...lines];
}

/** How much waiting for other accounts is worth a word: in all, for each call, and as a share of all waiting. */
const WORTH_MS = 1_000;
const WORTH_EACH_MS = 50;
const WORTH_SHARE = 0.25;

/** Says how long accounts waited for each other, if they share a lane. */
function foreignLines({ status, calls }: Reading, { width }: Room, type: HowToType): string[] {
  if (status.exclusive !== 'global') return [];
  const { calls: count, accounts, waitedMs, foreignMs } = foreignWaits(calls);
  if (accounts < 2 || foreignMs < Math.max(WORTH_MS, WORTH_EACH_MS * count, WORTH_SHARE * waitedMs)) return [];
  const share = Math.min(100, Math.round((100 * foreignMs) / waitedMs));
  const text =
    `The last ${count} calls waited ${formatDuration(waitedMs)} in all; for ${share} % of it another account's call ` +
    `held the lane. If no account depends on the order of another, this ends it: ${type.operate('set-exclusive account')}`;
  return wrapped(text, width);
}
