import type { Clock } from '../../clock.ts';
import type { Daemon } from '../../daemon/daemon.ts';
import { SystemdNotifier, systemdNotify, watchdogMs } from '../../daemon/host/systemd.ts';
import type { Log } from '../../daemon/log/log.ts';

/** How often the line in `systemctl status` is renewed if no watchdog sets the pace. */
const STATUS_EVERY_MS = 30_000;

/** Tells systemd that the daemon is ready, how it is doing, and, as long as it is healthy, that it is alive. */
export function reportToSystemd(daemon: Daemon, log: Log, clock: Clock): { stopping(): void } {
  if (!process.env['NOTIFY_SOCKET']) return { stopping: () => {} };
  const systemd = new SystemdNotifier(systemdNotify, (error) => log.warn(`systemd cannot be told: ${error.message}`));
  const watchdog = watchdogMs(process.env, process.pid);
  const everyMs = watchdog === undefined ? STATUS_EVERY_MS : watchdog / 3;
  const again = () =>
    clock.after(everyMs, () => {
      // If callers wait in vain for a hung disk, systemd ends us, and the next daemon begins at the durable ceiling.
      if (daemon.isHealthy()) systemd.tell({ WATCHDOG: '1', STATUS: daemon.summary() });
      timer = again();
    });
  let timer = again();
  systemd.tell({ READY: '1', STATUS: daemon.summary() });
  return {
    stopping() {
      timer.cancel();
      systemd.tell({ STOPPING: '1', STATUS: 'stopping' });
    },
  };
}
