import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { connect as connectClient } from '../../src/client/index.ts';
import { runInProcess } from '../fixtures/command-line.ts';
import {
  type DaemonPlace,
  type DaemonProcess,
  daemonPlace,
  type SpawnOptions,
  spawnDaemon,
  startDaemonProcess,
} from '../fixtures/daemon-process.ts';
import { rowsOf } from '../fixtures/effort.ts';
import { eventually } from '../fixtures/eventually.ts';
import { RawConnection } from '../fixtures/raw-connection.ts';
import { hasProgram, isRoot, shell } from '../fixtures/shell.ts';

const NOBODY = 65_534;

const canMount = isRoot && tryMount();
const withoutMount = canMount ? '' : ' (skipped: may not mount a tmpfs; run as root)';
const withoutRoot = isRoot && hasProgram('setpriv') ? '' : ' (skipped: needs root and setpriv of util-linux)';
const withoutStrace =
  hasProgram('strace') && spawnSync('strace', ['-o', '/dev/null', 'true']).status === 0
    ? ''
    : ' (skipped: strace is not installed or may not trace)';

const cleanup: (() => unknown)[] = [];

afterEach(async () => {
  for (const step of cleanup.splice(0).reverse()) await step();
});

function tryMount(): boolean {
  const { dir, remove } = daemonPlace();
  const mounted = spawnSync('mount', ['-t', 'tmpfs', 'tmpfs', dir]).status === 0;
  if (mounted) spawnSync('umount', [dir]);
  remove();
  return mounted;
}

function newPlace(): DaemonPlace {
  const place = daemonPlace();
  cleanup.push(() => place.remove());
  return place;
}

/** A place whose state lies on a small file system of its own in memory. */
function placeOnSmallDisk(limit: string): DaemonPlace & { readonly disk: string } {
  const place = newPlace();
  const disk = join(place.dir, 'disk');
  mkdirSync(disk);
  run('mount', '-t', 'tmpfs', '-o', `${limit},mode=700`, 'tmpfs', disk);
  cleanup.push(() => run('umount', '-l', disk));
  return { ...place, disk, stateDir: join(disk, 's') };
}

function run(program: string, ...args: string[]): void {
  const { status, stderr } = spawnSync(program, args, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`${program} ${args.join(' ')}: ${stderr}`);
}

async function start(place: DaemonPlace, options?: SpawnOptions): Promise<DaemonProcess> {
  const daemon = await startDaemonProcess(place, options);
  cleanup.push(() => daemon.end('SIGKILL'));
  return daemon;
}

/** How a start ends that cannot come to anything. */
async function refusedStart(place: DaemonPlace, options?: SpawnOptions): Promise<{ code: unknown; said: string }> {
  const daemon = spawnDaemon(place, options);
  const stop = setTimeout(() => daemon.child.kill('SIGKILL'), 20_000);
  const code = await daemon.ended;
  clearTimeout(stop);
  return { code, said: daemon.log() };
}

async function connect(place: DaemonPlace): Promise<RawConnection> {
  const connection = await RawConnection.open(place.socket);
  cleanup.push(() => connection.destroy());
  return connection;
}

/** Draws `count` nonces, one after another; each must be above all of `before`, the last of which it answers (I2). */
async function draw(bot: RawConnection, count: number, before: bigint): Promise<bigint> {
  let last = before;
  for (let index = 0; index < count; index += 1) {
    const { nonce } = await bot.ask('nonce');
    expect(BigInt(String(nonce))).toBeGreaterThan(last);
    last = BigInt(String(nonce));
  }
  return last;
}

interface Durability {
  readonly durability: { readonly state: string; readonly problem: string | null };
  readonly sequences: readonly [{ readonly ceiling: string; readonly last: string }];
}

async function status(bot: RawConnection): Promise<Durability> {
  return (await bot.ask('status')) as unknown as Durability;
}

/** Makes the daemon write its state now. */
function provokeWrite(place: DaemonPlace, policy = 'account') {
  return runInProcess(['set-exclusive', policy, '--socket', place.socket]);
}

