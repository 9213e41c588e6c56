import { userInfo } from 'node:os';
import { EXIT, ExitError } from '../../errors.ts';
import { requireRoot } from '../systemd/program.ts';
import { printedBy } from './facts/ran.ts';

/** Another user, whom a witness becomes. */
export interface OtherUser {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
  readonly home: string;
}

/** The user as whom everything is tested. */
export interface Subject {
  readonly name: string;
  readonly uid: number;
  /** The groups of a new login of this user; undefined if no database knows the user. */
  readonly databaseGroups: readonly number[] | undefined;
  /** Undefined if it is the user who runs this. */
  readonly other: OtherUser | undefined;
}

/**
 * Returns the user `asked`, or the one who runs this. Rejects with ExitError: 64 for an unknown user, 77 without root.
 */
export async function subjectOf(asked: string | undefined): Promise<Subject> {
  const uid = process.geteuid?.() ?? -1;
  const own = ownName(uid);
  if (asked === undefined || asked === own || asked === String(uid)) {
    return { name: own, uid, databaseGroups: await databaseGroups(own), other: undefined };
  }
  const [otherUid, gid] = await Promise.all([printedBy('id', '-u', '--', asked), printedBy('id', '-g', '--', asked)]);
  if (otherUid === undefined || gid === undefined) {
    throw new ExitError(EXIT.usage, `there is no user ${asked}; see: getent passwd`);
  }
  requireRoot(`testing as ${asked}`, ['doctor', asked]);
  const name = (await printedBy('id', '-un', '--', asked)) ?? asked;
  const home = (await printedBy('getent', 'passwd', otherUid))?.split(':')[5] ?? '/';
  const other = { name, uid: Number(otherUid), gid: Number(gid), home };
  return { name, uid: other.uid, databaseGroups: await databaseGroups(name), other };
}

async function databaseGroups(name: string): Promise<readonly number[] | undefined> {
  const line = await printedBy('id', '-G', '--', name);
  return line?.split(' ').map(Number);
}

function ownName(uid: number): string {
  try {
    return userInfo().username;
  } catch {
    // A uid that no database knows, as in a container.
    return `user ${uid}`;
  }
}
