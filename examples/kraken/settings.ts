// What every example takes from the command line and the environment, and how it ends.
import { readFileSync, statSync } from 'node:fs';
import { connect, type Nonced, NoncedError, type Unit } from 'nonced-client';
import { KrakenAccount } from './account.ts';
import type { ApiKey } from './rest.ts';

/** Options for `parseArgs` of node:util. */
export const COMMON_OPTIONS = {
  keys: { type: 'string' },
  url: { type: 'string' },
  unit: { type: 'string' },
  timeout: { type: 'string' },
  socket: { type: 'string' },
  help: { type: 'boolean', short: 'h' },
} as const;

export const COMMON_HELP = `  --keys FILE      the API keys, or $KRAKEN_KEYS: {"keys": [{"account": "MASTER", "key": "…", "secret": "…"}]},
                   a file that only you may read. Never on the command line, where ps shows them
  --url URL        or $KRAKEN_URL; https://api.kraken.com if left out
  --unit UNIT      the unit of the daemon's nonces; ns if left out. Calls are refused if it is another
  --timeout S      seconds for one call, from the grant to the answer; 10 if left out
  --socket PATH    of the daemon, or $NONCED_SOCKET; the usual places if left out
  -h, --help       this`;

export interface CommonValues {
  readonly keys?: string | undefined;
  readonly url?: string | undefined;
  readonly unit?: string | undefined;
  readonly timeout?: string | undefined;
  readonly socket?: string | undefined;
}

/** A mistake in how the program was called. The message says what is wrong and how to correct it. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

/** A key from the file, with what else the file says about it. */
export type KeyEntry = ApiKey & Readonly<Record<string, unknown>>;

/** Reads the file of keys. Throws UsageError, also for a file that others may read. */
export function readKeys(path: string | undefined): readonly KeyEntry[] {
  if (path === undefined) throw new UsageError('no keys; give --keys FILE or set KRAKEN_KEYS');
  let text: string;
  try {
    if ((statSync(path).mode & 0o077) !== 0) {
      throw new UsageError(`${path} may be read by others; run: chmod 600 ${path}`);
    }
    text = readFileSync(path, 'utf8');
  } catch (error) {
    if (error instanceof UsageError) throw error;
    throw new UsageError(`${path} cannot be read: ${error instanceof Error ? error.message : error}`);
  }
  const keys = parseKeys(text);
  if (!keys) throw new UsageError(`${path} holds no keys; write {"keys": [{"account": …, "key": …, "secret": …}]}`);
  return keys;
}

function parseKeys(text: string): readonly KeyEntry[] | undefined {
  let file: { keys?: unknown } | null;
  try {
    file = JSON.parse(text) as { keys?: unknown } | null;
  } catch {
    // Without the parser's message, which quotes the text that is wrong: it may be a secret.
    return undefined;
  }
  const keys = file?.keys;
  if (!Array.isArray(keys) || keys.length === 0) return undefined;
  const isKey = (entry: Partial<ApiKey> | null) =>
    [entry?.account, entry?.key, entry?.secret].every((text) => typeof text === 'string' && text !== '');
  return keys.every(isKey) ? (keys as KeyEntry[]) : undefined;
}

/** Makes the accounts of the keys, all on one connection to the daemon. */
export function openAccounts(nonced: Nonced, keys: readonly ApiKey[], values: CommonValues): KrakenAccount[] {
  const url = values.url ?? process.env['KRAKEN_URL'] ?? 'https://api.kraken.com';
  if (!URL.canParse(url)) throw new UsageError(`${url} is not a URL; give one like https://api.kraken.com`);
  const options = {
    url,
    unit: unitOf(values.unit ?? 'ns'),
    timeoutMs: numberOf('--timeout', values.timeout, 10) * 1000,
  };
  return keys.map((key) => new KrakenAccount(nonced, key, options));
}

function unitOf(text: string): Unit {
  const unit = (['ns', 'us', 'ms', 's', 'counter'] as const).find((name) => name === text);
  if (!unit) throw new UsageError(`--unit ${text} is not a unit; give ns, us, ms, s or counter`);
  return unit;
}

/** Reads a number above zero. */
export function numberOf(option: string, text: string | undefined, usual: number): number {
  const number = text === undefined ? usual : Number(text);
  if (!(number > 0 && Number.isFinite(number)))
    throw new UsageError(`${option} ${text} is not a number above 0; give one`);
  return number;
}

/**
 * Connects, runs the program, closes the connection, and returns what the program returned. `stop` aborts at the first
 * Ctrl-C or TERM. The second one ends the process at once.
 */
export async function runConnected(
  name: string,
  socket: string | undefined,
  program: (nonced: Nonced, stop: AbortSignal) => Promise<number>,
): Promise<number> {
  const stopping = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => {
      console.error('stopping once the calls under way are answered; once more to end at once');
      stopping.abort(new Error('stopped'));
    });
  }
  const nonced = await connect({ name, socket, signal: stopping.signal });
  try {
    return await program(nonced, stopping.signal);
  } finally {
    await nonced.close();
  }
}

/**
 * Runs a program and exits with what it returns. What its user can correct is said in one line: 64 for a mistake in the
 * command, 69 if no daemon answers.
 */
export async function runProgram(program: () => Promise<number> | number): Promise<void> {
  try {
    process.exitCode = await program();
  } catch (error) {
    if (error instanceof NoncedError) {
      console.error(error.message);
      process.exitCode = 69;
    } else if (isUsageError(error)) {
      console.error(error.message);
      process.exitCode = 64;
    } else throw error;
  }
}

function isUsageError(error: unknown): error is Error {
  if (error instanceof UsageError) return true;
  return error instanceof TypeError && 'code' in error && String(error.code).startsWith('ERR_PARSE_ARGS');
}
