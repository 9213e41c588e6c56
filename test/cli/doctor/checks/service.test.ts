import { describe, expect, test } from 'vitest';
import { judgeService, judgeUnits, settingsIn } from '../../../../src/cli/doctor/checks/service.ts';
import type {
  Installation,
  ServiceFacts,
  ServiceProcess,
  UnitFacts,
} from '../../../../src/cli/doctor/facts/service.ts';
import { VERSION } from '../../../../src/version.ts';

const HOUR_MS = 3_600_000;
const NAMES = ['nonced.service', 'nonced.socket', 'nonced-admin.socket'] as const;

const units = (over: Partial<Record<(typeof NAMES)[number], Partial<UnitFacts>>> = {}): UnitFacts[] =>
  NAMES.map((name) => ({ name, active: 'active', enabled: true, needsReload: false, dropIns: [], ...over[name] }));
const main = (over: Partial<ServiceProcess> = {}): ServiceProcess => ({
  pid: 100,
  restarts: 0,
  activeForMs: 1_000,
  result: 'success',
  exitCode: undefined,
  ...over,
});
const installed = (over: Partial<Installation> = {}): Installation => ({
  program: { node: '/usr/bin/node', packageDir: '/usr/lib/node_modules/nonced', version: VERSION },
  usable: true,
  files: NAMES.map((name) => ({ path: `/etc/systemd/system/${name}`, state: 'same' })),
  by: VERSION,
  ...over,
});
const service = (
  of = units(),
  process: ServiceProcess | undefined = main(),
  installation = installed(),
): ServiceFacts => ({
  installation,
  systemd: { kind: 'answers', units: of, process },
});

describe('the service', () => {
  test('is well while it runs, and while it waits for its first bot', () => {
    expect(judgeService(service())).toMatchObject({ mark: 'ok', says: 'nonced.service is active, never restarted' });
    const waiting = service(units({ 'nonced.service': { active: 'inactive' } }), main({ activeForMs: undefined }));
    expect(judgeService(waiting)).toMatchObject({ mark: 'ok', says: expect.stringContaining('for the first bot') });
  });

  test('is not looked at without systemd, where none is installed, and where systemd does not answer', () => {
    expect(judgeService({ installation: installed(), systemd: { kind: 'absent' } }).mark).toBe('skipped');
    expect(judgeService({ installation: undefined, systemd: { kind: 'absent' } }).mark).toBe('skipped');
    const silent = { installation: installed(), systemd: { kind: 'silent', why: 'no bus' } } as const;
    expect(judgeService(silent)).toMatchObject({ mark: 'skipped', says: expect.stringContaining('no bus') });
  });

  test.each([
    [78, 'an operator must decide'],
    [64, 'command line of the unit'],
    [75, 'no room on the disk'],
    [99, 'the log says why'],
  ])('that has failed with exit code %d says what to do', (exitCode, fix) => {
    const failed = service(
      units({
        'nonced.service': { active: 'failed' },
        'nonced.socket': { active: 'inactive' },
        'nonced-admin.socket': { active: 'inactive' },
      }),
      main({ exitCode, result: 'exit-code', activeForMs: undefined }),
    );
    const [first, second] = judgeService(failed).findings;
    expect(first).toMatchObject({
      mark: 'failed',
      fact: `nonced.service has failed (exit ${exitCode}), and systemd does not start it again`,
    });
    expect(first?.fix).toContain(fix);
    expect(second?.fix).toContain('once the service is cured');
  });

  test('that is about to be started again says how it ended', () => {
    const again = service(units({ 'nonced.service': { active: 'activating' } }), main({ result: 'watchdog' }));
    expect(judgeService(again)).toMatchObject({ mark: 'failed', says: 'nonced.service is activating (watchdog)' });
  });

  test('without a socket that listens, not enabled, or unknown to systemd', () => {
    const closed = judgeService(service(units({ 'nonced.socket': { active: 'inactive' } })));
    expect(closed).toMatchObject({ mark: 'failed', says: 'nonced.socket: not listening, so no bot can connect' });
    const disabled = judgeService(service(units({ 'nonced.socket': { enabled: false } })));
    expect(disabled.findings).toMatchObject([{ mark: 'warning', commands: ['sudo systemctl enable nonced.socket'] }]);
    expect(judgeService(service([], undefined)).mark).toBe('failed');
  });

  test('that was restarted more than three times is a warning for an hour', () => {
    const restarted = (restarts: number, activeForMs: number) =>
      judgeService(service(units(), main({ restarts, activeForMs }))).mark;
    expect(restarted(3, 1_000)).toBe('ok');
    expect(restarted(4, 1_000)).toBe('warning');
    expect(restarted(4, HOUR_MS + 1)).toBe('ok');
  });
});

