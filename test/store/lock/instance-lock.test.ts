import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest';
import { EXIT } from '../../../src/errors.ts';
import { prepareRuntimeDirectory, prepareStateDirectory } from '../../../src/store/directories.ts';
import {
  acquireInstanceLock,
  type InstanceLock,
  type InstanceLockOptions,
} from '../../../src/store/lock/instance-lock.ts';
import { openStateFile, readStateFile } from '../../../src/store/state/state-file.ts';
import { IDENTITY, mountTmpfs, refusalOf, run, scratchDirectory, stateWith } from '../scratch.ts';

const ROOT = join(import.meta.dirname, '../../..');
/** The store as plain JavaScript, for child processes: Node 20 runs no TypeScript. Under ROOT for its packages. */
let compiled: string;

beforeAll(() => {
  compiled = mkdtempSync(join(ROOT, 'node_modules', '.store-test-'));
  const compilerOptions = { noEmit: false, rootDir: join(ROOT, 'src'), outDir: compiled, types: ['node'] };
  const files = ['lock/instance-lock', 'state/state-file'].map((name) => join(ROOT, 'src', 'store', `${name}.ts`));
  const config = join(compiled, 'tsconfig.json');
  writeFileSync(config, JSON.stringify({ extends: join(ROOT, 'tsconfig.json'), compilerOptions, files, include: [] }));
  writeFileSync(join(compiled, 'package.json'), '{"type":"module"}');
  const { status, stdout } = run(join(ROOT, 'node_modules', '.bin', 'tsc'), '-p', config);
  expect(stdout).toBe('');
  expect(status).toBe(0);
}, 60_000);
afterAll(() => rmSync(compiled, { recursive: true, force: true }));

let stateDir: string;
let runtimeDir: string;
beforeEach(() => {
  const scratch = scratchDirectory();
  stateDir = join(scratch, 'state');
  runtimeDir = join(scratch, 'runtime');
});

const lockPath = () => join(stateDir, 'state.json.lock');

interface Held extends InstanceLock {
  /** As the end of a process does. */
  closeDirectories(): void;
}

function acquire(options: Partial<InstanceLockOptions> = {}): Held {
  const opened = [prepareStateDirectory(stateDir), prepareRuntimeDirectory(runtimeDir)] as const;
  const closeDirectories = () => {
    for (const descriptor of opened) closeSync(descriptor);
  };
  try {
    const lock = acquireInstanceLock({
      stateDir,
      stateDirFd: opened[0],
      runtimeDir,
      runtimeDirFd: opened[1],
      waitSeconds: 0.1,
      onCompromised: (error) => expect.fail(String(error)),
      ...options,
    });
    return { ...lock, release: lock.release, closeDirectories };
  } catch (error) {
    closeDirectories();
    throw error;
  }
}

function end(lock: Held): void {
  lock.release();
  lock.closeDirectories();
}

/** Runs `body` in a process of its own, after it has prepared both directories and acquired the lock. */
function startHolder(body: string, variables: Record<string, unknown> = {}): { child: ChildProcess; lines: string[] } {
  const settings = { stateDir, runtimeDir, waitSeconds: 1, ...variables };
  const source = `
    import { closeSync, existsSync, openSync, unlinkSync } from 'node:fs';
    import { openStateFile } from ${JSON.stringify(join(compiled, 'store/state/state-file.js'))};
    import { acquireInstanceLock } from ${JSON.stringify(join(compiled, 'store/lock/instance-lock.js'))};
    import { prepareRuntimeDirectory, prepareStateDirectory } from ${JSON.stringify(join(compiled, 'store/directories.js'))};
    const settings = ${JSON.stringify(settings)};
    const { stateDir, runtimeDir } = settings;
    const say = (line) => process.stdout.write(line + '\\n');
    const acquire = () => {
      const stateDirFd = prepareStateDirectory(stateDir);
      const runtimeDirFd = prepareRuntimeDirectory(runtimeDir);
      const close = () => { closeSync(stateDirFd); closeSync(runtimeDirFd); };
      try {
        const lock = acquireInstanceLock({ ...settings, stateDirFd, runtimeDirFd, onCompromised: () => say('compromised') });
        return { lock, stateDirFd, close };
      } catch (error) {
        close();
        throw error;
      }
    };
    ${body}`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', source], { stdio: ['pipe', 'pipe', 'inherit'] });
  onTestFinished(() => {
    child.kill('SIGKILL');
  });
  const lines: string[] = [];
  createInterface({ input: child.stdout }).on('line', (line) => lines.push(line));
  return { child, lines };
}

