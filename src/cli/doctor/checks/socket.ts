import { basename, isAbsolute } from 'node:path';
import { SERVICE_SOCKET } from '../../../service-places.ts';
import { quoteForShell } from '../../terminal/shell-word.ts';
import { nameOf } from '../facts/names.ts';
import type { SocketFacts, Step } from '../facts/socket.ts';
import { type Check, type Finding, failure, judged, skipped, warning } from '../finding.ts';
import type { Subject } from '../subject.ts';

type There = Extract<Step['there'], { readonly uid: number }>;

/** Judges whether there is a socket where a client of this user looks, and says which place it is. */
export function judgeSocket({ chosen, places, environment, steps }: SocketFacts, start: string): Check {
  if (chosen.kind === 'refused') {
    const fix = 'give a shorter one; tell the daemon with --runtime-dir';
    return judged('socket', '', [failure(chosen.problem, fix, 'export NONCED_SOCKET=/run/nonced/nonced.sock')]);
  }
  const { path, distrust } = chosen;
  const isFromEnvironment = environment === path;
  const where = isFromEnvironment ? 'by $NONCED_SOCKET' : path === SERVICE_SOCKET ? "the service's" : 'of a user';
  const last = steps.at(-1)?.there.kind;
  const findings: (Finding | undefined)[] = [];
  if (last === 'absent') {
    const looked = places.map((place) => place.path).join(', ');
    findings.push(
      isFromEnvironment
        ? failure(
            `$NONCED_SOCKET says ${path}, but nothing is there`,
            'start the daemon that should be there, or unset the variable where it is set',
            'unset NONCED_SOCKET',
          )
        : failure(
            `there is no socket; looked for ${looked}`,
            'start the daemon, or say where it is with NONCED_SOCKET; in a container, mount the directory of the socket',
            start,
          ),
    );
  }
  if (last === 'directory' && steps.at(-1)?.path === path)
    findings.push(notASocket(path, 'a directory', isFromEnvironment));
  if (last === 'other') findings.push(notASocket(path, 'not a socket', isFromEnvironment));
  if (distrust !== undefined) {
    findings.push(failure(distrust, 'see whose it is, and what is in it', `ls -la ${quoteForShell(path)}`));
  }
  if (!isAbsolute(path)) {
    findings.push(
      warning(
        `the path ${path} is relative, so a program that is started in another directory looks elsewhere`,
        'give the absolute path',
        `export NONCED_SOCKET=${quoteForShell(`${process.cwd()}/${path}`)}`,
      ),
    );
  }
  if (basename(path) === 'admin.sock') {
    const fix = 'bots use the one beside it';
    findings.push(
      warning(
        `${path} is the operator's socket`,
        fix,
        `export NONCED_SOCKET=${path.replace(/admin\.sock$/, 'nonced.sock')}`,
      ),
    );
  }
  return judged('socket', `${path}, ${where}`, findings);
}

function notASocket(path: string, what: string, isFromEnvironment: boolean): Finding {
  const quoted = quoteForShell(path);
  // Under any other name it may be a file that the system needs: a wrong path was given, and nothing is in the way.
  if (basename(path) !== 'nonced.sock') {
    return isFromEnvironment
      ? failure(
          `$NONCED_SOCKET says ${path}, which is ${what}`,
          "give it the path of the daemon's socket, or unset it where it is set",
          'unset NONCED_SOCKET',
        )
      : failure(`${path} is ${what}`, "give --socket the path of the daemon's socket, or leave it out");
  }
  return failure(`${path} is ${what}`, 'move it away, then start the daemon', `sudo mv ${quoted} ${quoted}.old`);
}

