import { accessSync, constants, existsSync } from 'node:fs';
import { dirname } from 'node:path';
import { adminSocket } from '../../client/ask.ts';
import { systemErrorCode } from '../../errors.ts';
import { isServiceInstalled, SERVICE_RUNTIME_DIR, SERVICE_STATE_DIR } from '../../service-places.ts';
import { quoteForShell } from '../terminal/shell-word.ts';
import type { Host } from '../terminal/terminal.ts';

/** How the reader of a message types a command, so that it reaches the same daemon and is permitted. */
export interface HowToType {
  /** A command that only looks: `why MASTER`. */
  look(command: string): string;
  /** A command that asks the operator's socket. */
  operate(command: string): string;
  /** A command that changes the state while the daemon is stopped. */
  repair(command: string): string;
}

export const PLAIN: HowToType = {
  look: (command) => `nonced ${command}`,
  operate: (command) => `nonced ${command}`,
  repair: (command) => `nonced ${command}`,
};

export interface Reader {
  /** The socket that was named, by an option or by the environment. */
  readonly asked: string | undefined;
  /** `$NONCED_SOCKET`, which the next command finds as well, but sudo passes no variables on. */
  readonly fromEnvironment: string | undefined;
  /** Whether this user may write to the operator's socket. */
  readonly isOperator: boolean;
  /** Whether the daemon is that of an installed service, whose user alone may change its state. */
  readonly isService: boolean;
}

export function howToType({ asked, fromEnvironment, isOperator, isService }: Reader): HowToType {
  const named = asked === undefined ? '' : ` --socket ${quoteForShell(asked)}`;
  const again = asked === fromEnvironment ? '' : named;
  return {
    look: (command) => `nonced ${command}${again}`,
    operate: (command) => (isOperator ? `nonced ${command}${again}` : `sudo nonced ${command}${named}`),
    repair: (command) =>
      isService ? `sudo -u nonced nonced ${command} --state-dir ${SERVICE_STATE_DIR}` : `nonced ${command}`,
  };
}

/** Returns the same for the user of this process, who gave `asked` as the socket. */
export function howToTypeHere(asked: string | undefined, env: Host['env']): HowToType {
  return howToType({
    asked,
    fromEnvironment: env['NONCED_SOCKET'],
    isOperator: mayWrite(adminSocket(asked)),
    isService: dirname(adminSocket(asked)) === SERVICE_RUNTIME_DIR && isServiceInstalled(existsSync),
  });
}

function mayWrite(path: string): boolean {
  try {
    accessSync(path, constants.W_OK);
    return true;
  } catch (error) {
    // If the socket is missing, the reason is not one of permission.
    return !['EACCES', 'EPERM'].includes(systemErrorCode(error) ?? '');
  }
}