const HOLD = `const { lock, stateDirFd } = acquire(); say('held'); setInterval(() => {}, 1000);`;

async function holding(body = HOLD): Promise<ChildProcess> {
  const { child, lines } = startHolder(body);
  await vi.waitUntil(() => lines.includes('held'), 20_000);
  return child;
}

async function ended(child: ChildProcess): Promise<unknown[]> {
  return child.exitCode === null && child.signalCode === null
    ? once(child, 'exit')
    : [child.exitCode, child.signalCode];
}

describe('the instance lock', () => {
  test('holds both directories until it is released, and leaves nothing behind', () => {
    const lock = acquire();
    expect(lock.foundLeftover).toBe(false);
    expect(existsSync(lockPath())).toBe(true);
    expect(refusalOf(() => acquire()).exitCode).toBe(EXIT.tempFail);
    end(lock);
    expect(readdirSync(stateDir)).toEqual([]);
    lock.release();
    end(acquire());
  });

  test('names the holder by the pid and the socket in its state', async () => {
    const dirFd = prepareStateDirectory(stateDir);
    await openStateFile({ dir: stateDir, dirFd, identity: IDENTITY, found: { kind: 'absent' } }).write(stateWith());
    closeSync(dirFd);
    const lock = acquire();
    const { exitCode, message } = refusalOf(() => acquire());
    expect(exitCode).toBe(EXIT.tempFail);
    expect(message).toContain(
      `state directory ${stateDir} is held by another nonced (pid 4711, socket ${IDENTITY.socket}`,
    );
    writeFileSync(join(stateDir, 'state.json'), 'damaged');
    expect(refusalOf(() => acquire()).message).toContain('its state file does not say which');
    end(lock);
  });

  test('is refused where only the runtime directory is held, and lets go of the state directory', () => {
    const lock = acquire();
    const held = stateDir;
    stateDir = `${stateDir}-other`;
    expect(refusalOf(() => acquire())).toMatchObject({
      exitCode: EXIT.tempFail,
      message: expect.stringContaining(`runtime directory ${runtimeDir} is held by another nonced`),
    });
    expect(readdirSync(stateDir)).toEqual([]);
    const ownRuntime = runtimeDir;
    runtimeDir = `${runtimeDir}-other`;
    end(acquire());
    stateDir = held;
    runtimeDir = ownRuntime;
    end(lock);
  });

  test('is taken once where both directories are one', () => {
    runtimeDir = stateDir;
    const lock = acquire();
    expect(refusalOf(() => acquire()).exitCode).toBe(EXIT.tempFail);
    end(lock);
  });

  test('without flock on the PATH says what to install', () => {
    expect(refusalOf(() => acquire({ flockProgram: 'flock-that-is-not-there' }))).toMatchObject({
      exitCode: EXIT.config,
      message: expect.stringContaining('util-linux'),
    });
  });

  test.each([
    ['as on a file system without locks', 'echo "flock: 3: No locks available" >&2; exit 71'],
    ['as on NFS, where a directory cannot be locked', 'echo "flock: 3: Bad file descriptor" >&2; exit 65'],
    ['as by a flock that does not know our options', 'echo "flock: unrecognized option: E" >&2; exit 1'],
  ])('that fails %s is refused with the reason', (_, script) => {
    mkdirSync(stateDir, 0o700);
    const program = join(stateDir, 'flock');
    writeFileSync(program, `#!/bin/sh\n${script}\n`);
    chmodSync(program, 0o700);
    const { exitCode, message } = refusalOf(() => acquire({ flockProgram: program }));
    expect(exitCode).toBe(EXIT.config);
    expect(message).toContain(`state directory ${stateDir} cannot be locked: flock: `);
    expect(message).toContain('local file system');
    expect(existsSync(lockPath())).toBe(false);
  });

  test('on a full disk may pass', (context) => {
    const disk = mountTmpfs(context, 'size=1m,nr_inodes=3');
    stateDir = join(disk, 'state');
    mkdirSync(stateDir, 0o700);
    run('touch', join(disk, 'filler'), join(disk, 'filler2'));
    expect(refusalOf(() => acquire()).exitCode).toBe(EXIT.tempFail);
  });
});

