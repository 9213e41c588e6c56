import type { SlotFileSteps } from '../src/store/notes/slot-file.ts';

export const RUNTIME_DIR = '/run/nonced';

/** Files in memory. They outlive every process, and a reboot removes them. */
export class SimulatedMemory {
  readonly #files = new Map<string, { bytes: Buffer }>();
  readonly #opened: { readonly name: string; readonly file: { bytes: Buffer } }[] = [];
  /** While it is set, a write of a slot is cut short, or fails. */
  trouble: 'short' | 'ENOSPC' | undefined;
  /** Called before a slot is written. Returns false if the process is gone by then. */
  hit: () => boolean = () => true;
  /** Called when the write of a slot of the file was cut short: what the slot said before is lost too. */
  torn: (name: string) => void = () => {};

  reboot(): void {
    this.#files.clear();
    this.#opened.length = 0;
  }

  /** Deletes the files. A process that has one open keeps it. */
  clear(): void {
    this.#files.clear();
  }

  has(name: string): boolean {
    return this.#files.has(`${RUNTIME_DIR}/${name}`);
  }

  /** Changes a byte of a file so that a second change does not undo it. Returns false if there is no such byte. */
  damage(name: string, at: number): boolean {
    const file = this.#files.get(`${RUNTIME_DIR}/${name}`);
    if (file === undefined || at >= file.bytes.length) return false;
    file.bytes.writeUInt8((file.bytes.readUInt8(at) + 0x55) & 0xff, at);
    return true;
  }

  /** Returns the positions of the slots in use. */
  used(name: string): number[] {
    const bytes = this.#files.get(`${RUNTIME_DIR}/${name}`)?.bytes ?? Buffer.alloc(0);
    const used: number[] = [];
    for (let at = 128; at < bytes.length; at += 128) if (bytes.readUInt32LE(at + 124) !== 0) used.push(at);
    return used;
  }

  readonly steps: SlotFileSteps = {
    open: (path) => {
      const file = this.#files.get(path);
      return file && { descriptor: this.#open(path, file), bytes: Buffer.from(file.bytes) };
    },
    make: (path, bytes) => {
      const file = { bytes: Buffer.from(bytes) };
      this.#files.set(path, file);
      return this.#open(path, file);
    },
    writeAt: (descriptor, slot, position) => {
      // A killed process runs on to the end of its turn, and its write seems to succeed.
      if (!this.hit()) return slot.length;
      if (this.trouble === 'ENOSPC') throw Object.assign(new Error('ENOSPC: simulated, write'), { code: 'ENOSPC' });
      const length = this.trouble === 'short' ? slot.length / 2 : slot.length;
      const opened = this.#opened[descriptor];
      if (opened === undefined) return length;
      slot.copy(opened.file.bytes, position, 0, length);
      if (length < slot.length) this.torn(opened.name);
      return length;
    },
    close: () => {},
  };

  #open(path: string, file: { bytes: Buffer }): number {
    return this.#opened.push({ name: path.slice(RUNTIME_DIR.length + 1), file }) - 1;
  }
}
