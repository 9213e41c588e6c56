import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import {
  type DaemonPlace,
  type DaemonProcess,
  daemonPlace,
  NONCED,
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

  const nonced = (...args: string[]) => runNonced([...args, '--socket', place.socket]);

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
    expect(stdout).toMatch(/^! account USER:dave is paused\n {4}nonced resume USER:dave$/m);
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
    const { stdout } = await nonced('status', '--json');
    expect(fieldsOf(JSON.parse(stdout))).toEqual(documentedFields());
  });

  test('a daemon that hangs is critical, said in time for whoever runs the check', async () => {
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
    for (const other of ['--json', '--watch']) {
      expect(await nonced('status', '--check', other)).toMatchObject({ code: 64, stdout: '' });
    }
    expect(await nonced('status', '--watch', '10ms')).toMatchObject({ code: 64, stdout: '' });
  });

  test.skipIf(!isRoot || !hasProgram('setpriv'))(
    'whoever may not connect learns with 3 that he has not looked, and with --watch at once',
    async () => {
      const stranger = ['setpriv', '--reuid', '61004', '--regid', '61004', '--clear-groups', '--'];
      const { code, stdout } = await runNonced(['status', '--check', '--socket', place.socket], {}, stranger);
      expect(code).toBe(3);
      expect(stdout).toMatch(/^NONCED UNKNOWN - may not connect to /);
      expect(await runNonced(['status', '--watch', '--socket', place.socket], {}, stranger)).toMatchObject({
        code: 77,
      });
    },
  );
});

/** Every field by its path; what is in a list, once for all its elements. */
function fieldsOf(value: unknown, path = '', found = new Set<string>()): string[] {
  if (Array.isArray(value)) {
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

describe('--watch', () => {
  let place: DaemonPlace;
  const ends: (() => unknown)[] = [];

  afterEach(async () => {
    for (const end of ends.splice(0).reverse()) await end();
  });

  async function started(): Promise<DaemonProcess> {
    const daemon = await startDaemonProcess(place);
    ends.push(() => daemon.end('SIGKILL'));
    return daemon;
  }

  function watching(file: string, ...args: string[]): { readonly child: ChildProcess; text(): string } {
    const child = spawn(file, args, { stdio: ['ignore', 'pipe', 'inherit'] });
    let said = '';
    child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      said += text;
    });
    ends.push(() => child.kill('SIGKILL'));
    return { child, text: () => said };
  }

  /** In a terminal of 80 columns and 30 rows, where `line` may do something beside it. */
  function onTerminal(interval: string, line = ':') {
    const watch = `${process.execPath} ${NONCED} status --watch ${interval} --socket ${place.socket}`;
    return watching('script', '-qec', `stty cols 80 rows 30; (${line}) & exec ${watch}`, '/dev/null');
  }

  function newPlace(): void {
    place = daemonPlace();
    ends.push(place.remove);
  }

  test('goes on while no daemon answers and when one is back, as blocks of text and as JSON', async () => {
    newPlace();
    const first = await started();
    const args = ['status', '--watch', '100ms', '--socket', place.socket];
    const text = watching(process.execPath, NONCED, ...args);
    const json = watching(process.execPath, NONCED, ...args, '--json');
    const documents = () =>
      json
        .text()
        .split('\n')
        .slice(0, -1)
        .map((line) => JSON.parse(line));
    await eventually('two of each', () => documents().length >= 2 && text.text().split('\n---').length > 2);
    expect(documents()[0]).toMatchObject({ pid: first.pid, exclusive: 'global' });
    expect(text.text()).toMatch(/^--- \d{4}-\d\d-\d\dT[\d:.]+Z\nnonced .*\n/);
    expect(text.text()).not.toContain('\u001b');
    await first.end('SIGKILL');
    await eventually('both have noticed', () => documents().at(-1).error && text.text().includes('! no daemon since '));
    expect(documents().at(-1)).toEqual({
      error: { code: 'UNAVAILABLE', message: expect.stringContaining('no daemon') },
    });
    const second = await started();
    await eventually(
      'both go on',
      () => documents().at(-1).pid === second.pid && text.text().includes(`pid ${second.pid}`),
    );
  });

  test.skipIf(!hasProgram('script'))(
    'paints over its screen on a terminal, also when that is given another size',
    async () => {
      newPlace();
      await started();
      const mark = join(place.dir, 'mark');
      const watch = onTerminal('10m', `while [ ! -e ${mark} ]; do sleep 0.05; done; stty rows 5 </dev/tty`);
      const frames = () => watch.text().split('\u001b[?25l').slice(1);
      await eventually('a first screen', () => frames()[0]?.includes('\u001b[?25h'));
      expect(frames()[0]).toContain('No call is under way');
      expect(frames()[0]?.startsWith('\u001b[?7l\u001b[H')).toBe(true);
      writeFileSync(mark, '');
      await eventually('a smaller one', () => frames()[1]?.includes('\u001b[?25h'));
      expect(frames()[1]).toContain('lines more than fit here');
      expect(frames()[1]?.split('\n')).toHaveLength(5);
    },
  );
});
