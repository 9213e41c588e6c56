import { writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { surroundings } from '../../client/connection/host.ts';
import { findSocket } from '../../client/connection/socket-path.ts';
import { systemClock } from '../../clock.ts';
import { EXIT, ExitError } from '../../errors.ts';
import type { RenamedOptions } from '../command-line/old-names.ts';
import type { Terminal } from '../terminal/terminal.ts';
import { readAssets } from '../timeline/assets.ts';
import { fromCallLog } from '../timeline/call-log-source.ts';
import type { Incident, Wanted } from '../timeline/incident.ts';
import { fromMemory } from '../timeline/memory-source.ts';
import { renderPage } from '../timeline/page.ts';
import type { Grouping } from '../timeline/rows.ts';
import { dateTime, type Moment } from '../timeline/times.ts';

export interface TimelineOptions extends RenamedOptions {
  readonly since: Moment;
  readonly until?: Moment;
  readonly account?: readonly string[];
  readonly by: Grouping;
  readonly callLog?: string;
  readonly output?: string;
  readonly json: boolean;
  readonly socket?: string;
}

/**
 * Writes a page that shows who waited, who held a lease and what went wrong, from the daemon's memory or a call log.
 */
export async function timeline(options: TimelineOptions, terminal: Terminal): Promise<void> {
  const { by, output, json, oldNames } = options;
  for (const text of oldNames) terminal.note(text);
  if (output === undefined && !json && terminal.isInteractive) {
    throw new ExitError(EXIT.usage, 'the output is an HTML page; write it to a file: nonced timeline -o incident.html');
  }
  const clock = systemClock();
  const wanted = wantedBy(options, clock.wallMs());
  const socket = findSocket(options.socket, surroundings()).path;
  const wallMs = () => clock.wallMs();
  const incident =
    options.callLog === undefined
      ? await fromMemory(socket, wanted, wallMs)
      : await fromCallLog({ path: resolve(options.callLog), socket, wanted, wallMs });
  // On standard error too: the first question about an empty page is whether it was the right time.
  for (const { text } of incident.gaps) terminal.warn(text);
  for (const note of incident.notes) terminal.warn(note);
  if (json) terminal.printJson(forScripts(incident));
  else if (output === undefined) terminal.print(renderPage(incident, by, readAssets()));
  else writePage(output, renderPage(incident, by, readAssets()));
}

function wantedBy({ since, until, account }: TimelineOptions, nowMs: number): Wanted {
  const fromMs = timeOf(since, nowMs);
  const toMs = until === undefined ? Number.POSITIVE_INFINITY : timeOf(until, nowMs);
  if (fromMs >= Math.min(toMs, nowMs)) {
    const end = until === undefined ? 'now' : `${dateTime(toMs)} UTC`;
    throw new ExitError(
      EXIT.usage,
      `the page would begin at ${dateTime(fromMs)} UTC and end at ${end}; give an earlier --since`,
    );
  }
  return { fromMs, toMs, accounts: account === undefined ? undefined : new Set(account) };
}

function timeOf({ kind, ms }: Moment, nowMs: number): number {
  return kind === 'ago' ? nowMs - ms : ms;
}

function writePage(path: string, page: string): void {
  try {
    writeFileSync(path, page);
  } catch (error) {
    throw new ExitError(EXIT.ioError, `${path} cannot be written: ${error instanceof Error ? error.message : error}`);
  }
}

/** Adds times in ISO 8601 to those in milliseconds. */
function forScripts({ fromMs, toMs, nowMs, ...rest }: Incident): object {
  const iso = (ms: number) => new Date(ms).toISOString();
  return { from: iso(fromMs), to: iso(toMs), now: iso(nowMs), ...rest };
}
