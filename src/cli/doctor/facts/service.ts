import { existsSync, readFileSync } from 'node:fs';
import { systemClock } from '../../../clock.ts';
import { isStillThere } from '../../systemd/copies.ts';
import { UNITS } from '../../systemd/places.ts';
import { type Program, thisProgram } from '../../systemd/program.ts';
import { installedFiles, installedProgram, readIfThere } from '../../systemd/unit-files.ts';
import { ran } from './ran.ts';

/** A unit, as systemd sees it. */
export interface UnitFacts {
  readonly name: string;
  /** `active`, `inactive`, `failed`, `activating`, … */
  readonly active: string;
  readonly enabled: boolean;
  readonly needsReload: boolean;
  readonly dropIns: readonly { readonly path: string; readonly text: string }[];
}

/** What systemd knows about the daemon beyond its unit. */
export interface ServiceProcess {
  readonly pid: number;
  /** How often systemd has restarted it since it was last started by hand or at boot. */
  readonly restarts: number;
  /** How long it has run, in milliseconds; undefined if it does not run. */
  readonly activeForMs: number | undefined;
  /** How the last one ended: `success`, `exit-code`, `signal`, `watchdog`, `oom-kill`, … */
  readonly result: string;
  readonly exitCode: number | undefined;
}

/** A file of the installation, and what it should be. */
export interface InstalledFileFacts {
  readonly path: string;
  readonly state: 'same' | 'other' | 'absent';
}

export interface Installation {
  /** Undefined if the unit was not written by an installation. */
  readonly program: Program | undefined;
  /** Its Node and its package are still there, in the version that was installed. */
  readonly usable: boolean;
  /** The files, compared with what version `by` writes. */
  readonly files: readonly InstalledFileFacts[];
  /** The version whose templates those are: this one, or the installed one if that is another. */
  readonly by: string;
}

export interface ServiceFacts {
  /** Undefined if no unit is installed. */
  readonly installation: Installation | undefined;
  readonly systemd:
    | { readonly kind: 'absent' }
    /** Without D-Bus it answers only root. */
    | { readonly kind: 'silent'; readonly why: string }
    | { readonly kind: 'answers'; readonly units: readonly UnitFacts[]; readonly process: ServiceProcess | undefined };
}

/** Reads what is installed, and asks systemd how it is doing. */
export async function serviceFacts(_: object): Promise<ServiceFacts> {
  const installation = readInstallation();
  if (!existsSync('/run/systemd/system')) return { installation, systemd: { kind: 'absent' } };
  if (installation === undefined) {
    return { installation, systemd: { kind: 'answers', units: [], process: undefined } };
  }
  return { installation, systemd: await askSystemd() };
}

function readInstallation(): Installation | undefined {
  const own = thisProgram();
  const program = installedProgram();
  // In a unit that is not ours there is nothing to fill in; the paths are the same.
  const isOwn = program === undefined || program.version === own.version || !isStillThere(program);
  const by = isOwn ? own : program;
  const files = installedFiles(program ?? own, by.packageDir).map(({ path, text }) => {
    const installed = readIfThere(path);
    return { path, state: installed === undefined ? 'absent' : installed === text ? 'same' : 'other' } as const;
  });
  if (files.every(({ state }) => state === 'absent')) return undefined;
  return { program, usable: program !== undefined && isStillThere(program), files, by: by.version };
}

const PROPERTIES = [
  'Id',
  'ActiveState',
  'UnitFileState',
  'NeedDaemonReload',
  'DropInPaths',
  'MainPID',
  'NRestarts',
  'Result',
  'ExecMainStatus',
  'ExecMainCode',
  'ActiveEnterTimestampMonotonic',
];
/** waitid(2): the process exited by itself. */
const EXITED = '1';

async function askSystemd(): Promise<ServiceFacts['systemd']> {
  const end = await ran('systemctl', 'show', `--property=${PROPERTIES.join()}`, ...UNITS);
  if (end.kind === 'missing') return { kind: 'silent', why: 'systemctl is not installed' };
  if (end.kind === 'late') return { kind: 'silent', why: 'systemctl does not return' };
  if (end.code !== 0) return { kind: 'silent', why: end.stderr.split('\n')[0] ?? '' };
  const shown = end.stdout.split(/\n\n+/).map(propertiesIn);
  return {
    kind: 'answers',
    units: shown.map((unit) => ({
      name: unit['Id'] ?? '?',
      active: unit['ActiveState'] ?? 'unknown',
      enabled: unit['UnitFileState'] === 'enabled',
      needsReload: unit['NeedDaemonReload'] === 'yes',
      dropIns: (unit['DropInPaths'] ?? '')
        .split(' ')
        .filter(Boolean)
        .map((path) => ({ path, text: readText(path) })),
    })),
    process: processIn(shown),
  };
}

/** Reads the properties that `systemctl show` prints. */
export function propertiesIn(text: string): Readonly<Record<string, string>> {
  return Object.fromEntries(
    text.split('\n').map((line) => {
      const at = line.indexOf('=');
      return [line.slice(0, at), line.slice(at + 1)];
    }),
  );
}

function processIn(shown: readonly Readonly<Record<string, string>>[]): ServiceProcess | undefined {
  const service = shown.find((unit) => unit['NRestarts'] !== undefined);
  if (service === undefined) return undefined;
  const enteredUs = Number(service['ActiveEnterTimestampMonotonic']);
  return {
    pid: Number(service['MainPID']),
    restarts: Number(service['NRestarts']),
    activeForMs: service['ActiveState'] === 'active' ? systemClock().monotonicMs() - enteredUs / 1000 : undefined,
    result: service['Result'] ?? 'unknown',
    exitCode: service['ExecMainCode'] === EXITED ? Number(service['ExecMainStatus']) : undefined,
  };
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
