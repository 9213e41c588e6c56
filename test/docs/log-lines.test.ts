import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';

/** All that the program may say: its sources, with the texts that the code puts together in one piece. */
const said = readdirSync('src', { recursive: true, encoding: 'utf8' })
  .filter((name) => name.endsWith('.ts'))
  .map((name) => readFileSync(join('src', name), 'utf8'))
  .join('\n')
  .replaceAll(/['`]\s*\+\s*['`]/g, '');

const [, explained = ''] =
  /\n## Every line, and what to do\n([\s\S]*?)\n## /.exec(readFileSync('docs/log.md', 'utf8')) ?? [];
const lines = [...explained.matchAll(/^\| (`[^|]+) \|/gm)].flatMap(([, cell = '']) =>
  [...cell.matchAll(/`([^`]+)`/g)].map(([, line = '']) => line),
);

test('each line that docs/log.md explains is one that the program may write', () => {
  expect(lines.length).toBeGreaterThan(50);
  const unsaid = lines.filter((line) => !fixedPartsOf(line).every((part) => said.includes(part)));
  expect(unsaid).toEqual([]);
});

/** Capitals and dots stand for what differs from line to line. */
function fixedPartsOf(line: string): string[] {
  const parts = line
    .split(/\w+=…|…|\b[A-Z][A-Z_]*\b/)
    .map((part) => part.replaceAll(/^[\s;:,()']+|[\s;:,()']+$/g, ''))
    .filter((part) => part.length > 3);
  expect(parts, line).not.toEqual([]);
  return parts;
}
