import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { EXIT, ExitError, systemErrorCode } from '../../errors.ts';

/** The units use what systemd 250 brought (IPAddressDeny and FileDescriptorName are older, the rating is made with it). */
const OLDEST_SYSTEMD = 250;

export interface Ran {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a program to its end and answers what it said. Throws ExitError (69) where it is missing. */
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
  return { code: status ?? EXIT.lostOwnership, stdout: stdout.trim(), stderr: stderr.trim() };
}

/** The same for what must succeed. Throws ExitError with what it said. */
export function mustRun(program: string, args: readonly string[], exitCode = EXIT.lostOwnership): string {
  const { code, stdout, stderr } = run(program, args);
  if (code === 0) return stdout;
  throw new ExitError(exitCode, `${program} ${args.join(' ')}: ${stderr || stdout || `exit ${code}`}`);
}

/** Throws ExitError (69) where no systemd that is new enough runs the system. */
export function requireSystemd(): void {
  if (!existsSync('/run/systemd/system')) {
    throw new ExitError(EXIT.unavailable, 'this system is not run by systemd; run "nonced serve" under its supervisor');
  }
  const version = Number(/^systemd (\d+)/.exec(run('systemctl', ['--version']).stdout)?.[1]);
  if (version >= OLDEST_SYSTEMD) return;
  throw new ExitError(EXIT.unavailable, `systemd ${version} is too old for the units, which take ${OLDEST_SYSTEMD}`);
}

/** What systemd says of a unit. Throws ExitError where it does not answer (without D-Bus, only root is). */
export function showUnit(unit: string, properties: readonly string[]): Readonly<Record<string, string>> {
  const asked = properties.map((name) => `--property=${name}`);
  const { code, stdout, stderr } = run('systemctl', ['show', unit, ...asked]);
  if (code !== 0) throw new ExitError(EXIT.unavailable, `systemd does not answer: ${stderr}; try again as root`);
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
