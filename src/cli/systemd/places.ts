/** Where the installation puts things, and their names. The units in systemd/ say the same. */
export const UNIT_DIR = '/etc/systemd/system';
export const SYSUSERS_FILE = '/etc/sysusers.d/nonced.conf';
export const COPIES_DIR = '/usr/local/lib/nonced';
export const STATE_DIR = '/var/lib/nonced';
export const CONFIG_DIR = '/etc/nonced';
export const RUNTIME_DIR = '/run/nonced';
/** When the daemon last ended; the unit writes it. */
export const ENDED_FILE = '/run/nonced.ended';

export const USER = 'nonced';
export const SERVICE = 'nonced.service';
export const SOCKETS = ['nonced.socket', 'nonced-admin.socket'] as const;
export const UNITS = [SERVICE, ...SOCKETS] as const;

/** Directories that the sandbox of the unit hides or empties (ProtectHome=, PrivateTmp=). */
export const HIDDEN_DIRS = ['/home', '/root', '/run/user', '/tmp', '/var/tmp'] as const;
