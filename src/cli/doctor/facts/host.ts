import { access, readFile } from 'node:fs/promises';
import { release } from 'node:os';
import { systemClock } from '../../../clock.ts';
import { ran } from './ran.ts';

export interface HostFacts {
  readonly platform: string;
  readonly release: string;
  /** Without the `v`. */
  readonly node: string;
  /** The kernel has an id for this boot. */
  readonly hasBootId: boolean;
  /** This machine has a machine-id(5). */
  readonly hasMachineId: boolean;
  /** The kind of container, if this is one. */
  readonly container: string | undefined;
  readonly flock: { readonly kind: 'ours'; readonly version: string } | { readonly kind: 'foreign' | 'missing' };
}

export async function hostFacts(_: object): Promise<HostFacts> {
  return {
    platform: process.platform,
    release: release(),
    node: process.versions.node,
    hasBootId: process.platform !== 'linux' || (await textOf('/proc/sys/kernel/random/boot_id')) !== '',
    hasMachineId: process.platform !== 'linux' || /^[0-9a-f]{32}$/.test(await textOf('/etc/machine-id')),
    container: await containerKind(),
    flock: await flockKind(),
  };
}

async function flockKind(): Promise<HostFacts['flock']> {
  const end = await ran('flock', '--version');
  if (end.kind === 'missing') return { kind: 'missing' };
  const version = end.kind === 'ran' ? /util-linux ([\d.]+)/.exec(end.stdout)?.[1] : undefined;
  return version === undefined ? { kind: 'foreign' } : { kind: 'ours', version };
}

async function containerKind(): Promise<string | undefined> {
  const told = await textOf('/run/systemd/container');
  if (told !== '') return told;
  for (const [file, kind] of [
    ['/.dockerenv', 'docker'],
    ['/run/.containerenv', 'podman'],
  ] as const) {
    if (
      await access(file).then(
        () => true,
        () => false,
      )
    )
      return kind;
  }
  return undefined;
}

/** Returns the text, or an empty one if it cannot be read. */
async function textOf(path: string): Promise<string> {
  return readFile(path, 'utf8').then(
    (text) => text.trim(),
    () => '',
  );
}

export interface ClockFacts {
  readonly wallMs: number;
  readonly synchronised:
    | { readonly kind: 'yes' | 'no'; readonly by: string }
    /** No program here knows. */
    | { readonly kind: 'unknown'; readonly why: string };
}

/** Asks the programs that know whether a time service keeps the clock right. */
export async function clockFacts(_: object): Promise<ClockFacts> {
  return { wallMs: systemClock().wallMs(), synchronised: await synchronisation() };
}

async function synchronisation(): Promise<ClockFacts['synchronised']> {
  const [systemd, chrony] = await Promise.all([
    ran('timedatectl', 'show', '--property=NTPSynchronized', '--value'),
    ran('chronyc', 'tracking'),
  ]);
  const kernel = systemd.kind === 'ran' && systemd.code === 0 ? systemd.stdout : undefined;
  if (kernel === 'yes') return { kind: 'yes', by: 'timedatectl' };
  // Not every chrony tells the kernel, so its own answer counts more than a "no" from timedatectl.
  const leap =
    chrony.kind === 'ran' && chrony.code === 0 ? /^Leap status *: (.*)$/m.exec(chrony.stdout)?.[1] : undefined;
  if (leap !== undefined) return { kind: leap === 'Not synchronised' ? 'no' : 'yes', by: 'chronyc' };
  if (kernel === 'no') return { kind: 'no', by: 'timedatectl' };
  const missing = [systemd, chrony].every(({ kind }) => kind === 'missing');
  return {
    kind: 'unknown',
    why: missing ? 'there is no timedatectl and no chronyc' : 'timedatectl and chronyc do not say',
  };
}
