import { describe, expect, test } from 'vitest';
import { judgeClock, judgeFlock, judgePlatform } from '../../../../src/cli/doctor/checks/host.ts';
import type { ClockFacts, HostFacts } from '../../../../src/cli/doctor/facts/host.ts';
import { RELEASED_MS } from '../../../../src/version.ts';

const host = (over: Partial<HostFacts> = {}): HostFacts => ({
  platform: 'linux',
  release: '6.1.0',
  node: '20.17.0',
  hasBootId: true,
  hasMachineId: true,
  container: undefined,
  flock: { kind: 'ours', version: '2.38.1' },
  ...over,
});

describe('the platform', () => {
  test('is well from Node 20.17 on, and in a container', () => {
    expect(judgePlatform(host())).toMatchObject({ mark: 'ok', says: 'Linux 6.1.0, Node 20.17.0' });
    expect(judgePlatform(host({ node: '22.0.0', container: 'docker' })).says).toBe(
      'Linux 6.1.0, in a container (docker), Node 22.0.0',
    );
  });

  test.each([
    ['a Node that is too old', { node: '20.16.9' }, 'failed', 'Node 20.16.9 is too old'],
    ['an older major version', { node: '18.99.0' }, 'failed', 'too old'],
    ['macOS', { platform: 'darwin' }, 'warning', 'nonced is not tested on darwin'],
    ['no boot id', { hasBootId: false }, 'failed', 'no boot id'],
    ['no machine id', { hasMachineId: false }, 'warning', '/etc/machine-id'],
  ] as const)('with %s is not', (_what, over, mark, says) => {
    expect(judgePlatform(host(over))).toMatchObject({ mark, says: expect.stringContaining(says) });
  });
});

describe('flock', () => {
  const answer = { kind: 'silent', afterMs: 1 } as const;

  test('is that of util-linux, or not needed', () => {
    expect(judgeFlock(host(), answer)).toMatchObject({ mark: 'ok', says: 'of util-linux 2.38.1' });
    expect(judgeFlock(host({ platform: 'darwin', flock: { kind: 'missing' } }), answer).mark).toBe('skipped');
  });

  test.each(['missing', 'foreign'] as const)(
    'that is %s keeps a daemon from starting, and one that runs does not need it yet',
    (kind) => {
      expect(judgeFlock(host({ flock: { kind } }), answer).mark).toBe('failed');
      expect(judgeFlock(host({ flock: { kind } }), undefined).mark).toBe('failed');
      const answered = { kind: 'answered' } as Parameters<typeof judgeFlock>[1];
      expect(judgeFlock(host({ flock: { kind } }), answered).mark).toBe('warning');
    },
  );
});

describe('the clock', () => {
  const clock = (synchronised: ClockFacts['synchronised'], wallMs = RELEASED_MS) => ({ wallMs, synchronised });

  test('is ok if a service keeps it right, and a warning if none does', () => {
    expect(judgeClock(clock({ kind: 'yes', by: 'chronyc' }), undefined)).toMatchObject({
      mark: 'ok',
      says: 'synchronised, according to chronyc',
    });
    expect(judgeClock(clock({ kind: 'no', by: 'timedatectl' }), undefined).mark).toBe('warning');
  });

  test('is skipped if no program knows, and a container is sent to its host', () => {
    const unknown = { kind: 'unknown', why: 'there is no timedatectl' } as const;
    expect(judgeClock(clock(unknown), undefined)).toMatchObject({
      mark: 'skipped',
      says: 'it is not known whether it is kept right: there is no timedatectl',
    });
    expect(judgeClock(clock(unknown), 'docker').says).toContain('the clock of its host');
  });

  test('from before this program was made is wrong, even if a time service keeps it', () => {
    for (const synchronised of [
      { kind: 'yes', by: 'chronyc' },
      { kind: 'unknown', why: 'x' },
    ] as const) {
      expect(judgeClock(clock(synchronised, RELEASED_MS - 1), undefined).mark).toBe('failed');
    }
  });
});
