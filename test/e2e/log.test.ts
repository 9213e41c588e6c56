import { type ChildProcess, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { runInProcess } from '../fixtures/command-line.ts';
import {
  type DaemonPlace,
  type DaemonProcess,
  daemonPlace,
  NONCED,
  startDaemonProcess,
} from '../fixtures/daemon-process.ts';
import { eventually } from '../fixtures/eventually.ts';
import { RawConnection } from '../fixtures/raw-connection.ts';
import { hasProgram } from '../fixtures/shell.ts';

const onLinux = process.platform === 'linux';
/** Runs a daemon whose standard error is the journal, as far as it can tell. */
const AS_JOURNAL = ['sh', '-c', 'JOURNAL_STREAM=$(stat -Lc %d:%i /proc/self/fd/2) exec "$@"', 'sh'];

const places: DaemonPlace[] = [];
const ends: (() => unknown)[] = [];

function newPlace(): DaemonPlace {
  const place = daemonPlace();
  places.push(place);
  return place;
}

async function end(): Promise<void> {
  for (const step of ends.splice(0).reverse()) await step();
  for (const place of places.splice(0)) place.remove();
}

async function started(place: DaemonPlace, options?: Parameters<typeof startDaemonProcess>[1]): Promise<DaemonProcess> {
  const daemon = await startDaemonProcess(place, options);
  ends.push(() => daemon.end('SIGKILL'));
  return daemon;
}

async function bot(place: DaemonPlace): Promise<RawConnection> {
  const connection = await RawConnection.open(place.socket);
  ends.push(() => connection.destroy());
  return connection;
}

/** A call that ends as `outcome` says, or that nobody says anything of. Answers its nonce and token. */
async function call(connection: RawConnection, account: string, outcome?: string, label?: string) {
  const { nonce, token } = await connection.ask('acquire', { account, label });
  await connection.ask('release', { token, outcome });
  return { nonce: String(nonce), token: String(token) };
}

const lineOf = (daemon: DaemonProcess, pattern: RegExp) =>
  eventually(`a line ${pattern}`, () =>
    daemon
      .log()
      .split('\n')
      .find((line) => pattern.test(line)),
  );

describe('a line of each call', () => {
  const session = createHash('sha256').update('a session').digest('hex').slice(0, 32);
  let place: DaemonPlace;
  let daemon: DaemonProcess;
  let trader: RawConnection;
  let slow: Promise<unknown>;

  beforeAll(async () => {
    place = newPlace();
    daemon = await started(place);
    await runInProcess(['set-exclusive', 'account', '--socket', place.socket]);
    const sleeper = await bot(place);
    const { token } = await sleeper.ask('acquire', { account: 'SLOW' });
    slow = new Promise((resolve) => setTimeout(resolve, 5_100)).then(() =>
      sleeper.ask('release', { token, outcome: 'ok' }),
    );
    trader = await bot(place);
    await trader.ask('hello', { name: 'copy trader', pid: 4711, session });
  });

  afterAll(end);

  test('one that went well, or of which nobody tells, has none; one that was rejected has, and one that was not given back', async () => {
    await call(trader, 'QUICK', 'ok');
    const { nonce, token } = await call(trader, 'MASTER', 'invalid-nonce', 'close all');
    await call(trader, 'SILENT');
    expect(await lineOf(daemon, /^call account=MASTER /)).toMatch(
      new RegExp(
        '^call account=MASTER outcome=invalid-nonce ended=released waited_ms=\\d+ held_ms=\\d+ priority=normal ' +
          `lane=MASTER holder="copy trader" pid=4711 label="close all" nonce=${nonce}$`,
      ),
    );
    await daemon.says(`warn: the exchange rejected nonce ${nonce} of account MASTER`);
    const lost = await bot(place);
    await lost.ask('acquire', { account: 'LOST' });
    lost.destroy();
    await lineOf(daemon, /^call account=LOST outcome=unknown ended=disconnected /);
    expect(daemon.log()).not.toContain('SILENT');
    expect(daemon.log()).not.toContain('QUICK');
    expect(daemon.log()).not.toMatch(new RegExp(`\\b${token}\\b`));
    expect(daemon.log()).not.toContain(session.slice(0, 16));
  });

  test('one that was held for over five seconds has, however well it went', async () => {
    await slow;
    expect(await lineOf(daemon, /^call account=SLOW /)).toMatch(
      /outcome=ok ended=released waited_ms=\d+ held_ms=5\d{3} /,
    );
  });
});

describe('what reads it', () => {
  afterEach(end);

  test.skipIf(!onLinux)('the journal is told how severe each line is', async () => {
    const place = newPlace();
    const daemon = await started(place, { wrapper: AS_JOURNAL, args: ['--log-level', 'debug'] });
    const trader = await bot(place);
    await call(trader, 'MASTER', 'invalid-nonce');
    await call(trader, 'MASTER', 'ok');
    await lineOf(daemon, /^<7>call account=MASTER outcome=ok /);
    await daemon.says(/^<6>nonced .* is ready/m);
    await daemon.says(/^<6>call account=MASTER outcome=invalid-nonce /m);
    await daemon.says(/^<4>the exchange rejected nonce /m);
    for (const line of daemon.log().trimEnd().split('\n')) expect(line).toMatch(/^<[3467]>/);
  });

  test('a variable that was inherited from a service does not make its standard error the journal', async () => {
    const daemon = await started(newPlace(), { env: { JOURNAL_STREAM: '9:12345' } });
    await daemon.says(/^nonced .* is ready/m);
  });

  test('with --log-format json each line is an object, with the fields of a call', async () => {
    const place = newPlace();
    const daemon = await started(place, { args: ['--log-format', 'json'] });
    const trader = await bot(place);
    const { nonce } = await call(trader, 'MASTER', 'unsettled', 'say "no"');
    await lineOf(daemon, /MASTER/);
    const lines = daemon
      .log()
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line));
    for (const line of lines) {
      expect(line).toMatchObject({ level: expect.any(String), message: expect.any(String) });
      expect(new Date(line.time).toISOString()).toBe(line.time);
    }
    expect(lines.at(-1)).toMatchObject({
      level: 'info',
      message: 'call',
      account: 'MASTER',
      outcome: 'unsettled',
      ended: 'released',
      held_ms: expect.any(Number),
      label: 'say "no"',
      nonce,
    });
  });
});

