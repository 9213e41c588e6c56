import { spawn } from 'node:child_process';
import { asError, EXIT, ExitError } from '../../errors.ts';

/** sd_listen_fds(3): the first descriptor that systemd passes. */
const FIRST_DESCRIPTOR = 3;

/** Sockets that systemd made and keeps: the daemon listens on them and never unlinks them. */
export interface PassedSockets {
  readonly bot: number | undefined;
  readonly admin: number | undefined;
}

export const NO_SOCKETS: PassedSockets = { bot: undefined, admin: undefined };

type Variables = Readonly<Record<string, string | undefined>>;

/**
 * The sockets passed to process `pid`, told apart by FileDescriptorName= ("nonced" and "nonced-admin"), as
 * sd_listen_fds_with_names(3) describes it. Throws ExitError for one with another name.
 */
export function passedSockets(variables: Variables, pid: number): PassedSockets {
  // They are meant for the process that systemd started, not for one that inherited its environment.
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
        `systemd passed a socket named ${name || '(nothing)'}; name it nonced or nonced-admin with FileDescriptorName=`,
      );
    }
  }
  return found;
}

/** Whether the file `of` is the journal, as systemd.exec(5) has it: the variable alone may have been inherited. */
export function isJournal(variables: Variables, of: { readonly dev: bigint; readonly ino: bigint }): boolean {
  return variables['JOURNAL_STREAM'] === `${of.dev}:${of.ino}`;
}

/** How often systemd wants to hear from us, in milliseconds; undefined where it does not. */
export function watchdogMs(variables: Variables, pid: number): number | undefined {
  const meantForUs = variables['WATCHDOG_PID'] === undefined || variables['WATCHDOG_PID'] === String(pid);
  const microseconds = Number(variables['WATCHDOG_USEC']);
  return meantForUs && microseconds > 0 ? microseconds / 1000 : undefined;
}

/**
 * Tells systemd something, as sd_notify(3) does. Node has no datagram sockets, so the program systemd-notify does it;
 * asynchronously, for it waits until systemd has read it: a sender that is gone by then is not known as one of ours,
 * and the message is lost. Without a service manager it does nothing.
 */
export function notify(variables: Variables, assignments: readonly string[], failed: (error: Error) => void): void {
  if (!variables['NOTIFY_SOCKET']) return;
  try {
    const child = spawn('systemd-notify', [...assignments], { stdio: 'ignore' });
    child.once('error', failed);
    child.unref();
  } catch (error) {
    // Out of memory, above all: Node throws what it does not know as a failed spawn.
    failed(asError(error));
  }
}
