import { formatDuration } from '../../../durations.ts';
import { VERSION } from '../../../version.ts';
import { COPIES_DIR, SERVICE, SOCKETS } from '../../systemd/places.ts';
import { quoteForShell } from '../../terminal/shell-word.ts';
import type { Installation, ServiceFacts, ServiceProcess, UnitFacts } from '../facts/service.ts';
import { type Check, type Finding, failure, judged, skipped, warning } from '../finding.ts';

const HOUR_MS = 3_600_000;
const MANY_RESTARTS = 3;

/** Settings of the units that the daemon depends on, or that decide who may connect. */
const RELIED_ON = new Set([
  'Type',
  'NotifyAccess',
  'ExecStart',
  'ExecStopPost',
  'User',
  'Group',
  'DynamicUser',
  'Sockets',
  'StateDirectory',
  'StateDirectoryMode',
  'RuntimeDirectory',
  'RuntimeDirectoryMode',
  'RuntimeDirectoryPreserve',
  'Restart',
  'RestartPreventExitStatus',
  'UMask',
  'MemoryDenyWriteExecute',
  'ListenStream',
  'FileDescriptorName',
  'Service',
  'SocketUser',
  'SocketGroup',
  'SocketMode',
  'DirectoryMode',
]);

/** What to do after each exit code of the daemon. */
const AFTER_EXIT: Readonly<Record<number, string>> = {
  64: 'the command line of the unit is wrong: undo what was changed with systemctl edit, and install again',
  70: 'the program has a defect: report the stack trace that the log has; systemd starts it again',
  74: 'the disk failed: read dmesg, and start again only when the disk is sound',
  75: 'no room on the disk, a wrong clock, or another daemon: correct it; systemd tries again every second',
  77: 'no permission for its directories: install again, and see whether a security module is in the way',
  78: 'an operator must decide about the state, a directory or the configuration; the log has the command',
};

/** Judges what systemd says about the service. */
export function judgeService({ installation, systemd }: ServiceFacts): Check {
  if (systemd.kind === 'absent') return skipped('service', 'systemd does not run this system');
  if (installation === undefined) {
    return skipped('service', 'none is installed; to install one: sudo nonced systemd install');
  }
  if (systemd.kind === 'silent') {
    return skipped('service', `systemd does not answer (${systemd.why}); it answers root: sudo nonced doctor`);
  }
  const { units, process } = systemd;
  const byName = (name: string) => units.find((unit) => unit.name === name);
  const service = byName(SERVICE);
  const sockets = SOCKETS.map(byName).filter((unit) => unit !== undefined);
  const disabled = units.filter(({ enabled }) => !enabled).map(({ name }) => name);
  const findings = [
    stateOf(service, process),
    socketsOf(sockets, service),
    disabled.length === 0
      ? undefined
      : warning(
          `${disabled.join(', ')}: not enabled, so not started at boot`,
          'enable it',
          `sudo systemctl enable ${disabled.join(' ')}`,
        ),
    restartsOf(process),
  ];
  const says =
    service?.active === 'active'
      ? `${SERVICE} is active, ${restartText(process)}`
      : `${SERVICE} is not running; systemd starts it for the first bot that connects`;
  return judged('service', says, findings);
}

function stateOf(service: UnitFacts | undefined, process: ServiceProcess | undefined): Finding | undefined {
  if (service === undefined)
    return failure(`systemd does not know ${SERVICE}`, 'let it read its units', 'sudo systemctl daemon-reload');
  if (service.active === 'active' || service.active === 'inactive' || service.active === 'reloading') return undefined;
  const ended = endText(process);
  const cure = AFTER_EXIT[process?.exitCode ?? -1] ?? 'the log says why';
  if (service.active === 'failed') {
    return failure(
      `${SERVICE} has failed${ended}, and systemd does not start it again`,
      cure,
      'systemctl status --no-pager --full nonced',
      'sudo systemctl start nonced',
    );
  }
  return failure(`${SERVICE} is ${service.active}${ended}`, cure, 'journalctl -u nonced -n 20 --no-pager');
}

function endText(process: ServiceProcess | undefined): string {
  if (process === undefined) return '';
  if (process.exitCode !== undefined && process.exitCode !== 0) return ` (exit ${process.exitCode})`;
  return process.result === 'success' ? '' : ` (${process.result})`;
}

function socketsOf(sockets: readonly UnitFacts[], service: UnitFacts | undefined): Finding | undefined {
  const closed = sockets.filter(({ active }) => active !== 'active').map(({ name }) => name);
  if (closed.length === 0) return undefined;
  // The sockets of a service that has failed for good are closed on purpose, so its cure comes first.
  const fix = service?.active === 'failed' ? 'start both once the service is cured' : 'start both';
  return failure(
    `${closed.join(', ')}: not listening, so no bot can connect`,
    fix,
    `sudo systemctl start ${SOCKETS.join(' ')} ${SERVICE}`,
  );
}

