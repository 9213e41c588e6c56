import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { expect, test } from 'vitest';

// Only that it runs to its end; its figures are for `npm run bench:recovery` on a machine that does nothing else.
test('the recovery benchmark gets a grant after each kill, and says how long they took', async () => {
  const bench = spawn(process.execPath, ['build/bench/recovery/main.js', '--rounds', '5'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let said = '';
  bench.stdout.setEncoding('utf8').on('data', (text: string) => {
    said += text;
  });
  const [code] = await once(bench, 'close');
  expect(code).toBe(0);
  expect(said).toMatch(/^5 rounds of SIGKILL and restart, no client-visible error/);
  expect(said).toMatch(/^next grant \/ bare start: \d+\.\d\d at the median, \d+\.\d\d at p95$/m);
});