describe('the lock directory', () => {
  test('of a dead holder is removed at once, and that it was there is logged', async () => {
    await (await prepared()).write(stateWith());
    mkdirSync(lockPath());
    const lock = acquire();
    expect(lock.foundLeftover).toBe(true);
    end(lock);
    expect(existsSync(lockPath())).toBe(false);
  });

  test('I9: of a dead holder stays if there is no state, because it is the evidence of the loss', () => {
    mkdirSync(stateDir, 0o700);
    mkdirSync(lockPath());
    for (let start = 1; start <= 3; start++) {
      const lock = acquire();
      expect(lock.foundLeftover, `start ${start}`).toBe(true);
      end(lock);
      expect(existsSync(lockPath())).toBe(true);
    }
  });

  test('I9: stays if the state was lost under its holder, and goes if there never was one', async () => {
    await (await prepared()).write(stateWith());
    const lock = acquire();
    lock.stateIsThere();
    rmSync(join(stateDir, 'state.json'));
    end(lock);
    expect(existsSync(lockPath())).toBe(true);
    rmSync(lockPath(), { recursive: true });
    end(acquire());
    expect(existsSync(lockPath())).toBe(false);
  });

  test('that holds something, or is a file, is not ours and is left alone', () => {
    mkdirSync(join(lockPath(), 'theirs'), { recursive: true, mode: 0o700 });
    expect(refusalOf(() => acquire()).exitCode).toBe(EXIT.config);
    expect(existsSync(join(lockPath(), 'theirs'))).toBe(true);
    rmSync(lockPath(), { recursive: true });
    writeFileSync(lockPath(), '');
    expect(refusalOf(() => acquire()).exitCode).toBe(EXIT.config);
    expect(readFileSync(lockPath(), 'utf8')).toBe('');
  });

  test('of another daemon, in a directory made again under our path, is not removed by us', () => {
    const ours = acquire();
    renameSync(stateDir, `${stateDir}-moved`);
    mkdirSync(stateDir, 0o700);
    mkdirSync(lockPath());
    end(ours);
    expect(existsSync(lockPath())).toBe(true);
  });

  async function prepared() {
    const dirFd = prepareStateDirectory(stateDir);
    onTestFinished(() => closeSync(dirFd));
    return openStateFile({ dir: stateDir, dirFd, identity: IDENTITY, found: { kind: 'absent' } });
  }
});

