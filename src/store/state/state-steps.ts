import { fstat, fsync, lstatSync, statSync } from 'node:fs';
import { constants, open, stat } from 'node:fs/promises';
import { promisify } from 'node:util';
// Before write-file-atomic: loaded after it, the exit handler of this one would leave the lock directory behind.
import 'proper-lockfile';
import writeFileAtomic from 'write-file-atomic';
import { systemErrorCode } from '../../errors.ts';

/** What a write of the state does to the disk, a function for each step, so that tests can make any of them fail. */
export interface StateFileSteps {
  /** Returns the device and inode that a path leads to. */
  identify(path: string): Promise<string>;
  identifyDescriptor(descriptor: number): Promise<string>;
  /**
   * Returns at once, and without reading anything, what changes if another program touches the directory at `dir` or the
   * file at `path`.
   */
  glance(dir: string, path: string): string;
  /** Returns what a file holds, undefined if there is none. Rejects with ELOOP for a symbolic link. */
  read(path: string): Promise<Buffer | undefined>;
  /** Claims room for `length` bytes in a file that exists, or rejects with ENOSPC. */
  reserve(path: string, length: number): Promise<void>;
  /**
   * Writes `bytes` to a temporary file (created, passed to `beforeWriting`, written, synced), then renames it to
   * `path`.
   */
  replace(path: string, bytes: Buffer, beforeWriting: (temporary: string) => Promise<void>): Promise<void>;
  size(path: string): Promise<number>;
  syncDirectory(descriptor: number): Promise<void>;
}

/** What room for a state is claimed with: a blank, with which no state ends. */
export const CLAIMED = 0x20;

const fstatDescriptor = promisify(fstat);
const fsyncDescriptor = promisify(fsync);

interface Identity {
  readonly dev: bigint;
  readonly ino: bigint;
}

export const stepsOnDisk: StateFileSteps = {
  async identify(path) {
    return identityOf(await stat(path, { bigint: true }));
  },
  async identifyDescriptor(descriptor) {
    return identityOf(await fstatDescriptor(descriptor, { bigint: true }));
  },
  glance(dir, path) {
    const file = lstatSync(path, { bigint: true, throwIfNoEntry: false });
    const directory = statSync(dir, { bigint: true, throwIfNoEntry: false });
    return `${directory && identityOf(directory)} ${file && `${identityOf(file)} ${file.size} ${file.mtimeNs}`}`;
  },
  async read(path) {
    try {
      const file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
      try {
        return await file.readFile();
      } finally {
        await file.close();
      }
    } catch (error) {
      if (systemErrorCode(error) === 'ENOENT') return undefined;
      throw error;
    }
  },
  // A write to a nearly full tmpfs is cut short, and the library would silently rename the torso over the good state.
  // Pages that are written here first cannot be missing when the library writes them. (The free space that statfs shows
  // could be gone by then, and it counts neither quotas nor what is kept for root.)
  async reserve(path, length) {
    const file = await open(path, 'r+');
    try {
      const { bytesWritten } = await file.write(Buffer.alloc(length, CLAIMED), 0, length, 0);
      if (bytesWritten < length) {
        const error = new Error(`ENOSPC: room for ${bytesWritten} of ${length} bytes, write '${path}'`);
        throw Object.assign(error, { code: 'ENOSPC' });
      }
    } finally {
      await file.close();
    }
  },
  async replace(path, bytes, beforeWriting) {
    // New options for each call, because the library changes them. It awaits tmpfileCreated, whatever its type says.
    await writeFileAtomic(path, bytes, { mode: 0o600, chown: false, tmpfileCreated: beforeWriting } as object);
  },
  async size(path) {
    return (await stat(path)).size;
  },
  async syncDirectory(descriptor) {
    await fsyncDescriptor(descriptor);
  },
};

function identityOf({ dev, ino }: Identity): string {
  return `${dev}:${ino}`;
}