describe('nobody reads it', () => {
  /** More lines at `debug` than a reader that stands still could have in its buffers, and than may wait here. */
  const CALLS = 4_000;
  const AT_ONCE = 500;

  afterEach(end);

  /** Long lines. */
  const label = 'x'.repeat(64);

  /** Many calls on many accounts, none of which ends `ok`; answers once the daemon has answered them all. */
  async function flood(place: DaemonPlace): Promise<void> {
    await runInProcess(['set-exclusive', 'off', '--socket', place.socket]);
    const trader = await bot(place);
    for (let made = 0; made < CALLS; made += AT_ONCE) {
      const asked = Array.from({ length: AT_ONCE }, (_, n) =>
        trader.request('acquire', { account: `${n % 50}`.padStart(64, 'A'), label }),
      );
      const grants = await Promise.all(asked.map((id) => trader.answer(id)));
      for (const { token } of grants) trader.notify('release', { token });
    }
    expect((await trader.ask('status'))['totals']).toMatchObject({ leases: 0, grants: CALLS });
  }

  test('a flood of calls goes on while the reader stands still, and it is told how many lines it missed', async () => {
    const place = newPlace();
    const daemon = await started(place, { args: ['--log-level', 'debug'] });
    daemon.child.stderr?.pause();
    await flood(place);
    daemon.child.stderr?.resume();
    await lineOf(daemon, /^warn: \d+ lines dropped: nothing read the log$/);
  });

  test.skipIf(!hasProgram('script'))(
    'on a terminal a refused start begins as the errors of all commands do',
    async () => {
      const place = newPlace();
      const missing = join(place.dir, 'none.json');
      const serve = `exec ${process.execPath} ${NONCED} serve --separate --config ${missing} --state-dir ${place.stateDir}`;
      const terminal = spawn('script', ['-qec', serve, '/dev/null'], { stdio: ['ignore', 'pipe', 'inherit'] });
      let shown = '';
      terminal.stdout.setEncoding('utf8').on('data', (text: string) => {
        shown += text;
      });
      const [code] = await once(terminal, 'close');
      expect(code).toBe(78);
      expect(shown.trimEnd()).toMatch(new RegExp(`^nonced: ${missing}: does not exist`));
    },
  );

  test.skipIf(!hasProgram('script'))('also where it is a terminal that stands still', async () => {
    const place = newPlace();
    const serve = `exec ${process.execPath} ${NONCED} serve --separate --log-level debug`;
    const command = `${serve} --state-dir ${place.stateDir} --runtime-dir ${place.runtimeDir}`;
    // What script writes of the terminal is left unread.
    const terminal: ChildProcess = spawn('script', ['-qec', command, '/dev/null'], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    ends.push(() => terminal.kill('SIGKILL'));
    await eventually('it is ready', () => existsSync(place.socket));
    const { pid } = (await (await bot(place)).ask('status')) as { pid: number };
    ends.push(() => process.kill(pid, 'SIGKILL'));
    await flood(place);
  });
});
