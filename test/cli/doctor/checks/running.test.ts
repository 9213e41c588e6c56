import { describe, expect, test } from 'vitest';
import { daemonAt, judgeInstance, judgeOthers, type OtherSocket } from '../../../../src/cli/doctor/checks/daemons.ts';
import {
  judgeAnswer,
  judgeSequences,
  judgeStatus,
  judgeVersion,
  minorsApart,
} from '../../../../src/cli/doctor/checks/running.ts';
import type { Answer, Answered } from '../../../../src/cli/doctor/facts/answer.ts';
import type { DaemonFacts, RunningDaemon } from '../../../../src/cli/doctor/facts/daemons.ts';
import type { AccountStatus, StatusResult } from '../../../../src/protocol/messages.ts';
import { VERSION } from '../../../../src/version.ts';

const SERVICE = '/run/nonced/nonced.sock';
const START = 'nonced serve';

const account = (name: string, over: Partial<AccountStatus> = {}): AccountStatus => ({
  account: name,
  exchange: 'default',
  sequence: 'default',
  grants: 0,
  nonces: 0,
  waiting: 0,
  idleMs: 0,
  okAgoMs: null,
  rejected: 0,
  rejectedInARow: 0,
  rejectedLastHour: 0,
  expired: 0,
  paused: false,
  breaker: null,
  pace: null,
  ...over,
});

function status(over: Partial<StatusResult> = {}): StatusResult {
  return {
    version: VERSION,
    instance: 'a'.repeat(32),
    pid: 100,
    epoch: 1,
    uptimeMs: 1,
    exclusive: 'global',
    drainingForMs: null,
    configurationProblem: null,
    totals: { connections: 1, accounts: 2, leases: 1, waiting: 0, grants: 0, nonces: 0, noncesPerSecond: 0 },
    sequences: [
      { name: 'default', unit: 'ns', last: 1_795_365_006_294_000_000n, ceiling: 2n ** 62n, leadMs: -5, issued: 1 },
    ],
    paused: [],
    exchanges: [],
    accounts: [],
    lanes: [],
    durability: { state: 'durable', problem: null, writes: 1 },
    clock: { state: 'followed', offMs: 0 },
    ...over,
  };
}

const answered = (over: Partial<StatusResult> = {}, more: Partial<Answered> = {}): Answered => ({
  kind: 'answered',
  tookMs: 3,
  status: status(over),
  refusedUnits: [],
  ...more,
});

const running = (over: Partial<RunningDaemon> = {}): RunningDaemon => ({
  pid: 100,
  uid: 985,
  stopped: false,
  contained: false,
  stateDir: '/var/lib/nonced',
  runtimeDir: '/run/nonced',
  ...over,
});

