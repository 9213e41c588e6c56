import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { runInProcess } from '../fixtures/command-line.ts';
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
import type { RunResult } from '../fixtures/shell.ts';

/** By the groups of --help. */
const GROUPS: Readonly<Record<string, readonly string[]>> = {
  Bots: ['exec', 'nonce'],
  Look: ['status', 'top', 'why', 'timeline', 'metrics', 'doctor'],
  Operate: ['pause', 'resume', 'drain', 'advance', 'set-exclusive'],
  Host: ['serve', 'state', 'systemd'],
  Develop: ['rehearse', 'completion', 'help'],
};
const STATE_COMMANDS = ['inspect', 'init', 'retire', 'adopt'];
const SYSTEMD_COMMANDS = ['install', 'uninstall', 'status', 'print', 'rollback'];
const COMMANDS = [
  ...Object.values(GROUPS)
    .flat()
    .filter((name) => name !== 'help'),
  ...STATE_COMMANDS.map((name) => `state ${name}`),
  ...SYSTEMD_COMMANDS.map((name) => `systemd ${name}`),
];
const HOUR_NS = 3_600_000_000_000n;
const DIGITS_OF_MS = 13;

let place: DaemonPlace;
let daemon: DaemonProcess;
const places: DaemonPlace[] = [];

beforeAll(async () => {
  place = daemonPlace();
  daemon = await startDaemonProcess(place);
});

afterEach(() => {
  for (const made of places.splice(0)) made.remove();
});

afterAll(async () => {
  expect(await daemon.end('SIGTERM')).toBe(0);
  place.remove();
});

/** The command line with the running daemon's socket in its environment. */
const nonced = (...args: string[]) => runInProcess(args, { NONCED_SOCKET: place.socket });

function newPlace(): DaemonPlace {
  const made = daemonPlace();
  places.push(made);
  return made;
}

async function drawn(...args: string[]): Promise<bigint> {
  const { code, stdout, stderr } = await nonced('nonce', ...args);
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  return BigInt(stdout.trim());
}

describe('help and usage', () => {
  test('--help of the whole lists every command in its group, none by an old name, and the exit codes', async () => {
    const { code, stdout, stderr } = await nonced('--help');
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    const sections = [...stdout.matchAll(/^(\S+):\n((?: {2}.*\n)+)/gm)];
    const listed = sections.map(([, title, lines = '']) => [
      title,
      [...lines.matchAll(/^ {2}([\w-]+)/gm)].map(([, name]) => name),
    ]);
    expect(Object.fromEntries(listed)).toMatchObject(GROUPS);
    expect(stdout).toContain('Exit codes are those of sysexits');
  });

  test('--help of each command shows its usage and an example, and does nothing', async () => {
    const answers = await Promise.all(COMMANDS.map((command) => nonced(...command.split(' '), '--help')));
    for (const [index, command] of COMMANDS.entries()) {
      const { code, stdout, stderr } = answers[index] as RunResult;
      expect({ command, code, stderr }).toEqual({ command, code: 0, stderr: '' });
      expect(stdout).toContain(`Usage: nonced ${command}`);
      expect(stdout).toMatch(new RegExp(`Examples?:\\n {2}(sudo )?nonced ${command}`));
      expect(stdout).not.toContain('default: false');
    }
  });

  test('--version is the one of package.json', async () => {
    const { version } = JSON.parse(readFileSync('package.json', 'utf8')) as { version: string };
    expect(await nonced('--version')).toMatchObject({ code: 0, stdout: `${version}\n` });
  });

  const misuses: readonly (readonly string[])[] = [
    ['no-such-command'],
    ['nonce', '--no-such-option'],
    ['nonce', 'MASTER'],
    ['nonce', '--count', '0'],
    ['nonce', '--count', '1001'],
    ['nonce', '--count', '1e3'],
    ['nonce', '--account', ''],
    ['nonce', '--account', 'no blanks please'],
    ['exec'],
    ['exec', '--priority', 'asap', '--', 'true'],
    ['exec', '--max-hold', 'long', '--', 'true'],
    ['exec', '--unit', 'ms', '--', 'true'],
    ['drain', '--wait', 'long'],
    ['drain', '--off', '--wait', '2m'],
    ['advance'],
    ['advance', '--to', '-5'],
    ['advance', '--to', 'tomorrow'],
    ['advance', '--by', '5 minutes'],
    ['advance', '--by', '5m', '--to', 'now'],
    ['advance', '--by', '5m', '--sequence', 'no-such'],
    ['advance', '--to', '99999999999999999999'],
    ['advance', '--by', '99999999999h'],
    ['advance', '--by', `${'9'.repeat(400)}h`],
    ['top', '--interval', 'often'],
    ['metrics', '--listen', '0.0.0.0:9464'],
    ['metrics', '--listen', '127.0.0.1:0', '--output', 'x'],
    ['set-exclusive'],
    ['set-exclusive', 'sometimes'],
    ['completion'],
    ['completion', 'fish'],
    ['state'],
    ['state', 'init'],
    ['state', 'init', '--floor', 'soon'],
    ['state', 'init', '--floor', 'now', '--unit', 'ps'],
    ['state', 'init', '--floor', 'now', '--sequence', '../x'],
    ['init', '--floor', 'soon'],
    ['serve', '--log-level', 'loud'],
  ];

  test('misuse says what is wrong on standard error, and exits with 64', async () => {
    const answers = await Promise.all(misuses.map((args) => nonced(...args)));
    for (const [index, args] of misuses.entries()) {
      const { code, stdout, stderr } = answers[index] as RunResult;
      expect({ args, code, stdout }).toEqual({ args, code: 64, stdout: '' });
      // A command of commands shows its help.
      expect(stderr, args.join(' ')).toMatch(args.length === 1 && args[0] === 'state' ? /^Usage: / : /^nonced: \S/);
      expect(stderr, args.join(' ')).not.toMatch(/^ {4}at /m);
    }
  });

  test('no command at all shows the help and is misuse', async () => {
    const { code, stderr } = await nonced();
    expect(code).toBe(64);
    expect(stderr).toContain('Usage: nonced');
  });
});

