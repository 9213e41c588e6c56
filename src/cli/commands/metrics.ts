import { resolve } from 'node:path';
import { askOnce } from '../../client/ask.ts';
import { surroundings } from '../../client/connection/host.ts';
import { findSocket } from '../../client/connection/socket-path.ts';
import { systemClock } from '../../clock.ts';
import { EXIT, ExitError } from '../../errors.ts';
import type { MetricsResult } from '../../protocol/messages.ts';
import { startExporter } from '../metrics/exporter.ts';
import { expositionOf } from '../metrics/exposition.ts';
import { DOWN, familiesOf } from '../metrics/families.ts';
import { parseListenAddress } from '../metrics/listen-address.ts';
import { replaceFile } from '../metrics/replaced-file.ts';
import { describe } from '../terminal/output.ts';
import type { Terminal } from '../terminal/terminal.ts';

export interface MetricsOptions {
  readonly output?: string;
  readonly listen?: string;
  readonly socket?: string;
}

/** Well within what Prometheus waits for a scrape, which is ten seconds. */
const ANSWER_WITHIN_MS = 5_000;

/** Prints the daemon's metrics for Prometheus, writes them to a file, or serves them until it is told to stop. */
export async function metrics({ output, listen, socket }: MetricsOptions, terminal: Terminal): Promise<void> {
  const path = findSocket(socket, surroundings()).path;
  if (listen !== undefined) {
    await serveMetrics(path, listen, terminal);
    return;
  }
  const { text, problem } = await scrape(path);
  if (output === undefined) terminal.print(text);
  else replaceFile(output, text);
  // Only now: the file that a collector reads must stop saying that all is well first.
  if (problem !== undefined) terminal.fail(problem);
}

/** Reads the metrics and never rejects: if no daemon answers, the text says so, and `problem` is the reason. */
async function scrape(path: string): Promise<{ readonly text: string; readonly problem?: unknown }> {
  try {
    const answer = await askOnce<MetricsResult>(path, 'metrics', {}, ANSWER_WITHIN_MS);
    return { text: expositionOf(familiesOf(answer, systemClock().wallMs())) };
  } catch (problem) {
    return { text: expositionOf(DOWN), problem };
  }
}

async function serveMetrics(path: string, listen: string, terminal: Terminal): Promise<void> {
  const address = parseListenAddress(listen);
  if (address.kind === 'unix' && resolve(address.path) === resolve(path)) {
    throw new ExitError(EXIT.usage, `--listen ${listen}: that is the daemon's own socket; choose another path`);
  }
  let told: string | undefined;
  const exporter = await startExporter(address, async () => {
    const { text, problem } = await scrape(path);
    const news = problem === undefined ? undefined : describe(problem);
    // Once, and not at every scrape.
    if (news !== undefined && news !== told) terminal.warn(news);
    if (news === undefined && told !== undefined) terminal.printLine('the daemon answers again');
    told = news;
    return text;
  });
  terminal.printLine(`the metrics of ${path} are at ${exporter.place}`);
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.once(signal, () => void exporter.close());
}
