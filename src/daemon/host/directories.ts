import { join } from 'node:path';

/** A socket path longer than this is cut short by Node without a word. */
export const MAX_SOCKET_PATH_BYTES = 107;
/** Where the service has its sockets, and where a client looks first. */
export const SERVICE_RUNTIME_DIR = '/run/nonced';
const SERVICE_STATE_DIR = '/var/lib/nonced';

export const BOT_SOCKET = 'nonced.sock';
export const ADMIN_SOCKET = 'admin.sock';

/** What of the process decides where things lie, from the composition root. */
export interface Environment {
  readonly variables: Readonly<Record<string, string | undefined>>;
  readonly uid: number;
  readonly homeDir: string;
  readonly temporaryDir: string;
  exists(path: string): boolean;
}

export interface Directories {
  readonly stateDir: string;
  readonly runtimeDir: string;
  /** systemd gave them: the installation has made the state, so that a missing one is a loss. */
  readonly isService: boolean;
}

/** The flags, else systemd's directories, else root's, else the XDG ones, else the user's own. */
export function findDirectories(
  asked: { readonly stateDir?: string | undefined; readonly runtimeDir?: string | undefined },
  environment: Environment,
): Directories {
  const { variables, uid, homeDir } = environment;
  const given = (name: string): string | undefined => variables[name] || undefined;
  const ownState =
    uid === 0 ? SERVICE_STATE_DIR : join(given('XDG_STATE_HOME') ?? join(homeDir, '.local/state'), 'nonced');
  const systemdState = given('STATE_DIRECTORY');
  return {
    stateDir: asked.stateDir ?? systemdState ?? ownState,
    runtimeDir: asked.runtimeDir ?? given('RUNTIME_DIRECTORY') ?? ownRuntimeDir(environment),
    isService: asked.stateDir === undefined && systemdState !== undefined,
  };
}

function ownRuntimeDir({ variables, uid, temporaryDir, exists }: Environment): string {
  if (uid === 0) return SERVICE_RUNTIME_DIR;
  const xdg = variables['XDG_RUNTIME_DIR'];
  return xdg && exists(xdg) ? join(xdg, 'nonced') : join(temporaryDir, `nonced-${uid}`);
}