function restartsOf(process: ServiceProcess | undefined): Finding | undefined {
  if (process === undefined || process.restarts <= MANY_RESTARTS) return undefined;
  if (process.activeForMs !== undefined && process.activeForMs > HOUR_MS) return undefined;
  return warning(
    `${SERVICE} keeps ending: ${restartText(process)}`,
    'find out what ends it',
    'journalctl -u nonced -n 50 --no-pager',
  );
}

function restartText(process: ServiceProcess | undefined): string {
  if (process === undefined || process.restarts === 0) return 'never restarted';
  const ago = process.activeForMs === undefined ? '' : `, the last time ${formatDuration(process.activeForMs)} ago`;
  return `restarted ${process.restarts} times${ago}`;
}

/** Judges whether the units are what this version writes, and what was added to them. */
export function judgeUnits({ installation, systemd }: ServiceFacts): Check {
  if (systemd.kind === 'absent') return skipped('units', 'systemd does not run this system');
  if (installation === undefined) return skipped('units', 'none are installed');
  const { program, files, by } = installation;
  if (program === undefined) {
    return judged('units', '', [
      warning(
        'the units were not written by "nonced systemd install", so there is nothing to compare them with',
        'keep them if you know why; or let it write its own, which keeps the state',
        'sudo nonced systemd install',
      ),
    ]);
  }
  const units = systemd.kind === 'answers' ? systemd.units : [];
  const different = files.filter(({ state }) => state !== 'same');
  const findings: (Finding | undefined)[] = [
    programOf(installation),
    different.length === 0
      ? undefined
      : warning(
          `${different.map(({ path, state }) => (state === 'absent' ? `${path} is missing` : path)).join(', ')}: not as nonced ${by} writes it`,
          'let it be written again; put your own changes into a drop-in (systemctl edit nonced)',
          installCommand(installation),
        ),
    units.some(({ needsReload }) => needsReload)
      ? warning(
          'the units were changed, and systemd has not read them since',
          'let it read them',
          'sudo systemctl daemon-reload',
        )
      : undefined,
    ...units.map(dropInsOf),
  ];
  const dropIns = units.flatMap((unit) => unit.dropIns.map(({ path }) => path));
  const added = dropIns.length === 0 ? '' : `, with ${dropIns.join(', ')}`;
  return judged('units', `as nonced ${by} writes them${added}`, findings);
}

function programOf(installation: Installation): Finding | undefined {
  const { program, usable } = installation;
  if (program === undefined) return undefined;
  if (!usable) {
    return failure(
      `the service runs ${program.node} with ${program.packageDir}, which is gone, or is no longer version ${program.version}`,
      'install this version before the next start fails; --copy makes copies that no upgrade touches',
      installCommand(installation),
    );
  }
  if (program.version === VERSION) return undefined;
  return isOlder(program.version, VERSION)
    ? warning(
        `the units were written by nonced ${program.version}, and this is ${VERSION}`,
        'bring the service up to date; bots do not notice',
        installCommand(installation),
      )
    : warning(
        `the units were written by nonced ${program.version}, and this command is the older ${VERSION}`,
        "update the package that this command comes from; the service's own doctor tells the rest",
        `${quoteForShell(program.node)} ${quoteForShell(`${program.packageDir}/dist/cli/main.js`)} doctor`,
      );
}

function isOlder(one: string, other: string): boolean {
  const numbers = (version: string) => version.split(/[.-]/, 3).map(Number);
  const [theirs, ours] = [numbers(one), numbers(other)];
  const at = theirs.findIndex((number, index) => number !== ours[index]);
  return at >= 0 && (theirs[at] ?? 0) < (ours[at] ?? 0);
}

function installCommand({ program }: Installation): string {
  return `sudo nonced systemd install${program?.packageDir.startsWith(`${COPIES_DIR}/`) ? ' --copy' : ''}`;
}

function dropInsOf({ name, dropIns }: UnitFacts): Finding | undefined {
  const touched = dropIns.flatMap(({ path, text }) => {
    const settings = settingsIn(text).filter((setting) => RELIED_ON.has(setting));
    return settings.length === 0 ? [] : [`${path} sets ${settings.join(', ')}`];
  });
  if (touched.length === 0) return undefined;
  return warning(
    `${name}: ${touched.join('; ')}, which the daemon relies on`,
    'check whether that is still wanted; if not, remove it',
    `systemctl cat ${name}`,
    `sudo systemctl revert ${name}`,
  );
}

/** Returns the names of the settings in a unit or a drop-in, each once. */
export function settingsIn(text: string): readonly string[] {
  const names = text.split('\n').flatMap((line) => /^\s*([A-Za-z]+)\s*=/.exec(line)?.[1] ?? []);
  return [...new Set(names)];
}