describe('without a daemon', () => {
  test('what asks one exits 69 and says how to start it; status --check exits 2', async () => {
    const { dir } = newPlace();
    const socket = join(dir, 'none.sock');
    const mark = join(dir, 'ran');
    const commands = [
      ['nonce'],
      ['status'],
      ['exec', '--', 'touch', mark],
      ['advance', '--to', 'now'],
      ['advance', '--by', '5m'],
    ];
    const answers = await Promise.all(
      [...commands, ['set-exclusive', 'off'], ['status', '--check']].map((args) =>
        runInProcess(args, { NONCED_SOCKET: socket }),
      ),
    );
    expect(answers.map(({ code }) => code)).toEqual([69, 69, 69, 69, 69, 69, 2]);
    const check = answers.pop();
    // A monitoring plugin is read from its standard output.
    expect(check?.stdout).toMatch(/^NONCED CRITICAL - no daemon answers at .*nonced serve/);
    for (const { stdout, stderr } of answers) {
      expect(stdout).toBe('');
      expect(stderr).toMatch(/no daemon answers at .*nonced serve/);
    }
    expect(existsSync(mark)).toBe(false);
  });

  test('a socket path over 107 bytes is refused with 69 and its length', async () => {
    const { code, stderr } = await runInProcess(['nonce', '--socket', `/tmp/${'x'.repeat(110)}`]);
    expect({ code, stderr }).toMatchObject({ code: 69, stderr: expect.stringContaining('115 bytes') });
  });
});

