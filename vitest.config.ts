import { execFileSync } from 'node:child_process';
import { defineConfig } from 'vitest/config';
import { BaseSequencer, type TestSpecification } from 'vitest/node';

// What a message costs in memory and in processor time is measured in a process that has done nothing else.
const MEASURING = 'test/fuzz/{memory,messages,policies,work}.test.ts';

// Small files begin last otherwise, and one of these would keep one worker busy while the others have nothing left to do.
const LONG =
  /simulation\.test|\.property\.test|load\.test|python\.test|kill-at-syscall|torture\.test|upgrade|ccxt\.test|rehearse/;

class LongOnesFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const sorted = await super.sort(files);
    const isLong = ({ moduleId }: TestSpecification) => LONG.test(moduleId);
    return [...sorted.filter(isLong), ...sorted.filter((file) => !isLong(file))];
  }
}

/** Random input, and the rows of matrices, are chosen by the commit: runs on different commits add up. */
function seedOfCommit(): number {
  try {
    const commit = execFileSync('git', ['rev-parse', 'HEAD'], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    return Number.parseInt(commit.slice(0, 7), 16);
  } catch {
    return 0;
  }
}

process.env['NONCED_TESTS_SEED'] ??= String(seedOfCommit());

// Most tests wait for processes, disks and timers: more workers than cores, or the cores stand idle.
const WORKERS = 5;
// Generous, because nothing here measures time and the machine may be busy with something else.
const PATIENCE_MS = process.env['NONCED_TESTS'] === 'long' ? 900_000 : 120_000;

export default defineConfig({
  test: {
    maxWorkers: WORKERS,
    // No file replaces a module or leaves anything behind in one: a worker loads them once, not for each file again.
    isolate: false,
    testTimeout: PATIENCE_MS,
    hookTimeout: PATIENCE_MS,
    setupFiles: ['test/fixtures/random-input.ts'],
    sequence: { sequencer: LongOnesFirst },
    projects: [
      {
        extends: true,
        test: {
          name: 'unit',
          include: ['test/**/*.test.ts'],
          exclude: ['test/{e2e,crash,systemd,upgrade}/**', MEASURING],
        },
      },
      { extends: true, test: { name: 'measuring', isolate: true, include: [MEASURING] } },
      {
        extends: true,
        test: { name: 'processes', include: ['test/{e2e,crash,systemd,upgrade}/**/*.test.ts'] },
      },
    ],
  },
});
