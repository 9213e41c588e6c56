import { describe, expect, test } from 'vitest';
import { CHECKS, type Check, failure, judged, severityOf, skipped, warning } from '../../../src/cli/doctor/finding.ts';
import { type Evidence, judge } from '../../../src/cli/doctor/judgement.ts';
import { linesOf } from '../../../src/cli/doctor/report.ts';
import { UNPAINTED } from '../../fixtures/command-line.ts';

const late = { kind: 'unseen', why: 'nothing came back within 8 s' } as const;
const nothing: Evidence = {
  subject: { name: 'trader', uid: 1001, databaseGroups: undefined, other: undefined },
  host: late,
  clock: late,
  socket: late,
  processes: late,
  daemons: late,
  service: late,
  answer: { kind: 'unlooked', why: 'no socket can be seen' },
  heard: undefined,
  others: [],
  place: undefined,
  disk: { kind: 'unlooked', why: 'nobody knows where' },
  state: { kind: 'unlooked', why: 'nobody knows where' },
};

describe('the judgement', () => {
  test('is one of every check, in order, even where nothing was seen; and that is a warning', () => {
    const checks = judge(nothing);
    expect(checks.map(({ check }) => check)).toEqual(CHECKS);
    const of = (name: string) => checks.find(({ check }) => check === name);
    expect(of('clock')).toMatchObject({
      mark: 'warning',
      says: 'this could not be tested: nothing came back within 8 s',
    });
    expect(of('disk')).toMatchObject({ mark: 'skipped', says: 'nobody knows where' });
    expect(of('version')).toMatchObject({ mark: 'skipped' });
  });

  test('of a disk that does not answer is a failure, because the daemon would wait as well', () => {
    const place = { dir: '/mnt/s', isService: false, platform: 'linux' };
    const disk = judge({ ...nothing, place, disk: late }).find(({ check }) => check === 'disk');
    expect(disk).toMatchObject({ mark: 'failed', says: expect.stringContaining('/mnt/s does not answer') });
  });

  test('of a socket that cannot be looked for skips what needs one', () => {
    const facts = {
      groups: [1001],
      environment: undefined,
      places: [],
      chosen: { kind: 'refused', problem: 'too long' },
      steps: [],
      users: new Map(),
      groupNames: new Map(),
    } as const;
    const checks = judge({ ...nothing, socket: { kind: 'seen', facts } });
    const marks = new Map(checks.map(({ check, mark }) => [check, mark]));
    expect(marks.get('socket')).toBe('failed');
    for (const check of ['path', 'group', 'processes', 'answer', 'instance', 'others'] as const) {
      expect(marks.get(check), check).toBe('skipped');
    }
  });
});

describe('a check', () => {
  const [soon, now] = [warning('soon', 'do this', 'this'), failure('now', 'do that', 'that')];

  test('is as bad as its worst finding, and says that one', () => {
    expect(judged('disk', 'fine', [undefined])).toEqual({ check: 'disk', mark: 'ok', says: 'fine', findings: [] });
    expect(judged('disk', 'fine', [soon])).toMatchObject({ mark: 'warning', says: 'soon' });
    expect(judged('disk', 'fine', [soon, now])).toMatchObject({ mark: 'failed', says: 'now', findings: [soon, now] });
  });

  test('counts in the exit code: 0, 1 for warnings, 2 for failures; what was skipped is not a fault', () => {
    const [fine, none] = [judged('disk', ''), skipped('state', '')];
    expect(severityOf([fine, none])).toBe(0);
    expect(severityOf([fine, judged('disk', '', [soon])])).toBe(1);
    expect(severityOf([judged('disk', '', [now]), judged('disk', '', [soon])])).toBe(2);
  });

  test('cannot control a terminal, whatever a path or an answer holds', () => {
    const [line] = linesOf([judged('disk', 'red \u001b[31m\nnext')], UNPAINTED);
    expect(line).toBe('ok       disk       red \uFFFD[31m\uFFFDnext');
  });

  test('is one line, with the cure below what is unusual, and a count at the end', () => {
    const checks: Check[] = [
      judged('platform', 'Linux'),
      judged('disk', '', [now, soon]),
      skipped('state', 'not here'),
    ];
    expect(linesOf(checks, UNPAINTED)).toEqual([
      'ok       platform   Linux',
      'FAILED   disk       now',
      '                    do that',
      '                      that',
      'warning             soon',
      '                    do this',
      '                      this',
      'skipped  state      not here',
      '',
      '1 FAILED, 1 ok, 1 skipped',
    ]);
  });
});