describe('nonce and status', () => {
  test('nonce prints 19 digits, and a higher one each time, I2', async () => {
    const first = await drawn();
    expect(String(first)).toMatch(/^\d{19}$/);
    expect(await drawn('--account', 'USER:alice')).toBeGreaterThan(first);
  });

  test('--count prints consecutive ones, a line each, and the next is beyond them', async () => {
    const { stdout } = await nonced('nonce', '-a', 'MASTER', '--count', '1000');
    const nonces = stdout.trim().split('\n').map(BigInt);
    expect(nonces).toHaveLength(1000);
    for (const [index, nonce] of nonces.entries()) expect(nonce).toBe((nonces[0] ?? 0n) + BigInt(index));
    expect(await drawn()).toBeGreaterThan(nonces.at(-1) ?? 0n);
  });

  test('status shows who holds what under which name and who waits, and never a token', async () => {
    const holder = await RawConnection.open(place.socket);
    const waiter = await RawConnection.open(place.socket);
    try {
      await holder.ask('hello', { name: 'copy-trader', pid: 4711 });
      const { token } = await holder.ask('acquire', { account: 'MASTER', label: 'close position' });
      waiter.request('acquire', { account: 'USER:alice' });
      await eventually('it waits', async () => (await waiter.ask('status')) && true);
      const { code, stdout, stderr } = await nonced('status');
      expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
      expect(stdout).toMatch(/^default +held +MASTER +copy-trader +4711 +close position +\d.* left$/m);
      expect(stdout).toMatch(/^ +waits +USER:alice +- +- +- +\d/m);
      const json = await nonced('status', '--json');
      const status = JSON.parse(json.stdout);
      expect(status).toMatchObject({
        pid: daemon.pid,
        exclusive: 'global',
        lanes: [{ waiting: 1, holders: [{ account: 'MASTER', name: 'copy-trader', label: 'close position' }] }],
        sequences: [{ name: 'default', unit: 'ns', last: expect.stringMatching(/^\d{19}$/) }],
        durability: { state: 'durable' },
        clock: { state: 'followed' },
      });
      // As a number of its own: a nonce in ns may well begin with the digits of a token in us.
      expect(stdout + json.stdout).not.toMatch(new RegExp(`\\b${token}\\b`));
    } finally {
      holder.destroy();
      waiter.destroy();
    }
  });

  test('--check is one line that monitoring can read, and 0 where all is well', async () => {
    // Another daemon: what the tests before this one have got wrong would be pointed out.
    const well = newPlace();
    const running = await startDaemonProcess(well);
    try {
      expect(await runInProcess(['status', '--check', '--socket', well.socket])).toMatchObject({
        code: 0,
        stdout: expect.stringMatching(
          /^NONCED OK - \d+ held, \d+ waiting \| held=\d+;;;0 .* waiting=\d+;;;0 .* grants=\d+c .*\n$/,
        ),
      });
    } finally {
      await running.end('SIGKILL');
    }
  });

  test('there is no colour where the output is no terminal', async () => {
    const { stdout } = await nonced('status');
    expect(stdout).not.toContain('\u001b');
  });

  test('a reader that leaves early ends it without a stack trace', async () => {
    const child = spawn('sh', ['-c', `${process.execPath} ${NONCED} nonce --count 1000 | head -n 1`], {
      env: { ...process.env, NONCED_SOCKET: place.socket },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let stderr = '';
    child.stderr.on('data', (text) => {
      stderr += text;
    });
    child.stdout.resume();
    await once(child, 'close');
    expect(stderr).toBe('');
  });
});

describe('advance', () => {
  test('--by raises the sequence, prints before, after and the accounts, and says that it cannot be undone, I10', async () => {
    const before = await drawn('--account', 'MASTER');
    const { code, stdout } = await nonced('advance', '--by', '1s');
    expect(code).toBe(0);
    expect(stdout).toMatch(
      /the next nonce was at least \d{19}, now it is at least \d{19}\nThis cannot be undone\.\nAccounts that draw from it: .*MASTER/,
    );
    expect(await drawn()).toBeGreaterThanOrEqual(before + 1_000_000_000n);
  });

  test('--to a nonce makes it the next one, where it is ahead; what lies behind changes nothing, I10', async () => {
    const target = BigInt(Date.now() + 120_000) * 1_000_000n;
    expect(await nonced('advance', '--to', String(target))).toMatchObject({ code: 0 });
    expect(await drawn()).toBe(target);
    const again = await nonced('advance', '--to', String(target - 5n));
    expect(again).toMatchObject({ code: 0, stdout: expect.stringContaining('nothing was changed') });
    expect(await drawn()).toBe(target + 1n);
    expect(await nonced('status', '--check')).toMatchObject({
      code: 1,
      stdout: expect.stringContaining('ahead of the clock'),
    });
  });

  test('over 1 h ahead of the clock it wants --yes, over 24 h --force, and refused it changes nothing', async () => {
    const ahead = (hours: bigint) => String(BigInt(Date.now()) * 1_000_000n + hours * HOUR_NS);
    const before = await drawn();
    for (const args of [
      ['--to', ahead(2n)],
      ['--to', ahead(25n), '--yes'],
      ['--by', '2h'],
    ]) {
      const { code, stderr } = await nonced('advance', ...args);
      expect({ args, code, stderr }).toMatchObject({
        args,
        code: 64,
        stderr: expect.stringContaining('cannot be undone'),
      });
    }
    expect(await drawn()).toBe(before + 1n);
    const other = await placeWithDaemon();
    try {
      const on = (...args: string[]) => runInProcess([...args, '--socket', other.place.socket]);
      expect(await on('advance', '--to', ahead(2n), '--yes')).toMatchObject({ code: 0 });
      const forced = await on('advance', '--to', ahead(25n), '--force', '--json');
      expect(JSON.parse(forced.stdout)).toMatchObject({
        sequence: 'default',
        unit: 'ns',
        after: expect.stringMatching(/^\d{19}$/),
      });
      // I10: it is durable before it is answered.
      await other.daemon.end('SIGKILL');
      const inspected = await runInProcess(['state', 'inspect', '--state-dir', other.place.stateDir, '--json']);
      const { sequences } = JSON.parse(inspected.stdout);
      expect(BigInt(sequences.default.ceiling)).toBeGreaterThan(BigInt(JSON.parse(forced.stdout).after));
    } finally {
      await other.daemon.end('SIGKILL');
    }
  });
});

async function placeWithDaemon(): Promise<{ place: DaemonPlace; daemon: DaemonProcess }> {
  const made = newPlace();
  return { place: made, daemon: await startDaemonProcess(made) };
}

test('set-exclusive switches for good: before and after are printed, and a restart knows it', async () => {
  const other = await placeWithDaemon();
  try {
    const on = (...args: string[]) => runInProcess([...args, '--socket', other.place.socket]);
    expect(await on('set-exclusive', 'account')).toMatchObject({
      code: 0,
      stdout: 'exclusion policy: global -> account\n',
    });
    const json = await on('set-exclusive', 'off', '--json');
    expect(JSON.parse(json.stdout)).toEqual({ before: 'account', after: 'off' });
    await other.daemon.end('SIGKILL');
    const again = await startDaemonProcess(other.place);
    const status = await on('status', '--json');
    await again.end('SIGKILL');
    expect(JSON.parse(status.stdout).exclusive).toBe('off');
  } finally {
    await other.daemon.end('SIGKILL');
  }
});

describe('the names of 0.1', () => {
  const noted = (name: string) =>
    `nonced: 'nonced ${name}' is now 'nonced state ${name}'; the next version removes the old name\n`;

  test('the commands of state work by them, print the same, and say the new name in one line on standard error', async () => {
    const [one, other] = [newPlace(), newPlace()];
    const runs: (readonly [args: readonly string[], code: number])[] = [
      [['init', '--floor', '100', '--unit', 'counter', '--json'], 0],
      [['inspect', '--json'], 0],
      [['retire'], 0],
      [['adopt', '--force'], 0],
    ];
    for (const [[name = '', ...rest], code] of runs) {
      const old = await runInProcess([name, ...rest, '--state-dir', one.stateDir]);
      const current = await runInProcess(['state', name, ...rest, '--state-dir', other.stateDir]);
      expect({ name, code: current.code, stderr: current.stderr }).toEqual({ name, code, stderr: '' });
      expect({ name, code: old.code, stderr: old.stderr }).toEqual({ name, code, stderr: noted(name) });
      expect(shapeOf(old.stdout, one)).toBe(shapeOf(current.stdout, other));
    }
  });

  test('an error of such a command has its exit code and comes after that line', async () => {
    const { stateDir } = newPlace();
    const { code, stdout, stderr } = await runInProcess(['inspect', '--state-dir', stateDir]);
    expect({ code, stdout }).toEqual({ code: 78, stdout: '' });
    expect(stderr.startsWith(noted('inspect'))).toBe(true);
    expect(stderr).toContain('nonced state init');
  });

  test('a service keeps its call log by the names in its drop-in, says so in the log, and timeline reads it so', async () => {
    const made = newPlace();
    const callLog = join(made.dir, 'calls.jsonl');
    const other = await startDaemonProcess(made, {
      env: { NONCED_JOURNAL: callLog, NONCED_JOURNAL_SIZE: '2M' },
      args: ['--journal-size', '1M'],
    });
    const socket = ['--socket', made.socket];
    await runNonced(['exec', ...socket, '--account', 'KEPT', '--', 'true']);
    await eventually('it is written', () => existsSync(callLog) && readFileSync(callLog, 'utf8').includes('KEPT'));
    expect(await other.end('SIGTERM')).toBe(0);
    const renamed = (old: string, current: string) =>
      `'${old}' is now '${current}'; the next version removes the old name`;
    expect(other.log().match(/warn: '.*' is now .*/g)).toEqual([
      `warn: ${renamed('NONCED_JOURNAL', 'NONCED_CALL_LOG')}`,
      `warn: ${renamed('--journal-size', '--call-log-size')}`,
    ]);
    const old = await runInProcess(['timeline', '--json', ...socket, '--journal', callLog]);
    const current = await runInProcess(['timeline', '--json', ...socket, '--call-log', callLog]);
    expect(old.stderr).toBe(`nonced: ${renamed('--journal', '--call-log')}\n${current.stderr}`);
    for (const { code, stdout } of [old, current]) {
      expect(code).toBe(0);
      expect(JSON.parse(stdout).calls).toMatchObject([{ account: 'KEPT' }]);
    }
  });

  test('a call log by the new name goes before one by the old', async () => {
    const made = newPlace();
    const [callLog, journal] = [join(made.dir, 'calls.jsonl'), join(made.dir, 'old.jsonl')];
    const other = await startDaemonProcess(made, { env: { NONCED_JOURNAL: journal, NONCED_CALL_LOG: callLog } });
    expect(await other.end('SIGTERM')).toBe(0);
    expect([existsSync(callLog), existsSync(journal)]).toEqual([true, false]);
  });

  /** Without what differs from one state to the other. */
  const shapeOf = (text: string, { dir }: DaemonPlace) =>
    text.replaceAll(dir, 'DIR').replaceAll(/[0-9a-f]{32}|\d{3,}/g, 'N');
});

describe('state inspect', () => {
  test('reads the state beside a running daemon and says who holds it, without disturbing it', async () => {
    const { code, stdout } = await runInProcess(['state', 'inspect', '--state-dir', place.stateDir]);
    expect(code).toBe(0);
    expect(stdout).toContain('whole, checksum ok');
    expect(stdout).toContain(`locked: a daemon is running (pid ${daemon.pid}, socket ${place.socket})`);
    expect(stdout).toMatch(/^sequence default \(ns\): ceiling \d{19}, max \d{19}$/m);
    expect(await nonced('nonce')).toMatchObject({ code: 0 });
  });

  test('reads it without a daemon, changes nothing, and knows that no daemon holds it', async () => {
    const { stateDir } = newPlace();
    await runInProcess(['state', 'init', '--floor', 'now', '--unit', 'ns', '--state-dir', stateDir]);
    const before = readFileSync(join(stateDir, 'state.json'), 'utf8');
    const { code, stdout } = await runInProcess(['state', 'inspect', '--state-dir', stateDir, '--json']);
    expect({ code, ...JSON.parse(stdout) }).toMatchObject({
      code: 0,
      locked: false,
      checksum: 'ok',
      exclusive: 'global',
    });
    expect(readFileSync(join(stateDir, 'state.json'), 'utf8')).toBe(before);
  });

  test('a state that is missing or damaged is 78, and stays as it is', async () => {
    const { stateDir } = newPlace();
    mkdirSync(stateDir, 0o700);
    expect(await runInProcess(['state', 'inspect', '--state-dir', stateDir])).toMatchObject({
      code: 78,
      stderr: expect.stringContaining('no state.json'),
    });
    writeFileSync(join(stateDir, 'state.json'), '{', { mode: 0o600 });
    expect(await runInProcess(['state', 'inspect', '--state-dir', stateDir])).toMatchObject({
      code: 78,
      stderr: expect.stringContaining('nonced state init'),
    });
    expect(readFileSync(join(stateDir, 'state.json'), 'utf8')).toBe('{');
  });
});

describe('state init', () => {
  const init = (stateDir: string, ...args: string[]) =>
    runInProcess(['state', 'init', '--state-dir', stateDir, ...args]);

  test.each([
    ['init without a unit', 64, ['state', 'init', '--floor', 'now']],
    ['retire of nothing', 78, ['state', 'retire']],
    ['adopt of nothing', 78, ['state', 'adopt']],
  ])('a command that is refused leaves no directory behind: %s', async (_what, code, args) => {
    const { dir } = newPlace();
    expect(await runInProcess([...args, '--state-dir', join(dir, 'typo', 's')])).toMatchObject({ code });
    expect(existsSync(join(dir, 'typo'))).toBe(false);
  });

  test('nor does a daemon that is refused', async () => {
    const { dir } = newPlace();
    const config = join(dir, 'config.json');
    writeFileSync(config, '{"sequences":{"other":{"unit":"ms"}}}');
    const dirs = ['--state-dir', join(dir, 'typo', 's'), '--runtime-dir', join(dir, 'typo', 'r')];
    expect(await runNonced(['serve', '--config', config, '--separate', ...dirs])).toMatchObject({ code: 78 });
    expect(existsSync(join(dir, 'typo'))).toBe(false);
  });

  test('an empty directory, as of a shell variable that is not set, is not the working directory', async () => {
    for (const option of ['--state-dir', '--runtime-dir']) {
      const { code, stderr } = await runInProcess(['state', 'init', '--floor', 'now', '--unit', 'ns', option, '']);
      expect({ code, stderr }).toMatchObject({ code: 64, stderr: expect.stringContaining('it is empty') });
    }
  });

  test('a state that is new to its bots is told of, and one that keeps its instance is not', async () => {
    const { stateDir } = newPlace();
    const made = await init(stateDir, '--floor', 'now', '--unit', 'ns', '--json');
    expect(JSON.parse(made.stdout)).toMatchObject({ found: 'absent', newInstance: true });
    const path = join(stateDir, 'state.json');
    const intact = readFileSync(path, 'utf8');
    writeFileSync(path, intact.replace(/"epoch": \d+/, '"epoch": 0'));
    expect((await init(stateDir, '--floor', 'now')).stdout).not.toContain('restart every bot');
    writeFileSync(path, intact.replace(/"instance": "[^"]*"/, '"instance": "?"'));
    expect((await init(stateDir, '--floor', 'now')).stdout).toContain('It is a new instance: restart every bot');
  });

  test('--unit ms makes a state whose nonces have 13 digits, and the unit can never be changed', async () => {
    const other = newPlace();
    expect(await init(other.stateDir, '--floor', 'now', '--unit', 'ms')).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/made a new state .* ms \(13 digits\), begins at \d{13}\n/),
    });
    const changed = await init(other.stateDir, '--floor', 'now', '--unit', 'ns');
    expect(changed).toMatchObject({
      code: 64,
      stderr: expect.stringContaining('is in ms, and its unit can never change'),
    });
    const running = await startDaemonProcess(other);
    try {
      const { stdout } = await runInProcess(['nonce', '--socket', other.socket]);
      expect(stdout.trim()).toHaveLength(DIGITS_OF_MS);
      const mismatch = await runNonced(['exec', '--unit', 'ns', '--socket', other.socket, '--', 'true']);
      expect(mismatch).toMatchObject({ code: 64 });
    } finally {
      await running.end('SIGKILL');
    }
  });

  test('a new sequence wants its unit said, and a floor of as many digits: a key that has seen more takes no fewer', async () => {
    const { stateDir } = newPlace();
    const unsaid = await init(stateDir, '--floor', 'now');
    expect(unsaid).toMatchObject({ code: 64, stderr: expect.stringContaining('--unit ns (19 digits)') });
    const milliseconds = String(Date.now());
    const mistaken = await init(stateDir, '--floor', milliseconds, '--unit', 'ns', '--force');
    expect(mistaken).toMatchObject({ code: 64, stderr: expect.stringContaining('ms (13 digits)') });
    expect(existsSync(join(stateDir, 'state.json'))).toBe(false);
  });

  test('a damaged ceiling from a far future is not followed without a word, I10', async () => {
    const { stateDir } = newPlace();
    await init(stateDir, '--floor', 'now', '--unit', 'ns');
    const path = join(stateDir, 'state.json');
    const intact = readFileSync(path, 'utf8');
    for (const damaged of [/("ceiling": ")1(\d{18}")/, /("ceiling": ")1(\d{15}")/]) {
      writeFileSync(path, intact.replace(damaged, '$18$2'));
      const refused = await init(stateDir, '--floor', 'now');
      expect(refused).toMatchObject({ code: 64, stderr: expect.stringContaining('may be part of the damage') });
    }
  });

  test('raises a state that is there, never lowers it, and keeps its instance and epoch, I10', async () => {
    const { stateDir } = newPlace();
    const inspect = async () =>
      JSON.parse((await runInProcess(['state', 'inspect', '--state-dir', stateDir, '--json'])).stdout);
    await init(stateDir, '--floor', 'now', '--unit', 'ns');
    const first = await inspect();
    const ceiling = BigInt(first.sequences.default.ceiling);
    expect(await init(stateDir, '--floor', String(ceiling + 1000n))).toMatchObject({ code: 0 });
    const raised = await inspect();
    expect(raised).toMatchObject({ instance: first.instance, epoch: first.epoch });
    expect(raised.sequences.default.ceiling).toBe(String(ceiling + 1000n));
    const lowered = await init(stateDir, '--floor', '5', '--json');
    expect(JSON.parse(lowered.stdout)).toMatchObject({ found: 'state', floor: String(ceiling + 1000n) });
    expect((await inspect()).sequences).toEqual(raised.sequences);
  });

  test('far ahead of the clock it wants --yes or --force, as advance does, and refused it makes nothing', async () => {
    const { stateDir } = newPlace();
    const ns = (...args: string[]) => init(stateDir, '--unit', 'ns', ...args);
    const ahead = (hours: bigint) => String(BigInt(Date.now()) * 1_000_000n + hours * HOUR_NS);
    expect(await ns('--floor', ahead(2n))).toMatchObject({
      code: 64,
      stderr: expect.stringContaining('--yes'),
    });
    expect(await ns('--floor', ahead(25n), '--yes')).toMatchObject({ code: 64 });
    expect(existsSync(join(stateDir, 'state.json'))).toBe(false);
    expect(await ns('--floor', ahead(25n), '--force')).toMatchObject({ code: 0 });
  });

  test('a further sequence of its own unit is kept beside the first, also a counter from a number', async () => {
    const { stateDir } = newPlace();
    await init(stateDir, '--floor', 'now', '--unit', 'ns');
    expect(await init(stateDir, '--floor', 'now', '--sequence', 'orders', '--unit', 'counter')).toMatchObject({
      code: 64,
    });
    expect(await init(stateDir, '--floor', '1000', '--sequence', 'orders', '--unit', 'counter')).toMatchObject({
      code: 0,
    });
    expect(await init(stateDir, '--floor', '1', '--sequence', 'constructor', '--unit', 'counter')).toMatchObject({
      code: 0,
    });
    const { stdout } = await runInProcess(['state', 'inspect', '--state-dir', stateDir, '--json']);
    expect(JSON.parse(stdout).sequences).toMatchObject({
      default: { unit: 'ns' },
      orders: { unit: 'counter', ceiling: '1000' },
      constructor: { unit: 'counter', ceiling: '1' },
    });
  });

  test('a damaged state is salvaged: what can be read is never lowered, and instance and epoch go on, I2 I9', async () => {
    const other = await placeWithDaemon();
    const target = BigInt(Date.now() + 1_800_000) * 1_000_000n;
    const on = (...args: string[]) => runInProcess([...args, '--socket', other.place.socket]);
    expect(await on('advance', '--to', String(target))).toMatchObject({ code: 0 });
    const { stdout } = await on('nonce');
    await other.daemon.end('SIGKILL');
    const path = join(other.place.stateDir, 'state.json');
    const { instance, epoch } = JSON.parse(readFileSync(path, 'utf8'));
    writeFileSync(path, readFileSync(path, 'utf8').replace(/"checksum"[\s\S]*/, ''));
    const repaired = await init(other.place.stateDir, '--floor', 'now', '--json');
    expect(JSON.parse(repaired.stdout)).toMatchObject({ found: 'salvaged', unit: 'ns' });
    expect(BigInt(JSON.parse(repaired.stdout).floor)).toBeGreaterThan(target);
    expect(JSON.parse(readFileSync(path, 'utf8'))).toMatchObject({ instance, epoch });
    const again = await startDaemonProcess(other.place);
    const after = await on('nonce');
    await again.end('SIGKILL');
    expect(BigInt(after.stdout)).toBeGreaterThan(BigInt(stdout));
  });

  test('refuses while a daemon runs, with 75 and who that is', async () => {
    const { code, stderr } = await init(place.stateDir, '--floor', 'now');
    expect({ code, stderr }).toMatchObject({ code: 75, stderr: expect.stringContaining(`pid ${daemon.pid}`) });
  });
});

