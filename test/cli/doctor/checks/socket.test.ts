import { describe, expect, test } from 'vitest';
import { clientsOf, judgeProcesses } from '../../../../src/cli/doctor/checks/processes.ts';
import { judgeGroup, judgePath, judgeSocket } from '../../../../src/cli/doctor/checks/socket.ts';
import type { UserProcess } from '../../../../src/cli/doctor/facts/processes.ts';
import type { SocketFacts, Step } from '../../../../src/cli/doctor/facts/socket.ts';
import type { Subject } from '../../../../src/cli/doctor/subject.ts';
import { VERSION } from '../../../../src/version.ts';

const SERVICE = '/run/nonced/nonced.sock';
const START = 'sudo systemctl start nonced.socket nonced.service';
const trader: Subject = { name: 'trader', uid: 1001, databaseGroups: [1001, 985], other: undefined };

type There = Extract<Step['there'], { readonly uid: number }>;
const directory = (path: string, over: Partial<There> = {}): Step => ({
  path,
  there: { kind: 'directory', uid: 0, gid: 0, mode: 0o755, open: true, ...over },
});
const ofService = (over: Partial<There> = {}): Step => ({
  path: SERVICE,
  there: { kind: 'socket', uid: 985, gid: 985, mode: 0o660, open: true, ...over },
});
const way = [directory('/'), directory('/run'), directory('/run/nonced', { uid: 985, gid: 985, mode: 0o711 })];

function facts(over: Partial<SocketFacts> = {}): SocketFacts {
  return {
    groups: [1001, 985],
    environment: undefined,
    places: [{ path: SERVICE, exists: true }],
    chosen: { kind: 'place', path: SERVICE, distrust: undefined },
    steps: [...way, ofService()],
    users: new Map([[985, 'nonced']]),
    groupNames: new Map([
      [0, 'root'],
      [985, 'nonced'],
    ]),
    ...over,
  };
}

const at = (path: string) => ({ kind: 'place', path, distrust: undefined }) as const;

describe('the socket', () => {
  test('of the service is well, and so is one that $NONCED_SOCKET names; it says which it is', () => {
    expect(judgeSocket(facts(), START)).toMatchObject({ mark: 'ok', says: `${SERVICE}, the service's` });
    const named = facts({ environment: '/a/nonced.sock', chosen: at('/a/nonced.sock') });
    expect(judgeSocket(named, START)).toMatchObject({ mark: 'ok', says: '/a/nonced.sock, by $NONCED_SOCKET' });
  });

  test('that is nowhere is a failure that names all the places, and what starts a daemon', () => {
    const places = [SERVICE, '/tmp/nonced-1001/nonced.sock'].map((path) => ({ path, exists: false }));
    const steps = [...way, { path: SERVICE, there: { kind: 'absent' } } as const];
    const [finding] = judgeSocket(facts({ places, steps }), START).findings;
    expect(finding).toMatchObject({
      mark: 'failed',
      fact: `there is no socket; looked for ${SERVICE}, /tmp/nonced-1001/nonced.sock`,
      commands: [START],
    });
  });

  test('that $NONCED_SOCKET promises and is not there blames the variable', () => {
    const steps = [directory('/'), { path: '/a', there: { kind: 'absent' } } as const];
    const [finding] = judgeSocket(facts({ environment: '/a/n.sock', chosen: at('/a/n.sock'), steps }), START).findings;
    expect(finding).toMatchObject({ mark: 'failed', commands: ['unset NONCED_SOCKET'] });
    expect(finding?.fact).toContain('$NONCED_SOCKET says /a/n.sock');
  });

  test.each([
    ['is a directory', directory(SERVICE)],
    ['is not a socket', { path: SERVICE, there: { kind: 'other', uid: 0, gid: 0, mode: 0o644, open: false } } as const],
  ])('that %s is to be moved away', (says, last) => {
    const check = judgeSocket(facts({ steps: [...way, last] }), START);
    expect(check).toMatchObject({ mark: 'failed', says: `${SERVICE} ${says}` });
    expect(check.findings[0]?.commands).toEqual([`sudo mv ${SERVICE} ${SERVICE}.old`]);
  });

  test.each([
    ['/tmp', 'a directory', directory('/tmp')],
    [
      '/etc/passwd',
      'not a socket',
      { path: '/etc/passwd', there: { kind: 'other', uid: 0, gid: 0, mode: 0o644, open: false } } as const,
    ],
  ])('that is given as %s is a wrong path, which is not to be moved', (path, what, last) => {
    const steps = [directory('/'), last];
    const [named] = judgeSocket(facts({ environment: path, chosen: at(path), steps }), START).findings;
    expect(named).toMatchObject({
      fact: `$NONCED_SOCKET says ${path}, which is ${what}`,
      commands: ['unset NONCED_SOCKET'],
    });
    const [given] = judgeSocket(facts({ chosen: at(path), steps }), START).findings;
    expect(given).toMatchObject({ fact: `${path} is ${what}`, fix: expect.stringContaining('--socket'), commands: [] });
  });

  test('that is not trusted, has too long a path, is relative or is the operator’s, is a failure that says so', () => {
    const distrusted = facts({ chosen: { kind: 'place', path: '/tmp/x y/n.sock', distrust: 'not yours' } });
    expect(judgeSocket(distrusted, START)).toMatchObject({ mark: 'failed', says: 'not yours' });
    expect(judgeSocket(distrusted, START).findings[0]?.commands).toEqual(["ls -la '/tmp/x y/n.sock'"]);
    const refused = facts({ chosen: { kind: 'refused', problem: 'too long' }, steps: [] });
    expect(judgeSocket(refused, START)).toMatchObject({ mark: 'failed', says: 'too long' });
    const relative = judgeSocket(facts({ chosen: at('r/nonced.sock') }), START);
    expect(relative).toMatchObject({ mark: 'warning', says: expect.stringContaining('relative') });
    const [operators] = judgeSocket(facts({ chosen: at('/run/nonced/admin.sock') }), START).findings;
    expect(operators).toMatchObject({ mark: 'warning', commands: [`export NONCED_SOCKET=${SERVICE}`] });
  });
});

