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
import type { Terminal } from '../terminal/terminal.ts';

export interface InstallOptions {
  readonly copy: boolean;
  /** Passed to `nonced state init` if there is no state yet; the clock if left out. */
  readonly floor?: string;
  readonly unit?: string;
  readonly json: boolean;
}

/** Makes nonced a service, or brings the installed one up to this version. Throws ExitError, with the fix. */
export function install(options: InstallOptions, terminal: Terminal): void {
  const { copy, json } = options;
  requireRoot('installing a service', ['systemd', 'install', ...(copy ? ['--copy'] : [])]);
  requireSystemd();
  // The service's user must be able to read what root writes here, whatever the umask of this shell.
  process.umask(0o022);
  const own = thisProgram();
  if (!copy) refuseHidden(own);
  // Before anything is changed. Once more below, as the service's own user.
  if (existsSync(join(STATE_DIR, 'state.json'))) refuseUnfit(own);
  const before = installedProgram();
  const { copy: program, changed: copied } = copy ? copyProgram(own) : { copy: own, changed: false };
  // After a power cut the system must not come up with a unit that runs an empty file.
  if (copied) mustRun('sync', ['-f', COPIES_DIR]);

  const files = installedFiles(program);
  const isUnit = ({ path }: { readonly path: string }) => path !== SYSUSERS_FILE;
  const changed = [...writeFiles(files.filter((file) => !isUnit(file)))];
  mkdirSync(CONFIG_DIR, { recursive: true });
  mustRun('systemd-sysusers', [SYSUSERS_FILE]);
  const user = serviceUser();
  refuseUnusable(program, user, terminal);
  const state = ensureState(program, user, options, before !== undefined);
  refuseUnfit(program, user);

  // Sockets that change must be stopped first, and only those: until they are back, a bot that connects fails.
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
    terminal.printJson({ ...program, copied, changed, state, restarted, previous: previousProgram() ?? null });
    return;
  }
  terminal.printLine(`nonced ${program.version} is a service: ${program.node} ${mainFile(program.packageDir)}`);
  const news = [...changed, ...(copied ? [program.packageDir] : [])];
  terminal.printLine(news.length > 0 ? `written: ${news.join(', ')}` : 'nothing had to change');
  if (restarted) terminal.printLine('restarted; bots keep the leases that they hold');
  if (state !== 'kept') terminal.printLine(state);
  terminal.printLine('A bot may connect once its user is in the group: usermod -aG nonced USER; then restart the bot.');
}

function isSame(one: Program, other: Program): boolean {
  return one.node === other.node && one.packageDir === other.packageDir && one.version === other.version;
}

/** Starts the service and the sockets that its unit requires. Throws ExitError with the last lines of its log. */
function start(how: 'start' | 'restart'): void {
  const { code } = run('systemctl', [how, SERVICE]);
  if (code === 0) return;
  const { stdout } = run('systemctl', ['status', '--no-pager', '--lines=5', SERVICE]);
  throw new ExitError(EXIT.unavailable, `the service does not start:\n${stdout}`);
}

/** Returns 'kept', or what `nonced state init` printed. I9: never replaces a state that was lost. */
function ensureState(program: Program, user: ServiceUser, options: InstallOptions, wasInstalled: boolean): string {
  const { floor, unit } = options;
  if (existsSync(join(STATE_DIR, 'state.json'))) return 'kept';
  const leftovers = existsSync(STATE_DIR) ? readdirSync(STATE_DIR) : [];
  const evidence = leftovers.length > 0 ? leftovers.join(', ') : 'the service was installed with one';
  if (leftovers.length > 0 || (wasInstalled && floor === undefined)) {
    throw new ExitError(
      EXIT.config,
      `${STATE_DIR} has no state.json, but ${evidence}: it was lost. Restore it; or, if no nonce was ever ahead of the ` +
        'clock, empty that directory and install with --floor now and the same --unit as before',
    );
  }
  makeDirectoryFor(user, STATE_DIR);
  const args = ['state', 'init', '--state-dir', STATE_DIR, '--runtime-dir', RUNTIME_DIR, '--floor', floor ?? 'now'];
  args.push('--unit', unit ?? 'ns');
  const { code, stdout, stderr } = run(program.node, [mainFile(program.packageDir), ...args], user);
  if (code === 0) return stdout;
  throw new ExitError(code as typeof EXIT.config, stderr.replace(/^nonced: /, ''));
}

