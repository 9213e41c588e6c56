import { statfsSync } from 'node:fs';
import { cpus, loadavg, release, totalmem, type } from 'node:os';
import type { Results } from './results.ts';

/** Of statfs(2). */
const FILESYSTEMS: Readonly<Record<number, string>> = {
  61267: 'ext4',
  1481003842: 'xfs',
  2435016766: 'btrfs',
  801189825: 'zfs',
  4076150800: 'f2fs',
  2035054128: 'overlay',
  16914836: 'tmpfs',
  26985: 'nfs',
};

export function machine(dir: string): Results['machine'] {
  const [first] = cpus();
  const kind = statfsSync(dir).type;
  return {
    processor: first?.model.trim() || 'unknown',
    cores: cpus().length,
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    kernel: `${type()} ${release()}`,
    filesystem: FILESYSTEMS[kind] ?? `0x${kind.toString(16)}`,
    node: process.version,
    loadAverage: loadavg()[0] ?? 0,
  };
}
