import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { runInProcess } from '../fixtures/command-line.ts';
import {
  type DaemonPlace,
  type DaemonProcess,
  daemonPlace,
  runNonced,
  startDaemonProcess,
} from '../fixtures/daemon-process.ts';
import { eventually } from '../fixtures/eventually.ts';
import { RawConnection } from '../fixtures/raw-connection.ts';
import { hasProgram, isRoot } from '../fixtures/shell.ts';

const CONFIGURATION = { accounts: { PACED: { pacing: { max: 10, perSecond: 1 } } } };

describe('a daemon in trouble', () => {
  let place: DaemonPlace;
  let daemon: DaemonProcess;
  let trader: RawConnection;
  let poller: RawConnection;

  const nonced = (...args: string[]) => runInProcess([...args, '--socket', place.socket]);

  /** One account is quarantined, one paused, one paced; one holds the lane and one waits for it. */
  beforeAll(async () => {
    place = daemonPlace();
    const config = join(place.dir, 'config.json');
    writeFileSync(config, JSON.stringify(CONFIGURATION));
    daemon = await startDaemonProcess(place, { args: ['--config', config] });
    trader = await RawConnection.open(place.socket);
    poller = await RawConnection.open(place.socket);
    await trader.ask('hello', { name: 'copy-trader', pid: 4711 });
    await poller.ask('hello', { name: 'poller', pid: 4712 });
    for (let call = 0; call < 3; call++) {
      const { token } = await trader.ask('acquire', { account: 'QUARANTINED' });
      await trader.ask('release', { token, outcome: 'invalid-nonce' });
    }
    trader.request('acquire', { account: 'QUARANTINED', label: 'hedge' });
    await nonced('pause', 'USER:dave');
    await trader.ask('acquire', { account: 'MASTER', label: 'close all', ttlMs: 600_000 });
    poller.request('acquire', { account: 'PACED', label: 'balance', priority: 'background', waitMs: 600_000 });
    await eventually(
      'it waits',
      async () => ((await trader.ask('status'))['lanes'] as { waiting: number }[])[0]?.waiting,
    );
  });

  afterAll(async () => {
    trader.destroy();
    poller.destroy();
    await daemon.end('SIGKILL');
    place.remove();
  });

  test('the screen tells what is wrong and what to do, who holds what and who waits', async () => {
    const { code, stdout, stderr } = await nonced('status');
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toMatch(
      /^! account QUARANTINED is quarantined: its nonces are rejected, .*\n {4}nonced why QUARANTINED/m,
    );
    expect(stdout).toMatch(
      /^- account QUARANTINED was refused once, .* ago: QUARANTINED, by copy-trader \(pid 4711, hedge\)$/m,
    );
    expect(stdout).toMatch(/^! account USER:dave is paused\n {4}nonced resume USER:dave --socket .*$/m);
    expect(stdout.split('\n').at(-2)).toBe(`next: nonced why QUARANTINED --socket ${place.socket}`);
    expect(stdout).toMatch(/^default +held +MASTER +copy-trader +4711 +close all +\d.* left$/m);
    expect(stdout).toMatch(/^ +waits +PACED +poller +4712 +balance +\d.* background$/m);
    expect(stdout).toMatch(/^QUARANTINED +none +3 /m);
    expect(stdout).toMatch(/^default +ns +\d{19} +\d{19} /m);
  });

  test('--check is critical, in one line that a plugin’s reader can read', async () => {
    const { code, stdout, stderr } = await nonced('status', '--check');
    expect({ code, stderr }).toEqual({ code: 2, stderr: '' });
    expect(stdout).toMatch(
      /^NONCED CRITICAL - account QUARANTINED .*; account USER:dave is paused \| held=1;;;0 .* waiting=1;;;0 .* rejected_1h=3;0;;0 .*\n$/,
    );
  });

  test('--json has the fields that docs/status.md lists, and no others', async () => {
    const refusing = await RawConnection.open(place.socket);
    await refusing.ask('hello', { name: 'grid-bot', pid: 4713 });
    refusing.notify('refuse', { expected: 'f'.repeat(32) });
    await eventually(
      'it is heard',
      async () => ((await trader.ask('status'))['refusingClients'] as unknown[]).length > 0,
    );
    refusing.destroy();
    const { stdout } = await nonced('status', '--json');
    expect(fieldsOf(JSON.parse(stdout))).toEqual(documentedFields());
  });

  test('a daemon that hangs is critical, said in time for the program that runs the check', async () => {
    daemon.child.kill('SIGSTOP');
    try {
      const { code, stdout } = await runNonced(['status', '--check', '--socket', place.socket], {}, ['timeout', '20']);
      expect(code).toBe(2);
      expect(stdout).toMatch(/^NONCED CRITICAL - no answer from /);
    } finally {
      daemon.child.kill('SIGCONT');
    }
  });

  test('--check cannot be asked for together with what it is not', async () => {
    expect(await nonced('status', '--check', '--json')).toMatchObject({ code: 64, stdout: '' });
  });

  test('--watch is gone, in every way of writing it, and says what to run', async () => {
    for (const args of [['--watch'], ['--watch', '500ms'], ['--watch=1s', '--json'], ['--watch', '--check']]) {
      expect(await nonced('status', ...args)).toEqual({
        code: 64,
        stdout: '',
        stderr: 'nonced: --watch is gone; run nonced top instead\n',
      });
    }
  });

  test.skipIf(!isRoot || !hasProgram('setpriv'))(
    'a user who may not connect learns with 3 that nothing was looked at, and is told of doctor',
    async () => {
      const stranger = ['setpriv', '--reuid', '61004', '--regid', '61004', '--clear-groups', '--'];
      const { code, stdout } = await runNonced(['status', '--check', '--socket', place.socket], {}, stranger);
      expect(code).toBe(3);
      expect(stdout).toMatch(/^NONCED UNKNOWN - may not connect to /);
      expect(await runNonced(['status', '--socket', place.socket], {}, stranger)).toMatchObject({
        code: 77,
        stderr: expect.stringMatching(/^nonced: may not connect to .*; to see what is wrong: nonced doctor --socket /),
      });
    },
  );
});

/** Every field by its path; what is in a list, once for all its elements. */
function fieldsOf(value: unknown, path = '', found = new Set<string>()): string[] {
  if (Array.isArray(value)) {
    // An empty list has no fields of its own to show.
    if (value.length === 0) found.add(path);
    for (const element of value) fieldsOf(element, `${path}[]`, found);
  } else if (typeof value === 'object' && value !== null) {
    for (const [key, part] of Object.entries(value)) fieldsOf(part, path === '' ? key : `${path}.${key}`, found);
  } else {
    found.add(path);
  }
  return [...found].sort();
}

function documentedFields(): string[] {
  const [, section = ''] = readFileSync('docs/status.md', 'utf8').split('## For scripts: `--json`\n');
  return [...section.matchAll(/^\| `([^`]+)` \|/gm)].map(([, field]) => field ?? '').sort();
}