describe('the answer', () => {
  const judged = (answer: Answer, daemon?: RunningDaemon) =>
    judgeAnswer({ path: SERVICE, answer, daemon, start: START });

  test('that comes soon is well, one that takes over a second is a warning', () => {
    expect(judged(answered())).toMatchObject({ mark: 'ok', says: `nonced ${VERSION}, pid 100, answers in 3 ms` });
    expect(judged(answered({}, { tookMs: 1_000 })).mark).toBe('ok');
    expect(judged(answered({}, { tookMs: 1_001 }))).toMatchObject({
      mark: 'warning',
      says: expect.stringContaining('1.0 s'),
    });
  });

  test.each([
    ['ECONNREFUSED', 'left the socket behind', START],
    ['EAGAIN', 'its queue is full', `sudo ss -xlp src ${SERVICE}`],
    ['EPROTOTYPE', 'a socket of another kind', `sudo mv ${SERVICE} ${SERVICE}.old`],
    ['EACCES', 'may not connect', `ls -l ${SERVICE}`],
    ['ENOENT', 'cannot connect', START],
  ])('that is refused with %s is a failure of its own', (code, says, command) => {
    const check = judged({ kind: 'refused', code });
    expect(check).toMatchObject({ mark: 'failed', says: expect.stringContaining(says) });
    expect(check.findings[0]?.commands[0]).toBe(command);
  });

  test('that does not come is a failure, and a stopped daemon is distinguished from one that hangs', () => {
    const silent = { kind: 'silent', afterMs: 5_000 } as const;
    expect(judged(silent, running({ stopped: true })).findings).toMatchObject([
      { mark: 'failed', commands: ['sudo kill -CONT 100'] },
    ]);
    expect(judged(silent, running()).findings[0]?.commands).toEqual(['ps -o pid,stat,wchan:32,args -p 100']);
    expect(judged(silent).findings[0]?.commands).toEqual([`sudo ss -xlp src ${SERVICE}`]);
    expect(judged(silent).says).toContain('no answer came within 5.0 s');
  });

  test('of another program, of a daemon that stops, and one that declines', () => {
    expect(judged({ kind: 'stranger' })).toMatchObject({ mark: 'failed', says: expect.stringContaining('not nonced') });
    expect(judged({ kind: 'declined', code: 'SHUTTING_DOWN', message: 'm' }).mark).toBe('warning');
    expect(judged({ kind: 'declined', code: 'BAD_REQUEST', message: 'why not' })).toMatchObject({
      mark: 'failed',
      says: expect.stringContaining('why not'),
    });
  });
});

describe('the status', () => {
  test('is well, or as bad as `status --check` has it, each with what to do', () => {
    expect(judgeStatus(answered())).toMatchObject({ mark: 'ok', says: expect.stringContaining('2 accounts, 1 held') });
    const paused = judgeStatus(answered({ paused: ['MASTER'] }));
    expect(paused.findings).toMatchObject([
      { mark: 'warning', fix: 'nonced resume MASTER', commands: ['nonced status'] },
    ]);
    const breaker = { openFor: 'locked-out', probeInMs: 1 } as const;
    const both = judgeStatus(answered({ paused: ['MASTER'], accounts: [account('A', { breaker })] }));
    expect(both.mark).toBe('failed');
    expect(both.findings.map(({ mark }) => mark)).toEqual(['failed', 'warning']);
    expect(both.findings[0]?.fix).toContain('nonced why A');
  });

  test('has something to do for everything that can be unusual', () => {
    const { findings } = judgeStatus(
      answered({
        durability: { state: 'retrying', problem: 'ENOSPC', writes: 1 },
        clock: { state: 'not-followed', offMs: 1e7 },
        exchanges: [{ exchange: 'kraken', downForMs: 1_000 }],
        refusingClients: [{ name: 'grid-bot', pid: 7, expected: 'b'.repeat(32), forMs: 1_000 }],
        sequences: [{ name: 'default', unit: 'ns', last: 1n, ceiling: 2n, leadMs: 61_000, issued: 1 }],
        lanes: [{ lane: 'A', holders: [], waiting: 1, oldestWaitMs: 10_001, waiters: [] }],
      }),
    );
    expect(findings.map(({ mark }) => mark)).toEqual(['failed', 'failed', 'failed', 'warning', 'warning', 'warning']);
    for (const { fix, commands } of findings) expect([fix, ...commands].every((text) => text !== '')).toBe(true);
    for (const over of [
      { durability: { state: 'slow', problem: null, writes: 1 } },
      { clock: { state: 'behind', offMs: -5 } },
    ] as const) {
      expect(judgeStatus(answered(over))).toMatchObject({ mark: 'warning', findings: [{ fix: expect.any(String) }] });
    }
  });
});

