import { existsSync } from 'node:fs';
import { dirname } from 'node:path';
import { parseArgs } from 'node:util';
import { PEERS } from './peers/index.ts';
import { PROBES, WORKS } from './works/index.ts';

export const WORK_NAMES: readonly string[] = [...WORKS.map(({ name }) => name), ...PROBES];
export const PEER_NAMES: readonly string[] = PEERS.map(({ name }) => name);

export const USAGE = `usage: npm run bench -- [options]

Compares the daemon with what else could be picked, on this machine, and prints ratios.

  --work NAME      only this; may be given again: ${WORK_NAMES.join(', ')}
  --peer NAME      only this; may be given again: ${PEER_NAMES.slice(0, 6).join(', ')},
                   ${PEER_NAMES.slice(6).join(', ')}
  --rounds N       how often each peer has its turn (default 3)
  --calls N        how many calls of each client process are measured, after those that warm it up (default 10,000)
  --dir DIR        where servers keep their state; not in memory (default /var/tmp)
  --json FILE      write everything that was measured
  --markdown FILE  write the tables; in a file that has them already, between its two marks
  --svg FILE       draw throughput and tail over the number of clients
  --from FILE      measure nothing; take what --json has written
  --short          a few seconds that say whether all of it works, and nothing else
  --help

Examples:
  npm run bench
  npm run bench -- --work call --peer nonced --peer redis-always --rounds 5
  npm run bench -- --json run.json --markdown docs/performance.md --svg docs/performance.svg
  npm run bench -- --from run.json
`;

export interface Options {
  readonly works: readonly string[];
  readonly peers: readonly string[];
  readonly rounds: number;
  /** In each client process, after the warm-up. */
  readonly calls: number;
  readonly isShort: boolean;
  /** Where the temporary directories are made. */
  readonly parent: string;
  readonly json: string | undefined;
  readonly markdown: string | undefined;
  readonly svg: string | undefined;
  readonly from: string | undefined;
}

export class UsageError extends Error {}

/** Undefined: only help was asked for. Throws UsageError. */
export function readOptions(args: readonly string[]): Options | undefined {
  const { values } = parsed(args);
  if (values.help) return undefined;
  const isShort = values.short;
  return {
    works: asked('work', values.work, WORK_NAMES),
    peers: asked('peer', values.peer, PEER_NAMES),
    rounds: number('rounds', values.rounds ?? (isShort ? '1' : '3')),
    calls: number('calls', values.calls ?? (isShort ? '100' : '10000')),
    isShort,
    parent: existing('dir', values.dir) ?? '',
    json: writable('json', values.json),
    markdown: writable('markdown', values.markdown),
    svg: writable('svg', values.svg),
    from: existing('from', values.from),
  };
}

function parsed(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      options: {
        work: { type: 'string', multiple: true },
        peer: { type: 'string', multiple: true },
        rounds: { type: 'string' },
        calls: { type: 'string' },
        dir: { type: 'string', default: '/var/tmp' },
        json: { type: 'string' },
        markdown: { type: 'string' },
        svg: { type: 'string' },
        from: { type: 'string' },
        short: { type: 'boolean', default: false },
        help: { type: 'boolean', default: false },
      },
    });
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
}

function asked(option: string, names: readonly string[] | undefined, known: readonly string[]): readonly string[] {
  const unknown = names?.find((name) => !known.includes(name));
  if (unknown !== undefined) {
    throw new UsageError(`--${option} is ${JSON.stringify(unknown)}; give one of ${known.join(', ')}`);
  }
  return names ?? known;
}

function existing(option: string, path: string | undefined): string | undefined {
  if (path === undefined || existsSync(path)) return path;
  throw new UsageError(`--${option} is ${JSON.stringify(path)}, which does not exist`);
}

/** Said before ten minutes have gone by, and not after. */
function writable(option: string, file: string | undefined): string | undefined {
  if (file !== undefined) existing(option, dirname(file));
  return file;
}

function number(option: string, text: string): number {
  const value = Number(text);
  if (Number.isInteger(value) && value >= 1) return value;
  throw new UsageError(`--${option} is ${JSON.stringify(text)}; give a whole number from 1`);
}
