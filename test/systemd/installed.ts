import { VERSION } from '../../src/version.ts';
import { NONCED } from '../fixtures/daemon-process.ts';
import type { Machine } from './machine.ts';

const COPY = `/usr/local/lib/nonced/${VERSION}`;

export const SOCKET = '/run/nonced/nonced.sock';
export const STATE_FILE = '/var/lib/nonced/state.json';

/** The command line of the installed copy, which every user of the machine can read, wherever the checkout lies. */
export const nonced = (...args: string[]): string[] => [
  `${COPY}/bin/node`,
  `${COPY}/package/dist/cli/main.js`,
  ...args,
];

/** Installs the checkout's build as a service, with a copy, and returns what it printed. */
export function install(machine: Machine, ...args: string[]): Promise<string> {
  return machine.must([process.execPath, NONCED, 'systemd', 'install', '--copy', ...args]);
}

/** A trader may use nonced, a stranger may not. */
export async function addUsers(machine: Machine): Promise<void> {
  for (const line of ['u trader -', 'm trader nonced', 'u stranger -']) {
    await machine.must(['systemd-sysusers', '--inline', line]);
  }
}

/** The next nonce, asked for on the command line as that user. */
export async function nextNonce(machine: Machine, user = 'trader'): Promise<bigint> {
  return BigInt(await machine.must(nonced('nonce'), { user }));
}