describe('the versions', () => {
  test.each([
    ['0.1.0', '0.1.7', 0],
    ['0.1.0', '0.2.0', 1],
    ['0.3.0', '0.1.0', 2],
    ['1.0.0', '0.9.0', Infinity],
    ['0.1.0', 'what', Infinity],
  ])('%s and %s are %d minor versions apart', (one, other, minors) => {
    expect(minorsApart(one, other)).toBe(minors);
  });

  test('go together if they are one minor version apart, also those of running bots', () => {
    const [major, minor] = VERSION.split('.').map(Number) as [number, number];
    const apart = (minors: number) => `${major}.${minor + minors}.0`;
    expect(judgeVersion(answered(), [])).toMatchObject({
      mark: 'ok',
      says: `daemon ${VERSION}, this command ${VERSION}`,
    });
    expect(judgeVersion(answered({ version: apart(1) }), [apart(2)]).mark).toBe('ok');
    expect(judgeVersion(answered({ version: apart(2) }), [])).toMatchObject({ mark: 'failed' });
    expect(judgeVersion(answered(), [apart(2)])).toMatchObject({
      mark: 'failed',
      says: expect.stringContaining('the client of a running bot'),
    });
  });
});

describe('the sequences', () => {
  test('are named with the digits of their unit', () => {
    const counter = { name: 'c', unit: 'counter', last: 7n, ceiling: 9n, leadMs: null, issued: 1 } as const;
    expect(judgeSequences(answered({ sequences: [...status().sequences, counter] }))).toMatchObject({
      mark: 'ok',
      says: 'default in ns (19 digits), c counts',
    });
  });

  test('whose nonces have other digits than their unit are a warning', () => {
    const sequences = [
      { name: 'default', unit: 'ms', last: 10n ** 13n, ceiling: 10n ** 14n, leadMs: 1, issued: 1 },
    ] as const;
    expect(judgeSequences(answered({ sequences }))).toMatchObject({
      mark: 'warning',
      says: expect.stringContaining('has 14'),
    });
  });

  test('of another unit than a program asked for are a warning that names the account', () => {
    const refusedUnits = [{ account: 'MASTER', unit: 'ns', asked: { count: 3, unit: 'ms' } }] as const;
    const check = judgeSequences(answered({}, { refusedUnits }));
    expect(check.findings).toMatchObject([{ mark: 'warning', commands: ['nonced why MASTER'] }]);
    expect(check.says).toContain('account MASTER draws ns, but programs asked for ms: refused 3 times');
  });
});

const other = (path: string, answer: Answer | undefined, isPlace = false): OtherSocket => ({ path, answer, isPlace });
const second = (accounts: readonly string[] = []) =>
  answered({ instance: 'b'.repeat(32), pid: 200, accounts: accounts.map((name) => account(name)) });

describe('the instance', () => {
  const own = answered({ accounts: [account('MASTER'), account('default')] });

  test('is well if it is the service’s, by any path, or if there is no service', () => {
    expect(judgeInstance(SERVICE, own, [], false)).toMatchObject({
      mark: 'ok',
      says: "the service's, instance aaaaaaaa",
    });
    expect(judgeInstance('/a.sock', own, [], true).says).toContain('no service runs beside it');
    expect(judgeInstance('/a.sock', own, [other(SERVICE, answered())], true).says).toContain('by another path');
    expect(judgeInstance(SERVICE, { kind: 'stranger' }, [], false).mark).toBe('skipped');
  });

  test('that is not the service’s is a warning, even if one of the two did not answer', () => {
    expect(judgeInstance('/a.sock', own, [other(SERVICE, second())], true).findings).toMatchObject([
      { mark: 'warning', commands: ['unset NONCED_SOCKET'] },
    ]);
    expect(judgeInstance('/a.sock', own, [other(SERVICE, undefined)], true).mark).toBe('warning');
    expect(judgeInstance('/a.sock', undefined, [other(SERVICE, second())], false)).toMatchObject({
      mark: 'warning',
      says: `this user is led to /a.sock, and not to the service at ${SERVICE}`,
    });
  });

  test('is a failure where both hand out nonces for one label, and the label that stands for none proves nothing', () => {
    const both = judgeInstance('/a.sock', own, [other(SERVICE, second(['MASTER', 'default']))], true);
    expect(both).toMatchObject({ mark: 'failed', says: expect.stringContaining('both hand out nonces for MASTER') });
    expect(judgeInstance('/a.sock', own, [other(SERVICE, second(['default']))], true).mark).toBe('warning');
  });
});

