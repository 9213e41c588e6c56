import { existsSync, mkdirSync, readdirSync, rmdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { EXIT, ExitError } from '../../errors.ts';
import {
  copyOf,
  copyProgram,
  isStillThere,
  previousProgram,
  rememberPrevious,
  removeCopies,
} from '../systemd/copies.ts';
import {
  CONFIG_DIR,
  COPIES_DIR,
  ENDED_FILE,
  RUNTIME_DIR,
  SERVICE,
  SOCKETS,
  STATE_DIR,
  SYSUSERS_FILE,
  UNIT_DIR,
  UNITS,
} from '../systemd/places.ts';
import { mainFile, type Program, refuseHidden, requireRoot, thisProgram } from '../systemd/program.ts';
import {
  makeDirectoryFor,
  refuseUnfit,
  refuseUnusable,
  type ServiceUser,
  serviceUser,
} from '../systemd/service-user.ts';
import { isActive, mustRun, requireSystemd, run, showUnit } from '../systemd/system.ts';
import { installedFiles, installedProgram, removeFiles, writeFiles } from '../systemd/unit-files.ts';
import { printJson, printLine, warn } from '../terminal/output.ts';

export interface InstallOptions {
  readonly copy: boolean;
  /** Passed to `nonced state init` where there is no state yet; left out, it is the clock. */
  readonly floor?: string;
  readonly unit?: string;
  readonly json: boolean;
}

/** Makes nonced a service, or brings the installed one up to this version. Rejects with ExitError, and says the fix. */
export function install(options: InstallOptions): void {
  const { copy, json } = options;
  requireRoot('installing a service', ['systemd', 'install', ...(copy ? ['--copy'] : [])]);
  requireSystemd();
  // What root writes here must be readable for the service's user, whatever this shell's umask.
  process.umask(0o022);
  const own = thisProgram();
  if (!copy) refuseHidden(own);
  const before = installedProgram();
  const { copy: program, changed: copied } = copy ? copyProgram(own) : { copy: own, changed: false };
  // The system must not come up after a power cut with a unit that runs an empty file.
  if (copied) mustRun('sync', ['-f', COPIES_DIR]);

  const files = installedFiles(program);
  const isUnit = ({ path }: { readonly path: string }) => path !== SYSUSERS_FILE;
  const changed = [...writeFiles(files.filter((file) => !isUnit(file)))];
  mkdirSync(CONFIG_DIR, { recursive: true });
  mustRun('systemd-sysusers', [SYSUSERS_FILE]);
  const user = serviceUser();
  refuseUnusable(program, user);
  const state = ensureState(program, user, options, before !== undefined);
  refuseUnfit(program, user);

  // Sockets that are to change must be let go of first, and only then: until they are back, a bot that connects fails.
  const unitsChanged = writeFiles(files.filter(isUnit));
  const wasActive = isActive(SERVICE);
  const socketsChanged = unitsChanged.some((name) => name !== SERVICE);
  if (socketsChanged) run('systemctl', ['stop', ...SOCKETS, SERVICE]);
  changed.push(...unitsChanged);
  if (unitsChanged.length > 0) mustRun('systemctl', ['daemon-reload']);
  mustRun('systemctl', ['enable', '--quiet', ...UNITS]);
  const restarted = wasActive && (unitsChanged.length > 0 || copied);
  if (before !== undefined && !isSame(before, program)) rememberPrevious(before, program);
  start(restarted && !socketsChanged ? 'restart' : 'start');

  if (json) {
    printJson({ ...program, copied, changed, state, restarted, previous: previousProgram() ?? null });
    return;
  }
  printLine(`nonced ${program.version} is a service: ${program.node} ${mainFile(program.packageDir)}`);
  const news = [...changed, ...(copied ? [program.packageDir] : [])];
  printLine(news.length > 0 ? `written: ${news.join(', ')}` : 'nothing had to be changed');
  if (restarted) printLine('restarted; bots that hold a lease go on with it');
  if (state !== 'kept') printLine(state);
  printLine('A bot may connect once its user is in the group: usermod -aG nonced USER; then restart the bot.');
}

function isSame(one: Program, other: Program): boolean {
  return one.node === other.node && one.packageDir === other.packageDir && one.version === other.version;
}

/** With the sockets, that the unit requires. Throws ExitError with what the journal says. */
function start(how: 'start' | 'restart'): void {
  const { code } = run('systemctl', [how, SERVICE]);
  if (code === 0) return;
  const { stdout } = run('systemctl', ['status', '--no-pager', '--lines=5', SERVICE]);
  throw new ExitError(EXIT.unavailable, `the service does not start:\n${stdout}`);
}

/** Answers 'kept', or what `nonced state init` said. I9: a state that was lost is not made anew here either. */
function ensureState(program: Program, user: ServiceUser, options: InstallOptions, wasInstalled: boolean): string {
  const { floor, unit } = options;
  if (existsSync(join(STATE_DIR, 'state.json'))) return 'kept';
  const leftovers = existsSync(STATE_DIR) ? readdirSync(STATE_DIR) : [];
  const evidence = leftovers.length > 0 ? leftovers.join(', ') : 'the service was installed with one';
  if (leftovers.length > 0 || (wasInstalled && floor === undefined)) {
    throw new ExitError(
      EXIT.config,
      `${STATE_DIR} has no state.json, but ${evidence}: it was lost. Bring it back; or, if no nonce was ever higher ` +
        `than the clock, empty that directory and install with --floor now and the --unit of before`,
    );
  }
  makeDirectoryFor(user, STATE_DIR);
  const args = ['state', 'init', '--state-dir', STATE_DIR, '--runtime-dir', RUNTIME_DIR, '--floor', floor ?? 'now'];
  args.push('--unit', unit ?? 'ns');
  const { code, stdout, stderr } = run(program.node, [mainFile(program.packageDir), ...args], user);
  if (code === 0) return stdout;
  throw new ExitError(code as typeof EXIT.config, stderr.replace(/^nonced: /, ''));
}

/** Takes the service away. The state stays: without it, no nonce could ever be known to be new. */
export function uninstall({ json }: { readonly json: boolean }): void {
  requireRoot('removing a service', ['systemd', 'uninstall']);
  requireSystemd();
  const unitFiles = UNITS.map((name) => join(UNIT_DIR, name)).filter((path) => existsSync(path));
  if (unitFiles.length > 0) {
    // The sockets first, or the next bot to connect would start it again.
    run('systemctl', ['stop', ...SOCKETS, SERVICE]);
    if (isActive(SERVICE))
      throw new ExitError(EXIT.tempFail, 'the service does not stop; see: systemctl status nonced');
    run('systemctl', ['disable', '--quiet', ...UNITS]);
  }
  const removed = [...removeFiles([...unitFiles, SYSUSERS_FILE])];
  if (unitFiles.length > 0) {
    mustRun('systemctl', ['daemon-reload']);
    run('systemctl', ['reset-failed', ...UNITS]);
    for (const path of [RUNTIME_DIR, ENDED_FILE]) rmSync(path, { recursive: true, force: true });
  }
  if (removeCopies()) removed.push(COPIES_DIR);
  // A configuration is the operator's, and stays.
  if (existsSync(CONFIG_DIR) && readdirSync(CONFIG_DIR).length === 0) rmdirSync(CONFIG_DIR);
  const stateStays = existsSync(STATE_DIR);
  if (json) {
    printJson({ removed, stateKept: stateStays ? STATE_DIR : null });
    return;
  }
  printLine(removed.length > 0 ? `removed: ${removed.join(', ')}` : 'no service is installed');
  if (stateStays) {
    printLine(`${STATE_DIR} stays, with the user and group nonced: it is what keeps a nonce from being repeated.`);
    printLine('Delete it only when no key of it will be used again: rm -r /var/lib/nonced && userdel nonced');
  }
}

/** Prints the files as `install` would write them. */
export function print({ copy }: { readonly copy: boolean }): void {
  const own = thisProgram();
  for (const { path, text } of installedFiles(copy ? copyOf(own) : own, own.packageDir))
    printLine(`# ${path}\n${text}`);
}

/** Goes back to what was installed before, by that version's own `install`; once more goes forward again. */
export function rollback({ json }: { readonly json: boolean }): void {
  requireRoot('going back to the previous version', ['systemd', 'rollback']);
  requireSystemd();
  const [current, previous] = [installedProgram(), previousProgram()];
  if (previous === undefined) {
    throw new ExitError(EXIT.usage, 'there is no previous version: nothing else was installed on this host before');
  }
  if (!isStillThere(previous)) {
    throw new ExitError(
      EXIT.unavailable,
      `nonced ${previous.version} is not at ${previous.packageDir} any more (only --copy keeps it); ` +
        `install it again: npm install -g nonced@${previous.version} && nonced systemd install`,
    );
  }
  const { code, stdout, stderr } = run(previous.node, [mainFile(previous.packageDir), 'systemd', 'install', '--json']);
  if (code !== 0) throw new ExitError(code as typeof EXIT.config, stderr.replace(/^nonced: /, ''));
  if (json) printLine(stdout);
  else printLine(`nonced ${current?.version ?? '?'} -> ${previous.version}, at ${previous.packageDir}`);
}

/** Shows what is installed and how it is doing. Exits 69 where bots would find no daemon. */
export function status({ json }: { readonly json: boolean }): void {
  const program = installedProgram();
  const units = UNITS.map((name) => {
    const { ActiveState, SubState, UnitFileState, StatusText, NRestarts } = showUnit(name, [
      'ActiveState',
      'SubState',
      'UnitFileState',
      'StatusText',
      'NRestarts',
    ]);
    return {
      name,
      active: ActiveState ?? 'unknown',
      detail: SubState ?? '',
      enabled: UnitFileState === 'enabled',
      ...(StatusText && { says: StatusText }),
      ...(NRestarts !== undefined && { restarts: Number(NRestarts) }),
    };
  });
  const usable = program !== undefined && isStillThere(program);
  const previous = previousProgram();
  // While the sockets listen, a daemon that is not there is started for whoever connects.
  const served = units.filter(({ name }) => name !== SERVICE).every(({ active }) => active === 'active');
  if (!served) process.exitCode = EXIT.unavailable;
  if (json) {
    printJson({ installed: program ?? null, usable, served, units, stateDir: STATE_DIR, previous: previous ?? null });
    return;
  }
  if (program === undefined) {
    printLine('no service is installed; to install one: sudo nonced systemd install');
    return;
  }
  printLine(`nonced ${program.version}: ${program.node} ${mainFile(program.packageDir)}`);
  if (!usable) warn('that is not there, or another version, by now; run: nonced systemd install');
  for (const { name, active, detail, enabled, says, restarts } of units) {
    const notes = [
      enabled ? undefined : 'NOT ENABLED: gone after a reboot',
      restarts ? `${restarts} restarts` : undefined,
      says,
    ];
    printLine(
      `${name.padEnd(20)} ${active} (${detail})${notes
        .filter(Boolean)
        .map((note) => `; ${note}`)
        .join('')}`,
    );
  }
  if (previous !== undefined) {
    const gone = isStillThere(previous) ? '' : ' (not there any more)';
    printLine(
      `previous: nonced ${previous.version} at ${previous.packageDir}${gone}; back to it: nonced systemd rollback`,
    );
  }
}
