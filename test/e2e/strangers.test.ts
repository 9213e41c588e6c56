import { spawn } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { describe, expect } from 'vitest';
import { NONCED, runNonced } from '../fixtures/daemon-process.ts';
import { placePerTest } from '../fixtures/daemon-test.ts';
import { rowsOf } from '../fixtures/effort.ts';
import { eventually } from '../fixtures/eventually.ts';
import { hasProgram, isRoot, type RunResult, run } from '../fixtures/shell.ts';

// Users by their numbers: they need no account, and no account of this machine has them.
interface User {
  readonly uid: number;
  readonly groups: readonly number[];
}
const GROUP = 61_010;
const OWNER: User = { uid: 61_001, groups: [GROUP] };
const MEMBER: User = { uid: 61_002, groups: [GROUP] };
const OTHER_MEMBER: User = { uid: 61_003, groups: [GROUP] };
const STRANGER: User = { uid: 61_004, groups: [] };

function as({ uid, groups }: User): string[] {
  const supplementary = groups.length === 0 ? ['--clear-groups'] : ['--groups', groups.join()];
  return ['setpriv', '--reuid', String(uid), '--regid', String(uid), ...supplementary, '--'];
}

/** What another user's process does with a socket: sends these lines, waits for so many back, and prints them. */
const TALK = `
  const [path, count, ...lines] = process.argv.slice(1);
  const socket = require('node:net').connect(path);
  let heard = '';
  socket.on('connect', () => socket.write(lines.map((line) => line + '\\n').join('')));
  socket.on('error', (error) => { console.log(JSON.stringify({ code: error.code })); process.exit(1); });
  socket.on('data', (text) => {
    heard += text;
    if (heard.split('\\n').length > Number(count)) socket.destroy();
  });
  socket.on('close', () => process.stdout.write(heard));
`;

interface Heard {
  readonly id?: number;
  readonly code?: string;
  readonly result?: Readonly<Record<string, unknown>>;
  readonly error?: { readonly data: { readonly code: string; readonly message: string } };
}

async function talk(
  user: User,
  path: string,
  ...asked: readonly (readonly [method: string, params?: object])[]
): Promise<Heard[]> {
  const lines = asked.map(([method, params = {}], id) => JSON.stringify({ jsonrpc: '2.0', id, method, params }));
  const { stdout } = await runAs(user, process.execPath, '-e', TALK, path, String(lines.length), ...lines);
  return stdout
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Heard);
}

function runAs(user: User, ...command: readonly string[]): Promise<RunResult> {
  const [file = '', ...args] = [...as(user), ...command];
  return run(file, args);
}

/** A process of another user that keeps something until it is killed. */
const HOLD = `
  const [path, ...lines] = process.argv.slice(1);
  const socket = require('node:net').connect(path);
  socket.on('error', () => {}).on('data', (text) => process.stdout.write(text));
  socket.write(lines.map((line) => line + '\\n').join(''));
  setInterval(() => {}, 1000);
`;

const test = placePerTest()
  // As the README says, for bots of other users; and a state directory that the daemon's user can make its own.
  .extend('openPlace', { auto: true }, ({ place }) => {
    chmodSync(place.dir, 0o755);
    mkdirSync(place.stateDir, { mode: 0o700 });
    chownSync(place.stateDir, OWNER.uid, OWNER.uid);
    mkdirSync(place.runtimeDir);
    chownSync(place.runtimeDir, OWNER.uid, GROUP);
    chmodSync(place.runtimeDir, 0o2750);
    return place;
  })
  .extend(
    'started',
    ({ start }) =>
      (wrapper: readonly string[] = []) =>
        start({ wrapper: [...as(OWNER), ...wrapper] }),
  )
  // What a daemon that cannot start says, and its exit code.
  .extend('refusedStart', ({ spawn: spawned }) => async () => {
    const daemon = spawned({ wrapper: as(OWNER) });
    return { code: await daemon.ended, said: daemon.log() };
  });