describe('exec', () => {
  /** In a process of its own, for its program gets the streams of that process. */
  const nonced = (...args: string[]) => runNonced(args, { NONCED_SOCKET: place.socket });

  /** A program that says when it has started, and ends by a TERM alone: `wait` in a shell may lose a signal, `sleep` does not. */
  const endingWith = (code: number): string[] => [
    'sh',
    '-c',
    `trap "echo terminated; exit ${code}" TERM; echo started; for _ in $(seq 600); do sleep 0.05; done`,
  ];

  /** No lease is left: the next one gets the lane at once (I8). */
  afterEach(async () => {
    const next = await RawConnection.open(place.socket);
    try {
      const { token } = await next.ask('acquire', { waitMs: 0 });
      await next.ask('release', { token });
    } finally {
      next.destroy();
    }
  });

  test('gives the program a fresh nonce and the account in its environment, and its own streams', async () => {
    const before = await drawn();
    const { code, stdout, stderr } = await nonced(
      ...['exec', '--account', 'MASTER', '--', 'sh', '-c', 'echo "$NONCED_NONCE $NONCED_ACCOUNT"; echo oops >&2'],
    );
    const [nonce = '', account] = stdout.trim().split(' ');
    expect({ code, account, stderr }).toEqual({ code: 0, account: 'MASTER', stderr: 'oops\n' });
    expect(BigInt(nonce)).toBeGreaterThan(before);
  });

  test("the program's own options are its own, with and without --", async () => {
    expect(await nonced('exec', '--', 'printf', '%s', '--help')).toMatchObject({ code: 0, stdout: '--help' });
    expect(await nonced('exec', 'printf', '%s', '--account')).toMatchObject({ code: 0, stdout: '--account' });
  });

  test.each([
    ['0', 'true', 0],
    ['3', 'exit 3', 3],
    ['255', 'exit 255', 255],
    ['a TERM of its own', 'kill -TERM $$', 143],
    ['a KILL of its own', 'kill -KILL $$', 137],
  ])('exits as the program does: %s', async (_what, script, code) => {
    expect(await nonced('exec', '--', 'sh', '-c', script)).toMatchObject({ code, stderr: '' });
  });

  test('a program that is not there is 127, one that cannot be run 126, with its name', async () => {
    const notExecutable = join(place.dir, 'not-executable');
    writeFileSync(notExecutable, 'echo', { mode: 0o600 });
    const [missing, forbidden] = await Promise.all([
      nonced('exec', '--', 'no-such-program'),
      nonced('exec', '--', notExecutable),
    ]);
    expect(missing).toMatchObject({ code: 127, stderr: expect.stringContaining('no-such-program') });
    expect(forbidden).toMatchObject({ code: 126, stderr: expect.stringContaining('not-executable') });
    expect(missing.stderr + forbidden.stderr).not.toMatch(/^ {4}at /m);
  });

  test('a program that holds the call past --max-hold is sent TERM, and it exits 75 whatever the program answers', async () => {
    const { code, stdout, stderr } = await nonced(...['exec', '--max-hold', '1s', '--', ...endingWith(0)]);
    expect({ code, stdout }).toEqual({ code: 75, stdout: 'started\nterminated\n' });
    expect(stderr).toContain('--max-hold');
  });

  test('one that ignores the TERM is killed', async () => {
    const { code } = await nonced('exec', '--max-hold', '100ms', '--', 'sh', '-c', 'trap "" TERM; exec sleep 60');
    expect(code).toBe(75);
  });

  test('SIGTERM is passed on to the program, also right after its start, and its answer counts', async () => {
    const child = spawn(process.execPath, [NONCED, 'exec', '--', ...endingWith(42)], {
      env: { ...process.env, NONCED_SOCKET: place.socket },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    await once(child.stdout, 'data');
    child.kill('SIGTERM');
    const [code, signal] = await once(child, 'close');
    expect({ code, signal }).toEqual({ code: 42, signal: null });
  });

  test('two never overlap, and the later one has the higher nonce, I3 I4', async () => {
    const diary = join(place.dir, 'diary');
    writeFileSync(diary, '');
    const script = 'echo "begin $NONCED_NONCE" >> "$0"; sleep 0.05; echo "end $NONCED_NONCE" >> "$0"';
    const runs = await Promise.all(
      Array.from({ length: 6 }, (_, index) => nonced('exec', '-a', `USER:${index}`, '--', 'sh', '-c', script, diary)),
    );
    for (const { code } of runs) expect(code).toBe(0);
    const lines = readFileSync(diary, 'utf8').trim().split('\n');
    expect(lines).toHaveLength(12);
    let last = 0n;
    for (let index = 0; index < lines.length; index += 2) {
      const nonce = lines[index]?.replace('begin ', '');
      expect(lines[index + 1]).toBe(`end ${nonce}`);
      expect(BigInt(nonce ?? '0')).toBeGreaterThan(last);
      last = BigInt(nonce ?? '0');
    }
  });

  test('--wait gives up with 75 and the program is never started', async () => {
    const holder = await RawConnection.open(place.socket);
    try {
      await holder.ask('acquire');
      const { code, stdout } = await nonced('exec', '--wait', '100ms', '--', 'echo', 'started');
      expect({ code, stdout }).toEqual({ code: 75, stdout: '' });
    } finally {
      holder.destroy();
    }
  });

  test('killed itself it frees the lane at once, as every holder does', async () => {
    const child = spawn(process.execPath, [NONCED, 'exec', '--', 'sh', '-c', 'echo $$; exec sleep 60'], {
      env: { ...process.env, NONCED_SOCKET: place.socket },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const [pid] = (await once(child.stdout, 'data')) as [Buffer];
    child.kill('SIGKILL');
    await once(child, 'exit');
    const next = await RawConnection.open(place.socket);
    expect(await next.ask('acquire')).toMatchObject({ count: 1 });
    next.destroy();
    process.kill(Number(pid), 'SIGKILL');
  });
});
