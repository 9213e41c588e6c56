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

/** systemd-notify waits up to 5 s until systemd has read its message. One that takes longer than this never ends. */
const NOTIFY_WITHIN_MS = 15_000;

/** Sends one message to systemd. Rejects if that failed. */
export type Notify = (assignments: readonly string[]) => Promise<void>;

/**
 * Sends a message as sd_notify(3) does. Node has no datagram sockets, so the program systemd-notify sends it. It runs
 * asynchronously because it waits until systemd has read the message: systemd does not know a sender that is gone by
 * then, and drops its message.
 */
export function systemdNotify(assignments: readonly string[]): Promise<void> {
  return new Promise((resolve, reject) => {
    // Node throws what it does not report as a failed spawn, such as a lack of memory. Here that rejects.
    const child = spawn('systemd-notify', [...assignments], {
      stdio: 'ignore',
      timeout: NOTIFY_WITHIN_MS,
      killSignal: 'SIGKILL',
    });
    child.once('error', reject);
    child.once('exit', (code, signal) => {
      if (code === 0) resolve();
      else reject(new Error(`systemd-notify ${code === null ? `was ended by ${signal}` : `exited with ${code}`}`));
    });
    child.unref();
  });
}

/**
 * Tells systemd something, one message at a time: if systemd is slow, senders must not pile up. What is told meanwhile
 * becomes one message, with the latest value of each variable. `failed` is called for the first failure of a series.
 */
export class SystemdNotifier {
  readonly #notify: Notify;
  readonly #failed: (error: Error) => void;
  readonly #waiting = new Map<string, string>();
  #isSending = false;
  #hasFailed = false;

  constructor(notify: Notify, failed: (error: Error) => void) {
    this.#notify = notify;
    this.#failed = failed;
  }

  tell(variables: Readonly<Record<string, string>>): void {
    for (const [name, value] of Object.entries(variables)) this.#waiting.set(name, value);
    if (!this.#isSending) void this.#send();
  }

  async #send(): Promise<void> {
    this.#isSending = true;
    while (this.#waiting.size > 0) {
      const sent = new Map(this.#waiting);
      this.#waiting.clear();
      try {
        await this.#notify([...sent].map(([name, value]) => `${name}=${value}`));
        this.#hasFailed = false;
      } catch (error) {
        if (!this.#hasFailed) this.#failed(asError(error));
        this.#hasFailed = true;
        const isNews = this.#waiting.size > 0;
        // It goes out with the next message: without READY=1, say, systemd would end a daemon that serves.
        for (const [name, value] of sent) if (!this.#waiting.has(name)) this.#waiting.set(name, value);
        if (!isNews) break;
      }
    }
    this.#isSending = false;
  }
}
