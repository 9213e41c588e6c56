import { constants, type FileHandle, lstat, open, rename } from 'node:fs/promises';
import { systemErrorCode } from '../../errors.ts';

/** What the call log does to the disk, a function for each step, so that tests can make any of them fail. */
export interface CallLogSteps {
  /** Returns what is at the path, without following a link; undefined if there is nothing. */
  look(path: string): Promise<Sight | undefined>;
  /** Opens the regular file at the path. */
  open(path: string): Promise<OpenCallLog>;
  /** Makes the file with mode 0640. Rejects if there is one already. */
  create(path: string): Promise<OpenCallLog>;
  rename(from: string, to: string): Promise<void>;
}

export interface Sight {
  /** Device and inode. */
  readonly identity: string;
  readonly kind: 'file' | 'directory' | 'link' | 'other';
  readonly size: number;
}

export interface OpenCallLog {
  readonly identity: string;
  /** Reads its first `length` bytes, or as many as there are. */
  beginning(length: number): Promise<Buffer>;
  /** Reads its last byte; undefined if it is empty. */
  lastByte(): Promise<number | undefined>;
  /** Appends `bytes` from `offset` on. Returns how many it has written: on a nearly full disk not all of them. */
  append(bytes: Buffer, offset: number): Promise<number>;
  close(): Promise<void>;
}

// Never through a planted link, and without waiting for the other end of a planted pipe.
const FLAGS = constants.O_RDWR | constants.O_APPEND | constants.O_NOFOLLOW | constants.O_NONBLOCK;
const MODE = 0o640;

export const callLogStepsOnDisk: CallLogSteps = {
  async look(path) {
    try {
      const stat = await lstat(path);
      const kind = stat.isFile() ? 'file' : stat.isDirectory() ? 'directory' : stat.isSymbolicLink() ? 'link' : 'other';
      return { identity: identityOf(stat), kind, size: stat.size };
    } catch (error) {
      if (systemErrorCode(error) === 'ENOENT') return undefined;
      throw error;
    }
  },
  async open(path) {
    return opened(await open(path, FLAGS));
  },
  async create(path) {
    const file = await open(path, FLAGS | constants.O_CREAT | constants.O_EXCL, MODE);
    try {
      // The daemon's umask takes the group's right away, as it should for every other file.
      await file.chmod(MODE);
    } catch (error) {
      await file.close();
      throw error;
    }
    return opened(file);
  },
  rename,
};

async function opened(file: FileHandle): Promise<OpenCallLog> {
  try {
    const identity = identityOf(await file.stat());
    return {
      identity,
      async beginning(length) {
        const { buffer, bytesRead } = await file.read(Buffer.alloc(length), 0, length, 0);
        return buffer.subarray(0, bytesRead);
      },
      async lastByte() {
        const { size } = await file.stat();
        const { buffer, bytesRead } = await file.read(Buffer.alloc(1), 0, 1, Math.max(0, size - 1));
        return bytesRead === 0 ? undefined : buffer[0];
      },
      async append(bytes, offset) {
        return (await file.write(bytes, offset, bytes.length - offset, null)).bytesWritten;
      },
      close: () => file.close(),
    };
  } catch (error) {
    await file.close();
    throw error;
  }
}

function identityOf({ dev, ino }: { readonly dev: number; readonly ino: number }): string {
  return `${dev}:${ino}`;
}
