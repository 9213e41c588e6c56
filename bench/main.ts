// What a user would pick otherwise, doing the same work on the same machine in the same run:
// `npm run bench -- --help`. Figures of one machine mean little; their ratios are what it is about.
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { chart } from './chart.ts';
import { check } from './check.ts';
import { type Options, readOptions, USAGE, UsageError } from './options.ts';
import { circumstances, tablesOf } from './report.ts';
import { type Results, readResults } from './results.ts';
import { compare } from './run.ts';
import { asMarkdown, asText, withMeasured } from './tables.ts';

/** As a shell has it. */
const SIGNAL_EXITS = { SIGINT: 130, SIGTERM: 143 } as const;

function write(results: Results, { json, markdown, svg }: Options): void {
  if (json !== undefined) writeFileSync(json, `${JSON.stringify(results)}\n`);
  if (svg !== undefined) writeFileSync(svg, chart(results));
  if (markdown !== undefined) {
    const document = existsSync(markdown) ? readFileSync(markdown, 'utf8') : undefined;
    const stands = circumstances(results).map((line) => `- ${line}`);
    const measured = [stands.join('\n'), ...tablesOf(results).map(asMarkdown)].join('\n\n');
    writeFileSync(markdown, withMeasured(document, measured));
  }
}

function told(results: Results): string {
  return [circumstances(results).join('\n'), ...tablesOf(results).map(asText)].join('\n\n');
}

/** Of a short run the figures mean nothing, but that there are some. */
function checked(results: Results): string {
  check(results);
  const { peers, cells, skipped } = results;
  return [
    `it works: ${cells.filter(({ heat }) => heat === 'hot').length} loads on ${peers.map(({ name }) => name).join(', ')}`,
    ...skipped.map(({ what, why }) => `left out: ${what}, ${why}`),
  ].join('\n');
}

async function measured(options: Options): Promise<Results> {
  if (options.from !== undefined) return readResults(readFileSync(options.from, 'utf8'));
  const { isTTY } = process.stderr;
  const results = await compare(options, (text) => void (isTTY && process.stderr.write(`\r\x1b[K${text}`)));
  if (isTTY) process.stderr.write('\r\x1b[K');
  return results;
}

// All that still runs is ended when the process exits.
for (const [signal, code] of Object.entries(SIGNAL_EXITS)) process.once(signal, () => process.exit(code));
try {
  const options = readOptions(process.argv.slice(2));
  if (options === undefined) {
    console.log(USAGE);
  } else {
    const results = await measured(options);
    write(results, options);
    console.log(options.isShort ? checked(results) : told(results));
  }
} catch (error) {
  console.error(error instanceof UsageError ? `${error.message}\n\n${USAGE}` : error);
  process.exit(error instanceof UsageError ? 64 : 70);
}
