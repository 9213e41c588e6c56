import { formatDuration } from '../../../durations.ts';
import { DIGITS } from '../../../terms.ts';
import { VERSION } from '../../../version.ts';
import { findings as findingsOf } from '../../status/findings.ts';
import { quoteForShell } from '../../terminal/shell-word.ts';
import type { Answer, Answered } from '../facts/answer.ts';
import type { RunningDaemon } from '../facts/daemons.ts';
import { type Check, type Finding, failure, judged, warning } from '../finding.ts';

const SLOW_MS = 1_000;

export interface Asked {
  readonly path: string;
  readonly answer: Answer;
  /** The daemon that should answer there, if it is known. */
  readonly daemon: RunningDaemon | undefined;
  /** The command that starts it. */
  readonly start: string;
}

/** Judges whether a daemon answers, and how soon. */
export function judgeAnswer({ path, answer, daemon, start }: Asked): Check {
  const quoted = quoteForShell(path);
  switch (answer.kind) {
    case 'answered': {
      const took = formatDuration(answer.tookMs);
      const slow =
        answer.tookMs <= SLOW_MS
          ? undefined
          : warning(
              `the daemon took ${took} to answer`,
              'see what keeps this machine or its disk busy',
              'uptime',
              'nonced status',
            );
      return judged('answer', `nonced ${answer.status.version}, pid ${answer.status.pid}, answers in ${took}`, [slow]);
    }
    case 'refused':
      return judged('answer', '', [refused(path, answer.code, start)]);
    case 'silent':
      return judged('answer', '', [silent(path, answer.afterMs, daemon)]);
    case 'declined':
      return judged('answer', '', [
        answer.code === 'SHUTTING_DOWN'
          ? warning('the daemon is stopping', 'try again in a moment', 'nonced doctor')
          : failure(
              `the daemon refuses to answer: ${answer.message}`,
              'see what it says about itself',
              'nonced status',
            ),
      ]);
    case 'stranger':
      return judged('answer', '', [
        failure(
          `something that is not nonced answers at ${path}`,
          'find out what it is, stop it, and start the daemon',
          `sudo ss -xlp src ${quoted}`,
        ),
      ]);
  }
}

function refused(path: string, code: string, start: string): Finding {
  const quoted = quoteForShell(path);
  switch (code) {
    case 'EACCES':
    case 'EPERM':
      return failure(`may not connect to ${path} (${code})`, 'see path and group above', `ls -l ${quoted}`);
    case 'EAGAIN':
      return failure(
        `connections at ${path} are not accepted, and its queue is full`,
        'the daemon hangs or is stopped: see which process it is',
        `sudo ss -xlp src ${quoted}`,
      );
    case 'EPROTOTYPE':
      return failure(
        `${path} is a socket of another kind`,
        'move it away, then start the daemon',
        `sudo mv ${quoted} ${quoted}.old`,
        start,
      );
    case 'ECONNREFUSED':
      return failure(
        `nothing listens at ${path}: a daemon that has ended left the socket behind`,
        'start the daemon, which replaces it; to use another daemon, remove it, because a client takes the first it finds',
        start,
        `sudo rm ${quoted}`,
      );
    default:
      return failure(`cannot connect to ${path} (${code})`, 'start the daemon', start);
  }
}

function silent(path: string, afterMs: number, daemon: RunningDaemon | undefined): Finding {
  const fact = `${path} takes connections, but no answer came within ${formatDuration(afterMs)}`;
  if (daemon?.stopped) {
    return failure(
      `${fact}: the daemon (pid ${daemon.pid}) is stopped, by a signal or Ctrl-Z`,
      'let it go on; it ends no lease before it has read what waits',
      `sudo kill -CONT ${daemon.pid}`,
    );
  }
  const who =
    daemon === undefined ? `sudo ss -xlp src ${quoteForShell(path)}` : `ps -o pid,stat,wchan:32,args -p ${daemon.pid}`;
  return failure(fact, 'it hangs: see in which state it is (D: a disk does not answer), then restart it', who);
}

/** Judges as `status --check` does. */
export function judgeStatus(answer: Answered): Check {
  const { leases, waiting, accounts } = answer.status.totals;
  const found = findingsOf(answer.status)
    .filter(({ severity }) => severity > 0)
    .map(({ severity, text, todo }) => (severity === 2 ? failure : warning)(text, todo, 'nonced status'));
  return judged('status', `${accounts} accounts, ${leases} held, ${waiting} waiting; the clock is followed`, found);
}

/** Judges whether this command, the daemon, and the clients of bots go together: at most one minor version apart. */
export function judgeVersion(answer: Answered, clients: readonly string[]): Check {
  const daemon = answer.status.version;
  const others = clients.length === 0 ? '' : `, bots ${clients.join(', ')}`;
  const findings = [
    versionsApart('this command', VERSION, daemon),
    ...clients.map((client) => versionsApart('the client of a running bot', client, daemon)),
  ];
  return judged('version', `daemon ${daemon}, this command ${VERSION}${others}`, findings);
}

function versionsApart(who: string, theirs: string, daemon: string): Finding | undefined {
  const apart = minorsApart(theirs, daemon);
  if (apart <= 1) return undefined;
  return failure(
    `${who} is ${theirs} and the daemon ${daemon}, more than one minor version apart`,
    "bring them to one version: the bot's package where the bot is installed, the service with",
    'sudo nonced systemd install',
  );
}

/**
 * Returns how many minor versions lie between two: infinitely many between two major ones, or if one cannot be read.
 */
export function minorsApart(one: string, other: string): number {
  const [major, minor] = numbersOf(one);
  const [otherMajor, otherMinor] = numbersOf(other);
  return major === otherMajor ? Math.abs(minor - otherMinor) : Infinity;
}

function numbersOf(version: string): [number, number] {
  const [, major, minor] = /^(\d+)\.(\d+)\./.exec(version) ?? [];
  return [Number(major), Number(minor)];
}

/** Judges which units are handed out, and whether a bot asked for another. */
export function judgeSequences(answer: Answered): Check {
  const { sequences } = answer.status;
  const findings: (Finding | undefined)[] = sequences.map(({ name, unit, last }) => {
    const digits = String(last).length;
    if (unit === 'counter' || last === 0n || digits === DIGITS[unit]) return undefined;
    return warning(
      `sequence ${name} is in ${unit}, which has ${DIGITS[unit]} digits, but its last nonce has ${digits}`,
      'it was raised far; check whether the exchange still accepts such nonces, and see',
      'nonced status',
    );
  });
  for (const { account, unit, asked } of answer.refusedUnits) {
    findings.push(
      warning(
        `account ${account} draws ${unit}, but programs asked for ${asked.unit}: refused ${asked.count === 1 ? 'once' : `${asked.count} times`} since the daemon started`,
        'correct the unit in those programs, or let them use the daemon of this key; first read "A one-way door" in the README',
        `nonced why ${quoteForShell(account)}`,
      ),
    );
  }
  const units = sequences.map(({ name, unit }) =>
    unit === 'counter' ? `${name} counts` : `${name} in ${unit} (${DIGITS[unit]} digits)`,
  );
  return judged('sequences', units.join(', '), findings);
}
