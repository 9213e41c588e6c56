import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { CallLogFile } from '../../../src/store/call-log/call-log-file.ts';
import { type CallLogSteps, callLogStepsOnDisk } from '../../../src/store/call-log/call-log-steps.ts';
import { SimulatedCallLogDisk } from '../../fixtures/simulated-call-log-disk.ts';
import { mountTmpfs, scratchDirectory } from '../scratch.ts';

const PATH = '/var/log/nonced/calls.jsonl';
const MAGIC = '{"type":"daemon"';
const HEADER = '{"type":"daemon","epoch":1}';
const OLDER = '{"type":"daemon","epoch":0}';

function fileOn(steps: CallLogSteps, { path = PATH, maxBytes = 1_000_000, header = HEADER } = {}) {
  const replaced: string[] = [];
  const file = new CallLogFile({
    path,
    maxBytes,
    magic: MAGIC,
    steps,
    header: () => header,
    onReplaced: () => replaced.push(path),
  });
  return { file, replaced };
}

test('lines are appended, each whole, after a header that says who writes them', async () => {
  const disk = new SimulatedCallLogDisk();
  const { file } = fileOn(disk);
  expect(await file.append(['a', 'b'])).toEqual({ written: 2, failure: undefined });
  expect(await file.append(['ü'])).toEqual({ written: 1, failure: undefined });
  expect(disk.text(PATH)).toBe(`${HEADER}\na\nb\nü\n`);
});

test('a restart appends, with a header of its own', async () => {
  const disk = new SimulatedCallLogDisk();
  disk.put(PATH, `${OLDER}\na\n`);
  expect((await fileOn(disk).file.append(['b'])).failure).toBeUndefined();
  expect(disk.lines(PATH)).toEqual([OLDER, 'a', HEADER, 'b']);
});

test('what a crash has cut within a line stays, and the next one begins on a line of its own', async () => {
  const disk = new SimulatedCallLogDisk();
  disk.put(PATH, `${OLDER}\na\n{"type":"ca`);
  await fileOn(disk).file.append(['b']);
  expect(disk.lines(PATH)).toEqual([OLDER, 'a', '{"type":"ca', HEADER, 'b']);
});

