import { RELEASED_MS } from '../../../version.ts';
import type { Answer } from '../facts/answer.ts';
import type { ClockFacts, HostFacts } from '../facts/host.ts';
import { type Check, failure, judged, skipped, warning } from '../finding.ts';

/** The same as in package.json. */
const OLDEST_NODE = [20, 17] as const;

/** Judges whether this kernel and this Node are supported. */
export function judgePlatform({ platform, release, node, hasBootId, hasMachineId, container }: HostFacts): Check {
  const [major = 0, minor = 0] = node.split('.').map(Number);
  const [oldestMajor, oldestMinor] = OLDEST_NODE;
  const isOld = major < oldestMajor || (major === oldestMajor && minor < oldestMinor);
  const system = platform === 'linux' ? 'Linux' : platform;
  const inside = container === undefined ? '' : `, in a container (${container})`;
  return judged('platform', `${system} ${release}${inside}, Node ${node}`, [
    isOld
      ? failure(
          `Node ${node} is too old`,
          `install ${OLDEST_NODE.join('.')} or later, and run nonced with it`,
          'node --version',
        )
      : undefined,
    platform === 'linux'
      ? undefined
      : warning(`nonced is not tested on ${system}`, 'run it on Linux if money depends on it', 'uname -a'),
    hasBootId
      ? undefined
      : failure(
          'the kernel gives no boot id, without which no daemon starts',
          'make /proc/sys visible here',
          'cat /proc/sys/kernel/random/boot_id',
        ),
    hasMachineId
      ? undefined
      : warning(
          '/etc/machine-id is missing or empty: a state that was copied to another host would not be noticed',
          'make one while no daemon runs',
          'sudo systemd-machine-id-setup',
        ),
  ]);
}

/** Judges whether the program that locks the daemon's directories is installed. */
export function judgeFlock({ flock, platform }: HostFacts, answer: Answer | undefined): Check {
  if (platform === 'darwin') return skipped('flock', 'not needed on macOS');
  if (flock.kind === 'ours') return judged('flock', `of util-linux ${flock.version}`);
  const fact =
    flock.kind === 'missing' ? 'there is no program flock on the PATH' : 'flock is not the one from util-linux';
  const fix = 'install util-linux, which contains it';
  // A daemon that runs may be in another container, with a flock of its own.
  const found =
    answer?.kind === 'answered'
      ? warning(`${fact}: a daemon that is started here would not start`, fix, 'sudo apt install util-linux')
      : failure(`${fact}: no daemon can start`, fix, 'sudo apt install util-linux');
  return judged('flock', '', [found]);
}

/** Judges whether a time service keeps the clock right, which the nonces follow. */
export function judgeClock({ wallMs, synchronised }: ClockFacts, container: string | undefined): Check {
  const findings = [
    wallMs < RELEASED_MS
      ? failure(
          `the clock says ${new Date(wallMs).toISOString()}, which is before this program was made`,
          'set it; until then no daemon makes a first state',
          'sudo timedatectl set-ntp true',
        )
      : undefined,
    synchronised.kind === 'no'
      ? warning(
          `no time service keeps the clock right, according to ${synchronised.by}`,
          'run one: the nonces follow the clock, and a jump of it cannot be undone',
          'sudo timedatectl set-ntp true',
        )
      : undefined,
  ];
  if (synchronised.kind === 'unknown' && findings[0] === undefined) {
    const host = container === undefined ? '' : '; a container has the clock of its host, so look there';
    return skipped('clock', `it is not known whether it is kept right: ${synchronised.why}${host}`);
  }
  return judged('clock', synchronised.kind === 'yes' ? `synchronised, according to ${synchronised.by}` : '', findings);
}
