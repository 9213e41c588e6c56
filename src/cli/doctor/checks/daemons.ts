import { SERVICE_SOCKET } from '../../../service-places.ts';
import { quoteForShell } from '../../terminal/shell-word.ts';
import type { Answer, Answered } from '../facts/answer.ts';
import type { DaemonFacts, RunningDaemon } from '../facts/daemons.ts';
import type { ServiceFacts } from '../facts/service.ts';
import { type Check, type Finding, failure, judged, skipped, warning } from '../finding.ts';

/** A socket other than the one that this user finds. */
export interface OtherSocket {
  readonly path: string;
  /** Clients look there, so it is in the way even if nothing listens. */
  readonly isPlace: boolean;
  /** Undefined if it was not asked, because that would have started the service. */
  readonly answer: Answer | undefined;
}

/** Judges whether the daemon that this user finds is the service's. */
export function judgeInstance(
  path: string,
  answer: Answer | undefined,
  others: readonly OtherSocket[],
  byEnvironment: boolean,
): Check {
  const own = answered(answer);
  const service = others.find((other) => other.path === SERVICE_SOCKET);
  if (service === undefined || path === SERVICE_SOCKET) {
    const whose = path === SERVICE_SOCKET ? "the service's" : 'no service runs beside it';
    return own === undefined ? skipped('instance', UNANSWERED) : judged('instance', `${whose}, ${nameOf(own)}`);
  }
  const theirs = answered(service.answer);
  if (own !== undefined && own.status.instance === theirs?.status.instance) {
    return judged('instance', `the service's, by another path, ${nameOf(own)}`);
  }
  const fact = `${byEnvironment ? '$NONCED_SOCKET leads' : 'this user is led'} to ${path}, and not to the service at ${SERVICE_SOCKET}`;
  const command = byEnvironment ? 'unset NONCED_SOCKET' : 'nonced doctor --socket /run/nonced/nonced.sock';
  return judged('instance', '', [twoAuthorities(fact, command, own, theirs)]);
}

const UNANSWERED = 'no daemon has answered';

/** Judges whether there are other daemons, or sockets of daemons, beside the one that this user finds. */
export function judgeOthers(
  facts: DaemonFacts | undefined,
  path: string,
  answer: Answer | undefined,
  others: readonly OtherSocket[],
): Check {
  const own = answered(answer);
  const findings = others.map((other) => besides(other, own));
  if (facts === undefined && findings.length === 0) return skipped('others', 'there is no /proc to see daemons in');
  const heard = new Set([own, ...others.map((other) => answered(other.answer))].map((each) => each?.status.pid));
  for (const daemon of facts?.daemons ?? []) {
    if (heard.has(daemon.pid) || daemonSocket(daemon) === path) continue;
    // If none has answered, it may be any whose directories are hidden.
    if (own === undefined && daemon.runtimeDir === undefined) continue;
    findings.push(unheard(daemon));
  }
  return judged('others', 'no other daemon, and no socket of one', findings);
}

function besides({ path, isPlace, answer }: OtherSocket, own: Answered | undefined): Finding | undefined {
  const theirs = answered(answer);
  if (theirs !== undefined) {
    // Another check reports the service's.
    if (path === SERVICE_SOCKET || own?.status.instance === theirs.status.instance) return undefined;
    const { version, pid } = theirs.status;
    return twoAuthorities(
      `another daemon answers at ${path} (nonced ${version}, pid ${pid})`,
      `ps -o pid,user,lstart,args -p ${pid}`,
      own,
      theirs,
    );
  }
  if (!isPlace || answer?.kind !== 'refused' || answer.code !== 'ECONNREFUSED') return undefined;
  return warning(
    `a daemon that has ended left ${path} behind`,
    'start that daemon, which replaces it, or remove it: a client takes the first socket that it finds',
    `sudo rm ${quoteForShell(path)}`,
  );
}

function twoAuthorities(
  fact: string,
  command: string,
  own: Answered | undefined,
  theirs: Answered | undefined,
): Finding {
  // The label of a bot that names no account proves nothing.
  const labels = new Set(theirs?.status.accounts.map(({ account }) => account).filter((label) => label !== 'default'));
  const shared = own?.status.accounts.map(({ account }) => account).filter((label) => labels.has(label)) ?? [];
  if (shared.length > 0) {
    return failure(
      `${fact}; both hand out nonces for ${shared.join(', ')}`,
      'if that is one key, its nonces overtake each other: let all its bots use one daemon, and stop the other',
      command,
    );
  }
  return warning(fact, 'fine only if no key is used with both: two authorities for a key are worse than none', command);
}

function unheard({ pid, uid, stopped, contained, stateDir, runtimeDir }: RunningDaemon): Finding {
  const where = contained
    ? ', in a container'
    : `${runtimeDir === undefined ? '' : `, sockets in ${runtimeDir}`}${stateDir === undefined ? '' : `, state in ${stateDir}`}`;
  return warning(
    `another daemon runs (pid ${pid}, user ${uid}${where}${stopped ? ', stopped' : ''})`,
    'fine only if no key is used with both: two authorities for a key are worse than none',
    `ps -o pid,user,lstart,args -p ${pid}`,
  );
}

/**
 * Returns the process behind a socket: the one that its answer names, or else the directory's, or else the service's.
 */
export function daemonAt(
  path: string,
  answer: Answer | undefined,
  facts: DaemonFacts | undefined,
  service: ServiceFacts | undefined,
): RunningDaemon | undefined {
  const all = facts?.daemons ?? [];
  const pid = answered(answer)?.status.pid;
  if (pid !== undefined) return all.find((daemon) => !daemon.contained && daemon.pid === pid);
  const byPath = all.find((daemon) => daemonSocket(daemon) === path);
  if (byPath !== undefined) return byPath;
  const main = service?.systemd.kind === 'answers' ? service.systemd.process?.pid : undefined;
  if (path === SERVICE_SOCKET && main !== undefined) return all.find((daemon) => daemon.pid === main);
  // If there is exactly one whose directories are hidden, it is most likely that one.
  const hidden = all.filter(({ runtimeDir }) => runtimeDir === undefined);
  return hidden.length === 1 ? hidden[0] : undefined;
}

/** Returns the path of a daemon's socket for bots, if its directory can be seen. */
export function daemonSocket({ runtimeDir, contained }: RunningDaemon): string | undefined {
  return runtimeDir === undefined || contained ? undefined : `${runtimeDir}/nonced.sock`;
}

function answered(answer: Answer | undefined): Answered | undefined {
  return answer?.kind === 'answered' ? answer : undefined;
}

function nameOf({ status }: Answered): string {
  return `instance ${status.instance.slice(0, 8)}`;
}
