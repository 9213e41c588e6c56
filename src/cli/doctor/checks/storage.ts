import { quoteForShell } from '../../terminal/shell-word.ts';
import type { Answer } from '../facts/answer.ts';
import type { DiskFacts, StateFacts } from '../facts/storage.ts';
import { type Check, type Finding, failure, judged, skipped, warning } from '../finding.ts';

/** The same as in docs/operations.md. */
const LITTLE_SPACE_BYTES = 100_000_000;
/** A write needs a second copy of the state beside the first, and a block for the directory. */
const NO_SPACE_BYTES = 100_000;
const FEW_INODES = 100;

/** By the type that statfs(2) returns. */
const IN_MEMORY: Readonly<Record<number, string>> = { 16914836: 'tmpfs', 2240043254: 'ramfs' };
/** The daemon cannot rely on their locks or their syncs. */
const NOT_LOCAL: Readonly<Record<number, string>> = {
  26985: 'NFS',
  20859: 'SMB',
  4283649346: 'CIFS',
  4266872130: 'SMB',
  16914839: '9p',
  1702057286: 'FUSE',
  12805120: 'Ceph',
  1397113167: 'AFS',
};
const OVERLAY = 0x794c7630;

export interface StoragePlace {
  readonly dir: string;
  /** The directory belongs to the service: only the installation makes it. */
  readonly isService: boolean;
  readonly platform: string;
}

/** Returns the finding for a look that did not return: on a disk that is gone, the daemon's would not return either. */
export function unansweredDisk(dir: string, why: string): Finding {
  return failure(
    `the file system of ${dir} does not answer: ${why}`,
    'see whether the disk fails or a network file system is gone; the state belongs on a local disk',
    'sudo dmesg | tail',
    'cat /proc/mounts',
  );
}

/** Judges whether the state directory is there and can be written to. */
export function judgeDisk(
  { entry, fileSystem, isReadOnly }: DiskFacts,
  { dir, isService, platform }: StoragePlace,
): Check {
  const quoted = quoteForShell(dir);
  if (entry.kind === 'absent') {
    return isService
      ? judged('disk', '', [
          failure(
            `${dir} is gone, and with it the state of the service`,
            'restore it, or make a new state: docs/recovery.md, "The state is lost"',
            'ls -la /var/lib',
          ),
        ])
      : skipped('disk', `${dir} is not there yet; the first start makes it`);
  }
  if (entry.kind === 'hidden') return skipped('disk', `this user may not look at ${dir}; root may: sudo nonced doctor`);
  const findings: (Finding | undefined)[] = [entryFinding(entry, dir)];
  if (fileSystem === undefined) return judged('disk', `${dir}; its file system does not say how full it is`, findings);
  const { type, freeBytes, freeInodes, inodes } = fileSystem;
  // The numbers are those of Linux.
  if (platform === 'linux') findings.push(kindFinding(type, dir));
  if (isReadOnly)
    findings.push(
      failure(
        `${dir} is on a file system that is read-only`,
        'see why in dmesg, then remount it',
        `findmnt -T ${quoted}`,
      ),
    );
  else if (freeBytes < NO_SPACE_BYTES)
    findings.push(failure(`no space is left for ${dir} (${sizeText(freeBytes)})`, 'make room', `df -h ${quoted}`));
  else if (freeBytes < LITTLE_SPACE_BYTES) {
    findings.push(
      warning(`only ${sizeText(freeBytes)} are free for ${dir}`, 'make room before it is full', `df -h ${quoted}`),
    );
  }
  if (inodes > 0 && freeInodes < FEW_INODES) {
    const found = freeInodes < 2 ? failure : warning;
    findings.push(
      found(
        `only ${freeInodes} inodes are left for ${dir}`,
        'delete files: many small ones have used the inodes up',
        `df -i ${quoted}`,
      ),
    );
  }
  const inodeText = inodes > 0 ? `, ${freeInodes} inodes` : '';
  return judged('disk', `${dir}: ${sizeText(freeBytes)} free${inodeText}`, findings);
}

function entryFinding(entry: DiskFacts['entry'], dir: string): Finding | undefined {
  if (!('mode' in entry)) return undefined;
  const quoted = quoteForShell(dir);
  if (entry.kind === 'other') {
    return failure(
      `${dir} is not a directory, or is a link to one`,
      'name the directory itself with --state-dir',
      `ls -ld ${quoted}`,
    );
  }
  if ((entry.mode & 0o022) === 0) return undefined;
  const who = (entry.mode & 0o002) !== 0 ? 'everyone' : 'its group';
  return failure(
    `${who} may write to ${dir}: the next start will be refused`,
    'remove that permission',
    `sudo chmod go-w ${quoted}`,
  );
}

