import { type ChildProcess, spawn } from 'node:child_process';
import { chmodSync, chownSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { CHECKS, type Check, type CheckName } from '../../src/cli/doctor/finding.ts';
import { runInProcess } from '../fixtures/command-line.ts';
import {
  type DaemonPlace,
  type DaemonProcess,
  daemonPlace,
  NONCED,
  runNonced,
  startDaemonProcess,
} from '../fixtures/daemon-process.ts';
import { household } from '../fixtures/household.ts';
import { hasProgram, isRoot, run } from '../fixtures/shell.ts';

const GROUP = 61_010;
const OWNER = 61_001;
const TRADER = 61_002;
const STRANGER = 61_004;
const MEMBERS = [
  { name: 'keeper', uid: OWNER, groups: ['noncers'] },
  { name: 'trader', uid: TRADER, groups: ['noncers'] },
  { name: 'stranger', uid: STRANGER, groups: [] },
];
const as = (uid: number, ...groups: number[]) => [
  'setpriv',
  '--reuid',
  String(uid),
  '--regid',
  String(uid),
  ...(groups.length === 0 ? ['--clear-groups'] : ['--groups', groups.join()]),
  '--',
];

let place: DaemonPlace;
let within: string[];
const parents: string[] = [];
const daemons: DaemonProcess[] = [];
const running: ChildProcess[] = [];

/** As the README says for bots of other users. */
function newPlace(): DaemonPlace {
  const parent = mkdtempSync(join(tmpdir(), 'nonced-doctor-'));
  chmodSync(parent, 0o755);
  parents.push(parent);
  const made = daemonPlace(parent);
  chmodSync(made.dir, 0o755);
  mkdirSync(made.stateDir, { mode: 0o700 });
  mkdirSync(made.runtimeDir);
  if (!isRoot) return made;
  chownSync(made.stateDir, OWNER, OWNER);
  chownSync(made.runtimeDir, OWNER, GROUP);
  chmodSync(made.runtimeDir, 0o2711);
  return made;
}

async function started(at = place): Promise<DaemonProcess> {
  const daemon = await startDaemonProcess(at, { wrapper: isRoot ? as(OWNER, GROUP) : [] });
  daemons.push(daemon);
  return daemon;
}

/** A process that only is there, and is waited for until it is. */
async function idle(wrapper: readonly string[], env: Record<string, string> = {}): Promise<number> {
  const [file = '', ...args] = [...wrapper, 'sh', '-c', 'echo up; exec sleep 600'];
  const child = spawn(file, args, { stdio: ['ignore', 'pipe', 'ignore'], env: { ...process.env, ...env } });
  running.push(child);
  await new Promise((resolve) => child.stdout?.once('data', resolve));
  return child.pid ?? -1;
}

interface Diagnosis {
  readonly code: unknown;
  readonly of: (check: CheckName) => Check;
  readonly checks: readonly Check[];
}

async function doctor(
  args: readonly string[],
  { wrapper = within, env = {} }: { wrapper?: readonly string[]; env?: Record<string, string> } = {},
): Promise<Diagnosis> {
  const { code, stdout, stderr } = await runNonced(
    ['doctor', '--json', ...args],
    { NONCED_SOCKET: '', XDG_RUNTIME_DIR: '', ...env },
    wrapper,
  );
  expect(stderr).toBe('');
  const { checks, severity } = JSON.parse(stdout) as { checks: Check[]; severity: number };
  expect(code).toBe(severity);
  expect(checks.map(({ check }) => check)).toEqual(CHECKS);
  return {
    code,
    checks,
    of: (name) => checks.find(({ check }) => check === name) ?? expect.fail(`no check ${name}`),
  };
}

/** The first finding of a check that is not well, with its fix. */
const found = (check: Check) => ({ mark: check.mark, fact: check.says, commands: check.findings[0]?.commands });

beforeEach(() => {
  place = newPlace();
  within = cannot === '' ? household(place.dir, { members: MEMBERS, groups: { noncers: GROUP } }) : [];
});

afterEach(async () => {
  for (const child of running.splice(0)) child.kill('SIGKILL');
  for (const daemon of daemons.splice(0)) {
    if (daemon.child.exitCode === null && daemon.child.signalCode === null) await daemon.end('SIGKILL');
  }
  for (const parent of parents.splice(0)) rmSync(parent, { recursive: true, force: true });
});

test('a path that is too long for a socket, one that is no socket, and an unknown user are told from each other', async () => {
  const tooLong = await doctor(['--socket', `/tmp/${'n'.repeat(110)}`]);
  expect(found(tooLong.of('socket'))).toMatchObject({ mark: 'failed', fact: expect.stringContaining('115 bytes') });
  const file = join(place.dir, 'file');
  writeFileSync(file, '');
  expect((await doctor(['--socket', file])).of('socket').says).toContain('is not a socket');
  const { code, stderr } = await runNonced(['doctor', 'no-such-user'], {}, within);
  expect({ code, stderr }).toEqual({ code: 64, stderr: expect.stringContaining('there is no user no-such-user') });
});

test('what answers there and is not nonced is told', async () => {
  const listen = `require('node:net').createServer((s) => s.end('hello')).listen(${JSON.stringify(place.socket)}, () => console.log('up'))`;
  const child = spawn(process.execPath, ['-e', listen], { stdio: ['ignore', 'pipe', 'ignore'] });
  running.push(child);
  await new Promise((resolve) => child.stdout?.once('data', resolve));
  expect((await doctor(['--socket', place.socket])).of('answer')).toMatchObject({
    mark: 'failed',
    says: expect.stringContaining('that is not nonced'),
  });
});

const cannot = !isRoot
  ? 'only as root: becomes other users'
  : process.platform !== 'linux' || !['setpriv', 'unshare', 'getent'].every(hasProgram)
    ? 'needs setpriv, unshare and getent'
    : (await run('unshare', ['--mount', 'true'])).code !== 0
      ? 'may not make namespaces'
      : (
            await run('setpriv', [
              ...as(STRANGER).slice(1),
              process.execPath,
              '-e',
              `require('node:fs').readFileSync(${JSON.stringify(NONCED)})`,
            ])
          ).code !== 0
        ? 'other users cannot read this checkout'
        : '';

describe.skipIf(cannot !== '')(`nonced doctor, as users of the host${cannot && ` (skipped: ${cannot})`}`, () => {
  const viaSocket = () => ['--socket', place.socket];

  test('where all is well it says so, and neither draws nor writes anything', async () => {
    const daemon = await started();
    const before = await status();
    const { checks, of } = await doctor(['trader', ...viaSocket()]);
    const mine = checks.filter(({ check }) => !['platform', 'clock', 'others', 'disk'].includes(check));
    expect(mine.filter(({ mark }) => mark === 'warning' || mark === 'failed')).toEqual([]);
    const well = ['socket', 'path', 'group', 'processes', 'answer', 'status', 'version', 'sequences', 'state'] as const;
    for (const check of well) expect(of(check).mark, check).toBe('ok');
    expect(of('group').says).toContain('noncers');
    expect(of('answer').says).toContain(`pid ${daemon.pid}`);
    expect(of('state').says).toContain(place.stateDir);
    expect(await status()).toEqual(before);
    // And what programs were refused for is told by account.
    const exec = ['exec', '--account', 'MASTER', '--unit', 'ms', ...viaSocket(), '--', 'true'];
    expect((await runNonced(exec)).code).toBe(64);
    expect((await doctor(['trader', ...viaSocket()])).of('sequences')).toMatchObject({
      mark: 'warning',
      says: expect.stringContaining('account MASTER draws ns, but programs asked for ms: refused once'),
    });

    async function status() {
      const { stdout } = await runInProcess(['status', '--json', ...viaSocket()]);
      const { durability, totals, accounts } = JSON.parse(stdout);
      return { writes: durability.writes, nonces: totals.nonces, accounts };
    }
  });

  test('a user who is not in the group, with the command that adds the user, tested by that user and by root', async () => {
    await started();
    const byRoot = await doctor(['stranger', ...viaSocket()]);
    // Root asks for what does not depend on the user.
    for (const check of ['status', 'sequences', 'state'] as const) expect(byRoot.of(check).mark, check).toBe('ok');
    for (const diagnosis of [byRoot, await doctor(viaSocket(), { wrapper: [...within, ...as(STRANGER)] })]) {
      expect(diagnosis.code).toBe(2);
      expect(found(diagnosis.of('group'))).toEqual({
        mark: 'failed',
        fact: `stranger is not in the group noncers, which may connect to ${place.socket}`,
        commands: ['sudo usermod -aG noncers stranger'],
      });
      expect(diagnosis.of('answer').mark).toBe('skipped');
    }
  });

  test('a process that is older than the group of its user, and a session that is', async () => {
    await started();
    const [old, young] = [await idle(as(TRADER)), await idle(as(TRADER, GROUP))];
    const { of } = await doctor(['trader', ...viaSocket()]);
    expect(of('group').mark).toBe('ok');
    expect(of('processes').mark).toBe('warning');
    expect(of('processes').says).toContain('1 of 2 processes of trader lack the group noncers');
    expect(of('processes').says).toContain(`(pid ${old})`);
    expect(of('processes').says).not.toContain(String(young));
    const session = await doctor(viaSocket(), { wrapper: [...within, ...as(TRADER)] });
    expect(found(session.of('group'))).toMatchObject({
      mark: 'failed',
      fact: expect.stringContaining('this login is older'),
      commands: ['newgrp noncers'],
    });
  });

  test('no daemon, and no socket of one', async () => {
    const { code, of } = await doctor(['trader', ...viaSocket()]);
    expect(code).toBe(2);
    expect(found(of('socket'))).toMatchObject({ mark: 'failed', commands: ['nonced serve'] });
    expect(of('answer').mark).toBe('skipped');
  });

  test('a daemon that is stopped accepts and does not answer: a finding, in time, and how it goes on', async () => {
    const daemon = await started();
    daemon.child.kill('SIGSTOP');
    const { of } = await doctor(['trader', ...viaSocket()]);
    expect(found(of('answer'))).toEqual({
      mark: 'failed',
      fact: expect.stringContaining(`(pid ${daemon.pid}) is stopped`),
      commands: [`sudo kill -CONT ${daemon.pid}`],
    });
    expect(of('status').mark).toBe('skipped');
  });

  test('a socket that a killed daemon left behind', async () => {
    await (await started()).end('SIGKILL');
    const { of } = await doctor(['trader', ...viaSocket()]);
    expect(of('socket').mark).toBe('ok');
    expect(of('answer')).toMatchObject({ mark: 'failed', says: expect.stringMatching(/ left .* behind/) });
  });

  test('a directory on the way that may not be passed through', async () => {
    await started();
    chmodSync(place.runtimeDir, 0o700);
    const { of } = await doctor(['trader', ...viaSocket()]);
    expect(found(of('path'))).toEqual({
      mark: 'failed',
      fact: `trader may not pass through ${place.runtimeDir} (0700, keeper:noncers)`,
      commands: [`sudo chmod g+x ${place.runtimeDir}`],
    });
    expect(of('answer').mark).toBe('skipped');
  });

  test('a second daemon, $NONCED_SOCKET that leads to it, and bots that were started with it', async () => {
    within = household(place.dir, { members: MEMBERS, groups: { noncers: GROUP }, serviceDir: place.runtimeDir });
    const second = newPlace();
    await started();
    const other = await started(second);
    const bot = await idle(as(TRADER, GROUP), { NONCED_SOCKET: second.socket });
    const fromRoot = await doctor(['trader']);
    expect(fromRoot.of('socket').says).toBe("/run/nonced/nonced.sock, the service's");
    expect(fromRoot.of('instance').mark).toBe('ok');
    expect(fromRoot.of('processes').says).toContain(`but ${second.socket}: sleep (pid ${bot})`);
    const all = fromRoot.of('others').findings.map(({ fact }) => fact);
    expect(all).toContainEqual(expect.stringContaining(`answers at ${second.socket} (nonced`));
    expect(all).toContainEqual(expect.stringContaining(`pid ${other.pid}`));

    const led = { wrapper: [...within, ...as(TRADER, GROUP)], env: { NONCED_SOCKET: second.socket } };
    const asTrader = await doctor([], led);
    expect(asTrader.of('socket').says).toBe(`${second.socket}, by $NONCED_SOCKET`);
    expect(found(asTrader.of('instance'))).toEqual({
      mark: 'warning',
      fact: `$NONCED_SOCKET leads to ${second.socket}, and not to the service at /run/nonced/nonced.sock`,
      commands: ['unset NONCED_SOCKET'],
    });
    // This user may not read the state of another user's daemon, and that is not a fault.
    expect(asTrader.of('state').mark).toBe('skipped');
    for (const socket of [place.socket, second.socket]) {
      expect((await runInProcess(['nonce', '--account', 'MASTER', '--socket', socket])).code).toBe(0);
    }
    expect(found((await doctor([], led)).of('instance'))).toMatchObject({
      mark: 'failed',
      fact: expect.stringContaining('both hand out nonces for MASTER'),
    });
  });

  test('as another user without root it exits 77 with the command, and tests nothing', async () => {
    const { code, stdout, stderr } = await runNonced(['doctor', 'stranger'], {}, [...within, ...as(TRADER)]);
    expect({ code, stdout }).toEqual({ code: 77, stdout: '' });
    expect(stderr).toContain(`sudo ${process.execPath} ${NONCED} doctor stranger`);
  });
});