describe('between processes', { timeout: 60_000 }, () => {
  test('a second process learns who holds it', async () => {
    const child = await holding(`
      const { lock, stateDirFd } = acquire();
      const identity = { instance: '0'.repeat(32), epoch: 1, pid: process.pid, socket: runtimeDir + '/nonced.sock' };
      const state = { sequences: {}, accounts: new Map(), exclusive: 'global', anchor: undefined, seenWallMs: 0 };
      await openStateFile({ dir: stateDir, dirFd: stateDirFd, identity, found: { kind: 'absent' } }).write(state);
      say('held');
      setInterval(() => {}, 1000);`);
    const { exitCode, message } = refusalOf(() => acquire());
    expect(exitCode).toBe(EXIT.tempFail);
    expect(message).toContain(`pid ${child.pid}, socket ${runtimeDir}/nonced.sock`);
  });

  test('SIGKILL of the holder frees it at once, with its lock directory still there', async () => {
    const child = await holding();
    child.kill('SIGKILL');
    await ended(child);
    expect(existsSync(lockPath())).toBe(true);
    const lock = acquire({ waitSeconds: 0 });
    expect(lock.foundLeftover).toBe(true);
    end(lock);
  });

  test('a second process that waits gets it when the holder dies', async () => {
    const child = await holding();
    const second = startHolder(HOLD, { waitSeconds: 10 });
    await vi.waitUntil(() => run('pgrep', '-f', '^flock -x -w 10 -E 75 3$').stdout !== '', 20_000);
    expect(second.lines).toEqual([]);
    child.kill('SIGKILL');
    await vi.waitUntil(() => second.lines.includes('held'), 20_000);
  });

  test('a child of the holder that outlives it does not keep it', async () => {
    const child = await holding(`
      const { spawn } = await import('node:child_process');
      acquire();
      spawn('sleep', ['5'], { stdio: 'ignore', detached: true });
      say('held');
      setInterval(() => {}, 1000);`);
    child.kill('SIGKILL');
    await ended(child);
    end(acquire({ waitSeconds: 0 }));
  });

  test.each([
    ['a clean release', `lock.release(); process.exit(0);`],
    [
      'process.exit without a release, after a write',
      `
      const identity = { instance: '0'.repeat(32), epoch: 1, pid: process.pid, socket: '' };
      const state = { sequences: {}, accounts: new Map(), exclusive: 'global', anchor: undefined, seenWallMs: 0 };
      await openStateFile({ dir: stateDir, dirFd: stateDirFd, identity, found: { kind: 'absent' } }).write(state);
      process.exit(0);`,
    ],
    ['an uncaught error', `process.on('uncaughtException', () => process.exit(0)); throw new Error();`],
    ['the end of the event loop', ''],
  ])('%s leaves no lock directory', async (_, body) => {
    const { child } = startHolder(`const { lock, stateDirFd } = acquire(); ${body}`);
    expect(await ended(child)).toEqual([0, null]);
    expect(existsSync(lockPath())).toBe(false);
  });

  test('of four that race over and over, some killed while they hold it, never two have it at once', async () => {
    const marker = join(stateDir, 'holder');
    const body = `
      let rounds = 0;
      const started = Date.now();
      while (rounds < 30) {
        let held;
        try { held = acquire(); } catch (error) { if (error.exitCode !== 75) throw error; continue; }
        try {
          // Two at once: the second finds the marker of the first. A killed one takes its marker away before it dies.
          closeSync(openSync(${JSON.stringify(marker)}, 'wx'));
        } catch { say('VIOLATION'); process.exit(1); }
        const until = performance.now() + 1;
        while (performance.now() < until);
        unlinkSync(${JSON.stringify(marker)});
        rounds++;
        if (rounds === settings.killAfter) process.kill(process.pid, 'SIGKILL');
        held.lock.release();
        held.close();
      }
      say('done');`;
    const racers = [0, 0, 10, 20].map((killAfter) => startHolder(body, { killAfter, waitSeconds: 5 }));
    const ends = await Promise.all(racers.map(({ child }) => ended(child)));
    expect(ends).toEqual([
      [0, null],
      [0, null],
      [null, 'SIGKILL'],
      [null, 'SIGKILL'],
    ]);
    expect(racers.map(({ lines }) => lines)).toEqual([['done'], ['done'], [], []]);
  });
});

test('a state is read while another process holds the lock: looking needs none', async () => {
  const lock = acquire();
  expect(readStateFile(stateDir)).toEqual({ kind: 'absent' });
  end(lock);
});
