import { defineConfig } from 'vitest/config';

// No test replaces a module or leaves anything behind in one: a worker loads them once, not for each file anew.
const isolate = false;

export default defineConfig({
  test: {
    // Most of the time goes by in waiting for processes: two files at once, also where there are only two cores.
    maxWorkers: 2,
    projects: [
      {
        test: {
          name: 'unit',
          isolate,
          include: ['test/**/*.test.ts'],
          exclude: ['test/e2e/**', 'test/crash/**', 'test/systemd/**'],
        },
      },
      {
        test: {
          name: 'processes',
          isolate,
          include: ['test/{e2e,crash,systemd}/**/*.test.ts'],
          // Real processes on a shared machine of two cores: generous, for nothing here measures time.
          testTimeout: 60_000,
          hookTimeout: 60_000,
        },
      },
    ],
  },
});
