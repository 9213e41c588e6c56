import { describe, expect, test } from 'vitest';
import { judgeDisk, judgeState, type StoragePlace } from '../../../../src/cli/doctor/checks/storage.ts';
import type { Answer } from '../../../../src/cli/doctor/facts/answer.ts';
import type { DiskFacts, StateFacts } from '../../../../src/cli/doctor/facts/storage.ts';

const EXT4 = 0xef53;
const place: StoragePlace = { dir: '/var/lib/nonced', isService: true, platform: 'linux' };
const byHand: StoragePlace = { ...place, dir: '/home/t/.local/state/nonced', isService: false };

type FileSystem = NonNullable<DiskFacts['fileSystem']>;
const disk = (over: Partial<FileSystem> = {}, more: Partial<DiskFacts> = {}): DiskFacts => ({
  entry: { kind: 'directory', mode: 0o700 },
  fileSystem: { type: EXT4, freeBytes: 5e9, freeInodes: 1e6, inodes: 2e6, ...over },
  isReadOnly: false,
  ...more,
});

describe('the disk', () => {
  test('is well with room on a local file system', () => {
    expect(judgeDisk(disk(), place)).toMatchObject({
      mark: 'ok',
      says: '/var/lib/nonced: 5.0 GB free, 1000000 inodes',
    });
    // Btrfs has no limit to them.
    expect(judgeDisk(disk({ inodes: 0, freeInodes: 0 }), place)).toMatchObject({
      mark: 'ok',
      says: '/var/lib/nonced: 5.0 GB free',
    });
  });

  test.each([
    ['under 100 MB', { freeBytes: 99e6 }, 'warning', 'only 99 MB'],
    ['no room', { freeBytes: 4096 }, 'failed', 'no space is left'],
    ['few inodes', { freeInodes: 99 }, 'warning', '99 inodes'],
    ['no inodes', { freeInodes: 0 }, 'failed', '0 inodes'],
    ['a tmpfs', { type: 0x01021994 }, 'warning', 'in memory (tmpfs)'],
    ['NFS', { type: 0x6969 }, 'failed', 'is on NFS'],
    ['the layer of a container', { type: 0x794c7630 }, 'warning', 'layer of a container'],
  ] as const)('with %s is not', (_what, over, mark, says) => {
    const check = judgeDisk(disk(over), place);
    expect(check.findings).toHaveLength(1);
    expect(check).toMatchObject({ mark, says: expect.stringContaining(says) });
  });

  test('that is read-only is reported as such, and not how full it is', () => {
    const check = judgeDisk(disk({ freeBytes: 0 }, { isReadOnly: true }), place);
    expect(check.findings).toMatchObject([{ mark: 'failed', commands: ['findmnt -T /var/lib/nonced'] }]);
  });

  test('of another system is not known by the numbers of Linux', () => {
    expect(judgeDisk(disk({ type: 0x6969 }), { ...place, platform: 'darwin' }).mark).toBe('ok');
  });

  test('without the directory is a loss for a service, and otherwise a first start to come', () => {
    const absent = disk({}, { entry: { kind: 'absent' } });
    expect(judgeDisk(absent, place).mark).toBe('failed');
    expect(judgeDisk(absent, byHand)).toMatchObject({
      mark: 'skipped',
      says: expect.stringContaining('the first start'),
    });
    expect(judgeDisk(disk({}, { entry: { kind: 'hidden' } }), place)).toMatchObject({
      mark: 'skipped',
      says: expect.stringContaining('sudo nonced doctor'),
    });
  });

  test.each([
    ['directory', 0o770, 'its group may write'],
    ['directory', 0o777, 'everyone may write'],
    ['other', 0o777, 'is not a directory, or is a link to one'],
  ] as const)('with a state directory that the daemon would refuse (%s, %o) fails', (kind, mode, says) => {
    const check = judgeDisk(disk({}, { entry: { kind, mode } }), place);
    expect(check).toMatchObject({ mark: 'failed', says: expect.stringContaining(says) });
  });
});

describe('the state', () => {
  const INSTANCE = 'a'.repeat(32);
  const whole = (over: Partial<Extract<StateFacts, { kind: 'whole' }>> = {}): StateFacts => ({
    kind: 'whole',
    instance: INSTANCE,
    pid: 100,
    socket: '/run/nonced/nonced.sock',
    retiredAtMs: undefined,
    foreign: false,
    locked: undefined,
    ...over,
  });
  const answered = (instance: string) => ({ kind: 'answered', status: { instance, pid: 7 } }) as Answer;

  test('is well if it is whole and that of the daemon', () => {
    expect(judgeState(whole(), place, answered(INSTANCE))).toMatchObject({
      mark: 'ok',
      says: '/var/lib/nonced: whole, instance aaaaaaaa',
    });
    expect(judgeState(whole({ locked: false }), place, undefined).mark).toBe('ok');
  });

  test('may be unreadable for this user, and is not there before the first start', () => {
    expect(judgeState({ kind: 'hidden' }, place, undefined)).toMatchObject({
      mark: 'skipped',
      says: expect.stringContaining('sudo nonced doctor'),
    });
    expect(judgeState({ kind: 'absent', lost: false }, byHand, undefined).mark).toBe('skipped');
  });

  test('that is missing although there was one, or although it was installed, was lost', () => {
    expect(judgeState({ kind: 'absent', lost: true }, byHand, undefined).mark).toBe('failed');
    expect(judgeState({ kind: 'absent', lost: false }, place, undefined)).toMatchObject({
      mark: 'failed',
      says: expect.stringContaining('it was lost'),
    });
  });

  test.each([
    ['damaged', { kind: 'unusable', problem: 'it is damaged; to repair it: …' } as const, 'it is damaged'],
    ['retired', whole({ retiredAtMs: 0, foreign: true }), 'was retired on 1970-01-01'],
    ['of another machine', whole({ foreign: true }), 'belongs to another machine'],
    ['locked by a daemon that is not found', whole({ locked: true }), 'is locked, so a daemon uses it (pid 100'],
  ])('that is %s is a failure', (_what, facts, says) => {
    const check = judgeState(facts, place, undefined);
    expect(check.findings).toHaveLength(1);
    expect(check).toMatchObject({ mark: 'failed', says: expect.stringContaining(says) });
  });

  test('is not that of the daemon which answers', () => {
    expect(judgeState(whole(), place, answered('b'.repeat(32)))).toMatchObject({
      mark: 'failed',
      says: expect.stringContaining('(instance bbbbbbbb) does not use the state'),
    });
  });
});
