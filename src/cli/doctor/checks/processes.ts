import { VERSION } from '../../../version.ts';
import { quoteForShell } from '../../terminal/shell-word.ts';
import { nameOf } from '../facts/names.ts';
import type { ProcessFacts, UserProcess } from '../facts/processes.ts';
import type { SocketFacts } from '../facts/socket.ts';
import { type Check, type Finding, judged, skipped, warning } from '../finding.ts';
import type { Subject } from '../subject.ts';

const NAMED = 5;

/** Judges whether the processes of this user would reach the same daemon as a program that is started now. */
export function judgeProcesses(facts: ProcessFacts, socket: SocketFacts, { name, uid }: Subject): Check {
  if (facts === undefined) return skipped('processes', 'there is no /proc to see them in');
  const findings = [lacking(facts, socket, name, uid), elsewhere(facts, socket, name)];
  return judged(
    'processes',
    facts.length === 0
      ? `${name} has no other process`
      : `${counted(facts.length)} of ${name}, with the same access as a new one`,
    findings,
  );
}

/** Finds processes without the group: a process keeps the groups that the user had when it was started. */
function lacking(facts: readonly UserProcess[], socket: SocketFacts, name: string, uid: number): Finding | undefined {
  const there = socket.steps.at(-1)?.there;
  if (there?.kind !== 'socket' || uid === 0 || there.uid === uid || (there.mode & 0o022) !== 0o020) return undefined;
  const { gid } = there;
  // Another check reports a user who is not in the group at all.
  if (!socket.groups.includes(gid)) return undefined;
  const without = facts.filter(({ groups }) => !groups.includes(gid));
  if (without.length === 0) return undefined;
  const group = nameOf(socket.groupNames, gid);
  return warning(
    `${without.length} of ${counted(facts.length)} of ${name} lack the group ${group}, and so have no access: ${named(without)}`,
    'restart those that are bots; one that is not a service, from a new login',
    ...restarts(without, name),
  );
}

function elsewhere(facts: readonly UserProcess[], { chosen }: SocketFacts, name: string): Finding | undefined {
  if (chosen.kind !== 'place') return undefined;
  const others = facts.filter(({ socket }) => socket !== undefined && socket !== chosen.path);
  if (others.length === 0) return undefined;
  const paths = [...new Set(others.map(({ socket }) => socket))].join(', ');
  return warning(
    `in ${counted(others.length)} of ${name}, $NONCED_SOCKET is not ${chosen.path}, but ${paths}: ${named(others)}`,
    'make sure that no key is used with both; if all should use one daemon, remove the variable and restart them',
    ...restarts(others, name),
  );
}

function counted(count: number): string {
  return count === 1 ? '1 process' : `${count} processes`;
}

function named(processes: readonly UserProcess[]): string {
  const shown = processes.slice(0, NAMED).map(({ name, pid }) => `${name} (pid ${pid})`);
  const rest = processes.length - shown.length;
  return shown.join(', ') + (rest > 0 ? ` and ${rest} more` : '');
}

function restarts(processes: readonly UserProcess[], name: string): string[] {
  const commands = processes.map(({ unit }) => {
    if (unit === undefined) return undefined;
    // The manager of a user's services keeps the groups that it had when it started.
    return unit.manager === 'user'
      ? `sudo systemctl restart user@$(id -u ${name}).service`
      : `sudo systemctl restart ${quoteForShell(unit.name)}`;
  });
  const known = [...new Set(commands.filter((command) => command !== undefined))];
  const loose = processes.filter(({ unit }) => unit === undefined).map(({ pid }) => pid);
  return loose.length === 0 ? known : [...known, `ps -o pid,lstart,args -p ${loose.join()}`];
}

/** Returns the versions of the client that running Node processes would load, but for this one. */
export function clientsOf(facts: ProcessFacts): readonly string[] {
  return [
    ...new Set((facts ?? []).flatMap(({ client }) => (client === undefined || client === VERSION ? [] : [client]))),
  ];
}
