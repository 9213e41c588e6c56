import { join } from 'node:path';
import { SERVICE_RUNTIME_DIR } from '../../service-places.ts';
import { SERVICE_STATE_DIR } from '../../store/directories.ts';

/** Node silently cuts a longer socket path short. */
export const MAX_SOCKET_PATH_BYTES = 107;

export const BOT_SOCKET = 'nonced.sock';
export const ADMIN_SOCKET = 'admin.sock';

/** What decides about the process where its files lie; the composition root reads it. */
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
  /** systemd gave the state directory: the installation has made the state, so a missing one is a loss. */
  readonly isService: boolean;
}

/** Returns the directories of the flags, or else systemd's, or else root's, the XDG ones or the user's own. */
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
