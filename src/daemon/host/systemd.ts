import { spawn } from 'node:child_process';
import { asError, EXIT, ExitError } from '../../errors.ts';

/** sd_listen_fds(3): the first descriptor that systemd passes. */
const FIRST_DESCRIPTOR = 3;

/** The descriptors of sockets that systemd holds. The daemon listens on them and never unlinks them. */
export interface PassedSockets {
  readonly bot: number | undefined;
  readonly admin: number | undefined;
}

export const NO_SOCKETS: PassedSockets = { bot: undefined, admin: undefined };

type Variables = Readonly<Record<string, string | undefined>>;

/**
 * Returns the sockets that were passed to process `pid`, told apart by FileDescriptorName= ("nonced" and
 * "nonced-admin") as in sd_listen_fds_with_names(3). Throws ExitError for one with another name.
 */
export function passedSockets(variables: Variables, pid: number): PassedSockets {
  // They are for the process that systemd started, not for one that inherited its environment.
  if (variables['LISTEN_PID'] !== String(pid)) return NO_SOCKETS;
  const count = Number(variables['LISTEN_FDS']);
  const names = (variables['LISTEN_FDNAMES'] ?? '').split(':');
  const found: { bot: number | undefined; admin: number | undefined } = { ...NO_SOCKETS };
  for (let index = 0; index < count; index++) {
    const name = names[index];
    if (name === 'nonced') found.bot = FIRST_DESCRIPTOR + index;
    else if (name === 'nonced-admin') found.admin = FIRST_DESCRIPTOR + index;
    else {
      throw new ExitError(
        EXIT.config,
        `systemd passed a socket named ${name || '(nothing)'}; in its unit, let FileDescriptorName= be nonced or nonced-admin`,
      );
    }
  }
  return found;
}

/** Whether the file `of` is systemd's journal, as systemd.exec(5) says. The variable alone may have been inherited. */
export function isJournal(variables: Variables, of: { readonly dev: bigint; readonly ino: bigint }): boolean {
  return variables['JOURNAL_STREAM'] === `${of.dev}:${of.ino}`;
}

/** Returns how often systemd wants to hear from us, in milliseconds; undefined if it does not. */
export function watchdogMs(variables: Variables, pid: number): number | undefined {
  const meantForUs = variables['WATCHDOG_PID'] === undefined || variables['WATCHDOG_PID'] === String(pid);
  const microseconds = Number(variables['WATCHDOG_USEC']);
  return meantForUs && microseconds > 0 ? microseconds / 1000 : undefined;
}

/**
 * Tells systemd something, as sd_notify(3) does; without a service manager it does nothing. Node has no datagram
 * sockets, so the program systemd-notify sends it. It runs asynchronously because it waits until systemd has read the
 * message: systemd does not know a sender that is gone by then, and drops its message.
 */
export function notify(variables: Variables, assignments: readonly string[], failed: (error: Error) => void): void {
  if (!variables['NOTIFY_SOCKET']) return;
  try {
    const child = spawn('systemd-notify', [...assignments], { stdio: 'ignore' });
    child.once('error', failed);
    child.unref();
  } catch (error) {
    // Node throws what it does not report as a failed spawn, such as a lack of memory.
    failed(asError(error));
  }
}
