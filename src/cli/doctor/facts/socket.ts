import { constants, type Stats } from 'node:fs';
import { access, stat } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { surroundings } from '../../../client/connection/host.ts';
import { checkOwner, findSocket, type SocketPlace, socketPlaces } from '../../../client/connection/socket-path.ts';
import { NoncedError, systemErrorCode } from '../../../errors.ts';
import { type Names, namesOf } from './names.ts';

/** One name on the way to a socket, as this user sees it. */
export interface Step {
  readonly path: string;
  readonly there:
    | {
        readonly kind: 'directory' | 'socket' | 'other';
        readonly uid: number;
        readonly gid: number;
        /** Only the permissions. */
        readonly mode: number;
        /** Whether the kernel lets this user pass through the directory, or connect to the socket. */
        readonly open: boolean;
      }
    | { readonly kind: 'absent' | 'hidden' };
}

export interface SocketFacts {
  /** The groups of this process: the effective one and the supplementary ones. */
  readonly groups: readonly number[];
  /** `$NONCED_SOCKET`. */
  readonly environment: string | undefined;
  /** Where a client looks, in that order. */
  readonly places: readonly { readonly path: string; readonly exists: boolean }[];
  readonly chosen:
    | { readonly kind: 'place'; readonly path: string; readonly distrust: string | undefined }
    | { readonly kind: 'refused'; readonly problem: string };
  /** From the root to the chosen socket, as far as this user can see. */
  readonly steps: readonly Step[];
  readonly users: Names;
  readonly groupNames: Names;
}

/** Looks for the socket as a client of this process's user does, and at every directory on the way. */
export async function socketFacts({ asked }: { readonly asked: string | undefined }): Promise<SocketFacts> {
  const around = surroundings();
  const groups = [...new Set([process.getegid?.() ?? -1, ...(process.getgroups?.() ?? [])])];
  const places = socketPlaces(asked, around).map(({ path }) => ({ path, exists: around.exists(path) }));
  const chosen = chosenOf(() => findSocket(asked, around), around);
  const steps = chosen.kind === 'place' ? await stepsTo(chosen.path) : [];
  const there = steps.flatMap((step) => ('uid' in step.there ? [step.there] : []));
  return {
    groups,
    environment: around.environment['NONCED_SOCKET'] || undefined,
    places,
    chosen,
    steps,
    users: await namesOf(
      'passwd',
      there.map(({ uid }) => uid),
    ),
    groupNames: await namesOf(
      'group',
      there.map(({ gid }) => gid),
    ),
  };
}

function chosenOf(find: () => SocketPlace, around: ReturnType<typeof surroundings>): SocketFacts['chosen'] {
  let place: SocketPlace;
  try {
    place = find();
  } catch (error) {
    return { kind: 'refused', problem: messageOf(error) };
  }
  try {
    checkOwner(place, around);
    return { kind: 'place', path: place.path, distrust: undefined };
  } catch (error) {
    return { kind: 'place', path: place.path, distrust: messageOf(error) };
  }
}

function messageOf(error: unknown): string {
  if (error instanceof NoncedError) return error.message;
  throw error;
}

async function stepsTo(socket: string): Promise<Step[]> {
  const paths = [resolve(socket)];
  for (let [path] = paths; path !== undefined && dirname(path) !== path; [path] = paths) paths.unshift(dirname(path));
  const steps: Step[] = [];
  for (const path of paths) {
    const step = { path, there: await look(path) };
    steps.push(step);
    if (!('uid' in step.there) || (step.there.kind === 'directory' && !step.there.open)) break;
  }
  return steps;
}

async function look(path: string): Promise<Step['there']> {
  let stats: Stats;
  try {
    stats = await stat(path);
  } catch (error) {
    const code = systemErrorCode(error);
    return { kind: code === 'ENOENT' || code === 'ENOTDIR' ? 'absent' : 'hidden' };
  }
  const kind = stats.isDirectory() ? 'directory' : stats.isSocket() ? 'socket' : 'other';
  const { uid, gid, mode } = stats;
  // Ask the kernel and not the mode: there may be access lists and security modules.
  const open = await allows(path, kind === 'directory' ? constants.X_OK : constants.W_OK);
  return { kind, uid, gid, mode: mode & 0o7777, open };
}

async function allows(path: string, mode: number): Promise<boolean> {
  try {
    await access(path, mode);
    return true;
  } catch {
    return false;
  }
}