test('a crash within the header leaves a file that still counts as a call log, wherever it was cut', async () => {
  for (let cut = 0; cut <= HEADER.length; cut += 1) {
    const disk = new SimulatedCallLogDisk();
    disk.put(PATH, HEADER.slice(0, cut));
    expect((await fileOn(disk).file.append(['a'])).failure).toBeUndefined();
    expect((await fileOn(disk).file.append(['b'])).failure).toBeUndefined();
    expect(disk.text(PATH)).toMatch(/^\{"type":"daemon"/);
    expect(disk.lines(PATH).slice(-3)).toEqual(['a', HEADER, 'b']);
  }
});

test('a write that is cut short goes on where it stopped', async () => {
  const disk = new SimulatedCallLogDisk();
  disk.mostAtOnce = 3;
  const { file } = fileOn(disk);
  expect(await file.append(['abcdef', 'gh'])).toEqual({ written: 2, failure: undefined });
  expect(disk.text(PATH)).toBe(`${HEADER}\nabcdef\ngh\n`);
});

test('on a disk that becomes full at any byte, the lines that are whole are counted, and none is written twice or lost', async () => {
  const lines = ['first', 'second', 'third'];
  const length = Buffer.byteLength([HEADER, ...lines, ''].join('\n'));
  for (let room = 0; room < length; room += 1) {
    const disk = new SimulatedCallLogDisk();
    disk.room = room;
    const { file } = fileOn(disk);
    const { written, failure } = await file.append(lines);
    expect(failure?.message).toContain('ENOSPC');
    disk.room = Number.POSITIVE_INFINITY;
    expect(await file.append(lines.slice(written))).toEqual({ written: lines.length - written, failure: undefined });
    const all = disk.lines(PATH);
    for (const line of lines) expect(all.filter((other) => other === line)).toEqual([line]);
    expect(disk.text(PATH)).toMatch(/^\{"type":"daemon"/);
    expect(disk.descriptors).toBe(1);
  }
});

test('it is renamed rather than grow beyond its size; one older file is kept, and each begins with a header', async () => {
  const disk = new SimulatedCallLogDisk();
  const { file } = fileOn(disk, { maxBytes: 150 });
  for (let n = 0; n < 20; n += 1) {
    expect(await file.append([`line ${n} ${'x'.repeat(20)}`])).toEqual({ written: 1, failure: undefined });
    expect(disk.text(PATH)?.length).toBeLessThanOrEqual(150);
  }
  const [older, newer] = [disk.lines(`${PATH}.1`), disk.lines(PATH)];
  expect([older[0], newer[0]]).toEqual([HEADER, HEADER]);
  expect([...older.slice(1), ...newer.slice(1)].map((line) => line.split(' ')[1])).toEqual([
    '15',
    '16',
    '17',
    '18',
    '19',
  ]);
  expect(disk.text(`${PATH}.2`)).toBeUndefined();
  expect(disk.descriptors).toBe(1);
});

test('a file that is too long already is renamed before the first line of a start', async () => {
  const disk = new SimulatedCallLogDisk();
  disk.put(PATH, `${OLDER}\n${'x'.repeat(200)}\n`);
  await fileOn(disk, { maxBytes: 100 }).file.append(['a']);
  expect(disk.lines(PATH)).toEqual([HEADER, 'a']);
  expect(disk.lines(`${PATH}.1`)[0]).toBe(OLDER);
});

test('one that cannot be renamed does not grow: the line is refused, and taken when it can be', async () => {
  const disk = new SimulatedCallLogDisk();
  disk.put(`${PATH}.1`, '', 'directory');
  disk.put(PATH, `${OLDER}\n${'x'.repeat(200)}\n`);
  const { file } = fileOn(disk, { maxBytes: 100 });
  const before = disk.text(PATH);
  const { written, failure } = await file.append(['a']);
  expect([written, failure?.message]).toEqual([0, 'EISDIR: simulated']);
  expect(disk.text(PATH)).toBe(before);
  disk.move(`${PATH}.1`);
  expect(await file.append(['a'])).toEqual({ written: 1, failure: undefined });
});

test('a file that is moved away or removed under it is noticed, and a new one is begun', async () => {
  const disk = new SimulatedCallLogDisk();
  const { file, replaced } = fileOn(disk);
  await file.append(['a']);
  disk.move(PATH, `${PATH}.old`);
  await file.append(['b']);
  disk.put(PATH, `${OLDER}\n`);
  await file.append(['c']);
  expect(replaced).toHaveLength(2);
  expect(disk.lines(`${PATH}.old`)).toEqual([HEADER, 'a']);
  expect(disk.lines(PATH)).toEqual([OLDER, HEADER, 'c']);
  expect(disk.descriptors).toBe(1);
});

test('who says that it was moved is not told so; the next time is noticed again', async () => {
  const disk = new SimulatedCallLogDisk();
  const { file, replaced } = fileOn(disk);
  await file.append(['a']);
  disk.move(PATH);
  file.reopen();
  await file.append(['b']);
  expect(replaced).toEqual([]);
  expect(disk.lines(PATH)).toEqual([HEADER, 'b']);
  disk.move(PATH);
  await file.append(['c']);
  expect(replaced).toEqual([PATH]);
});

test('one that is emptied in its place gets its header again', async () => {
  const disk = new SimulatedCallLogDisk();
  const { file } = fileOn(disk);
  await file.append(['a']);
  disk.truncate(PATH);
  await file.append(['b']);
  expect(disk.lines(PATH)).toEqual([HEADER, 'b']);
});

test('what is not a call log is left as it is: a state, a configuration, a directory, a link, a pipe', async () => {
  for (const [text, kind, said] of [
    ['{"format":1,"instance":"…"}', 'file', 'is not a call log'],
    ['{\n  "sequences": {}\n}\n', 'file', 'is not a call log'],
    ['\n', 'file', 'is not a call log'],
    ['', 'directory', 'is a directory'],
    ['', 'link', 'is a symbolic link'],
    ['', 'other', 'is not a regular file'],
  ] as const) {
    const disk = new SimulatedCallLogDisk();
    disk.put(PATH, text, kind);
    const { file } = fileOn(disk, { maxBytes: 10 });
    const { written, failure } = await file.append(['a']);
    expect([written, failure?.message]).toEqual([0, expect.stringContaining(`${PATH} ${said}`)]);
    expect(disk.text(PATH)).toBe(text);
    expect(disk.text(`${PATH}.1`)).toBeUndefined();
    expect(disk.descriptors).toBe(0);
  }
});

test('a step that fails is reported, leaves nothing open, and the next line is written', async () => {
  for (const step of ['look', 'open', 'create', 'append'] as const) {
    const disk = new SimulatedCallLogDisk();
    if (step === 'open') disk.put(PATH, `${OLDER}\n`);
    disk.failing[step] = 'EIO';
    const { file } = fileOn(disk);
    expect(await file.append(['a'])).toEqual({
      written: 0,
      failure: expect.objectContaining({ code: 'EIO' }),
    });
    expect(disk.descriptors).toBe(0);
    delete disk.failing[step];
    expect(await file.append(['a'])).toEqual({ written: 1, failure: undefined });
    await file.close();
    expect(disk.descriptors).toBe(0);
  }
});

test('on a real disk: mode 0640 under any umask, and links, pipes and directories are told apart', async () => {
  const dir = scratchDirectory();
  const path = join(dir, 'calls.jsonl');
  const umask = process.umask(0o077);
  onTestFinished(() => void process.umask(umask));
  const { file } = fileOn(callLogStepsOnDisk, { path, maxBytes: 60 });
  for (const line of ['a', 'b', 'c'.repeat(30)]) expect((await file.append([line])).failure).toBeUndefined();
  await file.close();
  expect(statSync(path).mode & 0o777).toBe(0o640);
  expect(readFileSync(`${path}.1`, 'utf8')).toBe(`${HEADER}\na\nb\n`);
  expect(readFileSync(path, 'utf8')).toBe(`${HEADER}\n${'c'.repeat(30)}\n`);

  const [link, pipe, directory] = [join(dir, 'link'), join(dir, 'pipe'), join(dir, 'directory')];
  writeFileSync(join(dir, 'target'), '');
  symlinkSync(join(dir, 'target'), link);
  spawnSync('mkfifo', [pipe]);
  mkdirSync(directory);
  for (const [name, said] of [
    [link, 'is a symbolic link'],
    [pipe, 'is not a regular file'],
    [directory, 'is a directory'],
  ] as const) {
    const { failure } = await fileOn(callLogStepsOnDisk, { path: name }).file.append(['a']);
    expect(failure?.message).toContain(said);
  }
  expect(readFileSync(join(dir, 'target'), 'utf8')).toBe('');
});

test('on a real disk: the last byte decides whether a line was cut', async () => {
  const path = join(scratchDirectory(), 'calls.jsonl');
  writeFileSync(path, `${OLDER}\n{"cut`);
  const { file } = fileOn(callLogStepsOnDisk, { path });
  await file.append(['a']);
  await file.close();
  expect(readFileSync(path, 'utf8')).toBe(`${OLDER}\n{"cut\n${HEADER}\na\n`);
});

test('on a real disk that is full, no whole line is lost or written twice', async (context) => {
  const dir = mountTmpfs(context, 'size=16k');
  const path = join(dir, 'calls.jsonl');
  writeFileSync(join(dir, 'ballast'), Buffer.alloc(8_000));
  const { file } = fileOn(callLogStepsOnDisk, { path });
  const lines = Array.from({ length: 500 }, (_, n) => `line ${n} ${'x'.repeat(20)}`);
  const first = await file.append(lines);
  expect(first.failure?.message).toContain('ENOSPC');
  expect(first.written).toBeGreaterThan(0);
  expect(first.written).toBeLessThan(lines.length);
  const { status } = spawnSync('mount', ['-o', 'remount,size=64k', dir]);
  expect(status).toBe(0);
  expect(await file.append(lines.slice(first.written))).toEqual({
    written: lines.length - first.written,
    failure: undefined,
  });
  await file.close();
  const text = readFileSync(path, 'utf8');
  for (const line of lines) expect(text.split(`${line}\n`)).toHaveLength(2);
});
