import { expect, test } from 'vitest';
import { listenersIn, serveOptionsIn } from '../../../../src/cli/doctor/facts/daemons.ts';
import { parseProcessStatus } from '../../../../src/cli/doctor/facts/proc.ts';
import { unitOf, variableIn } from '../../../../src/cli/doctor/facts/processes.ts';
import { propertiesIn } from '../../../../src/cli/doctor/facts/service.ts';

const STATUS = `Name:\tgrid bot
Umask:\t0022
State:\tT (stopped)
Pid:\t4711
Uid:\t1000\t1001\t1001\t1001
Gid:\t1000\t1001\t1001\t1001
FDSize:\t64
Groups:\t27 985 
NStgid:\t4711
NSpid:\t4711
`;

test('of a process the effective user counts, and its effective group beside the supplementary ones', () => {
  expect(parseProcessStatus(STATUS)).toEqual({
    name: 'grid bot',
    state: 'T',
    uid: 1001,
    groups: [1001, 27, 985],
    contained: false,
  });
  expect(parseProcessStatus(STATUS.replace('Groups:\t27 985 ', 'Groups:\t '))?.groups).toEqual([1001]);
  expect(parseProcessStatus(STATUS.replace('NSpid:\t4711', 'NSpid:\t4711\t12'))?.contained).toBe(true);
  expect(parseProcessStatus(STATUS.replace('Name:\tgrid bot', 'Name:\t'))?.name).toBe('');
  expect(parseProcessStatus('')).toBeUndefined();
});

test.each([
  ['0::/system.slice/grid-bot.service', { name: 'grid-bot.service', manager: 'system' }],
  ['0::/system.slice/system-bot.slice/bot@a.service', { name: 'bot@a.service', manager: 'system' }],
  ['0::/system.slice/bot.service/worker', { name: 'bot.service', manager: 'system' }],
  ['9:name=systemd:/\n8:pids:/\n0::/system.slice/bot.service', { name: 'bot.service', manager: 'system' }],
  ['12:pids:/x\n1:name=systemd:/system.slice/old.service\n0::/', { name: 'old.service', manager: 'system' }],
  ['0::/user.slice/user-1001.slice/user@1001.service/app.slice/bot.service', { name: 'bot.service', manager: 'user' }],
  ['0::/user.slice/user-1001.slice/session-3.scope', undefined],
  ['0::/', undefined],
  ['', undefined],
])('a process belongs to the service in whose control group it is: %s', (cgroups, unit) => {
  expect(unitOf(cgroups)).toEqual(unit);
});

test('of an environment one variable is taken, by its whole name, and an empty one counts as none', () => {
  const environment = 'KRAKEN_SECRET=s\0MY_NONCED_SOCKET=/no\0NONCED_SOCKET=/a=b\0HOME=/\0';
  expect(variableIn(environment, 'NONCED_SOCKET')).toBe('/a=b');
  expect(variableIn('NONCED_SOCKET=\0', 'NONCED_SOCKET')).toBeUndefined();
  expect(variableIn('', 'NONCED_SOCKET')).toBeUndefined();
});

test.each([
  [['node', '/x/dist/cli/main.js', 'serve'], {}],
  [
    ['node', 'dist/cli/main.js', 'serve', '--separate', '--state-dir', '/s'],
    { '--separate': '--state-dir', '--state-dir': '/s' },
  ],
  [['node', '--enable-source-maps', '/usr/bin/nonced', 'serve', '--runtime-dir=/r=1'], { '--runtime-dir': '/r=1' }],
  [['node', '/x/dist/cli/main.js', 'status'], undefined],
  [['node', '/x/nonced-bot', 'serve'], undefined],
  [['vi', '/x/dist/cli/main.js'], undefined],
  [['serve'], undefined],
  [[''], undefined],
])('a daemon is known by its command line: %s', (words, options) => {
  expect(serveOptionsIn(`${words.join('\0')}\0`)).toEqual(options);
});

test('the sockets that are listened on are read from the table of the kernel, not those that are connected', () => {
  const table = `Num       RefCount Protocol Flags    Type St Inode Path
0000000029eab48c: 00000003 00000000 00000000 0001 03 92204
000000007f50396a: 00000002 00000000 00010000 0001 01 80069 /run/nonced/nonced.sock
000000007f50396b: 00000003 00000000 00000000 0001 03 80070 /run/user/1000/nonced/nonced.sock
000000007f50396c: 00000002 00000000 00010000 0001 01     7 /tmp/a b/nonced.sock
000000007f50396d: 00000002 00000000 00010000 0001 01 80072 /run/nonced/admin.sock
000000007f50396e: 00000002 00000000 00010000 0001 01 80073 @/nonced.sock
`;
  expect(listenersIn(table)).toEqual(['/run/nonced/nonced.sock', '/tmp/a b/nonced.sock']);
  expect(listenersIn('')).toEqual([]);
});

test('a property of systemd is all that stands behind the first equals sign', () => {
  expect(propertiesIn('Id=nonced.service\nDropInPaths=/a=b.conf\nResult=')).toEqual({
    Id: 'nonced.service',
    DropInPaths: '/a=b.conf',
    Result: '',
  });
});
