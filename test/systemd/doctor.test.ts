import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Check, CheckName } from '../../src/cli/doctor/finding.ts';
import { VERSION } from '../../src/version.ts';
import { addUsers, install, nonced, STATE_FILE } from './installed.ts';
import { cannotBoot, Machine } from './machine.ts';

const PACKAGE = `/usr/local/lib/nonced/${VERSION}/package`;
const UNIT = '/etc/systemd/system/nonced.service';

let machine: Machine;

const skipped = cannotBoot && ` (skipped: ${cannotBoot})`;

describe.skipIf(cannotBoot !== '')(`nonced doctor under systemd${skipped}`, () => {
  beforeAll(async () => {
    machine = await Machine.boot();
    await install(machine);
    await addUsers(machine);
  });

  afterAll(async () => {
    await machine?.end();
  });

  async function doctor(user?: string, options?: { readonly user?: string }) {
    const { stdout } = await machine.run(nonced('doctor', '--json', ...(user === undefined ? [] : [user])), options);
    const { checks } = JSON.parse(stdout) as { checks: Check[] };
    return {
      checks,
      of: (name: CheckName) => checks.find(({ check }) => check === name) ?? expect.fail(`no check ${name}`),
    };
  }

  test('an installed service is well, for a member of the group and for no other user', async () => {
    const { checks, of } = await doctor('trader');
    // The box is not like a host in these: its disk is a layer over another, and nothing keeps its clock.
    const mine = checks.filter(({ check }) => !['platform', 'disk', 'clock'].includes(check));
    expect(mine.filter(({ mark }) => mark !== 'ok')).toEqual([]);
    expect(of('service').says).toBe('nonced.service is active, never restarted');
    expect(of('units').says).toBe(`as nonced ${VERSION} writes them`);
    expect(of('state').says).toMatch(/^\/var\/lib\/nonced: whole/);

    const stranger = await doctor('stranger');
    expect(stranger.of('group').findings[0]?.commands).toEqual(['sudo usermod -aG nonced stranger']);
    // A user who is not root is told that there is more to see; anyone may compare the files.
    const alone = await doctor(undefined, { user: 'trader' });
    expect(alone.of('service')).toMatchObject({ mark: 'skipped', says: expect.stringContaining('sudo nonced doctor') });
    expect(alone.of('state')).toMatchObject({ mark: 'skipped', says: expect.stringContaining('sudo nonced doctor') });
    expect(alone.of('units').mark).toBe('ok');
  });

  test('a service that waits for its first bot is not started by being looked at', async () => {
    await machine.must(['systemctl', 'stop', 'nonced.service']);
    const { of } = await doctor('trader');
    expect(of('service').says).toContain('starts it for the first bot');
    // Without root there is no word of systemd here, and it shows that there is no daemon.
    for (const look of [of, (await doctor(undefined, { user: 'trader' })).of]) {
      expect(look('answer')).toMatchObject({ mark: 'skipped', says: expect.stringContaining('changes nothing') });
    }
    expect(await machine.property('ActiveState')).toBe('inactive');
    await machine.must(['systemctl', 'start', 'nonced.service']);
  });

  test('a drop-in is named, and is a warning if it sets what the daemon relies on', async () => {
    await machine.dropIn('more', '[Service]\nLimitNOFILE=8192\n');
    const path = '/run/systemd/system/nonced.service.d/more.conf';
    expect((await doctor()).of('units')).toMatchObject({ mark: 'ok', says: expect.stringContaining(`with ${path}`) });
    await machine.dropIn('more', '[Service]\nLimitNOFILE=8192\nRuntimeDirectoryPreserve=no\n');
    expect((await doctor()).of('units')).toMatchObject({
      mark: 'warning',
      says: `nonced.service: ${path} sets RuntimeDirectoryPreserve, which the daemon relies on`,
    });
    await machine.removeDropIns();
  });

  test('units that an older version wrote, that were edited, or that were not read since', async () => {
    await machine.must(['cp', '-a', UNIT, '/opt/nonced.service']);
    await machine.must(['cp', '-r', PACKAGE, '/opt/older']);
    await machine.must(['sed', '-i', `s/"version": "${VERSION}"/"version": "0.0.9"/`, '/opt/older/package.json']);
    await machine.must(['sed', '-i', `s#${PACKAGE}#/opt/older#; s/^Version=.*/Version=0.0.9/`, UNIT]);
    const older = (await doctor()).of('units');
    expect(older.findings.map(({ fact }) => fact)).toEqual([
      `the units were written by nonced 0.0.9, and this is ${VERSION}`,
      'the units were changed, and systemd has not read them since',
    ]);
    expect(older.findings[0]?.commands).toEqual(['sudo nonced systemd install']);

    await machine.must(['cp', '-a', '/opt/nonced.service', UNIT]);
    await machine.must(['sed', '-i', 's/^RestartSec=0/RestartSec=60/', UNIT]);
    expect((await doctor()).of('units').findings[0]).toMatchObject({
      mark: 'warning',
      fact: `${UNIT}: not as nonced ${VERSION} writes it`,
      commands: ['sudo nonced systemd install --copy'],
    });
    await machine.must(['cp', '-a', '/opt/nonced.service', UNIT]);
    await machine.must(['systemctl', 'daemon-reload']);
    expect((await doctor()).of('units').mark).toBe('ok');
  });

  test('of a service that has failed for good it tells the exit code, and what is wrong with the state', async () => {
    await machine.must(['sh', '-c', `echo damaged >>${STATE_FILE}`]);
    await machine.must(['systemctl', 'kill', '-s', 'KILL', 'nonced.service']);
    await machine.until('ActiveState', 'failed');
    await machine.until('ActiveState', (state) => state !== 'active', 'nonced.socket');
    const { of } = await doctor('trader');
    expect(of('service').says).toBe('nonced.service has failed (exit 78), and systemd does not start it again');
    expect(of('socket')).toMatchObject({ mark: 'failed', says: expect.stringContaining('there is no socket') });
    expect(of('state')).toMatchObject({
      mark: 'failed',
      says: expect.stringContaining('nonced state init --floor now'),
    });
  });
});