describe('the units', () => {
  const judged = (over: Partial<Installation>, of = units()) => judgeUnits(service(of, main(), installed(over)));

  test('are well as this version writes them, and need no answer of systemd', () => {
    expect(judged({})).toMatchObject({ mark: 'ok', says: `as nonced ${VERSION} writes them` });
    expect(judgeUnits({ installation: installed(), systemd: { kind: 'silent', why: '' } }).mark).toBe('ok');
    expect(judgeUnits({ installation: undefined, systemd: { kind: 'absent' } }).mark).toBe('skipped');
    expect(judgeUnits({ installation: installed(), systemd: { kind: 'absent' } }).mark).toBe('skipped');
  });

  test('of an older version want an install, those of a newer one a newer command', () => {
    const older = { node: '/n', packageDir: '/usr/local/lib/nonced/0.0.9/package', version: '0.0.9' };
    expect(judged({ program: older, by: '0.0.9' }).findings).toMatchObject([
      {
        mark: 'warning',
        fact: `the units were written by nonced 0.0.9, and this is ${VERSION}`,
        commands: ['sudo nonced systemd install --copy'],
      },
    ]);
    const newer = { ...older, version: '99.0.0' };
    expect(judged({ program: newer, by: '99.0.0' })).toMatchObject({
      mark: 'warning',
      says: expect.stringContaining('this command is the older'),
    });
  });

  test('whose program is gone are a failure before the next start', () => {
    expect(judged({ usable: false })).toMatchObject({ mark: 'failed', says: expect.stringContaining('which is gone') });
  });

  test('that were edited or removed are named, and told apart from units that are not ours', () => {
    const [first, ...rest] = installed().files;
    if (first === undefined) throw new Error('no file');
    const edited = judged({
      files: [{ ...first, state: 'other' }, ...rest.map((file) => ({ ...file, state: 'absent' as const }))],
    });
    expect(edited.says).toBe(
      `${first.path}, ${rest.map(({ path }) => `${path} is missing`).join(', ')}: not as nonced ${VERSION} writes it`,
    );
    expect(judged({ program: undefined, usable: false }).says).toContain('were not written by');
  });

  test('that systemd has not read again are a warning', () => {
    expect(judged({}, units({ 'nonced.socket': { needsReload: true } })).findings).toMatchObject([
      { mark: 'warning', commands: ['sudo systemctl daemon-reload'] },
    ]);
  });

  test('with a drop-in are named, and a warning if it sets what the daemon relies on', () => {
    const withDropIn = (text: string) =>
      judged({}, units({ 'nonced.socket': { dropIns: [{ path: '/etc/o.conf', text }] } }));
    expect(withDropIn('[Socket]\nBacklog=9\n# SocketMode=0666\n')).toMatchObject({
      mark: 'ok',
      says: `as nonced ${VERSION} writes them, with /etc/o.conf`,
    });
    expect(withDropIn('[Socket]\nSocketMode = 0666\n')).toMatchObject({
      mark: 'warning',
      says: 'nonced.socket: /etc/o.conf sets SocketMode, which the daemon relies on',
    });
  });

  test('set what stands before an equals sign, but in no comment', () => {
    expect(settingsIn('[A]\nB=1\n B = 2\n;C=3\n#D=4\nE=x F=y\n')).toEqual(['B', 'E']);
  });
});
