import { chmodSync, readFileSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, expect, test } from 'vitest';
import { readStateNote, writeStateNote } from '../../../src/store/notes/state-note.ts';
import { serialiseState } from '../../../src/store/state/state-format.ts';
import { IDENTITY, refusalOf, scratchDirectory, stateWith } from '../scratch.ts';

const BOOT = '6f0f9c1e-7a51-4f7e-9d0b-0e6a1b2c3d4e';
const BYTES = serialiseState({ ...IDENTITY, state: stateWith(), extra: {}, sequenceExtra: {} });

let runtimeDir: string;
const notePath = () => join(runtimeDir, 'state');
beforeEach(() => {
  runtimeDir = scratchDirectory();
  writeStateNote({ runtimeDir, stateDir: '/var/lib/a "place"', bootId: BOOT }, BYTES);
});

test('what was noted in this boot is read again, with the place of the state', () => {
  expect(readStateNote(runtimeDir, BOOT)).toMatchObject({
    stateDir: '/var/lib/a "place"',
    runtimeDir,
    contents: { ...IDENTITY, state: stateWith() },
  });
  expect(statSync(notePath()).mode & 0o777).toBe(0o600);
});

test('there is none before the first, and one of another boot says nothing', () => {
  expect(readStateNote(scratchDirectory(), BOOT)).toBeUndefined();
  expect(readStateNote(runtimeDir, 'another')).toBeUndefined();
});

test('one that is cut anywhere, or changed, says nothing', () => {
  const whole = readFileSync(notePath());
  for (let length = 0; length < whole.length; length += 7) {
    truncateSync(notePath(), length);
    expect(readStateNote(runtimeDir, BOOT), `${length} bytes`).toBeUndefined();
    writeFileSync(notePath(), whole);
  }
  writeFileSync(notePath(), whole.toString().replace('"epoch": 7', '"epoch": 9'));
  expect(readStateNote(runtimeDir, BOOT)).toBeUndefined();
});

test('one that others may have written is not trusted', () => {
  chmodSync(notePath(), 0o666);
  expect(refusalOf(() => readStateNote(runtimeDir, BOOT)).message).toContain('can be changed by other users');
});
