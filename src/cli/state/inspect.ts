import { EXIT, ExitError } from '../../errors.ts';
import { stateCommand } from '../../store/directories.ts';
import { isLocked } from '../../store/lock/lock-probe.ts';
import { readStateFile } from '../../store/state/state-file.ts';
import { directories } from '../directories.ts';
import type { Terminal } from '../terminal/terminal.ts';

export interface InspectOptions {
  readonly stateDir?: string;
  readonly json: boolean;
}

/** Checks the state file and prints it. Needs no daemon and changes nothing. */
export function inspect({ stateDir, json }: InspectOptions, terminal: Terminal): void {
  const dir = directories({ stateDir }, terminal.env).stateDir;
  const reading = readStateFile(dir, 'anyone');
  if (reading.kind === 'absent') {
    throw new ExitError(
      EXIT.config,
      `${dir} has no state.json; start the daemon, or write one: ${stateCommand('init --floor now --unit UNIT', dir)}`,
    );
  }
  const { state, instance, epoch, pid, socket, retiredAtMs } = reading.state;
  const kept = [...state.accounts].filter(([, { placed }]) => placed === 'kept').map(([name]) => name);
  const locked = isLocked(dir);
  if (json) {
    terminal.printJson({
      stateDir: dir,
      instance,
      epoch,
      pid,
      socket,
      retiredAtMs: retiredAtMs ?? null,
      locked,
      checksum: 'ok',
      ...state,
      accounts: Object.fromEntries([...state.accounts].map(([name, { placed: _, ...account }]) => [name, account])),
      kept,
    });
    return;
  }
  terminal.printLine(`${terminal.paint('bold', dir)}: whole, checksum ok`);
  terminal.printLine(`instance ${instance}, epoch ${epoch}, exclusion ${state.exclusive}`);
  terminal.printLine(
    locked
      ? `locked: a daemon is running (pid ${pid}, socket ${socket})`
      : `not locked: no daemon is running (last written by pid ${pid}, for socket ${socket})`,
  );
  if (retiredAtMs !== undefined) {
    terminal.printLine(`retired on ${new Date(retiredAtMs).toISOString()}: no daemon starts with it`);
  }
  for (const [name, { unit, ceiling, max }] of Object.entries(state.sequences)) {
    terminal.printLine(`sequence ${name} (${unit}): ceiling ${ceiling}, max ${max}`);
  }
  const paused = [...state.accounts].filter(([, account]) => account.paused).map(([name]) => name);
  terminal.printLine(`${state.accounts.size} accounts${paused.length > 0 ? `; paused: ${paused.join(', ')}` : ''}`);
  if (kept.length > 0) {
    terminal.printLine(`stay on their sequence, whatever the configuration says: ${kept.join(', ')}`);
  }
}
