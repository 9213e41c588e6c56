import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Bug, Change } from './bugs.ts';
import { type Found, search } from './search.ts';

/** A bug, and what it took to find it. */
export interface Bite {
  readonly bug: Bug;
  /** Undefined if no seed found it. */
  readonly found: Found | undefined;
}

export interface BiteOptions {
  readonly bugs: readonly Bug[];
  /** The compiled tree with `src` and `simulate` in it. */
  readonly build: string;
  /** The directory of the packages. */
  readonly root: string;
  /** How many seeds each bug is given. */
  readonly mostSeeds: number;
  readonly told?: (bite: Bite) => void;
}

/**
 * Plants each bug in a copy of the compiled program, and runs seeds on the copy until one fails. Throws if a bug no
 * longer fits the program.
 */
export async function bite({ bugs, build, root, mostSeeds, told }: BiteOptions): Promise<Bite[]> {
  const bites: Bite[] = [];
  for (const bug of bugs) {
    const dir = mkdtempSync(join(tmpdir(), 'nonced-bug-'));
    try {
      for (const part of ['src', 'simulate']) cpSync(join(build, part), join(dir, part), { recursive: true });
      writeFileSync(join(dir, 'package.json'), '{"type":"module"}\n');
      symlinkSync(join(root, 'node_modules'), join(dir, 'node_modules'));
      plant(join(dir, 'src'), bug);
      const { found } = await search({ dir: join(dir, 'simulate'), firstSeed: 1, seeds: mostSeeds, atFirst: true });
      const one = { bug, found: found[0] };
      bites.push(one);
      told?.(one);
    } finally {
      rmSync(dir, { recursive: true });
    }
  }
  return bites;
}

/** Plants the bug in a copy of the compiled program. */
function plant(src: string, bug: Bug): void {
  for (const change of changesOf(bug)) {
    const path = join(src, change.file);
    const text = readFileSync(path, 'utf8');
    const misfit = misfitOf(change, text);
    if (misfit !== undefined) throw new Error(`the bug "${bug.name}" does not fit: ${misfit}`);
    writeFileSync(
      path,
      text.replace(change.from, () => change.to),
    );
  }
}

export function changesOf(bug: Bug): readonly Change[] {
  return [bug, ...(bug.also ?? [])];
}

/** Returns why a change cannot be made in `text`: its place is missing, or is there more than once. */
export function misfitOf({ file, from }: Change, text: string): string | undefined {
  const times = text.split(from).length - 1;
  return times === 1 ? undefined : `its text is ${times} times in ${file}; bring simulate/bugs.ts up to date`;
}
