import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ClientOptions } from './client-process.ts';
import type { HistoryWriter } from './history.ts';
import type { Place } from './place.ts';

const LIBRARY_BOTS = 8;
const CONCURRENCY = 3;
const AWAY_MS = 100;

export interface Client {
  readonly name: string;
  readonly history: string;
  readonly raw: boolean;
  readonly stream: number;
  child: ChildProcess | undefined;
}

/**
 * The bots: eight that use the client library, and one that speaks JSON lines. A bot that is killed is started again.
 */
export class Clients {
  readonly all: readonly Client[];
  readonly #place: Place;
  readonly #history: HistoryWriter;
  readonly #seed: number;
  #started = 0;
  #stopped = false;

  constructor(place: Place, history: HistoryWriter, seed: number) {
    this.#place = place;
    this.#history = history;
    this.#seed = seed;
    this.all = Array.from({ length: LIBRARY_BOTS + 1 }, (_, index) => {
      const raw = index === LIBRARY_BOTS;
      const name = raw ? 'raw' : `bot-${index}`;
      return { name, raw, stream: index + 10, history: join(place.dir, `${name}.history`), child: undefined };
    });
  }

  start(): void {
    for (const client of this.all) this.#start(client);
  }

  /** Kills a bot and starts it again. */
  async kill(client: Client): Promise<void> {
    const { child } = client;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    this.#history.write({ k: 'client-ends', client: client.name });
    child.kill('SIGKILL');
    await once(child, 'exit');
    await sleep(AWAY_MS);
    if (!this.#stopped) this.#start(client);
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await Promise.all(
      this.all.map(async ({ child, name }) => {
        if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
        this.#history.write({ k: 'client-ends', client: name });
        child.kill('SIGKILL');
        await once(child, 'exit');
      }),
    );
  }

  #start(client: Client): void {
    const { name, raw, stream, history } = client;
    this.#started += 1;
    const options: ClientOptions = {
      name,
      history,
      socket: this.#place.socket,
      seed: this.#seed + this.#started,
      stream,
      concurrency: CONCURRENCY,
    };
    const program = resolve(`build/torture/${raw ? 'raw' : 'client'}-process.js`);
    const child = spawn(process.execPath, [program, JSON.stringify(options)], {
      stdio: ['pipe', 'ignore', 'pipe'],
      detached: true,
    });
    client.child = child;
    child.stdin.on('error', () => {});
    let said = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      said = (said + text).slice(-2_000);
    });
    child.once('exit', (code, signal) => {
      if (this.#stopped || signal === 'SIGKILL') return;
      this.#history.write({ k: 'client-ends', client: name });
      this.#history.write({ k: 'found', invariant: 'clients', what: `${name} ended with ${code ?? signal}: ${said}` });
    });
  }
}
