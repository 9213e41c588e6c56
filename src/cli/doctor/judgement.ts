import { daemonAt, judgeInstance, judgeOthers, type OtherSocket } from './checks/daemons.ts';
import { judgeClock, judgeFlock, judgePlatform } from './checks/host.ts';
import { clientsOf, judgeProcesses } from './checks/processes.ts';
import { judgeAnswer, judgeSequences, judgeStatus, judgeVersion } from './checks/running.ts';
import { judgeService, judgeUnits } from './checks/service.ts';
import { judgeGroup, judgePath, judgeSocket } from './checks/socket.ts';
import { judgeDisk, judgeState, type StoragePlace, unansweredDisk } from './checks/storage.ts';
import type { Answer, Answered } from './facts/answer.ts';
import type { DaemonFacts } from './facts/daemons.ts';
import type { ClockFacts, HostFacts } from './facts/host.ts';
import type { ProcessFacts } from './facts/processes.ts';
import type { ServiceFacts } from './facts/service.ts';
import type { SocketFacts } from './facts/socket.ts';
import type { DiskFacts, StateFacts } from './facts/storage.ts';
import { type Check, type CheckName, judged, skipped, warning } from './finding.ts';
import { factsOf, type Look, type Unlooked } from './look.ts';
import type { Subject } from './subject.ts';

/** Everything that is known before anything is judged. */
export interface Evidence {
  readonly subject: Subject;
  readonly host: Look<HostFacts>;
  readonly clock: Look<ClockFacts>;
  readonly socket: Look<SocketFacts>;
  readonly processes: Look<ProcessFacts>;
  readonly daemons: Look<DaemonFacts | undefined>;
  readonly service: Look<ServiceFacts>;
  /** What the user was told. */
  readonly answer: Look<Answer> | Unlooked;
  /** The same, or what root was told if the user may not ask. */
  readonly heard: Answer | undefined;
  readonly others: readonly OtherSocket[];
  /** Where the state is, if that is known. */
  readonly place: StoragePlace | undefined;
  readonly disk: Look<DiskFacts> | Unlooked;
  readonly state: Look<StateFacts> | Unlooked;
}

/** Judges everything, in the order of CHECKS. */
export function judge(evidence: Evidence): readonly Check[] {
  const { subject, host, socket, processes, daemons, service, heard, others, place } = evidence;
  const path = chosenPath(factsOf(socket));
  const daemon = path === undefined ? undefined : daemonAt(path, heard, factsOf(daemons), factsOf(service));
  const start =
    factsOf(service)?.installation === undefined ? 'nonced serve' : 'sudo systemctl start nonced.socket nonced.service';
  // The daemon itself is judged only by what it has answered.
  const answered = (check: CheckName, judgeAnswered: (answer: Answered) => Check) =>
    heard?.kind === 'answered' ? judgeAnswered(heard) : skipped(check, 'no daemon has answered');
  const seenSocket = (check: CheckName, judgeSeen: (facts: SocketFacts, path: string) => Check) =>
    told(check, socket, (facts) =>
      path === undefined ? skipped(check, 'no socket path is known') : judgeSeen(facts, path),
    );
  const stored = <Facts>(
    check: CheckName,
    look: Look<Facts> | Unlooked,
    judgeStored: (facts: Facts, place: StoragePlace) => Check,
  ) => told(check, look, (facts) => (place === undefined ? skipped(check, '') : judgeStored(facts, place)));

  return [
    told('platform', host, judgePlatform),
    told('flock', host, (facts) => judgeFlock(facts, heard)),
    told('clock', evidence.clock, (facts) => judgeClock(facts, factsOf(host)?.container)),
    told('socket', socket, (facts) => judgeSocket(facts, start)),
    seenSocket('path', (facts) => judgePath(facts, subject)),
    seenSocket('group', (facts) => judgeGroup(facts, subject)),
    seenSocket('processes', (facts) => told('processes', processes, (all) => judgeProcesses(all, facts, subject))),
    seenSocket('answer', (_, at) =>
      told('answer', evidence.answer, (facts) => judgeAnswer({ path: at, answer: facts, daemon, start })),
    ),
    answered('status', judgeStatus),
    answered('version', (facts) => judgeVersion(facts, clientsOf(factsOf(processes)))),
    answered('sequences', judgeSequences),
    seenSocket('instance', (facts, at) => judgeInstance(at, heard, others, facts.environment === at)),
    seenSocket('others', (_, at) => told('others', daemons, (facts) => judgeOthers(facts, at, heard, others))),
    told('service', service, judgeService),
    told('units', service, judgeUnits),
    evidence.disk.kind === 'unseen' && place !== undefined
      ? judged('disk', '', [unansweredDisk(place.dir, evidence.disk.why)])
      : stored('disk', evidence.disk, judgeDisk),
    stored('state', evidence.state, (facts, at) => judgeState(facts, at, heard)),
  ];
}

export function chosenPath(socket: SocketFacts | undefined): string | undefined {
  return socket?.chosen.kind === 'place' ? socket.chosen.path : undefined;
}

/** Judges what was seen. A look that failed is itself unusual. */
function told<Facts>(check: CheckName, look: Look<Facts> | Unlooked, judgeTold: (facts: Facts) => Check): Check {
  switch (look.kind) {
    case 'seen':
      return judgeTold(look.facts);
    case 'unlooked':
      return skipped(check, look.why);
    case 'unseen':
      return judged(check, '', [
        warning(
          `this could not be tested: ${look.why}`,
          'try again; if it fails again, something on this host hangs',
          'nonced doctor',
        ),
      ]);
  }
}
