import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { replaceFile } from '../../../src/cli/metrics/replaced-file.ts';

const dir = mkdtempSync(join(tmpdir(), 'nonced-file-'));
afterAll(() => rmSync(dir, { recursive: true }));

test('a file is replaced by another one, readable for all users under any umask, and nothing is left beside it', () => {
  const path = join(dir, 'nonced.prom');
  const umask = process.umask(0o077);
  try {
    replaceFile(path, 'old\n');
    const { ino } = statSync(path);
    replaceFile(path, 'new\n');
    expect(statSync(path).ino).not.toBe(ino);
  } finally {
    process.umask(umask);
  }
  expect(readFileSync(path, 'utf8')).toBe('new\n');
  expect(statSync(path).mode & 0o777).toBe(0o644);
  expect(readdirSync(dir)).toEqual(['nonced.prom']);
});

test('anything but a plain file is left alone', () => {
  const target = join(dir, 'target');
  writeFileSync(target, 'mine\n');
  symlinkSync(target, join(dir, 'link'));
  mkdirSync(join(dir, 'directory'));
  for (const name of ['link', 'directory']) {
    expect(() => replaceFile(join(dir, name), 'new\n'), name).toThrow(expect.objectContaining({ exitCode: 64 }));
  }
  expect(readFileSync(target, 'utf8')).toBe('mine\n');
  expect(readdirSync(dir).sort()).toEqual(['directory', 'link', 'nonced.prom', 'target']);
});

test('if it cannot be written, the path is named and nothing is left behind', () => {
  expect(() => replaceFile(join(dir, 'none', 'nonced.prom'), 'new\n')).toThrow(
    expect.objectContaining({ exitCode: 74, message: expect.stringContaining(join(dir, 'none', 'nonced.prom')) }),
  );
});