describe('the path', () => {
  test('is well where every directory may be passed through', () => {
    expect(judgePath(facts(), trader)).toMatchObject({
      mark: 'ok',
      says: 'trader may pass through every directory down to /run/nonced',
    });
  });

  test.each([
    ['others', { uid: 985, gid: 984 }, 'o'],
    ['its group', { uid: 985, gid: 985 }, 'g'],
    ['its owner', { uid: 1001, gid: 985 }, 'u'],
  ])('is barred by a directory that %s may not pass through, and it says which bit', (_who, owner, letter) => {
    const closed = directory('/run/nonced', { ...owner, mode: 0o600, open: false });
    const check = judgePath(facts({ steps: [directory('/'), directory('/run'), closed] }), trader);
    expect(check.mark).toBe('failed');
    expect(check.says).toContain('trader may not pass through /run/nonced (0600, ');
    expect(check.findings[0]?.commands).toEqual([`sudo chmod ${letter}+x /run/nonced`]);
  });

  test('is not safe if every user may write there, unless the directory is sticky', () => {
    const open = directory('/srv', { mode: 0o777 });
    expect(judgePath(facts({ steps: [directory('/'), open, ofService()] }), trader)).toMatchObject({
      mark: 'warning',
      says: 'every user may write to /srv (0777, 0:root)',
    });
    const sticky = directory('/tmp', { mode: 0o1777 });
    expect(judgePath(facts({ steps: [directory('/'), sticky, ofService()] }), trader).mark).toBe('ok');
  });
});

describe('the group', () => {
  const closed = ofService({ open: false });
  const judged = (over: Partial<SocketFacts>, subject = trader) => judgeGroup(facts(over), subject);

  test('is well for a member, for the owner and for root, each for its reason', () => {
    expect(judged({})).toMatchObject({ mark: 'ok', says: expect.stringContaining('as a member of nonced') });
    expect(judged({ steps: [...way, ofService({ uid: 1001 })] }).says).toContain('it owns the socket');
    expect(judged({}, { ...trader, name: 'root', uid: 0 }).says).toContain('to test a bot: sudo nonced doctor USER');
  });

  test('is not checked if no socket can be seen', () => {
    expect(judged({ steps: way })).toMatchObject({ mark: 'skipped' });
  });

  test('lacks a user who is not in it', () => {
    const subject = { ...trader, databaseGroups: [1001] };
    const [finding] = judged({ groups: [1001], steps: [...way, closed] }, subject).findings;
    expect(finding).toMatchObject({ mark: 'failed', commands: ['sudo usermod -aG nonced trader'] });
  });

  test('is named by its number if it has no name', () => {
    const steps = [...way, closed];
    const [finding] = judged(
      { groups: [1001], steps, groupNames: new Map() },
      { ...trader, databaseGroups: undefined },
    ).findings;
    expect(finding?.commands).toEqual(['sudo usermod -aG 985 trader']);
  });

  test('is missing from a session that is older than the membership', () => {
    const [finding] = judged({ groups: [1001], steps: [...way, closed] }).findings;
    expect(finding).toMatchObject({ mark: 'failed', commands: ['newgrp nonced'] });
    expect(finding?.fact).toContain('this login is older');
  });

  test('of root is not proposed to any user', () => {
    const steps = [...way, ofService({ uid: 0, gid: 0, open: false })];
    const [finding] = judged({ steps }).findings;
    expect(finding?.fact).toContain('belongs to the group root');
    expect(finding?.commands.join()).not.toContain('usermod');
  });

  test('is of no use if the mode leaves it out', () => {
    const steps = [...way, ofService({ mode: 0o600, open: false })];
    expect(judged({ steps }).findings[0]).toMatchObject({ mark: 'failed', commands: [`sudo chmod 660 ${SERVICE}`] });
  });

  test('is not the cause if the mode allows what the kernel refuses', () => {
    expect(judged({ steps: [...way, closed] }).says).toContain('but the kernel does not');
  });

  test('is a warning if every user may connect', () => {
    const steps = [...way, ofService({ mode: 0o666 })];
    expect(judged({ steps }).findings).toMatchObject([{ mark: 'warning', commands: [`sudo chmod o-rwx ${SERVICE}`] }]);
  });
});

