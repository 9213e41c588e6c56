import { isAbsolute, join } from 'node:path';
import { EXIT, ExitError } from '../../errors.ts';
import { SERVICE_RUNTIME_DIR, SERVICE_STATE_DIR } from '../../service-places.ts';

/** Node silently cuts a longer socket path short. */
export const MAX_SOCKET_PATH_BYTES = 107;

export const BOT_SOCKET = 'nonced.sock';
export const ADMIN_SOCKET = 'admin.sock';

/** What decides about the process where its files lie; the composition root reads it. */
export interface Environment {
  readonly variables: Readonly<Record<string, string | undefined>>;
  readonly uid: number;
  /** Throws if the user has none. Called only if it is needed. */
  homeDir(): string;
  readonly temporaryDir: string;
  exists(path: string): boolean;
}

export interface Directories {
  readonly stateDir: string;
  readonly runtimeDir: string;
  /** systemd gave the state directory: the installation has made the state, so a missing one is a loss. */
  readonly isService: boolean;
  /** Where the state would be without XDG_STATE_HOME; undefined if something else decided where it is. */
  readonly homeStateDir: string | undefined;
}

/**
 * Returns the directories of the flags, or else systemd's, or else root's, the XDG ones or the user's own. Throws
 * ExitError if one of those is not an absolute path: the state would be wherever the command happens to be run.
 */
export function findDirectories(
  asked: { readonly stateDir?: string | undefined; readonly runtimeDir?: string | undefined },
  environment: Environment,
): Directories {
  const systemdState = given(environment, 'STATE_DIRECTORY', '--state-dir');
  const isOwn = asked.stateDir === undefined && systemdState === undefined && environment.uid !== 0;
  return {
    stateDir: asked.stateDir ?? systemdState ?? ownStateDir(environment),
    runtimeDir:
      asked.runtimeDir ?? given(environment, 'RUNTIME_DIRECTORY', '--runtime-dir') ?? ownRuntimeDir(environment),
    isService: asked.stateDir === undefined && systemdState !== undefined,
    homeStateDir: isOwn ? homeStateDir(environment) : undefined,
  };
}

function ownStateDir(environment: Environment): string {
  if (environment.uid === 0) return SERVICE_STATE_DIR;
  const xdg = given(environment, 'XDG_STATE_HOME', '--state-dir');
  return join(xdg ?? join(homeOf(environment), '.local/state'), 'nonced');
}

/** Undefined if the user has no home directory: then XDG_STATE_HOME alone says where the state is. */
function homeStateDir({ homeDir }: Environment): string | undefined {
  try {
    const home = homeDir();
    return isAbsolute(home) ? join(home, '.local/state/nonced') : undefined;
  } catch {
    return undefined;
  }
}

function ownRuntimeDir(environment: Environment): string {
  const { uid, temporaryDir, exists } = environment;
  if (uid === 0) return SERVICE_RUNTIME_DIR;
  const xdg = given(environment, 'XDG_RUNTIME_DIR', '--runtime-dir');
  if (xdg !== undefined && exists(xdg)) return join(xdg, 'nonced');
  return join(absolute('the directory for temporary files (TMPDIR)', temporaryDir, '--runtime-dir'), `nonced-${uid}`);
}

/** Returns a variable's value. One that is set to nothing counts as not set. */
function given({ variables }: Environment, name: string, option: string): string | undefined {
  const value = variables[name];
  return value ? absolute(name, value, option) : undefined;
}

function homeOf({ homeDir, uid }: Environment): string {
  let home: string;
  try {
    home = homeDir();
  } catch (error) {
    throw new ExitError(
      EXIT.config,
      `HOME is not set, and user ${uid} has no home directory; set it, or name the directory: --state-dir DIR`,
      { cause: error },
    );
  }
  return absolute('the home directory (HOME)', home, '--state-dir');
}

function absolute(what: string, path: string, option: string): string {
  if (isAbsolute(path)) return path;
  const fact = path === '' ? 'is empty' : `is ${JSON.stringify(path)}, which is not an absolute path`;
  throw new ExitError(EXIT.config, `${what} ${fact}; set it, or name the directory: ${option} DIR`);
}
