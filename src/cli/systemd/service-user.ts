import { chmodSync, chownSync, mkdirSync, statSync } from 'node:fs';
import { EXIT, ExitError } from '../../errors.ts';
import type { Terminal } from '../terminal/terminal.ts';
import { CONFIG_DIR, SERVICE, STATE_DIR, USER } from './places.ts';
import { mainFile, type Program } from './program.ts';
import { mustRun, run } from './system.ts';

/** The user that the daemon runs as. */
export interface ServiceUser {
  readonly uid: number;
  readonly gid: number;
}

/** Returns the user that systemd-sysusers has made. Throws ExitError if it is root, or missing. */
export function serviceUser(): ServiceUser {
  const [uid, gid] = [Number(mustRun('id', ['-u', USER])), Number(mustRun('id', ['-g', USER]))];
  if (uid > 0 && gid > 0) return { uid, gid };
  throw new ExitError(EXIT.config, `user ${USER} has the ids of root (uid ${uid}, gid ${gid}); give it ids of its own`);
}

/** Makes a directory for that user alone. An existing one stays as it is: systemd gives it to the user at a start. */
export function makeDirectoryFor({ uid, gid }: ServiceUser, path: string): void {
  mkdirSync(path, { recursive: true, mode: 0o700 });
  chmodSync(path, 0o700);
  chownSync(path, uid, gid);
}

/** Throws ExitError if that user cannot run the program, and warns if any user but root could change it. */
export function refuseUnusable(program: Program, user: ServiceUser, terminal: Terminal): void {
  const main = mainFile(program.packageDir);
  const { code, stdout, stderr } = run(program.node, [main, '--version'], user);
  if (code !== 0 || stdout !== program.version) {
    throw new ExitError(
      EXIT.config,
      `user ${USER} cannot run ${program.node} ${main}: ${stderr || stdout || `exit ${code}`}; make both readable for ` +
        'all users, or add --copy',
    );
  }
  for (const needed of ['flock', 'systemd-notify']) run(needed, ['--version']);
  for (const path of [program.node, main]) {
    const { uid, mode } = statSync(path);
    if (uid === 0 && (mode & 0o022) === 0) continue;
    terminal.warn(`user ${uid} can change ${path}, and so what the service runs; with --copy it belongs to root alone`);
  }
}

/**
 * Throws ExitError (78) if the daemon would not start with the state and the configuration that are there. An operator
 * must decide then, and until they have, the daemon that runs goes on.
 */
export function refuseUnfit({ node, packageDir }: Program, user?: ServiceUser): void {
  const asked = configAsked();
  const checks = [
    ['state', 'inspect'],
    // Without a file of its own the service reads the one that may be missing: then nothing is configured, which may be
    // what does not fit.
    ['serve', '--check-config', ...(asked === undefined ? [] : ['--config', asked])],
  ];
  for (const check of checks) {
    const command = [node, mainFile(packageDir), ...check, '--state-dir', STATE_DIR];
    const { code, stderr } = run('env', [`CONFIGURATION_DIRECTORY=${CONFIG_DIR}`, ...command], user);
    if (code === 0) continue;
    throw new ExitError(
      EXIT.config,
      'the service would not start, so it was not restarted. Put this right, then run this command again: ' +
        stderr.replaceAll(/^nonced: /gm, ''),
    );
  }
}

/** Returns the configuration that the unit's own command line names, as a drop-in may say. */
function configAsked(): string | undefined {
  const { stdout } = run('systemctl', ['show', SERVICE, '--property=ExecStart', '--value']);
  return /argv\[\]=[^;]* --config[= ]([^ ;]+)/.exec(stdout)?.[1];
}
