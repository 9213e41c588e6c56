import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { EXIT, ExitError, systemErrorCode } from '../../errors.ts';

/** The units need systemd 250. (IPAddressDeny and FileDescriptorName are older; the rating was measured with it.) */
const OLDEST_SYSTEMD = 250;

export interface Ran {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a program to its end and returns what it printed. Throws ExitError (69) if it is missing. */
export function run(
  program: string,
  args: readonly string[],
  options: { readonly uid?: number; readonly gid?: number } = {},
): Ran {
  const { error, status, stdout, stderr } = spawnSync(program, args, {
    encoding: 'utf8',
    cwd: '/',
    stdio: ['ignore', 'pipe', 'pipe'],
    ...options,
  });
  if (error !== undefined && systemErrorCode(error) === 'ENOENT') {
    throw new ExitError(EXIT.unavailable, `${program} is not installed`);
  }
  if (error !== undefined) {
    return { code: EXIT.noPermission, stdout: '', stderr: error.message };
  }
  // A signal leaves no status.
  return { code: status ?? EXIT.defect, stdout: stdout.trim(), stderr: stderr.trim() };
}

/** Runs a program that must succeed and returns what it printed. Throws ExitError with that if it fails. */
export function mustRun(program: string, args: readonly string[], exitCode = EXIT.defect): string {
  const { code, stdout, stderr } = run(program, args);
  if (code === 0) return stdout;
  throw new ExitError(exitCode, `${program} ${args.join(' ')}: ${stderr || stdout || `exit ${code}`}`);
}

/** Throws ExitError (69) unless a systemd that is new enough runs the system. */
export function requireSystemd(): void {
  requireRunning();
  const version = Number(/^systemd (\d+)/.exec(run('systemctl', ['--version']).stdout)?.[1]);
  if (version >= OLDEST_SYSTEMD) return;
  throw new ExitError(
    EXIT.unavailable,
    `systemd ${version} is too old for the units, which need ${OLDEST_SYSTEMD}; run "nonced serve" in a unit of your own`,
  );
}

function requireRunning(): void {
  if (existsSync('/run/systemd/system')) return;
  throw new ExitError(
    EXIT.unavailable,
    'systemd does not run this system; run "nonced serve" under the supervisor that does',
  );
}

/** Returns properties of a unit. Throws ExitError if systemd does not answer (without D-Bus it answers only root). */
export function showUnit(unit: string, properties: readonly string[]): Readonly<Record<string, string>> {
  const asked = properties.map((name) => `--property=${name}`);
  const { code, stdout, stderr } = run('systemctl', ['show', unit, ...asked]);
  if (code !== 0) {
    requireRunning();
    throw new ExitError(EXIT.unavailable, `systemd does not answer: ${stderr}; try again as root`);
  }
  return Object.fromEntries(
    stdout.split('\n').map((line) => {
      const at = line.indexOf('=');
      return [line.slice(0, at), line.slice(at + 1)];
    }),
  );
}

export function isActive(unit: string): boolean {
  return run('systemctl', ['is-active', '--quiet', unit]).code === 0;
}
