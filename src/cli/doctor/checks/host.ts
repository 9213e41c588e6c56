import { RELEASED_MS } from '../../../version.ts';
import type { Answer } from '../facts/answer.ts';
import type { ClockFacts, HostFacts } from '../facts/host.ts';
import { type Check, failure, judged, skipped, warning } from '../finding.ts';

/** As package.json has it. */
const OLDEST_NODE = [20, 17] as const;

/** Whether this kernel and this Node are supported. */
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
      : warning(`nobody has tried nonced on ${system}`, 'run it on Linux where it matters', 'uname -a'),
    hasBootId
      ? undefined
      : failure(
          'the kernel tells no boot id, without which no daemon starts',
          'let /proc/sys be seen here',
          'cat /proc/sys/kernel/random/boot_id',
        ),
    hasMachineId
      ? undefined
      : warning(
          '/etc/machine-id is missing or empty: a state that was copied to another host would not be noticed',
          'make one, while no daemon runs',
          'sudo systemd-machine-id-setup',
        ),
  ]);
}

/** Whether the program is there that a daemon locks its directories with. */
export function judgeFlock({ flock, platform }: HostFacts, answer: Answer | undefined): Check {
  if (platform === 'darwin') return skipped('flock', 'macOS locks without it');
  if (flock.kind === 'ours') return judged('flock', `of util-linux ${flock.version}`);
  const fact = flock.kind === 'missing' ? 'there is no program flock on the PATH' : 'flock is not that of util-linux';
  const fix = 'install util-linux, which contains it';
  // Where one runs it may be in another container, with a flock of its own.
  const found =
    answer?.kind === 'answered'
      ? warning(`${fact}: a daemon that is started here would be refused`, fix, 'sudo apt install util-linux')
      : failure(`${fact}: no daemon can start`, fix, 'sudo apt install util-linux');
  return judged('flock', '', [found]);
}

/** Whether the clock, which the nonces follow, is kept right. */
export function judgeClock({ wallMs, synchronised }: ClockFacts, container: string | undefined): Check {
  const findings = [
    wallMs < RELEASED_MS
      ? failure(
          `the clock says ${new Date(wallMs).toISOString()}, before this program was made`,
          'set it; no daemon makes a first state with it',
          'sudo timedatectl set-ntp true',
        )
      : undefined,
    synchronised.kind === 'no'
      ? warning(
          `no time service keeps the clock right, says ${synchronised.by}`,
          'run one: the nonces follow the clock, and a step of it cannot be taken back',
          'sudo timedatectl set-ntp true',
        )
      : undefined,
  ];
  if (synchronised.kind === 'unknown' && findings[0] === undefined) {
    const host = container === undefined ? '' : "; a container has the host's clock, so look there";
    return skipped('clock', `whether it is kept right cannot be told: ${synchronised.why}${host}`);
  }
  return judged('clock', synchronised.kind === 'yes' ? `synchronised, says ${synchronised.by}` : '', findings);
}