describe('the processes of the user', () => {
  const bot = (pid: number, over: Partial<UserProcess> = {}): UserProcess => ({
    pid,
    name: 'node',
    groups: [1001, 985],
    unit: undefined,
    socket: undefined,
    client: undefined,
    ...over,
  });
  const old = { groups: [1001] };

  test('are well with the group and the socket that a new one would have', () => {
    expect(judgeProcesses([bot(1), bot(2)], facts(), trader)).toMatchObject({ mark: 'ok' });
    expect(judgeProcesses([], facts(), trader)).toMatchObject({ mark: 'ok', says: 'trader has no other process' });
    expect(judgeProcesses(undefined, facts(), trader).mark).toBe('skipped');
  });

  test('that are older than the membership are named, with what restarts each', () => {
    const all = [
      bot(1),
      bot(2, old),
      bot(3, { ...old, unit: { name: 'grid.service', manager: 'system' } }),
      bot(4, { ...old, unit: { name: 'grid.service', manager: 'system' } }),
      bot(5, { ...old, unit: { name: 'app.service', manager: 'user' } }),
    ];
    const [finding] = judgeProcesses(all, facts(), trader).findings;
    expect(finding?.mark).toBe('warning');
    expect(finding?.fact).toContain('4 of 5 processes of trader lack the group nonced');
    expect(finding?.fact).toContain('node (pid 2), node (pid 3), node (pid 4), node (pid 5)');
    expect(finding?.commands).toEqual([
      'sudo systemctl restart grid.service',
      'sudo systemctl restart user@$(id -u trader).service',
      'ps -o pid,lstart,args -p 2',
    ]);
  });

  test('of which there are many are not all named', () => {
    const all = Array.from({ length: 8 }, (_, index) => bot(index + 10, old));
    const { says } = judgeProcesses(all, facts(), trader);
    expect(says).toMatch(/\(pid 14\) and 3 more$/);
  });

  test.each([
    ['the user has no such group at all', { groups: [1001] }, trader],
    ['the socket is their own', { steps: [...way, ofService({ uid: 1001 })] }, trader],
    ['the socket is for every user', { steps: [...way, ofService({ mode: 0o666 })] }, trader],
    ['they are root’s', {}, { ...trader, uid: 0 }],
    ['there is not a socket', { steps: way }, trader],
  ])('need no group where %s', (_why, over, subject) => {
    expect(judgeProcesses([bot(2, old)], facts(over), subject).mark).toBe('ok');
  });

  test('with another $NONCED_SOCKET are named with it', () => {
    const all = [bot(1), bot(2, { socket: SERVICE }), bot(3, { socket: '/b.sock' })];
    const [finding, ...rest] = judgeProcesses(all, facts(), trader).findings;
    expect(rest).toEqual([]);
    expect(finding).toMatchObject({ mark: 'warning' });
    expect(finding?.fact).toBe(`in 1 process of trader, $NONCED_SOCKET is not ${SERVICE}, but /b.sock: node (pid 3)`);
  });

  test('tell which other versions of the package they have', () => {
    expect(
      clientsOf([bot(1), bot(2, { client: VERSION }), bot(3, { client: '0.0.1' }), bot(4, { client: '0.0.1' })]),
    ).toEqual(['0.0.1']);
    expect(clientsOf(undefined)).toEqual([]);
  });
});
