import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { Order } from './client-process.ts';
import { type Load, nowNs, type Sample, type Share, type Span } from './load.ts';
import type { Peer } from './peer.ts';
import { track } from './processes.ts';

/** Clients are processes of their own, as bots are; two of them, so that reading answers is not what limits a server. */
const PROCESSES = 2;
/** How long all of them have to hear when to begin. */
const NOTICE_MS = 30;

const PROGRAM = fileURLToPath(new URL('client-process.js', import.meta.url));

export interface Counted {
  readonly fromNs: number;
  /** When the first process had its calls: until then all of them had put the load on. */
  readonly firstNs: number;
  readonly lastNs: number;
}

/** The clients of one cell, connected and idle until `count`. */
export class Crew {
  readonly #processes: readonly ChildProcess[];

  private constructor(processes: readonly ChildProcess[]) {
    this.#processes = processes;
  }

  static async open(peer: Peer, endpoint: string, load: Load): Promise<Crew> {
    const shares = split(load.connections, peer.inOneProcess ? 1 : PROCESSES).map(
      ({ first, count }): Share => ({ peer: peer.name, endpoint, load, firstConnection: first, connections: count }),
    );
    const processes = shares.map(() => track(fork(PROGRAM, { serialization: 'advanced' }), 'SIGTERM'));
    const crew = new Crew(processes);
    await crew.#all((process, index) => ask(process, { open: shares[index] as Share }));
    return crew;
  }

  /** Puts the load on until every process has made so many calls. Returns when that began, and the first and last had. */
  async count(calls: number, atMostMs: number): Promise<Counted> {
    const fromNs = nowNs() + NOTICE_MS * 1e6;
    const endedAtNs = await this.#all((process) => ask<number>(process, { count: { fromNs, calls, atMostMs } }));
    return { fromNs, firstNs: Math.min(...endedAtNs), lastNs: Math.max(...endedAtNs) };
  }

  /** Returns what each process saw in this part of what was counted last. */
  sample(span: Span): Promise<readonly Sample[]> {
    return this.#all((process) => ask<Sample>(process, { sample: span }));
  }

  /** Resolves when they are gone, and what they started with them. */
  async dismiss(): Promise<void> {
    const gone = this.#processes
      .filter(({ exitCode, signalCode }) => exitCode === null && signalCode === null)
      .map((process) => once(process, 'exit'));
    for (const process of this.#processes) if (process.connected) process.disconnect();
    await Promise.all(gone);
  }

  async #all<T>(order: (process: ChildProcess, index: number) => Promise<T>): Promise<readonly T[]> {
    try {
      return await Promise.all(this.#processes.map(order));
    } catch (error) {
      await this.dismiss();
      throw error;
    }
  }
}

/** Shares out `count` as evenly as can be, over at most `parts` that all have something. */
export function split(count: number, parts: number): readonly { readonly first: number; readonly count: number }[] {
  const used = Math.min(count, parts);
  return Array.from({ length: used }, (_, part) => {
    const first = Math.floor((count * part) / used);
    return { first, count: Math.floor((count * (part + 1)) / used) - first };
  });
}

function ask<T>(process: ChildProcess, order: Order): Promise<T> {
  return new Promise((resolve, reject) => {
    const ended = () => reject(new Error('a client process failed; what it said is above'));
    process.once('exit', ended);
    process.once('message', (answer) => {
      process.off('exit', ended);
      resolve(answer as T);
    });
    process.send(order, (error) => error !== null && reject(error));
  });
}
