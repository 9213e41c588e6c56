import fs, {
  chmodSync,
  chownSync,
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest';
import type { DurableState, StoreFailure } from '../../../src/core/ports.ts';
import { EXIT, ExitError } from '../../../src/errors.ts';
import { prepareStateDirectory } from '../../../src/store/directories.ts';
import {
  leftovers,
  openStateFile,
  readStateFile,
  type StateFile,
  salvageStateFile,
  sweepOrphans,
} from '../../../src/store/state/state-file.ts';
import { parseState } from '../../../src/store/state/state-format.ts';
import { type StateFileSteps, stepsOnDisk } from '../../../src/store/state/state-steps.ts';
import {
  asNobody,
  IDENTITY,
  mountTmpfs,
  NS,
  refusalOf,
  run,
  scratchDirectory,
  skipUnlessRoot,
  stateWith,
} from '../scratch.ts';

let dir: string;
const statePath = () => join(dir, 'state.json');
beforeEach(() => {
  dir = scratchDirectory();
});
afterEach(() => {
  vi.restoreAllMocks();
});

/** Opens as a daemon does at its start. */
function open(steps: Partial<StateFileSteps> = {}, epoch = IDENTITY.epoch): StateFile {
  const dirFd = prepareStateDirectory(dir);
  onTestFinished(() => closeSync(dirFd));
  const identity = { ...IDENTITY, epoch };
  return openStateFile({ dir, dirFd, identity, found: readStateFile(dir), steps: { ...stepsOnDisk, ...steps } });
}

const raised = (by: bigint): DurableState => stateWith({ default: { ...NS, ceiling: NS.ceiling + by } });

function ceilingOnDisk(): bigint | undefined {
  const read = readStateFile(dir);
  return read.kind === 'state' ? read.state.state.sequences['default']?.ceiling : undefined;
}

function failWith(code: string): Error {
  return Object.assign(new Error(`${code}: injected`), { code });
}

function exitCodeOf(failure: StoreFailure | undefined): number | undefined {
  return failure?.error instanceof ExitError ? failure.error.exitCode : undefined;
}

/** A state that needs more than one page, so that a nearly full disk takes a part of it. */
function large(by: bigint): DurableState {
  const entries = Array.from({ length: 60 }, (_, n) => [`s${n}`, { ...NS, ceiling: NS.ceiling + by }] as const);
  return stateWith({ ...Object.fromEntries(entries), default: { ...NS, ceiling: NS.ceiling + by } });
}

describe('reading', () => {
  test('returns that there is no state, and what a write left', async () => {
    expect(readStateFile(dir)).toEqual({ kind: 'absent' });
    expect(await open().write(stateWith())).toBeUndefined();
    expect(readStateFile(dir)).toMatchObject({ kind: 'state', state: { ...IDENTITY, state: stateWith() } });
    expect(statSync(statePath()).mode & 0o777).toBe(0o600);
    expect(readdirSync(dir)).toEqual(['state.json']);
  });

  test('I9: a state cut short at any length is refused with the path, the fault and the command that repairs it', async () => {
    await open().write(stateWith());
    const bytes = readFileSync(statePath());
    for (let length = 0; length < bytes.length; length++) {
      writeFileSync(statePath(), bytes.subarray(0, length));
      const { exitCode, message } = refusalOf(() => readStateFile(dir));
      expect(exitCode).toBe(EXIT.config);
      expect(message).toContain(`${statePath()} `);
      expect(message).toContain(`nonced state init --floor now --state-dir ${dir}`);
      expect(message).toMatch(length === 0 ? /is empty/ : /is cut short|does not match its checksum/);
    }
  });

  test('I9: a changed ceiling is refused', async () => {
    await open().write(stateWith());
    writeFileSync(statePath(), readFileSync(statePath(), 'utf8').replace('1790000000000000000', '1690000000000000000'));
    expect(refusalOf(() => readStateFile(dir))).toMatchObject({ exitCode: EXIT.config });
    expect(salvageStateFile(dir)).toMatchObject({ kind: 'salvaged', epoch: 7, instance: IDENTITY.instance });
  });

  test('a newer format is refused with the version to use', async () => {
    await open().write(stateWith());
    writeFileSync(statePath(), readFileSync(statePath(), 'utf8').replace('"format": 1', '"format": 2'));
    const { exitCode, message } = refusalOf(() => readStateFile(dir));
    expect(exitCode).toBe(EXIT.config);
    expect(message).toMatch(/format 2 .*start that version/);
  });

  test('a link, a directory, a pipe, a file that others may write and a huge one are refused, unread', async () => {
    await open().write(stateWith());
    const elsewhere = join(dir, 'elsewhere');
    renameSync(statePath(), elsewhere);
    symlinkSync(elsewhere, statePath());
    expect(refusalOf(() => readStateFile(dir))).toMatchObject({
      exitCode: 78,
      message: expect.stringMatching(/symbolic link/),
    });
    fs.unlinkSync(statePath());
    mkdirSync(statePath());
    expect(refusalOf(() => readStateFile(dir))).toMatchObject({
      exitCode: 78,
      message: expect.stringMatching(/not a regular file/),
    });
    fs.rmdirSync(statePath());
    run('mkfifo', '-m', '600', statePath());
    expect(refusalOf(() => readStateFile(dir))).toMatchObject({
      exitCode: 78,
      message: expect.stringMatching(/not a regular file/),
    });
    fs.unlinkSync(statePath());
    renameSync(elsewhere, statePath());
    for (const mode of [0o620, 0o602]) {
      chmodSync(statePath(), mode);
      expect(refusalOf(() => readStateFile(dir))).toMatchObject({
        exitCode: 78,
        message: expect.stringMatching(/chmod 600/),
      });
    }
    chmodSync(statePath(), 0o600);
    fs.truncateSync(statePath(), 1024 ** 4);
    expect(refusalOf(() => readStateFile(dir))).toMatchObject({
      exitCode: 78,
      message: expect.stringMatching(/not a state of nonced/),
    });
  });

  test("another user's state is refused, but may be looked at", async (context) => {
    skipUnlessRoot(context, 'gives a file away');
    await open().write(stateWith());
    chownSync(statePath(), 65_534, 65_534);
    expect(refusalOf(() => readStateFile(dir))).toMatchObject({
      exitCode: 78,
      message: expect.stringMatching(/belongs to user 65534/),
    });
    expect(readStateFile(dir, 'anyone').kind).toBe('state');
  });

  test('a state that may not be read is a matter of permission', async (context) => {
    skipUnlessRoot(context, 'becomes another user');
    await open().write(stateWith());
    const failure = await asNobody(() => refusalOf(() => readStateFile(dir)));
    expect(failure).toMatchObject({ exitCode: EXIT.noPermission });
    expect(failure.message).toContain(statePath());
  });
});

describe('leftovers', () => {
  test('are temporary files and the lock directory, and nothing else', async () => {
    expect(leftovers(dir)).toEqual({ lock: false, temporaryFiles: [] });
    for (const name of ['state.json.123', 'state.json.bak', 'state.json.12a', 'other.1'])
      writeFileSync(join(dir, name), '');
    mkdirSync(join(dir, 'state.json.lock'));
    expect(leftovers(dir)).toEqual({ lock: true, temporaryFiles: ['state.json.123'] });
  });

  test('I9: are removed beside a state, and kept as evidence if the state is missing', async () => {
    writeFileSync(join(dir, 'state.json.123'), '', { mode: 0o600 });
    expect(sweepOrphans(dir)).toEqual([]);
    await open().write(stateWith());
    writeFileSync(join(dir, 'state.json.bak'), '');
    mkdirSync(join(dir, 'state.json.9'));
    expect(sweepOrphans(dir)).toEqual(['state.json.123']);
    expect(readdirSync(dir).sort()).toEqual(['state.json', 'state.json.9', 'state.json.bak']);
  });

  test('of a write are swept, and a copy of the state never is, whole or cut short', async () => {
    writeFileSync(join(dir, 'state.json.7'), '{\n  "format": 1,           ', { mode: 0o600 });
    await open().write(stateWith());
    const whole = readFileSync(statePath());
    writeFileSync(join(dir, 'state.json.20261130'), whole, { mode: 0o600 });
    writeFileSync(join(dir, 'state.json.20261201'), whole.subarray(0, 100), { mode: 0o600 });
    writeFileSync(join(dir, 'state.json.20261202'), '', { mode: 0o644 });
    symlinkSync(statePath(), join(dir, 'state.json.20261203'));
    expect(sweepOrphans(dir)).toEqual(['state.json.7']);
    expect(readdirSync(dir).sort()).toEqual([
      'state.json',
      'state.json.20261130',
      'state.json.20261201',
      'state.json.20261202',
      'state.json.20261203',
    ]);
    expect(readFileSync(statePath())).toEqual(whole);
  });

  test('of a real write that is killed at any step are swept', async () => {
    await open().write(stateWith());
    const left: Buffer[] = [];
    const peek = () => {
      for (const name of readdirSync(dir)) {
        if (/^state\.json\.\d+$/.test(name)) left.push(readFileSync(join(dir, name)));
      }
    };
    const store = open({
      async reserve(path, length) {
        peek();
        await stepsOnDisk.reserve(path, length);
        peek();
      },
    });
    await store.write(raised(1n));
    expect(left.map((bytes) => bytes.length > 0)).toEqual([false, true]);
    left.forEach((bytes, index) => {
      writeFileSync(join(dir, `state.json.${index}`), bytes, { mode: 0o600 });
    });
    expect(sweepOrphans(dir)).toEqual(['state.json.0', 'state.json.1']);
  });
});

describe('a write', () => {
  test('I1: succeeds only after the rename, the size check and then the directory sync, in this order', async () => {
    const log: string[] = [];
    const logged = <A extends unknown[], R>(name: string, step: (...args: A) => Promise<R>) =>
      vi.fn((...args: A) => {
        log.push(name);
        return step(...args);
      });
    let finishSync = () => {};
    const store = open({
      identify: logged('identify', stepsOnDisk.identify),
      read: logged('read', stepsOnDisk.read),
      reserve: logged('reserve', stepsOnDisk.reserve),
      replace: logged('replace', stepsOnDisk.replace),
      size: logged('size', stepsOnDisk.size),
      syncDirectory: (descriptor) => {
        log.push(`syncDirectory, ceiling on disk ${ceilingOnDisk()}`);
        return new Promise<void>((resolve) => {
          finishSync = resolve;
        }).then(() => stepsOnDisk.syncDirectory(descriptor));
      },
    });
    let settled = false;
    const written = store.write(stateWith()).then((failure) => {
      settled = true;
      return failure;
    });
    await vi.waitUntil(() => log.length === 7);
    expect(log).toEqual([
      'identify',
      'read',
      'replace',
      'reserve',
      'size',
      'identify',
      `syncDirectory, ceiling on disk ${NS.ceiling}`,
    ]);
    await stepsOnDisk.syncDirectory(fs.openSync(dir, 'r'));
    expect(settled).toBe(false);
    finishSync();
    expect(await written).toBeUndefined();
  });

  test('I1: the temporary file is synced before it is renamed', async () => {
    const order: string[] = [];
    const { fsync, rename } = fs;
    vi.spyOn(fs, 'fsync').mockImplementation((...args) => {
      order.push('fsync');
      fsync(...args);
    });
    vi.spyOn(fs, 'rename').mockImplementation((...args) => {
      order.push('rename');
      rename(...args);
    });
    expect(await open().write(stateWith())).toBeUndefined();
    expect(order).toEqual(['fsync', 'rename']);
  });

  test('replaces the one before, many times, and keeps unknown keys', async () => {
    await open().write(stateWith());
    const dirFd = openSync(dir, 'r');
    onTestFinished(() => closeSync(dirFd));
    const store = openStateFile({
      dir,
      dirFd,
      identity: IDENTITY,
      found: readStateFile(dir),
      extra: { holidays: ['A'] },
    });
    for (let by = 1n; by <= 20n; by++) {
      expect(await store.write(raised(by))).toBeUndefined();
      expect(ceilingOnDisk()).toBe(NS.ceiling + by);
    }
    await open({}, 8).write(raised(21n));
    expect(readStateFile(dir)).toMatchObject({ state: { epoch: 8, extra: { holidays: ['A'] } } });
  });

  test('may lower a ceiling that it raised itself, as a clean stop does, but never below the one that it found', async () => {
    const first = open();
    expect(await first.write(raised(100n))).toBeUndefined();
    expect(await first.write(raised(50n))).toBeUndefined();
    const second = open({}, 8);
    const failure = await second.write(raised(49n));
    expect(failure).toMatchObject({ kind: 'fatal', error: { message: expect.stringContaining('would go back') } });
    expect(ceilingOnDisk()).toBe(NS.ceiling + 50n);
  });

  test('I2: that drops a sequence or changes its unit is refused as a defect', async () => {
    await open().write(stateWith());
    expect(exitCodeOf(await open().write(stateWith({})))).toBe(EXIT.ioError);
    expect(exitCodeOf(await open().write(stateWith({ default: { ...NS, unit: 'us' } })))).toBe(EXIT.ioError);
    expect(ceilingOnDisk()).toBe(NS.ceiling);
  });

  test('I9: of what could not be read again is refused before it replaces anything', async () => {
    await open().write(stateWith());
    const failure = await open().write(stateWith({ default: { ...NS, max: 2n ** 65n } }));
    expect(exitCodeOf(failure)).toBe(EXIT.ioError);
    expect(ceilingOnDisk()).toBe(NS.ceiling);
  });
});

describe('ownership', () => {
  const lost = { kind: 'fatal', error: { exitCode: EXIT.config } };

  test('a directory that was moved away ends the daemon with 78, and nothing is written', async () => {
    const store = open();
    await store.write(stateWith());
    const moved = `${dir}-moved`;
    renameSync(dir, moved);
    onTestFinished(() => fs.rmSync(moved, { recursive: true }));
    expect(await store.write(raised(1n))).toMatchObject(lost);
    expect(existsSync(dir)).toBe(false);
    renameSync(moved, dir);
    // It is back, but what happened meanwhile is not known.
    expect(await store.write(raised(1n))).toMatchObject(lost);
    expect(ceilingOnDisk()).toBe(NS.ceiling);
    renameSync(dir, moved);
    mkdirSync(dir);
  });

  test('a directory made again, even with a copy of the state, ends the daemon with 78', async () => {
    const store = open();
    await store.write(stateWith());
    const moved = `${dir}-moved`;
    renameSync(dir, moved);
    onTestFinished(() => fs.rmSync(moved, { recursive: true }));
    mkdirSync(dir, { mode: 0o700 });
    fs.copyFileSync(join(moved, 'state.json'), statePath());
    expect(await store.write(raised(1n))).toMatchObject(lost);
    expect(ceilingOnDisk()).toBe(NS.ceiling);
  });

  test('a directory moved in mid-write ends the daemon with 78', async () => {
    const moved = `${dir}-moved`;
    onTestFinished(() => fs.rmSync(moved, { recursive: true }));
    const store = open({
      async replace(path, bytes, beforeWriting) {
        await stepsOnDisk.replace(path, bytes, beforeWriting);
        renameSync(dir, moved);
        mkdirSync(dir);
        writeFileSync(path, bytes);
      },
    });
    expect(await store.write(stateWith())).toMatchObject(lost);
  });

  test.each<[string, () => void]>([
    ['gone', () => fs.unlinkSync(statePath())],
    ['emptied', () => fs.truncateSync(statePath(), 0)],
    ['cut short', () => fs.truncateSync(statePath(), 100)],
    [
      'written to by another daemon',
      () => writeFileSync(statePath(), readFileSync(statePath(), 'utf8').replace('"epoch": 7', '"epoch": 8')),
    ],
    [
      'of another instance',
      () => writeFileSync(statePath(), readFileSync(statePath(), 'utf8').replace('ddeeff', 'ddeefe')),
    ],
    [
      'a link to itself elsewhere',
      () => {
        renameSync(statePath(), join(dir, 'elsewhere'));
        symlinkSync('elsewhere', statePath());
      },
    ],
    [
      'a directory',
      () => {
        fs.unlinkSync(statePath());
        mkdirSync(statePath());
      },
    ],
  ])('a state that is %s ends the daemon, and is left as it is', async (_, change) => {
    const store = open();
    await store.write(stateWith());
    change();
    const before = run('ls', '-lA', dir).stdout;
    const failure = await store.write(raised(1n));
    expect(failure?.kind).toBe('fatal');
    expect([EXIT.config, EXIT.ioError]).toContain(exitCodeOf(failure));
    expect(run('ls', '-lA', dir).stdout).toBe(before);
  });

  test('before the first write exactly what was read must still be there', async () => {
    const atFirstStart = open();
    await open().write(stateWith());
    expect(await atFirstStart.write(stateWith())).toMatchObject(lost);
    const second = open({}, 8);
    const third = open({}, 9);
    expect(await third.write(stateWith())).toBeUndefined();
    expect(await second.write(raised(1n))).toMatchObject(lost);
    expect(readStateFile(dir)).toMatchObject({ state: { epoch: 9 } });
  });

  test('a repair replaces exactly the damaged state that was salvaged', async () => {
    await open().write(raised(5n));
    const text = readFileSync(statePath(), 'utf8');
    writeFileSync(statePath(), text.slice(0, -30));
    const dirFd = prepareStateDirectory(dir);
    onTestFinished(() => closeSync(dirFd));
    const found = salvageStateFile(dir);
    expect(found).toMatchObject({ epoch: 7, sequences: { default: { ceiling: NS.ceiling + 5n } } });
    const repair = () => openStateFile({ dir, dirFd, identity: { ...IDENTITY, epoch: 8 }, found });
    expect(await repair().write(raised(4n))).toMatchObject({ kind: 'fatal' });
    expect(await repair().write(raised(6n))).toBeUndefined();
    expect(ceilingOnDisk()).toBe(NS.ceiling + 6n);
    expect(await repair().write(raised(7n))).toMatchObject(lost);
  });
});

describe('a failure', () => {
  type Callback = (error: Error | null, ...rest: unknown[]) => void;
  const FATAL = ['EIO', 'EACCES', 'EPERM', 'EINVAL', 'EBADF'];
  // By write-file-atomic, of a chmod and for all but root: the file was made with the right mode anyway.
  const FORGIVEN = ['EPERM', 'EINVAL'];
  const PASSING = ['ENOSPC', 'EDQUOT', 'EROFS', 'EMFILE', 'ENFILE', 'ENOMEM'];

  /** Makes the next call of this function, as write-file-atomic calls it, fail. */
  function failOnce(name: 'open' | 'write' | 'fsync' | 'close' | 'chmod' | 'rename', code: string): void {
    const fail = (...args: unknown[]) => (args.at(-1) as Callback)(failWith(code));
    vi.spyOn(fs, name as 'fsync').mockImplementationOnce(fail as never);
  }

  for (const step of ['open', 'write', 'fsync', 'close', 'chmod', 'rename'] as const) {
    test.each(PASSING)(
      `of ${step} with %s may pass: the old state is intact and the next write succeeds`,
      async (code) => {
        const store = open();
        await store.write(stateWith());
        failOnce(step, code);
        expect(await store.write(raised(1n))).toMatchObject({ kind: 'retriable', error: { code } });
        expect(ceilingOnDisk()).toBe(NS.ceiling);
        expect(await store.write(raised(2n))).toBeUndefined();
        expect(ceilingOnDisk()).toBe(NS.ceiling + 2n);
        expect(readdirSync(dir)).toEqual(['state.json']);
      },
    );

    test.each(FATAL.filter((code) => step !== 'chmod' || !FORGIVEN.includes(code)))(
      `of ${step} with %s ends the daemon with 74, for good`,
      async (code) => {
        const store = open();
        await store.write(stateWith());
        failOnce(step, code);
        const failure = await store.write(raised(1n));
        expect(failure).toMatchObject({ kind: 'fatal', error: { exitCode: EXIT.ioError } });
        expect(failure?.error.message).toContain(statePath());
        expect(await store.write(raised(2n))).toBe(failure);
        expect(ceilingOnDisk()).toBe(NS.ceiling);
      },
    );
  }

  test.each([...PASSING, 'EIO'])(
    'I1: of the directory sync, %s too, is fatal and never asked for again',
    async (code) => {
      const syncDirectory = vi.fn(stepsOnDisk.syncDirectory).mockRejectedValueOnce(failWith(code));
      const store = open({ syncDirectory });
      const failure = await store.write(stateWith());
      expect(failure).toMatchObject({ kind: 'fatal', error: { exitCode: EXIT.ioError } });
      expect(await store.write(raised(1n))).toBe(failure);
      expect(syncDirectory).toHaveBeenCalledTimes(1);
    },
  );

  test.each(PASSING)('of the look before the write with %s may pass', async (code) => {
    for (const step of ['identify', 'identifyDescriptor', 'read', 'reserve'] as const) {
      const store = open({
        [step]: vi.fn<() => Promise<never>>(stepsOnDisk[step] as never).mockRejectedValueOnce(failWith(code)),
      });
      expect(await store.write(stateWith())).toMatchObject({ kind: 'retriable' });
      expect(await store.write(stateWith())).toBeUndefined();
    }
  });

  test('of anything that is not a system error, thrown at any step, is fatal and never rejects', async () => {
    const { glance: _, ...ofWrites } = stepsOnDisk;
    for (const step of Object.keys(ofWrites) as (keyof StateFileSteps)[]) {
      const store = open({
        [step]: () => {
          throw new TypeError('a defect');
        },
      });
      expect(await store.write(stateWith()), step).toMatchObject({ kind: 'fatal', error: { exitCode: EXIT.ioError } });
    }
  });

  test('a directory that vanishes between look and write is lost ownership', async () => {
    const store = open({
      async read(path) {
        const bytes = await stepsOnDisk.read(path);
        fs.rmSync(dir, { recursive: true });
        return bytes;
      },
    });
    expect(await store.write(stateWith())).toMatchObject({ kind: 'fatal', error: { exitCode: EXIT.config } });
  });
});

describe('between two writes', () => {
  const lost = { kind: 'fatal', error: { exitCode: EXIT.config } };
  const moved = () => {
    renameSync(dir, `${dir}-moved`);
    onTestFinished(() => fs.rmSync(`${dir}-moved`, { recursive: true, force: true }));
  };

  const linked = () => {
    renameSync(statePath(), join(dir, 'elsewhere'));
    symlinkSync(join(dir, 'elsewhere'), statePath());
  };
  const copied = () => {
    moved();
    fs.cpSync(`${dir}-moved`, dir, { recursive: true });
  };

  test.each<[string, () => void]>([
    ['put back to an older one', () => writeFileSync(statePath(), older)],
    ['deleted', () => fs.rmSync(statePath())],
    ['emptied', () => fs.truncateSync(statePath())],
    ['replaced by a link', linked],
    ['deleted with its directory', () => fs.rmSync(dir, { recursive: true })],
    ['moved away with its directory', moved],
    ['copied into a directory made again', copied],
  ])('a state that is %s is noticed, and nothing is written any more', async (_how, change) => {
    const store = open();
    await store.write(stateWith());
    older = readFileSync(statePath());
    await store.write(raised(1n));
    expect(await store.look()).toBeUndefined();
    change();
    expect(await store.look()).toMatchObject(lost);
    expect(await store.write(raised(2n))).toMatchObject(lost);
  });
  let older = Buffer.alloc(0);

  test('one that was touched, or replaced by the same bytes, is still ours', async () => {
    const store = open();
    await store.write(stateWith());
    fs.utimesSync(statePath(), 1, 1);
    expect(await store.look()).toBeUndefined();
    const bytes = readFileSync(statePath());
    fs.rmSync(statePath());
    writeFileSync(statePath(), bytes, { mode: 0o600 });
    expect(await store.look()).toBeUndefined();
    expect(await store.write(raised(1n))).toBeUndefined();
  });

  test('nothing is read as long as nothing has changed, and a write under way looks by itself', async () => {
    let reads = 0;
    const counted = (path: string) => {
      reads += 1;
      return stepsOnDisk.read(path);
    };
    const store = open({ read: counted });
    await store.write(stateWith());
    reads = 0;
    for (let look = 0; look < 3; look++) expect(await store.look()).toBeUndefined();
    expect(reads).toBe(0);
    const writing = store.write(raised(1n));
    expect(await store.look()).toBeUndefined();
    expect(await writing).toBeUndefined();
    expect(await store.look()).toBeUndefined();
  });

  test('a disk that cannot be read for the moment loses nobody the state', async () => {
    let fails = false;
    const read = (path: string) => (fails ? Promise.reject(failWith('EMFILE')) : stepsOnDisk.read(path));
    const store = open({ read });
    await store.write(stateWith());
    fails = true;
    expect(await store.look()).toBeUndefined();
    fails = false;
    expect(await store.write(raised(1n))).toBeUndefined();
  });
});

describe('the note of what is durable', () => {
  /** The ceilings in the order in which they were noted and renamed into place. */
  const watched = (fail: () => boolean = () => false) => {
    const order: string[] = [];
    const dirFd = prepareStateDirectory(dir);
    onTestFinished(() => closeSync(dirFd));
    const ceiling = (bytes: Buffer) => /"ceiling": "(\d+)"/.exec(bytes.toString())?.[1];
    const store = openStateFile({
      dir,
      dirFd,
      identity: IDENTITY,
      found: readStateFile(dir),
      steps: {
        ...stepsOnDisk,
        async syncDirectory(descriptor) {
          await stepsOnDisk.syncDirectory(descriptor);
          order.push(`durable ${ceiling(readFileSync(statePath()))}`);
        },
      },
      note(bytes) {
        if (fail()) throw failWith('ENOSPC');
        order.push(`noted ${ceiling(bytes)}`);
      },
    });
    return { store, order };
  };
  const at = (by: bigint) => String(NS.ceiling + by);

  test('never claims more than is durable: a higher ceiling is noted after its write, a lower one also before', async () => {
    const { store, order } = watched();
    await store.write(raised(5n));
    await store.write(raised(3n));
    expect(order).toEqual([
      `durable ${at(5n)}`,
      `noted ${at(5n)}`,
      `noted ${at(3n)}`,
      `durable ${at(3n)}`,
      `noted ${at(3n)}`,
    ]);
  });

  test('of a write that leads one sequence down and another up, only the first is noted before', async () => {
    const both = (a: bigint, b: bigint): DurableState => {
      const [default_, other] = [a, b].map((by) => ({ ...NS, ceiling: NS.ceiling + by }));
      if (default_ === undefined || other === undefined) throw new Error('two were made');
      return stateWith({ default: default_, other });
    };
    const noted: DurableState[] = [];
    let mayWrite = true;
    const dirFd = prepareStateDirectory(dir);
    onTestFinished(() => closeSync(dirFd));
    const store = openStateFile({
      dir,
      dirFd,
      identity: IDENTITY,
      found: readStateFile(dir),
      steps: {
        ...stepsOnDisk,
        async replace(...args) {
          if (!mayWrite) throw failWith('EROFS');
          await stepsOnDisk.replace(...args);
        },
      },
      note(bytes) {
        const parsed = parseState(bytes);
        if (parsed.kind === 'state') noted.push(parsed.state.state);
      },
    });
    await store.write(both(5n, 5n));
    mayWrite = false;
    const accounts = new Map([['NEW', { sequence: 'default', paused: false, placed: undefined }]]);
    expect(await store.write({ ...both(3n, 9n), accounts })).toMatchObject({ kind: 'retriable' });
    expect(noted).toEqual([both(5n, 5n), both(3n, 5n)]);
  });

  test('if it cannot be written, higher ceilings are durable all the same, and a lower one is not written', async () => {
    const { store } = watched(() => true);
    expect(await store.write(raised(5n))).toBeUndefined();
    expect(await store.write(raised(3n))).toMatchObject({ kind: 'retriable' });
    expect(ceilingOnDisk()).toBe(NS.ceiling + 5n);
  });
});

describe('a full disk', () => {
  test('keeps the old state, leaves nothing behind, and is written to when there is room again', async (context) => {
    dir = mountTmpfs(context, 'size=64k');
    const store = open();
    expect(await store.write(stateWith())).toBeUndefined();
    run('dd', 'if=/dev/zero', `of=${join(dir, 'filler')}`, 'bs=4k');
    expect(await store.write(raised(1n))).toMatchObject({ kind: 'retriable', error: { code: 'ENOSPC' } });
    expect(ceilingOnDisk()).toBe(NS.ceiling);
    expect(readdirSync(dir).sort()).toEqual(['filler', 'state.json']);
    fs.unlinkSync(join(dir, 'filler'));
    expect(await store.write(raised(2n))).toBeUndefined();
    expect(ceilingOnDisk()).toBe(NS.ceiling + 2n);
  });

  test('with room for a part only never gets the part: the room is claimed before', async (context) => {
    dir = mountTmpfs(context, 'size=64k');
    const store = open();
    expect(await store.write(large(0n))).toBeUndefined();
    run('dd', 'if=/dev/zero', `of=${join(dir, 'filler')}`, 'bs=4k');
    fs.truncateSync(join(dir, 'filler'), statSync(join(dir, 'filler')).size - 4096);
    expect(await store.write(large(1n))).toMatchObject({ kind: 'retriable', error: { code: 'ENOSPC' } });
    expect(ceilingOnDisk()).toBe(NS.ceiling);
    fs.unlinkSync(join(dir, 'filler'));
    expect(await store.write(large(2n))).toBeUndefined();
  });

  test('I9: a part that did get through is found by its size, refused by others, and repaired by the next write', async (context) => {
    dir = mountTmpfs(context, 'size=64k');
    const store = open({ reserve: async () => {} });
    expect(await store.write(large(0n))).toBeUndefined();
    run('dd', 'if=/dev/zero', `of=${join(dir, 'filler')}`, 'bs=4k');
    fs.truncateSync(join(dir, 'filler'), statSync(join(dir, 'filler')).size - 4096);
    const failure = await store.write(large(1n));
    expect(failure).toMatchObject({ kind: 'retriable', error: { code: 'ENOSPC' } });
    expect(failure?.error.message).toMatch(/cut short to 4096 of \d+ bytes/);
    expect(refusalOf(() => readStateFile(dir)).exitCode).toBe(EXIT.config);
    fs.unlinkSync(join(dir, 'filler'));
    expect(await store.write(large(2n))).toBeUndefined();
    expect(ceilingOnDisk()).toBe(NS.ceiling + 2n);
  });

  test('without inodes may pass too', async (context) => {
    dir = mountTmpfs(context, 'size=1m,nr_inodes=4');
    const store = open();
    expect(await store.write(stateWith())).toBeUndefined();
    for (let n = 0; n < 4; n++) run('touch', join(dir, `filler${n}`));
    expect(await store.write(raised(1n))).toMatchObject({ kind: 'retriable', error: { code: 'ENOSPC' } });
    expect(ceilingOnDisk()).toBe(NS.ceiling);
    fs.unlinkSync(join(dir, 'filler0'));
    expect(await store.write(raised(2n))).toBeUndefined();
  });

  test('or one remounted read-only may pass, and is written to once it is writable', async (context) => {
    dir = mountTmpfs(context, 'size=1m');
    const store = open();
    expect(await store.write(stateWith())).toBeUndefined();
    expect(run('mount', '-o', 'remount,ro', dir).status).toBe(0);
    expect(await store.write(raised(1n))).toMatchObject({ kind: 'retriable', error: { code: 'EROFS' } });
    expect(refusalOf(() => prepareStateDirectory(dir))).toMatchObject({ exitCode: EXIT.tempFail });
    expect(run('mount', '-o', 'remount,rw', dir).status).toBe(0);
    expect(await store.write(raised(2n))).toBeUndefined();
    expect(ceilingOnDisk()).toBe(NS.ceiling + 2n);
  });
});