describe.skipIf(!canMount)(`a disk that takes no more${withoutMount}`, () => {
  const fillUp = ({ disk }: { disk: string }) => {
    for (let index = 0; ; index += 1) {
      try {
        writeFileSync(join(disk, `ballast-${index}`), Buffer.alloc(4096));
      } catch {
        return;
      }
    }
  };
  const free = ({ disk }: { disk: string }) => {
    for (const name of readdirSync(disk)) if (name.startsWith('ballast')) rmSync(join(disk, name));
  };
  const remount = (mode: 'ro' | 'rw') => (place: { disk: string }) => run('mount', '-o', `remount,${mode}`, place.disk);

  const troubles = [
    { name: 'full', limit: 'size=64k', code: 'ENOSPC', begin: fillUp, end: free },
    { name: 'out of inodes', limit: 'nr_inodes=12', code: 'ENOSPC', begin: fillUp, end: free },
    { name: 'read-only', limit: 'size=64k', code: 'EROFS', begin: remount('ro'), end: remount('rw') },
  ] as const;
  const lasting = troubles.filter(({ name }) => name !== 'out of inodes');

  test.each(rowsOf(troubles))(
    '$name: nonces and grants go on below the durable ceiling, status says so, and it recovers, I1 I2',
    async (trouble) => {
      const place = placeOnSmallDisk(trouble.limit);
      const daemon = await start(place);
      const bot = await connect(place);
      let last = await draw(bot, 10, 0n);
      trouble.begin(place);

      const refused = await provokeWrite(place);
      expect(refused).toMatchObject({ code: 74 });
      expect(refused.stderr).toContain(trouble.code);
      const { durability, sequences } = await status(bot);
      expect(durability).toMatchObject({ state: 'retrying', problem: expect.stringContaining(trouble.code) });
      await daemon.says('the state cannot be written');
      const check = await runInProcess(['status', '--check', '--socket', place.socket]);
      expect(check).toMatchObject({
        code: 2,
        stdout: expect.stringMatching(/^NONCED CRITICAL - the state cannot be written/),
      });

      last = await draw(bot, 200, last);
      const { token, nonce } = await bot.ask('acquire');
      expect(BigInt(String(nonce))).toBeGreaterThan(last);
      last = BigInt(String(nonce));
      await bot.ask('release', { token });
      expect(last).toBeLessThan(BigInt(sequences[0].ceiling));

      trouble.end(place);
      await eventually('it is durable again', async () => (await status(bot)).durability.state === 'durable');
      await daemon.says('the state can be written again');
      expect(await runInProcess(['status', '--check', '--socket', place.socket])).toMatchObject({ code: 0 });
      expect(await provokeWrite(place)).toMatchObject({ code: 0 });
      last = await draw(bot, 200, last);
      await daemon.end('SIGKILL');
      await start(place);
      await draw(await connect(place), 10, last);
      expect(readdirSync(place.stateDir).sort()).toEqual(['state.json', 'state.json.lock']);
    },
  );

  test('full when a configuration is read again: nothing is changed, the disk is blamed and not the configuration, and again it works', async () => {
    const place = placeOnSmallDisk('size=64k');
    const config = join(place.dir, 'config.json');
    writeFileSync(config, '{}');
    const daemon = await start(place, { args: ['--config', config] });
    writeFileSync(config, JSON.stringify({ sequences: { second: { unit: 'ns' } } }));
    fillUp(place);
    daemon.child.kill('SIGHUP');
    await daemon.says(/nothing was changed: the state cannot be written \(.*ENOSPC/);
    expect(daemon.log()).not.toContain('does not fit');
    free(place);
    daemon.child.kill('SIGHUP');
    await daemon.says('was read again and is in effect from now on');
  });

  test('full for longer than the reserve: nonces go on by one although the clock has passed the ceiling, also across a crash, I1 I2', async () => {
    const place = placeOnSmallDisk('size=64k');
    const daemon = await start(place);
    const bot = await connect(place);
    let last = await draw(bot, 1, 0n);
    fillUp(place);
    expect(await provokeWrite(place)).toMatchObject({ code: 74 });
    const ceiling = BigInt((await status(bot)).sequences[0].ceiling);
    await eventually('the clock has passed the ceiling', () => BigInt(Date.now()) * 1_000_000n > ceiling);
    const before = await draw(bot, 1, last);
    last = await draw(bot, 100, before);
    expect(last).toBe(before + 100n);
    expect(last).toBeLessThan(ceiling);
    await daemon.end('SIGKILL');
    expect(await refusedStart(place)).toMatchObject({ code: 75, said: expect.stringContaining('ENOSPC') });
    free(place);
    await start(place);
    const afterwards = await draw(await connect(place), 100, last);
    expect(afterwards).toBeGreaterThanOrEqual(ceiling);
  });

  test('past the durable ceiling NOT_DURABLE is the answer, and then nonces come again, I1', async () => {
    const place = placeOnSmallDisk('size=64k');
    // Of milliseconds, the reserve is used up at once.
    expect(
      await runInProcess(['state', 'init', '--floor', 'now', '--unit', 'ms', '--state-dir', place.stateDir]),
    ).toMatchObject({
      code: 0,
    });
    await start(place);
    const bot = await connect(place);
    // An account that has never drawn would need a write before its first nonce.
    await bot.ask('nonce');
    fillUp(place);
    const nonces: bigint[] = [];
    const refusals: string[] = [];
    for (let round = 0; round < 100 && refusals.length < 3; round += 1) {
      try {
        nonces.push(BigInt(String((await bot.ask('nonce', { count: 1000 }))['nonce'])));
      } catch (error) {
        refusals.push((error as { code: string }).code);
      }
    }
    expect(refusals).toEqual(['NOT_DURABLE', 'NOT_DURABLE', 'NOT_DURABLE']);
    expect(nonces.length).toBeGreaterThan(3);
    expect((nonces.at(-1) ?? 0n) + 1000n).toBeLessThanOrEqual(BigInt((await status(bot)).sequences[0].ceiling));
    await expect(bot.ask('acquire', { count: 1000 })).rejects.toMatchObject({ code: 'NOT_DURABLE' });
    free(place);
    const again = await eventually('nonces come again', () => bot.ask('nonce').catch(() => undefined));
    expect(BigInt(String(again['nonce']))).toBeGreaterThanOrEqual((nonces.at(-1) ?? 0n) + 1000n);
  });

  test.each(rowsOf(lasting))(
    '$name: a start is refused with 75, and leaves the state as it was, I9',
    async (trouble) => {
      const place = placeOnSmallDisk(trouble.limit);
      const daemon = await start(place);
      const last = await draw(await connect(place), 10, 0n);
      expect(await daemon.end('SIGTERM')).toBe(0);
      const state = readFileSync(join(place.stateDir, 'state.json'), 'utf8');
      trouble.begin(place);
      const { code, said } = await refusedStart(place);
      expect({ code, said }).toMatchObject({ code: 75, said: expect.stringContaining(trouble.code) });
      expect(readFileSync(join(place.stateDir, 'state.json'), 'utf8')).toBe(state);
      trouble.end(place);
      await start(place);
      await draw(await connect(place), 10, last);
    },
  );

  test.each(rowsOf(lasting))(
    '$name: a first start is refused with 75, and succeeds once there is room',
    async (trouble) => {
      const place = placeOnSmallDisk(trouble.limit);
      trouble.begin(place);
      const { code, said } = await refusedStart(place);
      expect({ code, said }).toMatchObject({ code: 75, said: expect.stringContaining(trouble.code) });
      trouble.end(place);
      await start(place);
    },
  );
});

describe('a state that is no longer ours', () => {
  const statePath = (place: DaemonPlace) => join(place.stateDir, 'state.json');

  test('moved away under a running daemon: it exits 78 by the next write and grants nothing more', async () => {
    const place = newPlace();
    const daemon = await start(place);
    const bot = await connect(place);
    const holder = await connect(place);
    await holder.ask('acquire');
    const waiting = bot.request('acquire');
    renameSync(place.stateDir, `${place.stateDir}-moved`);
    expect((await provokeWrite(place)).code).not.toBe(0);
    expect(await daemon.ended).toBe(78);
    expect(daemon.log()).toMatch(/no longer ours/);
    await bot.closed();
    await expect(bot.answer(waiting)).rejects.toThrow('closed before the answer');
  });

  test('made again with a daemon of its own: the first one exits 78, the second one goes on', async () => {
    const place = newPlace();
    const first = await start(place);
    renameSync(place.stateDir, `${place.stateDir}-moved`);
    const other = { ...place, runtimeDir: join(place.dir, 'r2'), socket: join(place.dir, 'r2', 'nonced.sock') };
    await start(other);
    expect(await first.ended).toBe(78);
    expect(await runInProcess(['nonce', '--socket', other.socket])).toMatchObject({ code: 0 });
    expect(existsSync(join(place.stateDir, 'state.json.lock'))).toBe(true);
  });

  test.each<[string, (place: DaemonPlace, older: Buffer) => void]>([
    ['a deleted state', (place) => rmSync(statePath(place))],
    ['a state put back to an older one', (place, older) => writeFileSync(statePath(place), older)],
    ['a deleted directory', (place) => rmSync(place.stateDir, { recursive: true })],
  ])('an idle daemon notices %s by itself and exits 78', async (_what, change) => {
    const place = newPlace();
    const daemon = await start(place);
    const older = readFileSync(statePath(place));
    expect(await provokeWrite(place)).toMatchObject({ code: 0 });
    change(place, older);
    expect(await daemon.ended).toBe(78);
    expect(daemon.log()).toMatch(/no longer ours/);
    expect((await refusedStart(place)).code).toBe(78);
  });

  test('a counter that was put back is never served again in this boot: not by a stop, a restart or another directory', async () => {
    const place = newPlace();
    const stateArgs = ['--state-dir', place.stateDir];
    await runInProcess(['state', 'init', ...stateArgs, '--floor', '1000', '--unit', 'counter']);
    const daemon = await start(place);
    const older = readFileSync(statePath(place));
    const bot = await connect(place);
    const last = await draw(bot, 6_000, 0n);
    writeFileSync(statePath(place), older);
    daemon.child.kill('SIGTERM');
    expect(await daemon.ended).toBe(78);
    for (const runtimeDir of [place.runtimeDir, join(place.dir, 'r2')]) {
      const { code, said } = await refusedStart({ ...place, runtimeDir });
      expect({ code, said }).toMatchObject({ code: 78, said: expect.stringContaining('is older than the one') });
    }
    const { said } = await refusedStart(place);
    const command = /nonced (state init --floor (\d+) .*)$/m.exec(said);
    expect(BigInt(command?.[2] ?? 0)).toBeGreaterThan(last);
    expect(await runInProcess(command?.[1]?.split(' ') ?? [])).toMatchObject({ code: 0 });
    await start(place);
    await draw(await connect(place), 1, last);
  });

  test('a lost state is brought back by init from what was noted in this boot, and its bots go on', async () => {
    const place = newPlace();
    const daemon = await start(place);
    const client = await connectClient({ socket: place.socket });
    cleanup.push(() => client.close());
    const before = await client.nonce();
    await daemon.end('SIGKILL');
    rmSync(place.stateDir, { recursive: true });
    expect((await refusedStart(place)).code).toBe(78);
    const dirs = ['--state-dir', place.stateDir, '--runtime-dir', place.runtimeDir];
    const repaired = await runInProcess(['state', 'init', '--floor', 'now', ...dirs]);
    expect(repaired).toMatchObject({ code: 0, stdout: expect.stringContaining('that was noted in this boot') });
    expect(repaired.stdout).not.toContain('new instance');
    await start(place);
    expect(await client.nonce()).toBeGreaterThan(before);
  });

  test('a second daemon on the same state is refused with 75 and told who holds it; also init', async () => {
    const place = newPlace();
    const daemon = await start(place);
    const second = await refusedStart({ ...place, runtimeDir: join(place.dir, 'r2') });
    expect(second).toMatchObject({ code: 75, said: expect.stringContaining(`pid ${daemon.pid}`) });
    expect(second.said).toContain(place.socket);
    const init = await runInProcess(['state', 'init', '--floor', 'now', '--state-dir', place.stateDir]);
    expect(init).toMatchObject({ code: 75, stderr: expect.stringContaining(`pid ${daemon.pid}`) });
    expect(await runInProcess(['nonce', '--socket', place.socket])).toMatchObject({ code: 0 });
  });
});

describe.skipIf(withoutRoot !== '')(`an ordinary user${withoutRoot}`, () => {
  const asNobody = ['setpriv', `--reuid=${NOBODY}`, `--regid=${NOBODY}`, '--clear-groups'];

  function nobodysPlace(): DaemonPlace {
    const place = newPlace();
    chmodSync(place.dir, 0o755);
    mkdirSync(place.runtimeDir);
    chownSync(place.runtimeDir, NOBODY, NOBODY);
    return place;
  }

  test('cannot start on a state directory it may not open or make: 77', async () => {
    const place = nobodysPlace();
    const unmade = await refusedStart(place, { wrapper: asNobody });
    expect(unmade).toMatchObject({ code: 77, said: expect.stringContaining(place.stateDir) });
    mkdirSync(place.stateDir, 0o700);
    const closed = await refusedStart(place, { wrapper: asNobody });
    expect(closed).toMatchObject({ code: 77, said: expect.stringContaining(place.stateDir) });
  });

  test('cannot start on a state directory of another user (78) or one it may not write to (77)', async () => {
    const place = nobodysPlace();
    mkdirSync(place.stateDir, 0o755);
    const foreign = await refusedStart(place, { wrapper: asNobody });
    expect(foreign).toMatchObject({ code: 78, said: expect.stringContaining('belongs to user 0') });
    chownSync(place.stateDir, NOBODY, NOBODY);
    chmodSync(place.stateDir, 0o500);
    const readOnly = await refusedStart(place, { wrapper: asNobody });
    expect(readOnly).toMatchObject({ code: 77, said: expect.stringContaining('not writable') });
    chmodSync(place.stateDir, 0o700);
    const daemon = await start(place, { wrapper: asNobody });
    expect(statSync(`/proc/${daemon.pid}`).uid).toBe(NOBODY);
  });

  test("is told to join the group when it may not connect, and is kept from the operator's socket", async () => {
    const place = newPlace();
    chmodSync(place.dir, 0o755);
    await start(place);
    chmodSync(place.runtimeDir, 0o755);
    const nobody = (line: string) => shell(`${asNobody.join(' ')} ${process.execPath} dist/cli/main.js ${line}`);
    expect(await nobody(`nonce --socket ${place.socket}`)).toMatchObject({
      stdout: '',
      stderr: expect.stringContaining('group'),
    });
    const operator = await nobody(`set-exclusive off --socket ${place.socket}`);
    expect(operator).toMatchObject({ code: 77, stderr: expect.stringContaining("operator's") });
  });
});

describe('a socket', () => {
  test('of over 107 bytes is refused with 78, by the daemon', async () => {
    const place = newPlace();
    const runtimeDir = join(place.dir, 'r'.repeat(100));
    const { code, said } = await refusedStart({ ...place, runtimeDir });
    expect({ code, said }).toMatchObject({ code: 78, said: expect.stringContaining('--runtime-dir') });
    expect(existsSync(place.stateDir)).toBe(false);
  });

  test.each(rowsOf(['nonced.sock', 'admin.sock']))(
    '%s: a file that is none in its place is refused with 78 and left alone',
    async (name) => {
      const place = newPlace();
      mkdirSync(place.runtimeDir, 0o700);
      writeFileSync(join(place.runtimeDir, name), 'precious');
      const { code, said } = await refusedStart(place);
      expect({ code, said }).toMatchObject({ code: 78, said: expect.stringContaining('move it away') });
      expect(readFileSync(join(place.runtimeDir, name), 'utf8')).toBe('precious');
    },
  );

  test.each(rowsOf(['nonced.sock', 'admin.sock']))(
    '%s: one that another program answers on is refused with 75 and left alone',
    async (name) => {
      const place = newPlace();
      mkdirSync(place.runtimeDir, 0o700);
      const path = join(place.runtimeDir, name);
      const server = createServer().listen(path);
      await once(server, 'listening');
      cleanup.push(() => server.close());
      const { ino } = statSync(path);
      expect(await refusedStart(place)).toMatchObject({ code: 75, said: expect.stringContaining(path) });
      expect(statSync(path).ino).toBe(ino);
    },
  );

  test('of a killed daemon is replaced, and its lock waits for nothing', async () => {
    const place = newPlace();
    const killed = await start(place);
    const last = await draw(await connect(place), 1, 0n);
    await killed.end('SIGKILL');
    expect(existsSync(place.socket)).toBe(true);
    expect(existsSync(join(place.stateDir, 'state.json.lock'))).toBe(true);
    await start(place);
    await draw(await connect(place), 1, last);
  });

  test.each(rowsOf(['0', '027', '077']))(
    'and the state have the right modes whatever the umask, here %s',
    async (umask) => {
      const place = newPlace();
      await start(place, { wrapper: ['sh', '-c', `umask ${umask}; exec "$@"`, 'sh'] });
      const modes = [
        place.socket,
        place.adminSocket,
        join(place.stateDir, 'state.json'),
        place.stateDir,
        place.runtimeDir,
      ].map((path) => (statSync(path).mode & 0o777).toString(8));
      expect(modes).toEqual(['660', '600', '600', '700', '700']);
    },
  );

  test.skipIf(!hasProgram('prlimit'))(
    'with no descriptors left connections are lost, the daemon is not, and it serves once they are back (skipped without prlimit)',
    async () => {
      const place = newPlace();
      const daemon = await start(place, { wrapper: ['prlimit', '--nofile=60:60'] });
      const bot = await connect(place);
      let last = await draw(bot, 1, 0n);
      const crowd: RawConnection[] = [];
      for (let index = 0; index < 80; index += 1) crowd.push(await RawConnection.open(place.socket));
      cleanup.push(() => {
        for (const one of crowd) one.destroy();
      });
      last = await draw(bot, 50, last);
      for (const one of crowd) one.destroy();
      await eventually('new ones are served', async () => {
        const late = await connect(place);
        return late.ask('nonce').catch(() => undefined);
      });
      expect(daemon.child.exitCode).toBeNull();
      await draw(bot, 1, last);
      expect(await provokeWrite(place)).toMatchObject({ code: 0 });
    },
  );
});

describe('a state that is missing, damaged or too new', () => {
  /** A place where a daemon was killed: state, lock and notes are there. */
  async function placeOfKilledDaemon(): Promise<{ place: DaemonPlace; statePath: string; last: bigint }> {
    const place = newPlace();
    const daemon = await start(place);
    const last = await draw(await connect(place), 5, 0n);
    await daemon.end('SIGKILL');
    return { place, statePath: join(place.stateDir, 'state.json'), last };
  }

  const evidence: readonly (readonly [what: string, keepOnly: (place: DaemonPlace) => void])[] = [
    ['the lock of an earlier daemon', ({ runtimeDir }) => rmSync(runtimeDir, { recursive: true })],
    ['notes of this boot', ({ stateDir }) => rmdirSync(join(stateDir, 'state.json.lock'))],
    [
      'an unfinished write',
      ({ stateDir, runtimeDir }) => {
        rmSync(runtimeDir, { recursive: true });
        rmdirSync(join(stateDir, 'state.json.lock'));
        writeFileSync(join(stateDir, 'state.json.12345'), '', { mode: 0o600 });
      },
    ],
  ];

  test.each(rowsOf(evidence))(
    'I9: missing with %s beside it is refused with 78, again and again',
    async (_what, keepOnly) => {
      const { place, statePath } = await placeOfKilledDaemon();
      rmSync(statePath);
      keepOnly(place);
      for (let attempt = 0; attempt < 2; attempt += 1) {
        const { code, said } = await refusedStart(place);
        expect({ code, said }).toMatchObject({
          code: 78,
          said: expect.stringContaining('nonced state init --floor now'),
        });
        expect(existsSync(statePath)).toBe(false);
      }
      await followAdvice((await refusedStart(place)).said);
      await start(place);
    },
  );

  test('I9: missing where the service was installed is refused with 78', async () => {
    const place = newPlace();
    mkdirSync(place.stateDir, 0o700);
    const child = spawnSync(process.execPath, ['dist/cli/main.js', 'serve', '--separate'], {
      env: { ...process.env, STATE_DIRECTORY: place.stateDir, RUNTIME_DIRECTORY: place.runtimeDir },
      encoding: 'utf8',
      timeout: 90_000,
    });
    expect(child).toMatchObject({ status: 78, stderr: expect.stringContaining('nonced state init --floor now') });
  });

  /** Runs the command that a message tells, as an operator would copy it. */
  async function followAdvice(message: string): Promise<string> {
    const [, args = ''] = /nonced (state init --floor now .*?)(?:\n|$)/.exec(message) ?? [];
    const { code, stdout, stderr } = await runInProcess(args.trim().replace('UNIT', 'ns').split(' '));
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    return stdout;
  }

  const damages: readonly (readonly [what: string, damage: (state: string) => string])[] = [
    [
      'a digit of its ceiling changed',
      (state) => state.replace(/"ceiling": "(\d)/, (_, digit) => `"ceiling": "${(Number(digit) + 1) % 9}`),
    ],
    ['its end missing', (state) => state.slice(0, state.indexOf('"checksum"'))],
    ['a space more', (state) => state.replace('{', '{ ')],
    ['the checksum of another', (state) => state.replace(/("checksum": ")\w{8}/, '$100000000')],
  ];

  test.each(rowsOf(damages))(
    'I9: damaged by %s it is refused with 78, and the command in the message repairs it, I2',
    async (_what, damage) => {
      const { place, statePath, last } = await placeOfKilledDaemon();
      const damaged = damage(readFileSync(statePath, 'utf8'));
      writeFileSync(statePath, damaged);
      const { code, said } = await refusedStart(place);
      expect({ code, said }).toMatchObject({ code: 78, said: expect.stringContaining(statePath) });
      expect(readFileSync(statePath, 'utf8')).toBe(damaged);
      if (_what.startsWith('a digit')) return; // Its ceiling is years ahead now, and a repair keeps what it reads.
      expect(await followAdvice(said)).toContain('repaired');
      await start(place);
      await draw(await connect(place), 5, last);
    },
  );

  test.each(
    rowsOf([
      ['empty', ''],
      ['zeroes', '\0'.repeat(400)],
    ]),
  )('I9: %s it is refused with 78, and repaired once the operator says the unit', async (_what, bytes) => {
    const { place, statePath, last } = await placeOfKilledDaemon();
    writeFileSync(statePath, bytes);
    const { code, said } = await refusedStart(place);
    expect({ code, said }).toMatchObject({ code: 78, said: expect.stringContaining(statePath) });
    const command = ['state', 'init', '--floor', 'now', '--state-dir', place.stateDir];
    expect(await runInProcess(command)).toMatchObject({ code: 64, stderr: expect.stringContaining('--unit ns') });
    expect(await runInProcess([...command, '--unit', 'ns'])).toMatchObject({ code: 0 });
    await start(place);
    await draw(await connect(place), 5, last);
  });

  test('of a newer format is refused with 78, by serve and by init, and left alone', async () => {
    const { place, statePath } = await placeOfKilledDaemon();
    const { checksum: _, ...body } = { ...JSON.parse(readFileSync(statePath, 'utf8')), format: 2 };
    const text = (value: object) => `${JSON.stringify(value, null, 2)}\n`;
    const newer = text({ ...body, checksum: createHash('sha256').update(text(body)).digest('hex') });
    writeFileSync(statePath, newer);
    expect(await refusedStart(place)).toMatchObject({ code: 78, said: expect.stringContaining('newer nonced') });
    const init = await runInProcess(['state', 'init', '--floor', 'now', '--state-dir', place.stateDir, '--force']);
    expect(init).toMatchObject({ code: 78, stderr: expect.stringContaining('newer nonced') });
    expect(readFileSync(statePath, 'utf8')).toBe(newer);
  });
});

describe.skipIf(withoutStrace !== '')(`a disk that fails its syncs${withoutStrace}`, () => {
  /** From now on every fsync of the daemon fails; with `only`, of that path alone. */
  async function failSyncs(daemon: DaemonProcess, only?: string): Promise<void> {
    await injectIntoSyncs('error=EIO', daemon, only);
  }

  /** Returns the tracer. */
  async function injectIntoSyncs(what: string, daemon: DaemonProcess, only?: string): Promise<ChildProcess> {
    const inject = ['-f', '-q', '-o', '/dev/null', '-e', 'trace=fsync', '-e', `inject=fsync:${what}`];
    const path = only === undefined ? [] : ['-P', only];
    const strace: ChildProcess = spawn('strace', [...inject, ...path, '-p', String(daemon.pid)], { stdio: 'ignore' });
    cleanup.push(() => strace.kill('SIGKILL'));
    const isTraced = (task: string) =>
      !/^TracerPid:\s+0$/m.test(readFileSync(`/proc/${daemon.pid}/task/${task}/status`, 'utf8'));
    await eventually('strace holds all threads', () => readdirSync(`/proc/${daemon.pid}/task`).every(isTraced));
    return strace;
  }

  test.each(['the state file', 'the directory'])(
    'of %s: it exits 74, grants nothing after it, and a restart repeats nothing, I1 I2',
    async (what) => {
      const place = newPlace();
      const daemon = await start(place);
      const bot = await connect(place);
      let last = await draw(bot, 10, 0n);
      const holder = await connect(place);
      await holder.ask('acquire');
      const waiting = bot.request('acquire');
      await failSyncs(daemon, what === 'the directory' ? place.stateDir : undefined);
      expect((await provokeWrite(place)).code).not.toBe(0);
      expect(await daemon.ended).toBe(74);
      expect(daemon.log()).toMatch(/EIO/);
      await bot.closed();
      await expect(bot.answer(waiting)).rejects.toThrow('closed before the answer');
      await start(place);
      last = await draw(await connect(place), 10, last);
    },
  );

  test('that hang: a stop waits for them, and one that is asked for twice does not: the next daemon may start', async () => {
    const place = newPlace();
    const daemon = await start(place);
    const last = await draw(await connect(place), 10, 0n);
    const strace = await injectIntoSyncs('delay_enter=3600000000', daemon);
    daemon.child.kill('SIGTERM');
    await daemon.says('SIGTERM: stopping');
    daemon.child.kill('SIGTERM');
    await daemon.says('SIGTERM again');
    // A thread that strace holds is not gone before strace is, not even after a KILL.
    strace.kill('SIGKILL');
    expect(await daemon.ended).toBe('SIGKILL');
    await start(place);
    await draw(await connect(place), 10, last);
  });

  test('at a start: it exits 74 and no client is let in', async () => {
    const place = newPlace();
    const daemon = await start(place);
    await daemon.end('SIGTERM');
    const wrapper = ['strace', '-f', '-q', '-o', '/dev/null', '-e', 'trace=fsync', '-e', 'inject=fsync:error=EIO'];
    const { code, said } = await refusedStart(place, { wrapper });
    expect({ code, said }).toMatchObject({ code: 74, said: expect.stringContaining('EIO') });
    expect(existsSync(place.socket)).toBe(false);
  });
});