describe('other daemons', () => {
  const proc = (...daemons: RunningDaemon[]): DaemonFacts => ({ daemons, listening: [], all: true });

  test('there are none: the one that answers is not another', () => {
    expect(judgeOthers(proc(running()), SERVICE, answered(), []).mark).toBe('ok');
    expect(judgeOthers(undefined, SERVICE, answered(), []).mark).toBe('skipped');
    // One more path to the same instance.
    expect(judgeOthers(proc(), SERVICE, answered(), [other('/l.sock', answered())]).mark).toBe('ok');
  });

  test('that answer elsewhere are warnings, once each, and failures if they share a label', () => {
    const check = judgeOthers(proc(running({ pid: 200, runtimeDir: '/b' })), SERVICE, answered(), [
      other('/b/nonced.sock', second()),
    ]);
    expect(check.findings).toHaveLength(1);
    expect(check).toMatchObject({ mark: 'warning', says: expect.stringContaining('at /b/nonced.sock') });
    const own = answered({ accounts: [account('A')] });
    expect(judgeOthers(proc(), SERVICE, own, [other('/b/nonced.sock', second(['A']))]).mark).toBe('failed');
  });

  test('that do not answer are named by their process, with what can be seen of them', () => {
    const hidden = running({ pid: 300, stateDir: undefined, runtimeDir: undefined });
    const inside = running({ pid: 400, contained: true });
    const { findings } = judgeOthers(proc(running(), hidden, inside), SERVICE, answered(), []);
    expect(findings.map(({ fact }) => fact)).toEqual([
      'another daemon runs (pid 300, user 985)',
      'another daemon runs (pid 400, user 985, in a container)',
    ]);
  });

  test('are not seen in the one that should have answered', () => {
    const stopped = running({ stopped: true });
    expect(judgeOthers(proc(stopped), SERVICE, { kind: 'silent', afterMs: 1 }, []).mark).toBe('ok');
    const hidden = running({ stateDir: undefined, runtimeDir: undefined });
    expect(judgeOthers(proc(hidden), SERVICE, { kind: 'silent', afterMs: 1 }, []).mark).toBe('ok');
  });

  test('left a socket behind: a warning where clients look, and nothing elsewhere', () => {
    const refused = { kind: 'refused', code: 'ECONNREFUSED' } as const;
    expect(judgeOthers(proc(), '/a.sock', answered(), [other(SERVICE, refused, true)])).toMatchObject({
      mark: 'warning',
      says: expect.stringMatching(/ left .* behind/),
    });
    expect(judgeOthers(proc(), '/a.sock', answered(), [other('/b.sock', refused)]).mark).toBe('ok');
    expect(
      judgeOthers(proc(), '/a.sock', answered(), [other('/b.sock', { kind: 'refused', code: 'EACCES' }, true)]).mark,
    ).toBe('ok');
  });
});

describe('the process behind a socket', () => {
  const facts: DaemonFacts = {
    daemons: [running(), running({ pid: 200, runtimeDir: '/b' }), running({ pid: 300, runtimeDir: undefined })],
    listening: [],
    all: true,
  };

  test('is the one that says so, else that of the directory, else the only one whose directories are hidden', () => {
    expect(daemonAt(SERVICE, answered({ pid: 200 }), facts, undefined)?.pid).toBe(200);
    expect(daemonAt(SERVICE, undefined, facts, undefined)?.pid).toBe(100);
    expect(daemonAt('/c/nonced.sock', undefined, facts, undefined)?.pid).toBe(300);
    const two = { ...facts, daemons: [...facts.daemons, running({ pid: 400, runtimeDir: undefined })] };
    expect(daemonAt('/c/nonced.sock', undefined, two, undefined)).toBeUndefined();
    expect(daemonAt(SERVICE, answered({ pid: 999 }), facts, undefined)).toBeUndefined();
  });
});
