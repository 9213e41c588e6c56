import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { createInterface, type Interface } from 'node:readline';
import { eventually } from '../fixtures/eventually.ts';
import { hasProgram, isRoot } from '../fixtures/shell.ts';

const BOX = resolve('test/systemd/box');
const OLDEST_SYSTEMD = 250;

/** Why no machine can be booted here; empty if one can. */
export const cannotBoot = reason();

function reason(): string {
  if (process.platform !== 'linux') return 'not Linux';
  if (!isRoot) return 'needs root';
  const missing = ['systemctl', 'unshare', 'nsenter', 'setpriv', 'findmnt', 'pgrep'].filter(
    (name) => !hasProgram(name),
  );
  if (missing.length > 0) return `no ${missing.join(', ')}; install systemd, util-linux and procps`;
  const version = Number(
    /^systemd (\d+)/.exec(spawnSync('systemctl', ['--version'], { encoding: 'utf8' }).stdout)?.[1],
  );
  if (!(version >= OLDEST_SYSTEMD)) return `systemd ${version}, needs ${OLDEST_SYSTEMD}`;
  const filesystems = readFileSync('/proc/filesystems', 'utf8');
  const unknown = ['overlay', 'cgroup2'].filter((name) => !filesystems.includes(name));
  if (unknown.length > 0) return `the kernel has no ${unknown.join(', ')}`;
  const { status } = spawnSync('unshare', ['--pid', '--fork', '--mount', '--uts', '--ipc', '--cgroup', 'true']);
  return status === 0 ? '' : 'may not make namespaces';
}

export interface Ran {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** A machine of its own, in namespaces, run by a real systemd. */
export class Machine {
  readonly #box: ChildProcess;
  readonly #lines: Interface;
  #init = 0;

  private constructor() {
    this.#box = spawn(BOX, { stdio: ['pipe', 'pipe', 'inherit'] });
    if (this.#box.stdout === null) throw new Error('no pipe');
    this.#lines = createInterface({ input: this.#box.stdout });
  }

  static async boot(): Promise<Machine> {
    const machine = new Machine();
    await machine.#up();
    return machine;
  }

  async #up(): Promise<void> {
    const [line] = (await once(this.#lines, 'line')) as [string];
    if (!line.startsWith('up ')) throw new Error(line);
    this.#init = Number(line.slice(3));
  }

  /** Cuts the power and boots again: what was on disk is there, /run is empty. */
  async reboot(): Promise<void> {
    const up = this.#up();
    this.#box.stdin?.write('reboot\n');
    await up;
  }

  async end(): Promise<void> {
    const closed = once(this.#box, 'close');
    this.#box.stdin?.end();
    await closed;
  }

  /** A path of the machine as this process sees it. A Unix socket there can be connected to. */
  path(inside: string): string {
    return `/proc/${this.#init}/root${inside}`;
  }

  /** Runs a program in the machine, as a user of it with that user's groups, and returns what it printed. */
  async run(command: readonly string[], { user = 'root' }: { readonly user?: string } = {}): Promise<Ran> {
    const as = user === 'root' ? [] : ['setpriv', `--reuid=${user}`, `--regid=${user}`, '--init-groups', '--'];
    const child = spawn('nsenter', ['-t', String(this.#init), '-a', '--wd=/', '--', ...as, ...command], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { PATH: process.env['PATH'], HOME: '/nonexistent' },
    });
    let [stdout, stderr] = ['', ''];
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      stdout += text;
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr += text;
    });
    const [code] = (await once(child, 'close')) as [number | null];
    return { code: code ?? -1, stdout: stdout.trim(), stderr: stderr.trim() };
  }

  /** Runs what must succeed, and returns its standard output. Otherwise rejects with what it printed. */
  async must(command: readonly string[], options?: { readonly user?: string }): Promise<string> {
    const { code, stdout, stderr } = await this.run(command, options);
    if (code !== 0) throw new Error(`${command.join(' ')} exits ${code}: ${stderr || stdout}`);
    return stdout;
  }

  /** A property of the service as systemd has it. */
  property(name: string, unit = 'nonced.service'): Promise<string> {
    return this.must(['systemctl', 'show', '--value', `--property=${name}`, unit]);
  }

  /** Waits until a property is as wanted. */
  async until(name: string, wanted: string | ((value: string) => boolean), unit?: string): Promise<void> {
    const fits = typeof wanted === 'string' ? (value: string) => value === wanted : wanted;
    await eventually(`${name} of ${unit ?? 'nonced.service'} as wanted`, async () =>
      fits(await this.property(name, unit)),
    );
  }

  /** Adds to the unit of the service until the next reboot. */
  async dropIn(name: string, text: string): Promise<void> {
    await this.must(['mkdir', '-p', '/run/systemd/system/nonced.service.d']);
    await this.must([
      'sh',
      '-c',
      'printf %s "$2" >"/run/systemd/system/nonced.service.d/$1.conf" && systemctl daemon-reload',
      'sh',
      name,
      text,
    ]);
  }

  async removeDropIns(): Promise<void> {
    await this.must(['sh', '-c', 'rm -rf /run/systemd/system/nonced.service.d && systemctl daemon-reload']);
  }
}
