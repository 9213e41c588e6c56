import { spawn } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { execPath } from 'node:process';
import { createInterface } from 'node:readline';
import type { Told } from './worker.ts';

export interface Found {
  readonly seed: number;
  readonly invariant: string;
  readonly message: string;
}

export interface SearchResult {
  readonly seeds: number;
  readonly turns: number;
  readonly lastedMs: number;
  /** The lowest seed first. */
  readonly found: readonly Found[];
  readonly coverage: ReadonlyMap<string, number>;
}

export interface SearchOptions {
  /** The directory of the compiled simulator. */
  readonly dir: string;
  readonly firstSeed: number;
  readonly seeds: number;
  /** Each process stops at the first seed that fails. */
  readonly atFirst: boolean;
  readonly workers?: number;
  readonly onProgress?: (result: SearchResult) => void;
  readonly onFound?: (found: Found) => void;
}

/** Runs seeds in as many processes as there are processors. Rejects if one of them does not exit with 0. */
export async function search(options: SearchOptions): Promise<SearchResult> {
  const workers = Math.min(options.workers ?? availableParallelism(), options.seeds);
  const found: Found[] = [];
  const latest = new Map<number, Told & { kind: 'progress' }>();
  const result = (): SearchResult => {
    const coverage = new Map<string, number>();
    let [seeds, turns, lastedMs] = [0, 0, 0];
    for (const told of latest.values()) {
      seeds += told.seeds;
      turns += told.turns;
      lastedMs += told.lastedMs;
      for (const [what, times] of Object.entries(told.coverage)) coverage.set(what, (coverage.get(what) ?? 0) + times);
    }
    return { seeds, turns, lastedMs, found: found.toSorted((a, b) => a.seed - b.seed), coverage };
  };
  await Promise.all(
    Array.from({ length: workers }, async (_, worker) => {
      const share = Math.ceil((options.seeds - worker) / workers);
      const given = [options.firstSeed + worker, workers, share, options.atFirst ? 1 : 0];
      const child = spawn(execPath, [join(options.dir, 'worker.js'), ...given.map(String)], {
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      const ended = new Promise<void>((resolve, reject) => {
        child.once('error', reject);
        child.once('exit', (code, signal) => {
          if (code === 0) resolve();
          else reject(new Error(`a process of the search ended with ${signal ?? code}`));
        });
      });
      for await (const line of createInterface(child.stdout)) {
        const told = JSON.parse(line) as Told;
        if (told.kind === 'failed') {
          found.push(told);
          options.onFound?.(told);
        } else {
          latest.set(worker, told);
        }
        options.onProgress?.(result());
      }
      await ended;
    }),
  );
  return result();
}
