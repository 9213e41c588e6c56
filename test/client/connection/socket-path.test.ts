import { resolve } from 'node:path';
import { expect, test } from 'vitest';
import { checkOwner, findSocket, type Owner, type Surroundings } from '../../../src/client/connection/socket-path.ts';

function around(changes: Partial<Surroundings> & { there?: readonly string[] } = {}): Surroundings {
  const there = changes.there ?? [];
  return {
    environment: {},
    uid: 1000,
    temporaryDirectory: '/tmp',
    exists: (path) => there.includes(path),
    isDirectory: () => false,
    owner: () => undefined,
    ...changes,
  };
}

const SERVICE = '/run/nonced/nonced.sock';
const XDG = { XDG_RUNTIME_DIR: '/run/user/1000' };

test('the socket that was asked for goes before $NONCED_SOCKET, and that before every other', () => {
  const environment = { ...XDG, NONCED_SOCKET: '/b.sock' };
  const there = [SERVICE];
  expect(findSocket('/a.sock', around({ environment, there })).path).toBe('/a.sock');
  expect(findSocket(undefined, around({ environment, there })).path).toBe('/b.sock');
});

test('an empty $NONCED_SOCKET counts as none', () => {
  expect(findSocket(undefined, around({ environment: { NONCED_SOCKET: '' }, there: [SERVICE] })).path).toBe(SERVICE);
});

test("the service's socket goes before the user's own", () => {
  const there = [SERVICE, '/run/user/1000', '/run/user/1000/nonced/nonced.sock'];
  expect(findSocket(undefined, around({ environment: XDG, there })).path).toBe(SERVICE);
});

test.each(['/etc/systemd/system/nonced.service', '/usr/lib/systemd/system/nonced.service'])(
  "while a service with %s is down, a daemon of the user's own is no second authority",
  (unit) => {
    const there = [unit, '/run/user/1000', '/run/user/1000/nonced/nonced.sock'];
    expect(findSocket(undefined, around({ environment: XDG, there })).path).toBe(SERVICE);
  },
);

test("in a container, the directory of the host's service says that there is one", () => {
  const there = ['/run/nonced', '/run/user/1000'];
  expect(findSocket(undefined, around({ environment: XDG, there })).path).toBe(SERVICE);
  // It is left behind by a daemon that root once started too, and says nothing against one that is there.
  const own = '/run/user/1000/nonced/nonced.sock';
  expect(findSocket(undefined, around({ environment: XDG, there: [...there, own] })).path).toBe(own);
});

test("without a service it is the user's own below $XDG_RUNTIME_DIR", () => {
  expect(findSocket(undefined, around({ environment: XDG, there: ['/run/user/1000'] }))).toEqual({
    path: '/run/user/1000/nonced/nonced.sock',
    ownDirectory: '/run/user/1000/nonced',
  });
});

test('without an $XDG_RUNTIME_DIR that exists it is the one below the temporary directory', () => {
  const own = { path: '/tmp/nonced-1000/nonced.sock', ownDirectory: '/tmp/nonced-1000' };
  expect(findSocket(undefined, around())).toEqual(own);
  expect(findSocket(undefined, around({ environment: XDG }))).toEqual(own);
});

test('a bot in cron finds the daemon that was started in a shell, and the reverse', () => {
  const shell = ['/run/user/1000', '/run/user/1000/nonced/nonced.sock'];
  expect(findSocket(undefined, around({ there: shell })).path).toBe('/run/user/1000/nonced/nonced.sock');
  const cron = ['/run/user/1000', '/tmp/nonced-1000/nonced.sock'];
  expect(findSocket(undefined, around({ environment: XDG, there: cron })).path).toBe('/tmp/nonced-1000/nonced.sock');
});

test("root looks in the service's place only", () => {
  expect(findSocket(undefined, around({ uid: 0, environment: XDG, there: ['/run/user/1000'] })).path).toBe(SERVICE);
});

test('a path over 107 bytes is refused, for Node would cut it short', () => {
  const longest = `/${'a'.repeat(106)}`;
  expect(findSocket(longest, around()).path).toBe(longest);
  expect(() => findSocket(`${longest}a`, around())).toThrow(expect.objectContaining({ code: 'UNAVAILABLE' }));
  // Bytes, not characters.
  expect(() => findSocket(`/${'ä'.repeat(54)}`, around())).toThrow(/109 bytes/);
});

test('a relative path is made absolute, so that the daemon is found again after a change of directory', () => {
  expect(findSocket('nonced.sock', around()).path).toBe(resolve('nonced.sock'));
  expect(findSocket(undefined, around({ environment: { NONCED_SOCKET: './r/nonced.sock' } })).path).toBe(
    resolve('r/nonced.sock'),
  );
});

test.each([
  ['/r/nonced.sock ', '"/r/nonced.sock "'],
  ['/r/nonced.sock\r', '"/r/nonced.sock\\r"'],
  ['"/r/nonced.sock"', '"\\"/r/nonced.sock\\""'],
  ["'/r/nonced.sock'", '"\'/r/nonced.sock\'"'],
  ['unix:///r/nonced.sock', '"unix:///r/nonced.sock"'],
  ['unix:/r/nonced.sock', '"unix:/r/nonced.sock"'],
])('%j is refused with the path that was meant', (given, quoted) => {
  const message = `${quoted} is not the path of a socket; write it as /r/nonced.sock (NONCED_SOCKET, `;
  expect(() => findSocket(given, around())).toThrow(
    expect.objectContaining({ code: 'UNAVAILABLE', message: expect.stringContaining(message) }),
  );
  expect(() => findSocket(undefined, around({ environment: { NONCED_SOCKET: given } }))).toThrow(/write it as/);
  // If there is such a file, it was meant.
  expect(findSocket(given, around({ exists: () => true })).path).toBe(resolve(given));
});

test('a directory is refused with the socket in it', () => {
  expect(() => findSocket('/run/nonced', around({ isDirectory: () => true, exists: () => true }))).toThrow(
    expect.objectContaining({
      code: 'UNAVAILABLE',
      message: expect.stringContaining('/run/nonced is a directory; the socket in it is /run/nonced/nonced.sock'),
    }),
  );
});

const own = { path: '/tmp/nonced-1000/nonced.sock', ownDirectory: '/tmp/nonced-1000' };
const mine: Owner = { uid: 1000, mode: 0o40700, isDirectory: true };

test("a directory of the user's own, or one that is not there yet, is trusted", () => {
  checkOwner(own, around({ owner: () => mine }));
  checkOwner(own, around());
});

test.each([
  ['another user', { ...mine, uid: 1001 }],
  ['a group that may write to it', { ...mine, mode: 0o40770 }],
  ['a symbolic link', { ...mine, isDirectory: false }],
])('a directory below the temporary one that belongs to %s is not connected to', (_whose, owner) => {
  expect(() => checkOwner(own, around({ owner: () => owner }))).toThrow(
    expect.objectContaining({ code: 'UNAVAILABLE' }),
  );
});

test('if an administrator or the caller names the place, its owner is not checked', () => {
  checkOwner({ path: SERVICE, ownDirectory: undefined }, around({ owner: () => ({ ...mine, uid: 0 }) }));
});
