import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { hasProgram, isRoot } from '../test/fixtures/shell.ts';

/** Small enough to be filled at once. */
const DISK_BYTES = 256 * 1024;
const BALLAST_BYTES = 4096;

/** What this machine cannot do, with the reason; undefined for what it can. */
export interface Lacks {
  readonly disk: string | undefined;
  readonly clock: string | undefined;
  readonly strace: string | undefined;
}

/** The directories of a run. `remove` leaves nothing behind and may be called again. */
export class Place {
  readonly dir: string;
  readonly stateDir: string;
  readonly runtimeDir: string;
  readonly otherRuntimeDir: string;
  readonly socket: string;
  readonly adminSocket: string;
  readonly config: string;
  readonly lacks: Lacks;
  readonly #disk: string;
  readonly #library: string | undefined;
  #mounted = false;
  #ballast = 0;

  constructor() {
    this.dir = mkdtempSync(join(tmpdir(), 'nonced-torture-'));
    this.#disk = join(this.dir, 'disk');
    this.stateDir = join(this.#disk, 's');
    this.runtimeDir = join(this.dir, 'r');
    this.otherRuntimeDir = join(this.dir, 'r2');
    this.socket = join(this.runtimeDir, 'nonced.sock');
    this.adminSocket = join(this.runtimeDir, 'admin.sock');
    this.config = join(this.dir, 'config.json');
    mkdirSync(this.#disk);
    const mount = ['-t', 'tmpfs', '-o', `size=${DISK_BYTES},mode=700`, 'tmpfs', this.#disk];
    this.#mounted = isRoot && spawnSync('mount', mount).status === 0;
    // The library that the program itself would preload. Its place differs between machines.
    const said = spawnSync('faketime', ['-f', '+0', 'env'], { encoding: 'utf8' }).stdout ?? '';
    this.#library = /^LD_PRELOAD=(\S+)$/m.exec(said)?.[1];
    const traces = hasProgram('strace') && spawnSync('strace', ['-o', '/dev/null', 'true']).status === 0;
    this.lacks = {
      disk: this.#mounted ? undefined : 'may not mount a tmpfs; run as root',
      clock: this.#library === undefined ? 'no faketime program; install faketime' : undefined,
      strace: traces ? undefined : 'strace is not installed, or may not trace',
    };
    this.setClock('+0');
  }

  /** The environment of the daemon only. The monotonic clock and the time since boot stay real. */
  get environment(): Readonly<Record<string, string>> {
    if (this.#library === undefined) return {};
    return {
      LD_PRELOAD: this.#library,
      FAKETIME_TIMESTAMP_FILE: join(this.dir, 'clock'),
      FAKETIME_NO_CACHE: '1',
      FAKETIME_DONT_FAKE_MONOTONIC: '1',
    };
  }

  /** Steps the daemon's wall clock to an offset in seconds from the real one, such as `+90`. */
  setClock(offset: string): void {
    this.#replace(join(this.dir, 'clock'), offset);
  }

  configure(text: string): void {
    this.#replace(this.config, text);
  }

  fillDisk(): void {
    for (;;) {
      try {
        writeFileSync(join(this.#disk, `ballast-${this.#ballast}`), Buffer.alloc(BALLAST_BYTES));
        this.#ballast += 1;
      } catch {
        return;
      }
    }
  }

  freeDisk(): void {
    for (let at = 0; at <= this.#ballast; at += 1) rmSync(join(this.#disk, `ballast-${at}`), { force: true });
    this.#ballast = 0;
  }

  remove(): void {
    if (this.#mounted) spawnSync('umount', ['-l', this.#disk]);
    this.#mounted = false;
    rmSync(this.dir, { recursive: true, force: true });
  }

  /** Replaces a file in one step: the daemon may read it at any time. */
  #replace(path: string, text: string): void {
    writeFileSync(`${path}.new`, text, { mode: 0o600 });
    renameSync(`${path}.new`, path);
  }
}
