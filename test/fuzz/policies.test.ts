import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { beforeEach, expect, test } from 'vitest';
import { checkPolicyFile, readPolicyFile } from '../../src/daemon/configuration/policy-file.ts';
import { EXIT, ExitError } from '../../src/errors.ts';
import { scratchDirectory } from '../store/scratch.ts';
import { specimens } from './corpus.ts';
import { cpuMsOf } from './host.ts';
import { FUZZ_TIMEOUT_MS, runs } from './runs.ts';

/** The largest file that is read at all. */
const LARGEST_BYTES = 1024 * 1024;
/** A reload stops everything else for as long. What is measured is below a third of it, for the largest files. */
const MOST_CPU_MS = 3_000;

let file: string;
beforeEach(() => {
  file = join(scratchDirectory(), 'config.json');
});

/** It is taken, or refused in words: the same by both who read it. */
function takenOrRefused(bytes: Uint8Array | string): 'taken' | 'refused' {
  writeFileSync(file, bytes);
  const problems = checkPolicyFile(file);
  for (const line of problems) {
    expect(line).not.toMatch(/[\p{Cc}\p{Zl}\p{Zp}]/u);
    // Each quotes a little of what is there and no more.
    expect(line.length).toBeLessThan(1_500);
  }
  try {
    const policies = readPolicyFile(file);
    expect(problems).toEqual([]);
    for (const account of ['A', 'USER:1', '__proto__', 'constructor']) {
      expect(policies.of(account)).toMatchObject({ exchange: expect.any(String), sequence: expect.any(String) });
    }
    return 'taken';
  } catch (error) {
    if (!(error instanceof ExitError)) throw error;
    expect(error.exitCode).toBe(EXIT.config);
    expect(problems).not.toEqual([]);
    return 'refused';
  } finally {
    expect(Object.hasOwn(Object.prototype, 'pacing')).toBe(false);
  }
}

test.each(specimens('policies'))('$name is taken or refused', ({ bytes }) => {
  takenOrRefused(bytes);
});

test('the example of the corpus is taken, so that what is made of it is worth trying', () => {
  const example = specimens('policies').find(({ name }) => name === 'example');
  expect(takenOrRefused(example?.bytes ?? '')).toBe('taken');
});

test(
  'files as large as may be are taken or refused in bounded time',
  () => {
    const fill = (before: string, one: string, after: string) =>
      before + one.repeat(Math.floor((LARGEST_BYTES - before.length - after.length) / one.length)) + after;
    const numbered = (make: (n: number) => string, count: number) =>
      Array.from({ length: count }, (_, n) => make(n)).join();
    const largest: Readonly<Record<string, string>> = {
      'lists in one another': fill('', '[', ''),
      'maps in one another': fill('', '{"a":', ''),
      'escapes in a text': fill('{"a":"', '\\\\', '"}'),
      'a text that is never closed': fill('{"', '\\"', ''),
      quotes: fill('', '"', ''),
      blanks: fill('{', ' ', '}'),
      lines: fill('{', '\n', '"a":}'),
      minuses: fill('[', '-', ']'),
      digits: fill('{"sequences":{"a":{"unit":"ns","max":', '9', '}}}'),
      'digits in quotes': fill('{"sequences":{"a":{"unit":"ns","max":"', '9', '"}}}'),
      'a key': fill('{"', 'k', '":1}'),
      'empty lists': fill('[', '[],', '[]]'),
      'the same key again': fill('{"accounts":{', '"A":{},', '"B":{}}}'),
      'unknown keys': `{${numbered((n) => `"key-${n}":1`, 15_000)}}`,
      'accounts that are no names': `{"accounts":{${numbered((n) => `"é${n}":{}`, 15_000)}}}`,
      'exchanges, and an account of an unknown one': `{"exchanges":{${numbered((n) => `"e${n}":{}`, 15_000)}},"accounts":{"A":{"exchange":"e"}}}`,
      accounts: `{"accounts":{${numbered((n) => `"USER:${n}":{"pacing":"none"}`, 10_000)}}}`,
    };
    const slow: string[] = [];
    for (const [what, text] of Object.entries(largest)) {
      expect(Buffer.byteLength(text), what).toBeLessThanOrEqual(LARGEST_BYTES);
      writeFileSync(file, text);
      const ms = cpuMsOf(() => checkPolicyFile(file));
      if (ms > MOST_CPU_MS) slow.push(`${what}: ${ms} ms`);
      if (process.env['FUZZ_FIGURES'] !== undefined) console.log(what, ms);
    }
    expect(slow).toEqual([]);
  },
  FUZZ_TIMEOUT_MS,
);

test(
  'a specimen with some of it changed is taken or refused',
  () => {
    const example =
      specimens('policies')
        .find(({ name }) => name === 'example')
        ?.bytes.toString() ?? '';
    const piece = fc.constantFrom(
      '{',
      '}',
      '[',
      ']',
      ',',
      ':',
      '"',
      '\\',
      '-',
      '1e9',
      '1e999',
      'null',
      '"__proto__":',
      '"$comment":1,',
      '*',
      'none',
      'ns',
      '\u2028',
      '\ud800',
      '/*',
      ' ',
    );
    const changed = fc
      .array(fc.tuple(fc.nat(example.length), fc.nat(12), piece), { minLength: 1, maxLength: 4 })
      .map((changes) => {
        let text = example;
        for (const [at, less, more] of changes) text = text.slice(0, at) + more + text.slice(at + less);
        return text;
      });
    fc.assert(
      fc.property(changed, (text) => void takenOrRefused(text)),
      runs(400),
    );
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => void takenOrRefused(bytes)),
      runs(200),
    );
  },
  FUZZ_TIMEOUT_MS,
);