/** Judges whether this user may pass through every directory on the way, and whether another user could replace one. */
export function judgePath({ steps, users, groupNames, groups }: SocketFacts, { name, uid }: Subject): Check {
  const directories = steps.flatMap(({ path, there }) => (there.kind === 'directory' ? [{ path, there }] : []));
  const findings = directories.map(({ path, there }): Finding | undefined => {
    const quoted = quoteForShell(path);
    const who = `${nameOf(users, there.uid)}:${nameOf(groupNames, there.gid)}`;
    const mode = octal(there.mode);
    if (!there.open) {
      const letter = there.uid === uid ? 'u' : groups.includes(there.gid) ? 'g' : 'o';
      return failure(
        `${name} may not pass through ${path} (${mode}, ${who})`,
        'allow passing through, which is not reading; the mode of the socket itself decides who may connect',
        `sudo chmod ${letter}+x ${quoted}`,
      );
    }
    // In a sticky directory, such as /tmp, no user can replace the files of another.
    if ((there.mode & 0o002) !== 0 && (there.mode & 0o1000) === 0) {
      const fix = 'let only its owner write there: any other user could put a socket in the place of this one';
      return warning(`every user may write to ${path} (${mode}, ${who})`, fix, `sudo chmod o-w ${quoted}`);
    }
    return undefined;
  });
  const passed = directories.map(({ path }) => path).at(-1) ?? '/';
  return judged('path', `${name} may pass through every directory down to ${passed}`, findings);
}

/** Judges whether this user may connect to the socket, and whether other users may who should not. */
export function judgeGroup(facts: SocketFacts, subject: Subject): Check {
  const last = facts.steps.at(-1);
  if (last?.there.kind !== 'socket') return skipped('group', 'no socket can be seen');
  const { path, there } = last;
  const { name, uid } = subject;
  const group = nameOf(facts.groupNames, there.gid);
  const mode = octal(there.mode);
  const findings = [
    there.open ? undefined : closed(path, there, group, facts, subject),
    (there.mode & 0o002) === 0
      ? undefined
      : warning(
          `every user of this host may connect to ${path} (${mode}), draw nonces and hold every lane`,
          'remove that permission; for the service, also undo what changed its socket: systemctl cat nonced.socket',
          `sudo chmod o-rwx ${quoteForShell(path)}`,
        ),
  ];
  if (uid === 0) {
    return judged('group', 'root may connect to every socket; to test a bot: sudo nonced doctor USER', findings);
  }
  const because =
    there.uid === uid
      ? 'it owns the socket'
      : facts.groups.includes(there.gid)
        ? `as a member of ${group}`
        : 'as every user may';
  return judged(
    'group',
    `${name} may connect: ${because} (${mode}, ${nameOf(facts.users, there.uid)}:${group})`,
    findings,
  );
}

function closed(path: string, there: There, group: string, facts: SocketFacts, subject: Subject): Finding {
  const { name, uid, databaseGroups } = subject;
  const quoted = quoteForShell(path);
  const mode = octal(there.mode);
  const bits = there.uid === uid ? 0o200 : facts.groups.includes(there.gid) ? 0o020 : 0o002;
  if ((there.mode & bits) !== 0) {
    return failure(
      `the mode of ${path} (${mode}) lets ${name} connect, but the kernel does not`,
      'look for an access list, and in the log of a security module (AppArmor, SELinux)',
      `getfacl ${quoted}`,
      'sudo dmesg | grep -i -e denied -e audit',
    );
  }
  if ((there.mode & 0o020) === 0) {
    const fix = 'let its group connect, as the daemon sets it';
    return failure(`only its owner may use ${path} (${mode})`, fix, `sudo chmod 660 ${quoted}`);
  }
  if (databaseGroups?.includes(there.gid) && !facts.groups.includes(there.gid)) {
    return failure(
      `${name} is in the group ${group}, but this login is older than that and does not have it`,
      'log in again, and restart the bots that were started from here; for this shell only:',
      `newgrp ${group}`,
    );
  }
  if (there.gid === 0) {
    return failure(
      `${path} belongs to the group root, which no bot should be in`,
      'before the daemon starts, give it and its directory to a group of the bots (docs/operations.md, "Directories and sockets")',
      `sudo chgrp nonced ${quoted}`,
    );
  }
  return failure(
    `${name} is not in the group ${group}, which may connect to ${path}`,
    'add the user, then restart its bots: a process keeps the groups that it was started with',
    `sudo usermod -aG ${group} ${name}`,
  );
}

function octal(mode: number): string {
  return mode.toString(8).padStart(4, '0');
}
