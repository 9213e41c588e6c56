import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { UNITS } from '../../src/cli/systemd/places.ts';
import { VERSION } from '../../src/version.ts';
import { eventually } from '../fixtures/eventually.ts';
import { addUsers, install, nextNonce, nonced, STATE_FILE } from './installed.ts';
import { cannotBoot, Machine } from './machine.ts';

const COPY = `/usr/local/lib/nonced/${VERSION}`;

let machine: Machine;

const skipped = cannotBoot && ` (skipped: ${cannotBoot})`;

describe.skipIf(cannotBoot !== '')(`nonced systemd install${skipped}`, () => {
  beforeAll(async () => {
    machine = await Machine.boot();
    const said = await install(machine);
    expect(said).toContain('is a service');
    expect(said).toContain('made a new state in /var/lib/nonced: sequence default, ns (19 digits)');
    await addUsers(machine);
  });

  afterAll(async () => {
    await machine?.end();
  });

  test('makes a service that starts at boot and rates 0.5 or better', async () => {
    expect(await machine.property('ActiveState')).toBe('active');
    for (const unit of ['nonced.service', 'nonced.socket', 'nonced-admin.socket']) {
      expect(await machine.property('UnitFileState', unit), unit).toBe('enabled');
    }
    const rating = await machine.must(['systemd-analyze', 'security', '--no-pager', 'nonced.service']);
    const exposure = Number(/Overall exposure level for nonced\.service: ([\d.]+)/.exec(rating)?.[1]);
    expect(exposure).toBeLessThanOrEqual(0.5);
    const verified = await machine.run(['systemd-analyze', 'verify', '/etc/systemd/system/nonced.service']);
    expect(verified.stderr.split('\n').filter((line) => line.includes('nonced'))).toEqual([]);
  });

  test('says in systemctl status how it is doing', async () => {
    await nextNonce(machine);
    const status = async () => (await machine.run(['systemctl', 'status', '--no-pager', 'nonced'])).stdout;
    expect(await status()).toMatch(/Status: "\d+ accounts, .* waiting, .* last nonce: default/);
    expect(await status()).toContain('is ready');
  });

  test('members of the group can connect, and no other user', async () => {
    const first = await nextNonce(machine, 'trader');
    expect(await nextNonce(machine, 'nonced')).toBeGreaterThan(first);
    expect(await nextNonce(machine, 'root')).toBeGreaterThan(first);
    const refused = await machine.run(nonced('nonce'), { user: 'stranger' });
    expect(refused.code).not.toBe(0);
    expect(refused.stdout).toBe('');
    expect(refused.stderr).toContain('group');
  });

  test("the operator's socket is for root and the daemon's own user", async () => {
    for (const user of ['root', 'nonced']) {
      expect(await machine.run(nonced('advance', '--by', '1s'), { user }), user).toMatchObject({ code: 0 });
    }
    for (const user of ['trader', 'stranger']) {
      const refused = await machine.run(nonced('advance', '--by', '1s'), { user });
      expect(refused.code, user).toBe(77);
    }
  });

  test('no other user can read state, notes and sockets', async () => {
    const modes = await machine.must([
      'stat',
      '-c',
      '%a %U:%G %n',
      '/var/lib/nonced',
      STATE_FILE,
      '/run/nonced',
      '/run/nonced/leases',
      '/run/nonced/accounts',
      '/run/nonced/nonced.sock',
      '/run/nonced/admin.sock',
    ]);
    expect(modes.split('\n')).toEqual([
      '700 nonced:nonced /var/lib/nonced',
      '600 nonced:nonced /var/lib/nonced/state.json',
      '711 nonced:nonced /run/nonced',
      '600 nonced:nonced /run/nonced/leases',
      '600 nonced:nonced /run/nonced/accounts',
      '660 nonced:nonced /run/nonced/nonced.sock',
      '600 nonced:nonced /run/nonced/admin.sock',
    ]);
  });

  test('a configuration in /etc/nonced is read at the start and by a reload; a bad one changes nothing', async () => {
    const configure = (configuration: object | string) => {
      const text = typeof configuration === 'string' ? configuration : JSON.stringify(configuration);
      return machine.must(['sh', '-c', `printf '%s' '${text}' >/etc/nonced/config.json`]);
    };
    const pace = async () => {
      await nextNonce(machine);
      const { accounts } = JSON.parse(await machine.must(nonced('status', '--json'), { user: 'trader' }));
      return accounts.find(({ account }: { account: string }) => account === 'default').pace?.max;
    };
    const reloaded = async (says: string) => {
      const lines = async () => (await machine.must(['journalctl', '-u', 'nonced', '--no-pager'])).split(says).length;
      const before = await lines();
      await machine.must(['systemctl', 'reload', 'nonced']);
      await eventually(says, async () => (await lines()) > before);
    };
    expect(await machine.must(['stat', '-c', '%a %U', '/etc/nonced'])).toBe('755 root');
    expect(await pace()).toBeUndefined();
    await configure({ exchanges: { default: { pacing: 'kraken-pro' } } });
    await reloaded('is in effect from now on');
    expect(await pace()).toBe(20);
    await configure('{"exchanges": ');
    await reloaded('nothing was changed');
    expect(await pace()).toBe(20);
    await configure({ exchanges: { default: { pacing: 'kraken-starter' } } });
    await machine.must(['systemctl', 'restart', 'nonced']);
    expect(await pace()).toBe(15);
    await machine.must(['rm', '/etc/nonced/config.json']);
    await reloaded('nothing is configured from now on');
    expect(await pace()).toBeUndefined();
  });

  test('starts on the first connection', async () => {
    const before = await nextNonce(machine);
    await machine.must(['systemctl', 'stop', 'nonced.service']);
    expect(await machine.property('ActiveState')).toBe('inactive');
    expect(await nextNonce(machine)).toBeGreaterThan(before);
    expect(await machine.property('ActiveState')).toBe('active');
  });

  test('changes nothing and restarts nothing when run again', async () => {
    const pid = await machine.property('MainPID');
    const again = JSON.parse(await install(machine, '--json'));
    expect(again).toMatchObject({ copied: false, changed: [], state: 'kept', restarted: false, version: VERSION });
    expect(await machine.property('MainPID')).toBe(pid);
  });

  test('without root it exits 77 with the command to run', async () => {
    for (const command of ['install', 'uninstall', 'rollback']) {
      const refused = await machine.run(nonced('systemd', command), { user: 'trader' });
      expect(refused.code, command).toBe(77);
      expect(refused.stderr, command).toContain(`sudo ${nonced('systemd', command).join(' ')}`);
    }
    expect((await machine.run(nonced('systemd', 'print'), { user: 'trader' })).stdout).toContain(
      `ExecStart=${COPY}/bin/node`,
    );
    const status = JSON.parse(await machine.must(nonced('systemd', 'status', '--json')));
    expect(status).toMatchObject({
      usable: true,
      served: true,
      installed: { version: VERSION, packageDir: `${COPY}/package` },
    });
  });

  test('refuses a Node and a package under /home, which the service could not see, and says how it can', async () => {
    await machine.must(['mkdir', '-p', '/home/dev']);
    await machine.must(['cp', '-r', COPY, '/home/dev/it']);
    const fromHome = (...args: string[]) => ['/home/dev/it/bin/node', '/home/dev/it/package/dist/cli/main.js', ...args];
    const refused = await machine.run(fromHome('systemd', 'install'));
    expect(refused).toMatchObject({ code: 78, stderr: expect.stringContaining('--copy') });
    expect(await machine.must(fromHome('systemd', 'install', '--copy'))).toContain(`${COPY}/bin/node`);
    expect(await machine.property('ExecStart')).toContain(`${COPY}/bin/node`);
  });

  test('another version takes over without a nonce lost, and rollback goes back and forth', async () => {
    const before = await nextNonce(machine);
    await machine.must(['cp', '-r', COPY, '/opt/newer']);
    await machine.must([
      'sh',
      '-c',
      `sed -i 's/${VERSION}/9.9.9/' /opt/newer/package/package.json /opt/newer/package/dist/version.js`,
    ]);
    await machine.must(['sh', '-c', 'echo "# new" >>/opt/newer/package/systemd/nonced.socket']);
    const newer = (...args: string[]) => ['/opt/newer/bin/node', '/opt/newer/package/dist/cli/main.js', ...args];
    const running = async () =>
      (JSON.parse(await machine.must(nonced('status', '--json'), { user: 'trader' })) as { version: string }).version;
    const installed = JSON.parse(await machine.must(newer('systemd', 'install', '--copy', '--json')));
    expect(installed).toMatchObject({
      version: '9.9.9',
      restarted: true,
      changed: ['nonced.service', 'nonced.socket'],
      state: 'kept',
      previous: { version: VERSION },
    });
    expect(await running()).toBe('9.9.9');
    expect(await nextNonce(machine)).toBeGreaterThan(before);
    expect(await machine.must(newer('systemd', 'rollback'))).toContain(`nonced 9.9.9 -> ${VERSION}`);
    expect(await running()).toBe(VERSION);
    expect(await machine.must(nonced('systemd', 'rollback'))).toContain(`nonced ${VERSION} -> 9.9.9`);
    expect(await running()).toBe('9.9.9');
    await machine.must(nonced('systemd', 'rollback'));
    expect(await running()).toBe(VERSION);
    expect(await nextNonce(machine)).toBeGreaterThan(before);
  });

  test('while the service is stopped, there is no second authority: neither a client nor serve makes one', async () => {
    const first = await nextNonce(machine, 'trader');
    await machine.must(['systemctl', 'stop', ...UNITS]);
    const refused = await machine.run(nonced('nonce'), { user: 'trader' });
    expect(refused).toMatchObject({ code: 69, stdout: '' });
    expect(refused.stderr).toContain('/run/nonced/nonced.sock');
    const command = /start it with `(.*?)`/.exec(refused.stderr)?.[1] ?? '';
    expect(command).toBe('sudo systemctl start nonced');
    const served = await machine.run(nonced('serve'), { user: 'trader' });
    expect(served.code).toBe(78);
    expect(served.stderr).toContain(`\`${command}\``);
    await machine.must(command.replace('sudo ', '').split(' '));
    await eventually('it is active', async () => (await machine.property('ActiveState')) === 'active');
    expect(await nextNonce(machine, 'trader')).toBeGreaterThan(first);
  });

  test('a damaged state ends in failed with the reason, once, although a bot goes on connecting, and is repaired by hand', async () => {
    const before = await nextNonce(machine);
    const restarts = Number(await machine.property('NRestarts'));
    await machine.must(['sh', '-c', `echo damaged >>${STATE_FILE}`]);
    await machine.must(['systemctl', 'kill', '-s', 'KILL', 'nonced.service']);
    await machine.until('ActiveState', 'failed');
    const ended = await machine.property('ExecMainExitTimestampMonotonic');
    expect(await machine.property('ExecMainStatus')).toBe('78');
    const { stdout } = await machine.run(['systemctl', 'status', '--no-pager', '--full', 'nonced']);
    expect(stdout).toContain('Active: failed');
    expect(stdout).toContain('nonced state init --floor now');
    // It tries to connect for 5 s before it gives up.
    expect((await machine.run(nonced('nonce'), { user: 'trader' })).code).toBe(69);
    // The kill was the last restart; not one more for any attempt of the bot.
    expect(await machine.property('ActiveState')).toBe('failed');
    expect(await machine.property('ExecMainExitTimestampMonotonic')).toBe(ended);
    expect(Number(await machine.property('NRestarts'))).toBeLessThanOrEqual(restarts + 1);
    expect((await machine.run(nonced('systemd', 'status'))).code).toBe(69);

    const refused = await machine.run(nonced('systemd', 'install'));
    expect(refused).toMatchObject({ code: 78, stderr: expect.stringContaining('is cut short') });
    expect(refused.stderr).toContain('the service would not start, so it was not restarted');

    await machine.must(nonced('state', 'init', '--floor', 'now', '--state-dir', '/var/lib/nonced'), { user: 'nonced' });
    await machine.must(['systemctl', 'start', 'nonced.service']);
    expect(await nextNonce(machine)).toBeGreaterThan(before);
  });

  test('I9: a state that is gone is an error, for the service and for install', async () => {
    await machine.must(['systemctl', 'stop', 'nonced.socket', 'nonced-admin.socket', 'nonced.service']);
    await machine.must(['mv', STATE_FILE, '/var/lib/elsewhere.json']);
    await machine.must(['touch', '/var/lib/nonced/leftover']);
    expect((await machine.run(['systemctl', 'start', 'nonced.service'])).code).not.toBe(0);
    expect(await machine.property('ExecMainStatus')).toBe('78');
    const refused = await machine.run(nonced('systemd', 'install'));
    expect(refused).toMatchObject({ code: 78, stderr: expect.stringContaining('leftover') });
    await machine.must(['rm', '/var/lib/nonced/leftover']);
    const empty = await machine.run(nonced('systemd', 'install'));
    expect(empty).toMatchObject({ code: 78, stderr: expect.stringContaining('it was lost') });
    await machine.must(['mv', '/var/lib/elsewhere.json', STATE_FILE]);
    await machine.must(['systemctl', 'start', 'nonced.service']);
  });

  test('uninstall leaves the state and says so, and another install goes on from it', async () => {
    const before = await nextNonce(machine);
    const { instance } = JSON.parse(await machine.must(['cat', STATE_FILE]));
    await machine.must(['cp', '-r', COPY, '/opt/kept']);
    const kept = (...args: string[]) => ['/opt/kept/bin/node', '/opt/kept/package/dist/cli/main.js', ...args];
    expect(await machine.must(kept('systemd', 'uninstall'))).toContain('/var/lib/nonced stays');
    expect(await machine.property('LoadState')).toBe('not-found');
    expect(
      await machine.must([
        'sh',
        '-c',
        'ls -d /run/nonced* /usr/local/lib/nonced /etc/systemd/system/nonced* 2>/dev/null || echo none',
      ]),
    ).toBe('none');
    expect(await machine.must(kept('systemd', 'uninstall'))).toContain('no service is installed');
    expect(await machine.must(kept('systemd', 'status')).catch((error: Error) => error.message)).toContain('exits 69');
    await install(machine);
    expect(JSON.parse(await machine.must(['cat', STATE_FILE]))).toMatchObject({ instance });
    expect(await nextNonce(machine)).toBeGreaterThan(before);
  });

  test('after a reboot it is there again, with an empty runtime directory and higher nonces', async () => {
    const before = await nextNonce(machine);
    // Held by a process that dies with the machine: nothing waits for its lease.
    const held = machine.run(nonced('exec', '--max-hold', '600s', '--', 'sleep', '600'), { user: 'trader' });
    const leases = async () =>
      (JSON.parse(await machine.must(nonced('status', '--json'))) as { totals: { leases: number } }).totals.leases;
    await eventually('the lease is held', async () => (await leases()) === 1);
    await machine.reboot();
    await held;
    expect(await machine.property('ActiveState', 'nonced.socket')).toBe('active');
    expect(await nextNonce(machine)).toBeGreaterThan(before);
    expect(await leases()).toBe(0);
    await machine.must(nonced('exec', '--wait', '1500ms', '--', 'true'), { user: 'trader' });
    expect(await machine.property('NRestarts')).toBe('0');
  });
});
