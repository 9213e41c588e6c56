/** Where the service of a host is. The units in systemd/ say the same. */

/** Where it has its state. */
export const SERVICE_STATE_DIR = '/var/lib/nonced';
/** The directory of its sockets. */
export const SERVICE_RUNTIME_DIR = '/run/nonced';
export const SERVICE_SOCKET = '/run/nonced/nonced.sock';

/** One of these is there if a service is installed, whether or not it runs. */
export const SERVICE_UNIT_FILES: readonly string[] = [
  '/etc/systemd/system/nonced.service',
  '/usr/local/lib/systemd/system/nonced.service',
  '/usr/lib/systemd/system/nonced.service',
  '/lib/systemd/system/nonced.service',
];

/** Returns whether a service is installed here. `exists` returns whether something is at a path. */
export function isServiceInstalled(exists: (path: string) => boolean): boolean {
  return SERVICE_UNIT_FILES.some(exists);
}
