import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { resolve } from 'node:path';
import { createInterface } from 'node:readline';
import type { ApiKey } from '../../src/rehearsal/exchange-keys.ts';
import { eventually } from '../fixtures/eventually.ts';
import type { Installed } from './releases.ts';

/** What a bot is given, as JSON in its only argument. */
export interface BotOptions {
  /** Where its client library is. */
  readonly client: string;
  readonly name: string;
  readonly socket: string;
  readonly url: string;
  /** It makes one call after another with each. */
  readonly keys: readonly ApiKey[];
  /** An account whose lease it holds from its start until it is told to release it. */
  readonly hold: string;
  /** For a grant, and for a daemon. */
  readonly waitMs: number;
}

/** What a bot prints, one object a line. */
type Said =
  | { readonly called: string; readonly nonce: string }
  | { readonly failed: string; readonly error: string }
  | { readonly held: string }
  | { readonly released: boolean };

type Language = 'node' | 'python';

const hasPython = spawnSync('python3', ['-c', 'import sys; sys.exit(sys.version_info < (3, 9))']).status === 0;
export const LANGUAGES: readonly Language[] = hasPython ? ['node', 'python'] : ['node'];
/** For the title of a test; empty if nothing is missing. */
export const withoutPython = hasPython ? '' : ' (without the client for Python: no python3, or older than 3.9)';

export function isIncreasing(nonces: readonly bigint[]): boolean {
  return nonces.every((nonce, index) => nonce > (nonces[index - 1] ?? 0n));
}

const COMMANDS = {
  node: [process.execPath, resolve('build/test/upgrade/bot-process.js')],
  // -B: nothing that Python compiles is left beside the client.
  python: ['python3', '-B', resolve('test/upgrade/bot.py')],
} as const;

/** Much longer than any restart takes: a call that waits is well, and one that gives up is not. */
const WAIT_MS = 120_000;
/** A few of each account, so that a step has been felt by all. */
const CALLS_EACH = 3;

/** A bot in a process of its own. It reads `next`, which draws a nonce under its lease, `release`, and `stop`. */
export class Bot {
  readonly #child: ChildProcess;
  readonly #options: BotOptions;
  readonly #said: Said[] = [];

  private constructor(language: Language, options: BotOptions) {
    const [file, ...args] = COMMANDS[language];
    this.#options = options;
    this.#child = spawn(file, [...args, JSON.stringify(options)], { stdio: ['pipe', 'pipe', 'inherit'] });
    if (this.#child.stdout === null) throw new Error('no pipe');
    createInterface({ input: this.#child.stdout }).on('line', (line) => this.#said.push(JSON.parse(line) as Said));
  }

  /** Starts a bot with that program's client library, and waits until it holds its lease. */
  static async start(
    language: Language,
    { nodeClient, pythonClient }: Pick<Installed, 'nodeClient' | 'pythonClient'>,
    options: Omit<BotOptions, 'client' | 'waitMs'>,
  ): Promise<Bot> {
    const client = { node: nodeClient, python: pythonClient }[language];
    const bot = new Bot(language, { ...options, client, waitMs: WAIT_MS });
    await bot.#until('it holds its lease', () => bot.held.length > 0);
    return bot;
  }

  /** The nonces that it drew under its lease. */
  get held(): readonly bigint[] {
    return this.#said.flatMap((said) => ('held' in said ? [BigInt(said.held)] : []));
  }

  /** What failed: nothing should. */
  get failures(): readonly string[] {
    return this.#said.flatMap((said) => ('failed' in said ? [`${said.failed}: ${said.error}`] : []));
  }

  /** The nonces of the calls that the exchange accepted, in the order in which they were made. */
  called(account: string): readonly bigint[] {
    return this.#said.flatMap((said) => ('called' in said && said.called === account ? [BigInt(said.nonce)] : []));
  }

  /** Draws a nonce under the lease, and waits until it has made some more calls with each of its keys. */
  async goesOn(): Promise<void> {
    const draws = this.held.length;
    const before = this.#options.keys.map(({ account }) => this.called(account).length);
    this.#child.stdin?.write('next\n');
    await this.#until('it draws a nonce under its lease', () => this.held.length > draws);
    await this.#until('it makes calls', () =>
      this.#options.keys.every(
        ({ account }, index) => this.called(account).length >= (before[index] ?? 0) + CALLS_EACH,
      ),
    );
  }

  /** Gives the lease back. True if it was still held, and not lost on the way. */
  async release(): Promise<boolean> {
    this.#child.stdin?.write('release\n');
    return this.#until('it gives its lease back', () => {
      const [released] = this.#said.flatMap((said) => ('released' in said ? [said] : []));
      return released;
    }).then(({ released }) => released);
  }

  /** Lets it finish the calls that are under way. */
  async stop(): Promise<void> {
    if (this.#child.exitCode !== null) return;
    const closed = once(this.#child, 'close');
    this.#child.stdin?.end('stop\n');
    await closed;
  }

  kill(): void {
    this.#child.kill('SIGKILL');
  }

  #until<T>(what: string, probe: () => T | undefined | false): Promise<T> {
    const { name } = this.#options;
    const alive = () => {
      // It fails at once, with the reason, and not when the time is over.
      if (this.failures.length > 0) throw new Error(`${name}: ${this.failures.join('; ')}`);
      if (this.#child.exitCode !== null) throw new Error(`${name} exits ${this.#child.exitCode}`);
      return probe();
    };
    return eventually(`${name}: ${what}`, alive, WAIT_MS);
  }
}