function kindFinding(type: number, dir: string): Finding | undefined {
  const command = `findmnt -T ${quoteForShell(dir)}`;
  const memory = IN_MEMORY[type];
  if (memory !== undefined) {
    return warning(
      `${dir} is in memory (${memory}): a reboot loses it, and with it the last nonces`,
      'put it on a local disk',
      command,
    );
  }
  const remote = NOT_LOCAL[type];
  if (remote !== undefined) {
    return failure(`${dir} is on ${remote}, whose locks and syncs are not reliable`, 'put it on a local disk', command);
  }
  if (type === OVERLAY) {
    return warning(`${dir} is in the layer of a container, and is lost with it`, 'put it on a volume', command);
  }
  return undefined;
}

function sizeText(bytes: number): string {
  if (bytes >= 1e9) return `${(bytes / 1e9).toFixed(1)} GB`;
  return bytes >= 1e6 ? `${(bytes / 1e6).toFixed(0)} MB` : `${(bytes / 1e3).toFixed(0)} kB`;
}

/** Judges whether the state is whole, belongs to this machine, and is the state of the daemon that answers. */
export function judgeState(facts: StateFacts, { dir, isService }: StoragePlace, answer: Answer | undefined): Check {
  switch (facts.kind) {
    case 'hidden':
      return skipped('state', `only root and its owner may read ${dir}: sudo nonced doctor`);
    case 'unusable':
      return judged('state', '', [
        failure(
          facts.problem,
          'do what the message says while no daemon runs',
          `nonced state inspect --state-dir ${quoteForShell(dir)}`,
        ),
      ]);
    case 'absent': {
      if (!facts.lost && !isService) return skipped('state', `${dir} has none yet; the first start makes it`);
      return judged('state', '', [
        failure(
          `${dir} has no state.json, but there has been one: it was lost`,
          'restore it, or make a new one: docs/recovery.md, "The state is lost"',
          `sudo ls -la ${quoteForShell(dir)}`,
        ),
      ]);
    }
    case 'whole':
      return judged(
        'state',
        `${dir}: whole, instance ${facts.instance.slice(0, 8)}`,
        wholeFindings(facts, dir, answer),
      );
  }
}

function wholeFindings(
  { instance, pid, socket, retiredAtMs, foreign, locked }: Extract<StateFacts, { readonly kind: 'whole' }>,
  dir: string,
  answer: Answer | undefined,
): readonly (Finding | undefined)[] {
  const quoted = quoteForShell(dir);
  const asOwner = `sudo -u "$(stat -c %U ${quoted})" nonced`;
  const findings: Finding[] = [];
  if (retiredAtMs !== undefined) {
    findings.push(
      failure(
        `the state in ${dir} was retired on ${new Date(retiredAtMs).toISOString()}: no daemon starts with it`,
        'use the host that its authority moved to; if no host has adopted it, take it back',
        `${asOwner} state adopt --force --state-dir ${quoted}`,
      ),
    );
  } else if (foreign) {
    findings.push(
      failure(
        `the state in ${dir} belongs to another machine, which may still hand out its nonces`,
        'run nonced state retire there, copy the state again, and then run here',
        `${asOwner} state adopt --state-dir ${quoted}`,
      ),
    );
  }
  if (answer?.kind === 'answered' && answer.status.instance !== instance) {
    findings.push(
      failure(
        `the daemon that answers (instance ${answer.status.instance.slice(0, 8)}) does not use the state in ${dir} (instance ${instance.slice(0, 8)})`,
        'find out which state it uses, and which one is right: the one with the highest ceilings',
        `sudo ls -l /proc/${answer.status.pid}/fd`,
      ),
    );
  }
  if (locked === true && answer?.kind !== 'answered') {
    findings.push(
      failure(
        `${dir} is locked, so a daemon uses it (pid ${pid}, socket ${socket}, according to the state), but clients look elsewhere`,
        'let clients look there, or stop it and start it where they look',
        `export NONCED_SOCKET=${quoteForShell(socket)}`,
        `sudo fuser -v ${quoted}`,
      ),
    );
  }
  return findings;
}
