import fs, {
  chmodSync,
  chownSync,
  closeSync,
  fstatSync,
  mkdirSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { join } from 'node:path';
import { beforeEach, describe, expect, test, vi } from 'vitest';
import { EXIT } from '../../src/errors.ts';
import { prepareRuntimeDirectory, prepareStateDirectory, stateCommand } from '../../src/store/directories.ts';
import { asNobody, mountTmpfs, refusalOf, run, scratchDirectory, skipUnlessRoot } from './scratch.ts';

let scratch: string;
beforeEach(() => {
  scratch = scratchDirectory();
});

const KINDS = [
  ['state', prepareStateDirectory],
  ['runtime', prepareRuntimeDirectory],
] as const;

describe.each(KINDS)('a %s directory', (role, prepare) => {
  test('is made with its parents, for us alone, and its own descriptor is answered', () => {
    const dir = join(scratch, 'a', 'b', 'c');
    const descriptor = prepare(dir);
    expect(fstatSync(descriptor).ino).toBe(statSync(dir).ino);
    closeSync(descriptor);
    for (const made of [dir, join(scratch, 'a', 'b'), join(scratch, 'a')]) {
      expect(statSync(made).mode & 0o777).toBe(0o700);
    }
    closeSync(prepare(`${dir}/`));
  });

  test('that is there already, as systemd makes it, is taken as it is', () => {
    for (const mode of [0o700, 0o750, 0o755]) {
      chmodSync(scratch, mode);
      closeSync(prepare(scratch));
      expect(statSync(scratch).mode & 0o777).toBe(mode);
    }
  });

  test('is refused as a link, as a file, and where everyone may write to it', () => {
    const link = join(scratch, 'link');
    mkdirSync(join(scratch, 'target'));
    symlinkSync('target', link);
    for (const path of [link, `${link}/`]) {
      expect(refusalOf(() => prepare(path))).toMatchObject({
        exitCode: EXIT.config,
        message: expect.stringContaining(`${role} directory ${link} is a symbolic link`),
      });
    }
    symlinkSync('nowhere', join(scratch, 'dangling'));
    expect(refusalOf(() => prepare(join(scratch, 'dangling'))).exitCode).toBe(EXIT.config);
    const file = join(scratch, 'file');
    writeFileSync(file, '');
    for (const path of [file, join(file, 'below')]) {
      expect(refusalOf(() => prepare(path))).toMatchObject({
        exitCode: EXIT.config,
        message: expect.stringContaining('is not a directory'),
      });
    }
    chmodSync(scratch, 0o777);
    expect(refusalOf(() => prepare(scratch))).toMatchObject({
      exitCode: EXIT.config,
      message: expect.stringContaining(`chmod go-w ${scratch}`),
    });
  });

  test("that is another user's is refused with the command that changes it", (context) => {
    skipUnlessRoot(context, 'gives a directory away');
    chownSync(scratch, 65_534, 65_534);
    expect(refusalOf(() => prepare(scratch))).toMatchObject({
      exitCode: EXIT.config,
      message: expect.stringContaining(`chown 0 ${scratch}`),
    });
  });

  test('that cannot be made or written to is a matter of permission', async (context) => {
    skipUnlessRoot(context, 'becomes another user');
    chmodSync(scratch, 0o755);
    const own = join(scratch, 'own');
    mkdirSync(own, { mode: 0o500 });
    chownSync(own, 65_534, 65_534);
    for (const dir of [join(scratch, 'new'), own]) {
      const failure = await asNobody(() => refusalOf(() => prepare(dir)));
      expect(failure.exitCode, dir).toBe(EXIT.noPermission);
      expect(failure.message).toContain(dir);
      expect(failure.message).toMatch(/as the owner|chmod u\+rwx/);
    }
  });

  test('on a full or read-only disk may pass', (context) => {
    const dir = mountTmpfs(context, 'size=64k,nr_inodes=2');
    run('touch', join(dir, 'a'), join(dir, 'b'));
    expect(refusalOf(() => prepare(join(dir, 'new'))).exitCode).toBe(EXIT.tempFail);
    run('mount', '-o', 'remount,ro', dir);
    expect(refusalOf(() => prepare(dir)).exitCode).toBe(EXIT.tempFail);
    expect(refusalOf(() => prepare(join(dir, 'new'))).exitCode).toBe(EXIT.tempFail);
  });

  test('leaves no descriptor open when it is refused', () => {
    const highest = () => {
      const descriptor = prepare(join(scratch, 'good'));
      closeSync(descriptor);
      return descriptor;
    };
    const before = highest();
    mkdirSync(join(scratch, 'open'), { mode: 0o777 });
    chmodSync(join(scratch, 'open'), 0o777);
    for (let n = 0; n < 5; n++) refusalOf(() => prepare(join(scratch, 'open')));
    expect(highest()).toBe(before);
  });
});

test('a group may share the runtime directory, but not the state directory', () => {
  chmodSync(scratch, 0o770);
  closeSync(prepareRuntimeDirectory(scratch));
  expect(refusalOf(() => prepareStateDirectory(scratch))).toMatchObject({
    exitCode: EXIT.config,
    message: expect.stringContaining('by its group'),
  });
});

test('I1: the entries of a new state directory and its parents are synced, and of an old one its own', () => {
  const synced: bigint[] = [];
  const { fsyncSync } = fs;
  const spy = vi.spyOn(fs, 'fsyncSync').mockImplementation((descriptor) => {
    synced.push(fstatSync(descriptor, { bigint: true }).ino);
    fsyncSync(descriptor);
  });
  syncBuiltinESMExports();
  try {
    const inodeOf = (path: string) => statSync(path, { bigint: true }).ino;
    const [a, b] = [join(scratch, 'a'), join(scratch, 'a', 'b')];
    closeSync(prepareStateDirectory(b));
    expect(new Set(synced)).toEqual(new Set([inodeOf(scratch), inodeOf(a)]));
    // It may have been made by a daemon that was killed before it came to the sync.
    synced.length = 0;
    closeSync(prepareStateDirectory(b));
    expect(synced).toEqual([inodeOf(a)]);
    spy.mockImplementation(() => {
      throw Object.assign(new Error('EIO'), { code: 'EIO' });
    });
    syncBuiltinESMExports();
    expect(refusalOf(() => prepareStateDirectory(b)).exitCode).toBe(EXIT.ioError);
  } finally {
    spy.mockRestore();
    syncBuiltinESMExports();
  }
});

test.each([
  ['/var/lib/nonced', 995, 'sudo -u nonced nonced state init --floor now --state-dir /var/lib/nonced'],
  ['/var/lib/nonced/', 995, 'sudo -u nonced nonced state init --floor now --state-dir /var/lib/nonced'],
  ['/var/lib/nonced', 0, 'nonced state init --floor now --state-dir /var/lib/nonced'],
  ['/home/trader/nonces', 1000, 'nonced state init --floor now --state-dir /home/trader/nonces'],
])(
  'a message names the command for the state in %s, told by user %d, as its reader must type it',
  (dir, euid, typed) => {
    expect(stateCommand('init --floor now', dir, euid)).toBe(typed);
  },
);
