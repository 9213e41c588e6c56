import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { eventually } from '../fixtures/eventually.ts';
import { hasProgram, isRoot } from '../fixtures/shell.ts';

// The least that mkfs.xfs takes is 300 MB. The file is sparse.
const DISK_BYTES = 320 * 1024 * 1024;

/** No file system may write anything by itself before the power goes, or a missing sync would not show. */
const FILE_SYSTEMS = {
  ext4: { make: ['mkfs.ext4', '-q', '-F'], live: 'loop,commit=300' },
  xfs: { make: ['mkfs.xfs', '-q', '-f'], live: 'loop' },
  btrfs: { make: ['mkfs.btrfs', '-q', '-f'], live: 'loop,commit=300' },
} as const;

export type FileSystem = keyof typeof FILE_SYSTEMS;
export const fileSystems = Object.keys(FILE_SYSTEMS) as FileSystem[];

/** Why a disk of this kind cannot be had here, or undefined. */
export function obstacleToDisk(kind: FileSystem): string | undefined {
  if (!isRoot || process.platform !== 'linux') return 'only as root on Linux: mounts a file system from an image';
  const { make } = FILE_SYSTEMS[kind];
  const missing = [make[0], 'mount', 'setpriv'].find((program) => !hasProgram(program));
  if (missing !== undefined) return `no program ${missing}`;
  // A container has no loop devices, or its kernel not this file system. Anything else is for the test to fail on.
  const known = readFileSync('/proc/filesystems', 'utf8')
    .split('\n')
    .some((line) => line.endsWith(`\t${kind}`));
  if (!known && spawnSync('modprobe', [kind]).status !== 0) return `the kernel has no ${kind}`;
  return spawnSync('losetup', ['-f']).status === 0 ? undefined : 'no loop devices';
}

/** A disk whose power can be cut: a fresh file system, mounted from an image in a file. */
export class Disk {
  /** A directory beside it that no power cut touches. */
  readonly besides: string;
  readonly #kind: FileSystem;
  readonly #dir: string;
  readonly #cleaner: ChildProcess;
  #copies = 0;
  #mountedImage: string;

  constructor(kind: FileSystem) {
    this.#kind = kind;
    this.#dir = mkdtempSync(join(tmpdir(), 'nonced-cut-'));
    // A process of its own, so that nothing stays mounted even if the tests are killed: its input ends with us.
    const clean = 'cat; umount -l "$1/mounted"; rm -rf --one-file-system "$1"';
    this.#cleaner = spawn('sh', ['-c', clean, 'sh', this.#dir], {
      detached: true,
      stdio: ['pipe', 'ignore', 'ignore'],
    });
    this.besides = join(this.#dir, 'besides');
    mkdirSync(this.besides);
    mkdirSync(this.mounted);
    writeFileSync(this.#image, '');
    truncateSync(this.#image, DISK_BYTES);
    const { make, live } = FILE_SYSTEMS[kind];
    must(...make, this.#image);
    must('mount', '-t', kind, '-o', live, this.#image, this.mounted);
    this.#mountedImage = this.#image;
  }

  /** Where it is mounted. */
  get mounted(): string {
    return join(this.#dir, 'mounted');
  }

  get #image(): string {
    return join(this.#dir, 'disk');
  }

  /** Copies what the disk holds at this moment, without a sync, and returns the copy. */
  async copyOfNow(): Promise<string> {
    this.#copies += 1;
    const copy = join(this.#dir, `copy-${this.#copies}`);
    // A copy made while something is written would be a disk that never existed.
    await eventually('a moment without a write to the disk', () => {
      const before = this.#writesMade();
      if (before === undefined) return false;
      must('cp', '--sparse=always', this.#image, copy);
      return before === this.#writesMade();
    });
    return copy;
  }

  /** Mounts a copy in place of what was mounted. To be called when no process uses the disk any more. */
  async becomes(copy: string): Promise<void> {
    await this.#unmount();
    // It remembers devices by what is written on them, and takes a copy for an old state of the same one.
    if (this.#kind === 'btrfs') spawnSync('btrfs', ['device', 'scan', '--forget']);
    must('mount', '-t', this.#kind, '-o', 'loop', copy, this.mounted);
    this.#mountedImage = copy;
  }

  /** Unmounts and removes everything. */
  async remove(): Promise<void> {
    this.#cleaner.stdin?.end();
    if (this.#cleaner.exitCode === null) await once(this.#cleaner, 'exit');
  }

  /**
   * Also in every mount namespace that another test has made of a copy of ours: as long as one has the disk mounted, no
   * other with the same identity can be.
   */
  async #unmount(): Promise<void> {
    must('umount', this.mounted);
    await eventually(`${this.#mountedImage} is mounted nowhere`, () => {
      const devices = spawnSync('losetup', ['-j', this.#mountedImage], { encoding: 'utf8' }).stdout;
      if (devices === '') return true;
      for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
        const there = mountsOf(pid).find((path) => path.endsWith(this.mounted));
        if (there !== undefined) spawnSync('nsenter', ['-t', pid, '-m', 'umount', '-l', there]);
      }
      return false;
    });
  }

  /** All writes that the disk has finished, as the kernel counts them; undefined while one is under way. */
  #writesMade(): string | undefined {
    const mounts = readFileSync('/proc/self/mountinfo', 'utf8').split('\n');
    const device = mounts.find((line) => line.includes(` ${this.mounted} `))?.match(/ \/dev\/(loop\d+) /)?.[1];
    if (device === undefined) throw new Error(`${this.mounted} is not mounted`);
    const stat = readFileSync(`/sys/block/${device}/stat`, 'utf8').trim().split(/\s+/);
    // Documentation/block/stat.rst: the fifth is the number of writes, the ninth that of requests in flight.
    return stat[8] === '0' ? stat[4] : undefined;
  }
}

/** Stops a process between two of its system calls; all that it has asked of the disk is finished then. */
export async function freeze(pid: number): Promise<void> {
  process.kill(pid, 'SIGSTOP');
  await eventually('the process to stop', () =>
    readdirSync(`/proc/${pid}/task`).every((task) =>
      / T \d/.test(readFileSync(`/proc/${pid}/task/${task}/stat`, 'utf8')),
    ),
  );
}

/** Where something is mounted, as a process sees it. */
function mountsOf(pid: string): readonly string[] {
  try {
    const lines = readFileSync(`/proc/${pid}/mountinfo`, 'utf8').split('\n');
    return lines.map((line) => line.split(' ')[4] ?? '');
  } catch {
    // It has ended meanwhile.
    return [];
  }
}

function must(...[program = '', ...args]: readonly string[]): void {
  const { status, stderr, error } = spawnSync(program, args, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`${program} ${args.join(' ')}: ${error?.message ?? stderr}`);
}