/** Removes the service. The state stays: without it, no nonce can be known to be new. */
export function uninstall({ json }: { readonly json: boolean }, terminal: Terminal): void {
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
  // The configuration belongs to the operator, and stays.
  if (existsSync(CONFIG_DIR) && readdirSync(CONFIG_DIR).length === 0) rmdirSync(CONFIG_DIR);
  const stateStays = existsSync(STATE_DIR);
  if (json) {
    terminal.printJson({ removed, stateKept: stateStays ? STATE_DIR : null });
    return;
  }
  terminal.printLine(removed.length > 0 ? `removed: ${removed.join(', ')}` : 'no service is installed');
  if (stateStays) {
    terminal.printLine(`${STATE_DIR} stays, with the user and group nonced: without it, nonces could be repeated.`);
    terminal.printLine(
      'Delete it only if none of its keys will be used again: rm -r /var/lib/nonced && userdel nonced',
    );
  }
}

/** Prints the files as `install` would write them. */
export function print({ copy }: { readonly copy: boolean }, terminal: Terminal): void {
  const own = thisProgram();
  for (const { path, text } of installedFiles(copy ? copyOf(own) : own, own.packageDir))
    terminal.printLine(`# ${path}\n${text}`);
}

/** Goes back to what was installed before, by that version's own `install`. A second time it goes forward again. */
export function rollback({ json }: { readonly json: boolean }, terminal: Terminal): void {
  requireRoot('going back to the previous version', ['systemd', 'rollback']);
  requireSystemd();
  const [current, previous] = [installedProgram(), previousProgram()];
  if (previous === undefined) {
    throw new ExitError(EXIT.usage, 'there is no previous version: no other version was ever installed on this host');
  }
  if (!isStillThere(previous)) {
    throw new ExitError(
      EXIT.unavailable,
      `nonced ${previous.version} is no longer in ${previous.packageDir} (only --copy keeps it); ` +
        `in a checkout of that version: npm pack && sudo npm install -g ./nonced-${previous.version}.tgz && sudo nonced systemd install`,
    );
  }
  const { code, stdout, stderr } = run(previous.node, [mainFile(previous.packageDir), 'systemd', 'install', '--json']);
  if (code !== 0) throw new ExitError(code as typeof EXIT.config, stderr.replace(/^nonced: /, ''));
  if (json) terminal.printLine(stdout);
  else terminal.printLine(`nonced ${current?.version ?? '?'} -> ${previous.version}, at ${previous.packageDir}`);
}

/** Shows what is installed and how it is doing. Exits with 69 if bots would find no daemon. */
export function status({ json }: { readonly json: boolean }, terminal: Terminal): void {
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
  // As long as the sockets listen, a bot that connects starts the daemon.
  const served = units.filter(({ name }) => name !== SERVICE).every(({ active }) => active === 'active');
  if (!served) terminal.exitCode = EXIT.unavailable;
  if (json) {
    terminal.printJson({
      installed: program ?? null,
      usable,
      served,
      units,
      stateDir: STATE_DIR,
      previous: previous ?? null,
    });
    return;
  }
  if (program === undefined) {
    terminal.printLine('no service is installed; to install one: sudo nonced systemd install');
    return;
  }
  terminal.printLine(`nonced ${program.version}: ${program.node} ${mainFile(program.packageDir)}`);
  if (!usable) terminal.warn('that program is gone, or is another version now; run: sudo nonced systemd install');
  for (const { name, active, detail, enabled, says, restarts } of units) {
    const notes = [
      enabled ? undefined : 'NOT ENABLED: it will not start at boot',
      restarts ? `${restarts} restarts` : undefined,
      says,
    ];
    terminal.printLine(
      `${name.padEnd(20)} ${active} (${detail})${notes
        .filter(Boolean)
        .map((note) => `; ${note}`)
        .join('')}`,
    );
  }
  if (previous !== undefined) {
    const gone = isStillThere(previous) ? '' : ' (no longer there)';
    terminal.printLine(
      `previous: nonced ${previous.version} in ${previous.packageDir}${gone}; to go back: sudo nonced systemd rollback`,
    );
  }
}
