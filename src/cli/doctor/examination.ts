import { SERVICE_SOCKET } from '../../service-places.ts';
import { directories } from '../directories.ts';
import { SERVICE, STATE_DIR } from '../systemd/places.ts';
import type { Host } from '../terminal/terminal.ts';
import { daemonAt, daemonSocket, type OtherSocket } from './checks/daemons.ts';
import type { StoragePlace } from './checks/storage.ts';
import type { Answer } from './facts/answer.ts';
import type { StateFacts } from './facts/storage.ts';
import { chosenPath, type Evidence } from './judgement.ts';
import { factsOf, type Look, type Unlooked } from './look.ts';
import type { Subject } from './subject.ts';
import { Witness } from './witness.ts';

/** A daemon that has not answered by then will not answer. */
const ANSWER_WITHIN_MS = 5_000;
const MOST_OTHERS = 32;

/** What was given on the command line. */
export interface Asked {
  readonly socket: string | undefined;
  readonly stateDir: string | undefined;
  readonly env: Host['env'];
}

/** What is seen independently of any other look. */
type Surface = Pick<Evidence, 'subject' | 'host' | 'clock' | 'socket' | 'processes' | 'daemons' | 'service'>;

/**
 * Looks at everything that is judged. Changes nothing and draws no nonce. It ends even if something hangs: each look
 * has a deadline and happens in a process that can be left behind.
 */
export async function examine(subject: Subject, asked: Asked): Promise<Evidence> {
  const host = new Witness();
  const user = subject.other === undefined ? host : new Witness(subject.other);
  try {
    const surface = await lookAround(host, user, subject, asked);
    const [answer, others] = await Promise.all([ask(user, surface), askOthers(host, surface)]);
    const heard = factsOf(answer) ?? (await askInstead(host, surface));
    const place = placeOf(surface, heard, asked);
    return { ...surface, answer, heard, others, place, ...(await lookAtStorage(host, place, surface, heard)) };
  } finally {
    host.end();
    user.end();
  }
}

async function lookAround(host: Witness, user: Witness, subject: Subject, asked: Asked): Promise<Surface> {
  const [hostSeen, clock, socket, processes, daemons, service] = await Promise.all([
    host.look('host', {}),
    host.look('clock', {}),
    user.look('socket', { asked: asked.socket }),
    user.look('processes', { but: [process.pid, host.pid, user.pid] }),
    host.look('daemons', {}),
    host.look('service', {}),
  ]);
  return { subject, host: hostSeen, clock, socket, processes, daemons, service };
}

async function ask(user: Witness, surface: Surface): Promise<Look<Answer> | Unlooked> {
  const socket = factsOf(surface.socket);
  const path = chosenPath(socket);
  const there = socket?.steps.at(-1)?.there;
  if (path === undefined || there?.kind !== 'socket') return { kind: 'unlooked', why: 'no socket can be seen' };
  if (!there.open) return { kind: 'unlooked', why: 'this user may not connect' };
  if (wouldStart(path, surface)) {
    return { kind: 'unlooked', why: 'connecting would start the service, and doctor changes nothing' };
  }
  return user.look('answer', { path, withinMs: ANSWER_WITHIN_MS });
}

/** Asks as root if the user may not, for what does not depend on the user. */
async function askInstead(host: Witness, surface: Surface): Promise<Answer | undefined> {
  const path = chosenPath(factsOf(surface.socket));
  if (path === undefined || surface.subject.other === undefined || wouldStart(path, surface)) return undefined;
  const answer = factsOf(await host.look('answer', { path, withinMs: ANSWER_WITHIN_MS }));
  return answer?.kind === 'answered' ? answer : undefined;
}

/** Asks other sockets: the service's, those where clients look, and those of the daemons that were found. */
async function askOthers(host: Witness, surface: Surface): Promise<readonly OtherSocket[]> {
  const socket = factsOf(surface.socket);
  const daemons = factsOf(surface.daemons);
  const places = new Set([SERVICE_SOCKET, ...(socket?.places ?? []).map((place) => place.path)]);
  const served = (daemons?.daemons ?? []).flatMap((daemon) => daemonSocket(daemon) ?? []);
  const paths = new Set([...places, ...served, ...(daemons?.listening ?? [])]);
  paths.delete(chosenPath(socket) ?? '');
  const asked = await Promise.all(
    [...paths].slice(0, MOST_OTHERS).map(async (path): Promise<OtherSocket> => {
      const look = wouldStart(path, surface)
        ? undefined
        : await host.look('answer', { path, withinMs: ANSWER_WITHIN_MS });
      return { path, isPlace: places.has(path), answer: look && factsOf(look) };
    }),
  );
  return asked.filter(({ answer }) => !(answer?.kind === 'refused' && answer.code === 'ENOENT'));
}

/** Returns whether connecting would start the service: it is installed and does not run. */
function wouldStart(path: string, surface: Surface): boolean {
  const [service, daemons] = [factsOf(surface.service), factsOf(surface.daemons)];
  if (path !== SERVICE_SOCKET || service?.installation === undefined) return false;
  switch (service.systemd.kind) {
    case 'absent':
      return false;
    case 'answers':
      return service.systemd.units.some(({ name, active }) => name === SERVICE && active === 'inactive');
    case 'silent':
      return daemons?.all === true && !daemons.daemons.some(({ contained }) => !contained);
  }
}

/** Returns where the daemon's state is; undefined if that is not known. */
function placeOf(surface: Surface, heard: Answer | undefined, asked: Asked): StoragePlace | undefined {
  const [socket, service] = [factsOf(surface.socket), factsOf(surface.service)];
  const path = chosenPath(socket);
  // If a client finds no socket at all, the service's is the one that is missing.
  const isElsewhere = path !== SERVICE_SOCKET && socket?.steps.at(-1)?.there.kind === 'socket';
  const isService = service?.installation !== undefined && !isElsewhere;
  const platform = factsOf(surface.host)?.platform ?? process.platform;
  const found = (dir: string) => ({ dir, isService, platform });
  if (asked.stateDir !== undefined) return found(directories({ stateDir: asked.stateDir }, asked.env).stateDir);
  const daemon = path === undefined ? undefined : daemonAt(path, heard, factsOf(surface.daemons), service);
  if (daemon?.stateDir !== undefined) return found(daemon.stateDir);
  if (isService) return found(STATE_DIR);
  return surface.subject.other === undefined ? found(directories({}, asked.env).stateDir) : undefined;
}

async function lookAtStorage(
  host: Witness,
  place: StoragePlace | undefined,
  surface: Surface,
  heard: Answer | undefined,
): Promise<Pick<Evidence, 'disk' | 'state'>> {
  if (place === undefined) {
    const unknown: Unlooked = { kind: 'unlooked', why: 'it is not known where the state is; give --state-dir DIR' };
    return { disk: unknown, state: unknown };
  }
  const { dir } = place;
  const disk = await host.look('disk', { dir });
  return { disk, state: await readState() };

  function readState(): Promise<Look<StateFacts>> | Unlooked {
    // A read would hang, too, in a file system that does not even say how full it is.
    if (disk.kind === 'unseen') return { kind: 'unlooked', why: `${dir} does not answer` };
    if (disk.facts.entry.kind === 'absent') return { kind: 'unlooked', why: `there is no ${dir}` };
    // A lock proves something only if it is certain that no daemon is behind the socket.
    const isAbsent = factsOf(surface.socket)?.steps.at(-1)?.there.kind === 'absent';
    return host.look('state', { dir, probe: isAbsent || heard?.kind === 'refused' });
  }
}