const cannot = !isRoot
  ? 'only as root: becomes other users'
  : process.platform !== 'linux' || !hasProgram('setpriv')
    ? 'needs setpriv, of util-linux'
    : (await runAs(STRANGER, process.execPath, '-e', `require('node:fs').readFileSync(${JSON.stringify(NONCED)})`))
          .code !== 0
      ? 'other users cannot read this checkout'
      : '';

describe.skipIf(cannot !== '')(`other users${cannot && ` (skipped: ${cannot})`}`, () => {
  describe('a user who is not in the group', () => {
    test('is refused by the kernel at both sockets, and learns of the group', async ({ place, started }) => {
      await started();
      for (const socket of [place.socket, place.adminSocket]) {
        expect(await talk(STRANGER, socket, ['nonce'])).toEqual([{ code: 'EACCES' }]);
      }
      const refused = await runNonced(['nonce', '--socket', place.socket], {}, as(STRANGER));
      expect(refused).toMatchObject({ code: 77, stdout: '', stderr: expect.stringContaining('group') });
    });

    test('is refused by the sockets themselves if the directory lets all users pass, as under systemd', async ({
      place,
      started,
    }) => {
      chmodSync(place.runtimeDir, 0o755);
      await started();
      for (const socket of [place.socket, place.adminSocket]) {
        expect(await talk(STRANGER, socket, ['nonce'])).toEqual([{ code: 'EACCES' }]);
      }
    });

    test('reads nothing of state and notes, and makes nothing in their directories', async ({ place, started }) => {
      chmodSync(place.runtimeDir, 0o755);
      await started();
      for (const file of [
        join(place.stateDir, 'state.json'),
        join(place.runtimeDir, 'leases'),
        join(place.runtimeDir, 'accounts'),
      ]) {
        for (const user of [STRANGER, MEMBER]) {
          expect(await runAs(user, 'cat', file), file).toMatchObject({ code: 1, stdout: '' });
          expect((await runAs(user, 'sh', '-c', `: >>${file}`)).code, file).not.toBe(0);
        }
      }
      for (const dir of [place.stateDir, place.runtimeDir]) {
        for (const user of [STRANGER, MEMBER]) expect((await runAs(user, 'mkdir', join(dir, 'mine'))).code).toBe(1);
      }
    });
  });

  describe('a member of the group', () => {
    const ADMIN = [
      ['advance', { by: '1', maxLeadMs: Number.MAX_SAFE_INTEGER }],
      ['advance', { account: 'A', to: 'now' }],
      ['pause', { account: 'A' }],
      ['resume-account', { account: 'A' }],
      ['set-exclusive', { policy: 'off' }],
    ] as const;

    test('is granted calls, and no method of the operator on either socket', async ({ place, started }) => {
      await started();
      const [drawn] = await talk(MEMBER, place.socket, ['nonce']);
      expect(drawn?.result).toMatchObject({ count: 1 });
      expect(await talk(MEMBER, place.adminSocket, ['status'])).toEqual([{ code: 'EACCES' }]);
      const refusals = await talk(MEMBER, place.socket, ...ADMIN);
      expect(refusals.map(({ error }) => error?.data.code)).toEqual(ADMIN.map(() => 'FORBIDDEN'));
      for (const args of [
        ['advance', '--by', '1s'],
        ['pause', 'A'],
        ['resume', 'A'],
        ['set-exclusive', 'off'],
      ]) {
        expect((await runNonced([...args, '--socket', place.adminSocket], {}, as(MEMBER))).code, args[0]).toBe(77);
      }
      const [status] = await talk(OWNER, place.adminSocket, ['status']);
      expect(status?.result).toMatchObject({ exclusive: 'global' });
    });

    test("I5: does nothing with another user's lease, even if its token is known, nor with its session after a restart", async ({
      place,
      started,
    }) => {
      let daemon = await started();
      const session = '0123456789abcdef'.repeat(2);
      const hello = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'hello', params: { session } });
      const acquire = JSON.stringify({
        jsonrpc: '2.0',
        id: 2,
        method: 'acquire',
        params: { account: 'A', ttlMs: 60_000 },
      });
      const [file = '', ...args] = [...as(OTHER_MEMBER), process.execPath, '-e', HOLD, place.socket, hello, acquire];
      const holder = spawn(file, args, { stdio: ['ignore', 'pipe', 'ignore'] });
      try {
        let heard = '';
        holder.stdout.setEncoding('utf8').on('data', (text: string) => {
          heard += text;
        });
        const token = await eventually('it is granted', () => /"token":"(\d+)"/.exec(heard)?.[1]);
        const attempts = async () =>
          (
            await talk(
              MEMBER,
              place.socket,
              ['renew', { token }],
              ['next', { token }],
              ['release', { token }],
              ['hello', { session: 'f'.repeat(32) }],
              ['acquire', { account: 'A', waitMs: 0 }],
            )
          ).map(({ result, error }) => error?.data.code ?? result?.['held'] ?? result?.['released']);
        expect(await attempts()).toEqual(['LEASE_LOST', 'LEASE_LOST', false, [], 'WAIT_TIMEOUT']);
        const [why] = await talk(MEMBER, place.socket, ['status']);
        // In microseconds of the clock, as a nonce may begin: it must be nowhere by itself.
        expect(JSON.stringify(why)).not.toMatch(new RegExp(`\\b${token}\\b`));
        await daemon.end('SIGKILL');
        daemon = await started();
        // The holder does not come back, but its lane is kept for 2 s.
        expect(await attempts()).toEqual(['LEASE_LOST', 'LEASE_LOST', false, [], 'WAIT_TIMEOUT']);
        // What is noted of the session is not the session itself.
        const hash = /[0-9a-f]{32}/.exec(readFileSync(join(place.runtimeDir, 'leases')).toString('hex'));
        expect(hash).not.toBeNull();
        const [returned] = await talk(OTHER_MEMBER, place.socket, ['hello', { session }]);
        expect(returned?.result?.['held']).toMatchObject([{ token, account: 'A' }]);
      } finally {
        holder.kill('SIGKILL');
      }
    });

    test('has no more requests waiting than the limits allow', async ({ place, started }) => {
      await started();
      // One grant and five refusals are answered at once; the others go on waiting until the connection is closed.
      const lines = Array.from({ length: 1_005 }, (_, id) =>
        JSON.stringify({ jsonrpc: '2.0', id, method: 'acquire', params: { waitMs: 60_000 } }),
      );
      const { stdout } = await runAs(MEMBER, process.execPath, '-e', TALK, place.socket, '6', ...lines);
      const heard = stdout
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line) as Heard);
      const codes = heard.map(({ error }) => error?.data.code);
      expect(codes.toSorted()).toEqual([...Array(5).fill('LIMIT'), undefined]);
    });

    test('keeps no daemon from starting by locking a directory that this user may only pass through', async ({
      place,
      started,
    }) => {
      chmodSync(place.runtimeDir, 0o2710);
      for (const user of [MEMBER, STRANGER]) {
        expect((await runAs(user, 'flock', '-n', '-x', place.runtimeDir, 'true')).code).not.toBe(0);
      }
      await started();
      expect((await talk(MEMBER, place.socket, ['nonce']))[0]?.result).toMatchObject({ count: 1 });
    });
  });

  describe('planted in the runtime directory by a member who may write there', () => {
    const withVictim = test.extend('victim', { auto: true }, ({ openPlace }) => {
      chmodSync(openPlace.runtimeDir, 0o2770);
      const victim = join(openPlace.dir, 'victim');
      writeFileSync(victim, 'precious', { mode: 0o600 });
      chownSync(victim, OWNER.uid, OWNER.uid);
      return victim;
    });

    const planted: readonly (readonly [
      what: string,
      name: string,
      plant: (path: string, victim: string) => readonly string[],
      says: RegExp,
    ])[] = [
      [
        'a link for the socket',
        'nonced.sock',
        (path, victim) => ['ln', '-s', victim, path],
        /is not a socket; move it away/,
      ],
      [
        'a dangling link for the socket',
        'nonced.sock',
        (path) => ['ln', '-s', 'nowhere', path],
        /is not a socket; move it away/,
      ],
      ['a file for the socket', 'nonced.sock', (path) => ['touch', path], /is not a socket; move it away/],
      [
        "a link for the operator's socket",
        'admin.sock',
        (path, victim) => ['ln', '-s', victim, path],
        /is not a socket; move it away/,
      ],
      ['a directory for the socket', 'nonced.sock', (path) => ['mkdir', path], /is not a socket; move it away/],
      ['a link for the notes', 'leases', (path, victim) => ['ln', '-s', victim, path], /is a symbolic link/],
      ['a file for the notes', 'leases', (path) => ['touch', path], /belongs to user|cannot be opened/],
      [
        'a pipe for the notes',
        'accounts',
        (path) => ['mkfifo', '-m', '666', path],
        /is not a regular file|cannot be opened/,
      ],
      ['a directory for the notes', 'accounts', (path) => ['mkdir', path], /is not a regular file/],
      ['a directory for the notes in the making', 'leases.new', (path) => ['mkdir', path], /cannot be written/],
    ];

    withVictim.for(planted)(
      '%s is refused by name, and what it leads to is untouched',
      async ([_, name, plant, says], { place, refusedStart, victim }) => {
        const path = join(place.runtimeDir, name);
        expect((await runAs(MEMBER, ...plant(path, victim))).code).toBe(0);
        const { code, said } = await refusedStart();
        expect(code, said).toBeOneOf([74, 75, 77, 78]);
        expect(said).toContain(path);
        expect(said).toMatch(says);
        expect(readFileSync(victim, 'utf8')).toBe('precious');
        expect(statSync(victim)).toMatchObject({ mode: 0o100600, uid: OWNER.uid });
        expect(lstatSync(path).uid).toBe(MEMBER.uid);
      },
    );

    withVictim(
      'a link for the notes in the making is replaced, and what it leads to is untouched',
      async ({ place, started, victim }) => {
        expect((await runAs(MEMBER, 'ln', '-s', victim, join(place.runtimeDir, 'leases.new'))).code).toBe(0);
        await started();
        expect(readFileSync(victim, 'utf8')).toBe('precious');
      },
    );

    withVictim('the socket of a program that answers does not count as left over', async ({ place, refusedStart }) => {
      const listen = `require('node:net').createServer().listen(${JSON.stringify(place.socket)}, () => console.log('listens'))`;
      const [file = '', ...args] = [...as(MEMBER), process.execPath, '-e', listen];
      const squatter = spawn(file, args, { stdio: ['ignore', 'pipe', 'ignore'] });
      try {
        await new Promise((resolve) => squatter.stdout.once('data', resolve));
        const { code, said } = await refusedStart();
        expect(code).toBe(75);
        expect(said).toContain(`another program answers on ${place.socket}`);
      } finally {
        squatter.kill('SIGKILL');
      }
    });
  });

  test('a state directory or file that others may write to, or that leads elsewhere, is refused with the reason', async ({
    place,
    refusedStart,
  }) => {
    const state = join(place.stateDir, 'state.json');
    const make: readonly (readonly [what: string, make: () => void, says: string])[] = [
      ['by its group', () => chmodSync(place.stateDir, 0o770), 'can be written to by its group'],
      ['by everyone', () => chmodSync(place.stateDir, 0o777), 'can be written to by everyone'],
      [
        'of another user',
        () => {
          chmodSync(place.stateDir, 0o755);
          chownSync(place.stateDir, MEMBER.uid, MEMBER.uid);
        },
        `belongs to user ${MEMBER.uid}`,
      ],
      ['a link as the state', () => symlinkSync('/etc/hostname', state), 'is a symbolic link'],
      [
        'a state of another user',
        () => {
          writeFileSync(state, '{}', { mode: 0o644 });
          chownSync(state, MEMBER.uid, MEMBER.uid);
        },
        `belongs to user ${MEMBER.uid}`,
      ],
      ['a link as the lock', () => symlinkSync('/tmp', join(place.stateDir, 'state.json.lock')), 'state.json.lock'],
    ];
    for (const [what, prepare, says] of make) {
      rmSync(place.stateDir, { recursive: true, force: true });
      mkdirSync(place.stateDir, { mode: 0o700 });
      chownSync(place.stateDir, OWNER.uid, OWNER.uid);
      prepare();
      const { code, said } = await refusedStart();
      expect([77, 78], `${what}: ${said}`).toContain(code);
      expect(said, what).toContain(says);
    }
  });

  test.skipIf(existsSync('/run/nonced/nonced.sock'))(
    'a squatter in the directory for temporary files is trusted neither by the daemon nor by a bot',
    async ({ place }) => {
      const temporary = join(place.dir, 'tmp');
      mkdirSync(temporary);
      chmodSync(temporary, 0o1777);
      const squatted = join(temporary, `nonced-${OWNER.uid}`);
      expect((await runAs(STRANGER, 'mkdir', '-m', '777', squatted)).code).toBe(0);
      const env = { TMPDIR: temporary, HOME: place.dir, XDG_RUNTIME_DIR: '', RUNTIME_DIRECTORY: '' };
      const served = await runNonced(['serve', '--state-dir', place.stateDir], env, as(OWNER));
      expect(served).toMatchObject({
        code: 78,
        stderr: expect.stringContaining(`${squatted} belongs to user ${STRANGER.uid}`),
      });
      const answer = `require('node:net').createServer((s) => s.write('{}')).listen(${JSON.stringify(join(squatted, 'nonced.sock'))}, () => console.log('listens'))`;
      const [file = '', ...args] = [...as(STRANGER), process.execPath, '-e', answer];
      const squatter = spawn(file, args, { stdio: ['ignore', 'pipe', 'ignore'] });
      try {
        await new Promise((resolve) => squatter.stdout.once('data', resolve));
        const asked = await runNonced(['nonce'], env, as(OWNER));
        expect(asked).toMatchObject({
          code: 69,
          stdout: '',
          stderr: expect.stringContaining(`${squatted} is not a directory that only user ${OWNER.uid} can write to`),
        });
      } finally {
        squatter.kill('SIGKILL');
      }
    },
  );

  test.for(rowsOf(['0', '027', '077']))(
    'with a umask of %s every file has the mode it should have',
    async (umask, { place, started }) => {
      rmSync(place.stateDir, { recursive: true });
      rmSync(place.runtimeDir, { recursive: true });
      chownSync(place.dir, OWNER.uid, OWNER.uid);
      const daemon = await started(['sh', '-c', `umask ${umask}; exec "$@"`, 'sh']);
      const modes = (dir: string) =>
        Object.fromEntries(
          [
            ['.', statSync(dir)] as const,
            ...readdirSync(dir).map((name) => [name, statSync(join(dir, name))] as const),
          ].map(([name, { mode }]) => [name, (mode & 0o7777).toString(8)]),
        );
      expect(modes(place.runtimeDir)).toEqual({
        '.': '700',
        'nonced.sock': '660',
        'admin.sock': '600',
        leases: '600',
        accounts: '600',
        state: '600',
      });
      expect(modes(place.stateDir)).toMatchObject({ '.': '700', 'state.json': '600' });
      expect(await daemon.end('SIGTERM')).toBe(0);
      expect(modes(place.stateDir)).toMatchObject({ '.': '700', 'state.json': '600' });
    },
  );

  // In a state directory that others may look into, they could put something into it, and the next start would be refused.
  test('with a umask of 0 no other user may write into the lock directory', async ({ place, started }) => {
    chmodSync(place.stateDir, 0o755);
    await started(['sh', '-c', 'umask 0; exec "$@"', 'sh']);
    expect(statSync(join(place.stateDir, 'state.json.lock')).mode & 0o022).toBe(0);
  });
});
