import { defineConfig } from 'vitest/config';
import { BaseSequencer, type TestSpecification } from 'vitest/node';

// What a message costs in memory and in time of the processor is measured in a process that has done nothing else.
const MEASURING = 'test/fuzz/{memory,messages,policies,work}.test.ts';

// Begun last, as small files otherwise are, these would keep one worker busy while the other has nothing left to do.
const LONG = /simulation\.test|\.property\.test/;

class LongOnesFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const sorted = await super.sort(files);
    const isLong = ({ moduleId }: TestSpecification) => LONG.test(moduleId);
    return [...sorted.filter(isLong), ...sorted.filter((file) => !isLong(file))];
  }
}

export default defineConfig({
  test: {
    // Most of the time goes by in waiting for processes: two files at once, also where there are only two cores.
    maxWorkers: 2,
    sequence: { sequencer: LongOnesFirst },
    projects: [
      {
        test: {
          name: 'unit',
          // None replaces a module or leaves anything behind in one: a worker loads them once, not for each file anew.
          isolate: false,
          include: ['test/**/*.test.ts'],
          exclude: ['test/e2e/**', 'test/crash/**', 'test/systemd/**', 'test/upgrade/**', MEASURING],
        },
      },
      { test: { name: 'measuring', include: [MEASURING] } },
      {
        test: {
          name: 'processes',
          include: ['test/{e2e,crash,systemd,upgrade}/**/*.test.ts'],
          // Real processes on a shared machine of two cores: generous, for nothing here measures time.
          testTimeout: 60_000,
          hookTimeout: 60_000,
        },
      },
    ],
  },
});
